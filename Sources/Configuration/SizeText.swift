import Accounting

/// An exact number with decimals.
struct DecimalText {
    /// Without the point.
    let digits: Int128
    /// How many of the digits are after the point.
    let decimals: Int

    /// The largest number of digits, so that no calculation overflows.
    private static let maximumDigits = 24

    /// `nil` unless the text is digits with at most one point between them. A sign isn't allowed.
    init?(_ text: some StringProtocol) {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty && $0.allSatisfy(\.isASCIIDigit) }),
            text.utf8.count <= Self.maximumDigits
        else { return nil }
        digits = parts.joined().reduce(0) { $0 * 10 + Int128($1 - UInt8(ascii: "0")) }
        decimals = parts.count == 2 ? parts[1].count : 0
    }

    /// The number multiplied by a factor, rounded half up; `nil` above `Int64.max`, the largest amount.
    func times(_ factor: Int128) -> UInt64? {
        let (product, overflow) = digits.multipliedReportingOverflow(by: factor)
        if overflow { return nil }
        var divisor: Int128 = 1
        for _ in 0..<decimals { divisor *= 10 }
        let (quotient, remainder) = product.quotientAndRemainder(dividingBy: divisor)
        return Int64(exactly: quotient + (remainder >= divisor - remainder ? 1 : 0)).map { UInt64($0) }
    }
}

/// A number and its unit, like "1.5 TB" or "100Mbit/s".
private func numberAndUnit(_ text: String) -> (number: DecimalText, unit: String)? {
    let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    let unit = text[number.endIndex...].drop { $0 == " " }
    return DecimalText(number).map { ($0, String(unit)) }
}

/// Bytes in the units of sizes: powers of 1000 and of 1024 (IEC 80000-13).
private let sizeUnits: [(name: String, factor: Int128)] = [
    ("B", 1), ("kB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000), ("EB", 1_000_000_000_000_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20),
    ("GiB", 1 << 30), ("TiB", 1 << 40), ("PiB", 1 << 50), ("EiB", 1 << 60),
]

/// Bits per second in the units of rates.
private let rateUnits: [(name: String, factor: Int128)] =
    sizeUnits.map { ($0.name + "/s", $0.factor * 8) } + [
        ("bit/s", 1), ("kbit/s", 1000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000), ("Tbit/s", 1_000_000_000_000),
    ]

/// What an amount with a unit counts.
private struct Quantity {
    let name: String
    let remedy: String
    let units: [(name: String, factor: Int128)]
    /// Amounts from here on can't be counted.
    let limit: String

    static let size = Quantity(
        name: "size", remedy: "write one such as 500 GB or 1.5 TiB", units: sizeUnits, limit: "8 EiB")
    static let rate = Quantity(
        name: "rate", remedy: "write one such as 1 MB/s or 100 Mbit/s", units: rateUnits, limit: "1 EiB/s")
}

/// The bytes of a text such as "312 GB", for the command line.
package func bytes(ofSize text: String) throws(Complaint) -> UInt64 { try amount(text, .size) }

/// Decodes a size above zero, like "1 TB".
func size(_ node: YAMLNode) throws(Complaint) -> UInt64 { try positiveAmount(node, .size) }

/// Decodes a rate above zero, like "1 MB/s" or "100 Mbit/s".
func bitsPerSecond(_ node: YAMLNode) throws(Complaint) -> UInt64 { try positiveAmount(node, .rate) }

private func positiveAmount(_ node: YAMLNode, _ quantity: Quantity) throws(Complaint) -> UInt64 {
    let text = try node.text(of: "a \(quantity.name)", remedy: quantity.remedy)
    let amount = try amount(text, quantity)
    if amount == 0 {
        throw Complaint(problem: "\(quoted(text)) is zero", remedy: "write a \(quantity.name) above 0")
    }
    return amount
}

private func amount(_ text: String, _ quantity: Quantity) throws(Complaint) -> UInt64 {
    if text.hasPrefix("-") {
        throw Complaint(problem: "\(quoted(text)) is negative", remedy: "write a \(quantity.name) above 0")
    }
    guard let (number, name) = numberAndUnit(text) else {
        throw Complaint(problem: "\(quoted(text)) is not a \(quantity.name)", remedy: quantity.remedy)
    }
    if name.hasPrefix(",") {
        throw Complaint(
            problem: "\(quoted(text)) has a comma in it", remedy: "write decimals with a point, such as 1.5 GB")
    }
    let names = quantity.units.map(\.name)
    if name.isEmpty {
        throw Complaint(problem: "\(quoted(text)) has no unit", remedy: "add one of \(names.joined(separator: ", "))")
    }
    guard let unit = quantity.units.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
        let nearest = likelyUnit(name, among: names).map { "did you mean \($0)?" }
        throw Complaint(
            problem: "\(quoted(name)) is not a unit of \(quantity.name)",
            remedy: nearest ?? "known are \(names.joined(separator: ", "))")
    }
    guard let amount = number.times(unit.factor) else {
        throw Complaint(
            problem: "\(quoted(text)) is more than can be counted", remedy: "write less than \(quantity.limit)")
    }
    return amount
}

/// The unit that was probably meant. "Mbps" means megabits, though its letters are nearer to "MB/s".
private func likelyUnit(_ name: String, among names: [String]) -> String? {
    if name.hasSuffix("bps"), let bits = names.first(where: { $0 == name.dropLast(3) + "bit/s" }) { return bits }
    if names.contains(name + "/s") { return name + "/s" }
    return nearestName(to: name, among: names.filter { $0 != "B" })
}

/// Decodes a share of a limit, like "80%" or "99.5%".
func share(_ node: YAMLNode) throws(Complaint) -> Share {
    let remedy = "write a percentage above 0% and up to 1000%, such as 80%"
    let text = try node.text(of: "a percentage", remedy: remedy)
    guard text.hasSuffix("%"), let number = DecimalText(text.dropLast()), number.decimals <= 4,
        let millionths = number.times(10_000), (1...10_000_000).contains(millionths)
    else { throw Complaint(problem: "\(quoted(text)) is not a share of the limit", remedy: remedy) }
    return Share(millionths: millionths)
}

/// Decodes an amount of money with up to six decimals.
func money(_ node: YAMLNode) throws(Complaint) -> Money {
    let remedy = "write a number such as 7.50, without the currency and with no more than six decimals"
    let text = try node.text(of: "an amount of money", remedy: remedy)
    if text.hasPrefix("-") {
        throw Complaint(problem: "\(quoted(text)) is negative", remedy: "write 0 or more")
    }
    guard let number = DecimalText(text), number.decimals <= 6 else {
        throw Complaint(problem: "\(quoted(text)) is not an amount of money", remedy: remedy)
    }
    guard let millionths = number.times(1_000_000), millionths <= 1_000_000_000_000_000_000 else {
        throw Complaint(problem: "\(quoted(text)) is too much", remedy: "write at most 1000000000000")
    }
    return Money(millionths: Int64(millionths))
}

/// Decodes the code of a currency.
func currencyCode(_ node: YAMLNode) throws(Complaint) -> Currency {
    let remedy = "write the three letters of ISO 4217, such as EUR, USD or INR"
    let text = try node.text(of: "a currency", remedy: remedy)
    guard let currency = Currency(code: text) else {
        throw Complaint(problem: "\(quoted(text)) is not the code of a currency", remedy: remedy)
    }
    return currency
}
