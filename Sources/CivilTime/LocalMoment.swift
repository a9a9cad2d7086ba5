/// A moment and the offset of the clock by which it is shown. Its text is RFC 3339: "2026-11-20T23:42:00+01:00".
package struct LocalMoment: Hashable, Comparable, Sendable {
    package let moment: Timestamp
    /// How far the clock is ahead of UTC; 0 also where RFC 3339 can't write the local time.
    private let offsetMinutes: Int

    init(_ moment: Timestamp, offsetMinutes: Int) {
        self.moment = moment
        self.offsetMinutes = offsetMinutes
    }

    /// Parses what ``description`` writes; `nil` for anything else.
    package init?(_ text: String) {
        guard let mark = text.firstIndex(of: "T"), let sign = text[mark...].firstIndex(where: { "Z+-".contains($0) }),
            let day = Self.dayNumber(text[..<mark]), let offset = LocalCalendar.offset(text[sign...]),
            let seconds = LocalCalendar.secondsOfDay(String(text[text.index(after: mark)..<sign]))
        else { return nil }
        // The first day of all begins before the first moment.
        let second = Int128(day) * Int128(secondsPerDay) + Int128(seconds - offset)
        self.init(Timestamp(secondsSinceEpoch: Int64(clamping: second)), offsetMinutes: offset / 60)
    }

    /// The number of a day, whose year may have a sign and any digits.
    private static func dayNumber(_ text: Substring) -> Int64? {
        let parts = text.split(separator: "-").compactMap { Int64($0) }
        guard parts.count == 3, (0...1_000_000_000_000).contains(parts[0]), (1...12).contains(parts[1]) else {
            return nil
        }
        let year = text.first == "-" ? -parts[0] : parts[0]
        guard (1...Gregorian.dayCount(year: year, month: parts[1])).contains(parts[2]) else { return nil }
        return Gregorian.dayNumber(year: year, month: parts[1], day: parts[2])
    }

    /// The date by the wall clock.
    package var date: CivilDate { CivilDate(clampingDayNumber: local.quotient) }

    /// By the wall clock.
    package var secondsOfDay: Int { Int(local.remainder) }

    private var local: (quotient: Int64, remainder: Int64) {
        moment.secondsSinceEpoch.addingSaturated(Int64(offsetMinutes) * 60).flooredDivision(by: secondsPerDay)
    }

    package static func < (left: LocalMoment, right: LocalMoment) -> Bool { left.moment < right.moment }
}

extension LocalMoment: CustomStringConvertible {
    package var description: String {
        if offsetMinutes == 0 { return moment.description }
        let (hour, minute) = Int64(abs(offsetMinutes)).flooredDivision(by: 60)
        let offset = "\(Gregorian.padded(hour, width: 2)):\(Gregorian.padded(minute, width: 2))"
        let time = Gregorian.isoTime(secondsOfDay: local.remainder)
        return "\(Gregorian.isoDate(ofDayNumber: local.quotient))T\(time)\(offsetMinutes < 0 ? "-" : "+")\(offset)"
    }
}

extension LocalMoment: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let moment = LocalMoment(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "no time as RFC 3339 writes it")
        }
        self = moment
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
