import Accounting
import CivilTime

/// Decodes a time of day from 00:00 to 23:59, in seconds since midnight.
func timeOfDay(_ node: YAMLNode) throws(Complaint) -> Int {
    try node.parsed("a time of day", remedy: "write hours and minutes from \"00:00\" to \"23:59\", in quotes") { text in
        minutesOfDay(text).flatMap { $0 < 1440 ? $0 * 60 : nil }
    }
}

/// Decodes a date like 2026-01-15.
func date(_ node: YAMLNode) throws(Complaint) -> CivilDate {
    try node.parsed("a date", remedy: "write year, month and day, as 2026-01-15") { text in
        CivilDate(text).flatMap { (1970...9999).contains($0.year) ? $0 : nil }
    }
}

/// Decodes a day of the month from 1 to 31.
func dayOfMonth(_ node: YAMLNode) throws(Complaint) -> Int {
    let remedy = "write a day of the month from 1 to 31; a month without it begins its cycle on its last day"
    return try node.parsed("a day of the month", remedy: remedy) { text in
        guard text.utf8.allSatisfy(\.isASCIIDigit), let day = Int(text), (1...31).contains(day) else { return nil }
        return day
    }
}

/// Decodes a day of the year like "04-06".
func dayOfYear(_ node: YAMLNode) throws(Complaint) -> CycleRule.Kind {
    try node.parsed("a day of the year", remedy: "write month and day, as \"04-06\"") { text in
        // A leap year has all possible days.
        guard text.utf8.count == 5, let date = CivilDate("2028-" + text) else { return nil }
        return CycleRule.Kind.year(month: date.month, day: date.day)
    }
}

/// Decodes windows of the week like "00:00-06:00", "sat 22:00-sun 06:00", "mon-fri 01:00-05:00" or "sun".
///
/// In minutes since Monday 00:00. A window over the week's end has its end in the next week.
func freeWindows(_ node: YAMLNode) throws(Complaint) -> [Range<Int>] {
    let remedy = "write one such as \"00:00-06:00\", \"sat 22:00-sun 06:00\", \"mon-fri 01:00-05:00\" or \"sun\""
    let text = try node.text(of: "a window of time", remedy: remedy)
    let ends = text.asciiLowercased.split(separator: "-", omittingEmptySubsequences: false).map(WindowEnd.init)
    guard let windows = ranges(of: ends) else {
        throw Complaint(problem: "\(quoted(text)) is not a window of time", remedy: remedy)
    }
    guard windows.allSatisfy({ !$0.isEmpty }) else {
        throw Complaint(
            problem: "\(quoted(text)) begins when it ends", remedy: "write 00:00-24:00 for a whole day, or leave it out"
        )
    }
    return windows
}

/// One side of a hyphen: a day, a time, or both.
private struct WindowEnd {
    var day: Int?
    var minutes: Int?
    var isWrong = false

    init(_ text: Substring) {
        for word in text.split(separator: " ") {
            if minutes == nil, let time = minutesOfDay(word) {
                minutes = time
            } else if day == nil, minutes == nil, let weekday = Self.weekday(word) {
                day = weekday.rawValue - 1
            } else {
                isWrong = true
            }
        }
        if day == nil, minutes == nil { isWrong = true }
    }

    /// A weekday by its name or the name's first three letters.
    private static func weekday(_ word: Substring) -> Weekday? {
        Weekday.allCases.first { $0.name == word || $0.name.prefix(3) == word }
    }
}

private func ranges(of ends: [WindowEnd]) -> [Range<Int>]? {
    if ends.contains(where: \.isWrong) { return nil }
    let first = ends[0]
    switch ends.count {
    case 1:  // "sun"
        guard let day = first.day, first.minutes == nil else { return nil }
        return [window(on: day, from: 0, to: 1440)]
    case 2: return ranges(from: first, to: ends[1])
    case 3:  // "mon-fri 01:00-05:00"
        guard let from = first.day, first.minutes == nil, let to = ends[1].day, let start = ends[1].minutes,
            start < 1440, ends[2].day == nil, let end = ends[2].minutes
        else { return nil }
        return days(from, to).map { window(on: $0, from: start, to: end) }
    default: return nil
    }
}

private func ranges(from first: WindowEnd, to last: WindowEnd) -> [Range<Int>]? {
    guard let start = first.minutes else {  // "sat-sun"
        guard let from = first.day, let to = last.day, last.minutes == nil else { return nil }
        return days(from, to).map { window(on: $0, from: 0, to: 1440) }
    }
    guard start < 1440, let end = last.minutes else { return nil }
    guard let day = first.day else {  // "00:00-06:00"
        return last.day == nil ? (0..<7).map { window(on: $0, from: start, to: end) } : nil
    }
    guard let lastDay = last.day else { return [window(on: day, from: start, to: end)] }  // "sat 22:00-06:00"
    let (from, to) = (day * 1440 + start, lastDay * 1440 + end)
    return [from..<(to < from ? to + FreeTime.minutesPerWeek : to)]
}

/// A window that begins on this day. It ends on the next day if its end is earlier than its start.
private func window(on day: Int, from start: Int, to end: Int) -> Range<Int> {
    day * 1440 + start..<day * 1440 + (end < start ? end + 1440 : end)
}

private func days(_ first: Int, _ last: Int) -> [Int] {
    (first...(last < first ? last + 7 : last)).map { $0 % 7 }
}

/// The minutes of "23:42"; 24:00 is the end of a day. `nil` for any other text.
private func minutesOfDay(_ text: some StringProtocol) -> Int? {
    let bytes = Array(text.utf8)
    guard bytes.count == 5, bytes[2] == UInt8(ascii: ":"), [0, 1, 3, 4].allSatisfy({ bytes[$0].isASCIIDigit })
    else { return nil }
    let digits = bytes.map { Int($0) - 48 }
    let (hours, minutes) = (digits[0] * 10 + digits[1], digits[3] * 10 + digits[4])
    guard minutes < 60, hours * 60 + minutes <= 1440 else { return nil }
    return hours * 60 + minutes
}
