/// Nanoseconds of the units of Go's `time.ParseDuration`.
private let units: [(name: String, nanoseconds: Double)] = [
    ("ns", 1), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9),
]

/// Decodes a duration as Go writes it, in nanoseconds: "1s", "1h30m", "1.5s"; a number alone is nanoseconds.
func goDuration(_ node: YAMLNode) throws(Complaint) -> Int64 {
    let remedy = "write one such as 100ms or 1s, or 0 for no limit"
    let text = try node.text(of: "a duration", remedy: remedy)
    guard let nanoseconds = nanoseconds(of: Array(text.utf8)) else {
        throw Complaint(problem: "is not a duration", remedy: remedy)
    }
    return nanoseconds
}

private func nanoseconds(of text: [UInt8]) -> Int64? {
    if text.isEmpty { return nil }
    if text.allSatisfy(\.isASCIIDigit) { return Int64(String(decoding: text, as: UTF8.self)) }
    var rest = text[...]
    var sum = 0.0
    while !rest.isEmpty {
        let digits = rest.prefix { $0.isASCIIDigit || $0 == UInt8(ascii: ".") }
        rest = rest.dropFirst(digits.count)
        let letters = rest.prefix { !$0.isASCIIDigit && $0 != UInt8(ascii: ".") }
        rest = rest.dropFirst(letters.count)
        guard digits.count <= 30, digits.contains(where: \.isASCIIDigit),
            let count = Double(String(decoding: Array("0".utf8) + digits + Array("0".utf8), as: UTF8.self)),
            let unit = units.first(where: { $0.name.utf8.elementsEqual(letters) })
        else { return nil }
        // The zero that is added after the digits changes the count only if there is no point.
        sum += (digits.contains(UInt8(ascii: ".")) ? count : count / 10) * unit.nanoseconds
    }
    return sum < 9e18 ? Int64(sum) : nil
}
