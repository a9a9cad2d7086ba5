/// The web-config file that every Prometheus exporter takes: TLS, users, headers, a limit of requests
/// (<https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>).
package struct WebConfiguration: Hashable, Sendable {
    /// `http_server_config.headers`: part of every answer.
    package struct Header: Hashable, Sendable {
        /// The headers that can be set, by their HTTP names.
        package enum Name: String, CaseIterable, Sendable {
            case contentSecurityPolicy = "Content-Security-Policy"
            case frameOptions = "X-Frame-Options"
            case contentTypeOptions = "X-Content-Type-Options"
            case xssProtection = "X-XSS-Protection"
            case strictTransportSecurity = "Strict-Transport-Security"
        }

        package var name: Name
        package var value: String
    }

    /// `rate_limit`: a token bucket that all requests share.
    package struct RateLimit: Hashable, Sendable {
        /// The time between two new tokens; more than 0.
        package var intervalNanoseconds: Int64
        /// How many requests may come at once.
        package var burst: UInt32
    }

    package var tls: TLS?
    package var headers: [Header]
    package var rateLimit: RateLimit?
    /// The hashes of passwords by the bytes of the user's name.
    package var users: [[UInt8]: PasswordHash]

    /// The configuration without a file.
    package static let none = WebConfiguration(tls: nil, headers: [], rateLimit: nil, users: [:])
}

extension WebConfiguration {
    /// `tls_server_config`.
    package struct TLS: Hashable, Sendable {
        /// Where PEM text comes from.
        package enum Source: Hashable, Sendable {
            case file(String)
            case inline([UInt8])
        }

        /// The certificates that clients must show.
        package enum Clients: Hashable, Sendable {
            /// `NoClientCert`.
            case anonymous
            /// `VerifyClientCertIfGiven`.
            case verifiedIfGiven(authority: Source)
            /// `RequireAndVerifyClientCert`.
            ///
            /// - Parameter allowedNames: `client_allowed_sans`; nil for any.
            case verified(authority: Source, allowedNames: [String]?)
        }

        package enum Version: String, CaseIterable, Comparable, Sendable {
            case tls10 = "TLS10"
            case tls11 = "TLS11"
            case tls12 = "TLS12"
            case tls13 = "TLS13"

            package static func < (one: Version, other: Version) -> Bool { one.rawValue < other.rawValue }
        }

        /// By the names of Go's constants for groups (RFC 8446 §4.2.7).
        package enum Curve: String, CaseIterable, Sendable {
            case p256 = "CurveP256"
            case p384 = "CurveP384"
            case p521 = "CurveP521"
            case x25519 = "X25519"
            case x25519MLKEM768 = "X25519MLKEM768"
        }

        /// By the names of the IANA registry, which Go uses.
        package enum CipherSuite: String, CaseIterable, Sendable {
            // TLS 1.3; these can't be chosen, as in Go.
            case aes128GCM = "TLS_AES_128_GCM_SHA256"
            case aes256GCM = "TLS_AES_256_GCM_SHA384"
            case chaCha20 = "TLS_CHACHA20_POLY1305_SHA256"
            // Up to TLS 1.2, the best first.
            case ecdheECDSAWithAES128GCM = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
            case ecdheRSAWithAES128GCM = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
            case ecdheECDSAWithAES256GCM = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
            case ecdheRSAWithAES256GCM = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
            case ecdheECDSAWithChaCha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
            case ecdheRSAWithChaCha20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
            case ecdheECDSAWithAES128CBC = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
            case ecdheRSAWithAES128CBC = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
            case ecdheECDSAWithAES256CBC = "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"
            case ecdheRSAWithAES256CBC = "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"
            // Without forward secrecy: only if the file names them.
            case rsaWithAES128GCM = "TLS_RSA_WITH_AES_128_GCM_SHA256"
            case rsaWithAES256GCM = "TLS_RSA_WITH_AES_256_GCM_SHA384"
            case rsaWithAES128CBC = "TLS_RSA_WITH_AES_128_CBC_SHA"
            case rsaWithAES256CBC = "TLS_RSA_WITH_AES_256_CBC_SHA"

            /// The older suites have the exchange of keys in their names, before `WITH`.
            package var isOfTLS13: Bool { !rawValue.contains("_WITH_") }

            /// The suites without `cipher_suites`: those up to TLS 1.2 with forward secrecy, the best first.
            package static let standard = allCases.filter { $0.rawValue.hasPrefix("TLS_ECDHE_") }
        }

        package var certificate: Source
        package var key: Source
        package var clients: Clients
        package var versions: ClosedRange<Version>
        /// Suites up to TLS 1.2, the preferred first; empty only if TLS 1.3 is the minimum.
        package var cipherSuites: [CipherSuite]
        /// The preferred first; nil for the library's choice.
        package var curves: [Curve]?
    }
}

extension WebConfiguration.TLS.Clients {
    /// The authority that checks certificates of clients.
    package var authority: WebConfiguration.TLS.Source? {
        switch self {
        case .anonymous: nil
        case .verifiedIfGiven(let authority), .verified(let authority, allowedNames: _): authority
        }
    }

    /// A client's certificate must have one of these names; nil for any.
    package var allowedNames: [String]? {
        switch self {
        case .anonymous, .verifiedIfGiven: nil
        case .verified(authority: _, let allowedNames): allowedNames
        }
    }

    /// Whether all clients need a certificate.
    package var areRequired: Bool {
        switch self {
        case .anonymous, .verifiedIfGiven: false
        case .verified: true
        }
    }
}
