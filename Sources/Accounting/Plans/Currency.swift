/// A currency by its code.
package struct Currency: Hashable, Sendable {
    /// Three letters, as "EUR".
    package let code: String
    /// How many decimals its amounts are written with.
    package let decimals: Int

    /// `nil` if it isn't an active code of ISO 4217.
    package init?(code: String) {
        guard let decimals = Self.decimals[code] else { return nil }
        self.code = code
        self.decimals = decimals
    }

    package static let euro = Currency(code: "EUR", decimals: 2)

    private init(code: String, decimals: Int) {
        self.code = code
        self.decimals = decimals
    }

    /// The active currencies of ISO 4217:2015 (list one, amendments up to 2025) with their minor units.
    private static let decimals: [String: Int] = {
        let usual = """
            AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
            CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF
            IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK
            MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP
            SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG
            YER ZAR ZMW ZWG
            """
        let codes = [
            2: usual, 0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
            3: "BHD IQD JOD KWD LYD OMR TND", 4: "CLF UYW",
        ]
        return codes.reduce(into: [String: Int]()) { decimals, entry in
            for code in entry.value.split(whereSeparator: \.isWhitespace) { decimals[String(code)] = entry.key }
        }
    }()
}
