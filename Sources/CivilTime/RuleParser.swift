/// A cursor over a POSIX TZ string: "std offset [dst [offset] [,start[/time],end[/time]]]".
///
/// Source: POSIX.1-2024, Base Definitions 8.3, and RFC 9636 section 3.3.2 for the wider hours of a rule.
struct RuleParser {
    /// In bytes. Longer than any real rule; no other limit applies to names.
    private static let longestRule = 256
    /// The rule that the tz code uses when a string has none (TZDEFRULESTRING in localtime.c).
    private static let defaultRule = Array(",M3.2.0,M11.1.0".utf8)

    private let rule: [UInt8]
    private var position = 0

    /// Parses a whole TZ string.
    /// - Throws: `ZoneError.invalidRule`.
    static func tail(of rule: [UInt8]) throws(ZoneError) -> Zone.Tail {
        guard rule.count <= longestRule else {
            throw .invalidRule(rule: text(rule.prefix(40)) + "…", problem: "it is longer than \(longestRule) bytes")
        }
        var parser = RuleParser(rule: rule)
        return try parser.tail()
    }

    private mutating func tail() throws(ZoneError) -> Zone.Tail {
        try skipName(of: "standard time")
        let standardOffset = try -offset()
        if position == rule.count { return .offset(standardOffset) }
        try skipName(of: "daylight time")
        var daylightOffset = standardOffset + 3600
        if let next = peek(), next != UInt8(ascii: ",") { daylightOffset = try -offset() }
        if position == rule.count { self = RuleParser(rule: Self.defaultRule) }
        return .rule(try dates(standardOffset: standardOffset, daylightOffset: daylightOffset))
    }

    private mutating func dates(standardOffset: Int64, daylightOffset: Int64) throws(ZoneError) -> DaylightRule {
        try expect(",", before: "the start of daylight time")
        let start = try moment()
        try expect(",", before: "the end of daylight time")
        let end = try moment()
        guard position == rule.count else { throw problem("something follows the end of daylight time") }
        return DaylightRule(standardOffset: standardOffset, daylightOffset: daylightOffset, start: start, end: end)
    }

    /// Three or more letters, or letters, digits and signs between angle brackets.
    private mutating func skipName(of time: String) throws(ZoneError) {
        let isQuoted = take("<")
        let start = position
        while let byte = peek(),
            byte.isASCIILetter || (isQuoted && (byte.isASCIIDigit || "+-".utf8.contains(byte)))
        {
            position += 1
        }
        guard position - start >= 3 else { throw problem("the name of \(time) has fewer than three letters") }
        if isQuoted, !take(">") { throw problem("the name of \(time) has no closing \">\"") }
    }

    /// Seconds west of Greenwich, written as 0…24 hours with an optional sign, minutes and seconds.
    private mutating func offset() throws(ZoneError) -> Int64 {
        try time(hours: 0...24, name: "offset")
    }

    private mutating func moment() throws(ZoneError) -> YearlyMoment {
        let day = try day()
        let seconds = take("/") ? try time(hours: 0...167, name: "time of day") : 2 * 3600
        return YearlyMoment(day: day, seconds: seconds)
    }

    private mutating func day() throws(ZoneError) -> YearlyMoment.Day {
        if take("J") { return .withoutLeapDay(try number(1...365, name: "day after J")) }
        guard take("M") else { return .fromZero(try number(0...365, name: "day of the year")) }
        let month = try number(1...12, name: "month")
        try expect(".", before: "the week")
        let week = try number(1...5, name: "week")
        try expect(".", before: "the day of the week")
        return .weekday(month: month, week: week, weekday: try number(0...6, name: "day of the week"))
    }

    /// "[+-]hh[:mm[:ss]]" in seconds.
    private mutating func time(hours: ClosedRange<Int64>, name: String) throws(ZoneError) -> Int64 {
        let isNegative = take("-")
        if !isNegative { _ = take("+") }
        var seconds = try number(hours, name: "hour of the \(name)") * 3600
        if take(":") {
            seconds += try number(0...59, name: "minute of the \(name)") * 60
            if take(":") { seconds += try number(0...59, name: "second of the \(name)") }
        }
        return isNegative ? -seconds : seconds
    }

    private mutating func number(_ range: ClosedRange<Int64>, name: String) throws(ZoneError) -> Int64 {
        let start = position
        var number: Int64 = 0
        // No valid number has more than three digits, so this can't overflow.
        while let byte = peek(), byte.isASCIIDigit, position - start < 3 {
            number = number * 10 + Int64(byte - UInt8(ascii: "0"))
            position += 1
        }
        guard position > start else { throw problem("the \(name) is missing") }
        guard range.contains(number) else {
            throw problem("the \(name) is \(number), not \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private func peek() -> UInt8? {
        position < rule.count ? rule[position] : nil
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: scalar) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ scalar: Unicode.Scalar, before part: String) throws(ZoneError) {
        guard take(scalar) else { throw problem("\"\(scalar)\" is missing before \(part)") }
    }

    private func problem(_ sentence: String) -> ZoneError {
        .invalidRule(rule: Self.text(rule[...]), problem: "\(sentence) (at byte \(position))")
    }

    /// The bytes as text that is safe to print: "?" replaces each byte that isn't printable ASCII.
    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.map { (0x20..<0x7f).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}
