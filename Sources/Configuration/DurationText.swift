import Accounting

/// The units that durations are written in, from the longest to the shortest.
private let units: [(name: String, nanoseconds: Int64)] = [
    ("w", 7 * 86_400_000_000_000), ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000),
    ("s", 1_000_000_000), ("ms", 1_000_000),
]

/// A decoder of durations like "500ms", "62d" or "1h30m". Both ends of the range are allowed.
///
/// Whole numbers, each with its unit, the longest unit first and none twice. A day has 24 hours here.
func duration(in range: ClosedRange<Span>) -> (YAMLNode) throws(Complaint) -> Span {
    { node throws(Complaint) in
        let remedy = "write one such as 1s, 500ms or 5m"
        let text = try node.text(of: "a duration", remedy: remedy)
        guard let span = Span(durationText: text) else {
            if !text.isEmpty, text.utf8.allSatisfy(\.isASCIIDigit) {
                throw Complaint(problem: "\(quoted(text)) has no unit", remedy: "add ms, s, m, h, d or w")
            }
            throw Complaint(problem: "\(quoted(text)) is not a duration", remedy: remedy)
        }
        guard range.contains(span) else {
            let (least, most) = (range.lowerBound.durationText, range.upperBound.durationText)
            throw Complaint(
                problem: "\(quoted(text)) is out of range", remedy: "write a duration from \(least) to \(most)")
        }
        return span
    }
}

extension Span {
    /// Nil for any other text. A duration over 292 years becomes the longest possible one.
    fileprivate init?(durationText text: String) {
        var rest = Array(text.utf8)[...]
        var shorterUnits = units[...]
        var sum: Int128 = 0
        repeat {
            let digits = rest.prefix { $0.isASCIIDigit }
            rest = rest.dropFirst(digits.count)
            let letters = rest.prefix { $0.isASCIILetter }
            rest = rest.dropFirst(letters.count)
            guard !digits.isEmpty, let unit = shorterUnits.firstIndex(where: { $0.name.utf8.elementsEqual(letters) })
            else { return nil }
            shorterUnits = shorterUnits[(unit + 1)...]
            let count = Int64(String(decoding: digits, as: UTF8.self)) ?? .max
            sum += Int128(count) * Int128(units[unit].nanoseconds)
        } while !rest.isEmpty
        self.init(nanoseconds: Int64(clamping: sum))
    }

    /// The shortest exact way to write it in one unit.
    fileprivate var durationText: String {
        for unit in units where nanoseconds % unit.nanoseconds == 0 && nanoseconds > 0 {
            return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
        }
        return "\(nanoseconds / 1_000_000)ms"
    }
}
