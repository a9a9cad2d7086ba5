/// A date of the proleptic Gregorian calendar, without a time or a zone.
///
/// Dates reach from -5877641-06-23 to +5881580-07-11. Arithmetic that leaves this range gives `earliest` or `latest`.
package struct CivilDate: Hashable, Comparable, Sendable {
    /// Days since 1970-01-01.
    package var daysSinceEpoch: Int32

    package init(daysSinceEpoch: Int32) {
        self.daysSinceEpoch = daysSinceEpoch
    }

    /// A date from its parts; nil if it doesn't exist (2026-02-29) or is out of range.
    package init?(year: Int, month: Int, day: Int) {
        let year = Int64(year)
        // Wider than any date, so that the arithmetic below can't overflow.
        guard (-6_000_000...6_000_000).contains(year), (1...12).contains(month), day >= 1,
            day <= Gregorian.dayCount(year: year, month: Int64(month)),
            let days = Int32(exactly: Gregorian.dayNumber(year: year, month: Int64(month), day: Int64(day)))
        else { return nil }
        daysSinceEpoch = days
    }

    /// Parses an ISO 8601 date like "2026-11-20"; nil for any other form, even for ISO's shorter and expanded ones.
    package init?(_ iso: some StringProtocol) {
        let parts = iso.utf8.prefix(11).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.map(\.count) == [4, 2, 2], parts.joined().allSatisfy(\.isASCIIDigit) else { return nil }
        let numbers = parts.map { digits in digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) } }
        self.init(year: numbers[0], month: numbers[1], day: numbers[2])
    }

    /// The first representable date.
    package static let earliest = CivilDate(daysSinceEpoch: .min)
    /// The last representable date.
    package static let latest = CivilDate(daysSinceEpoch: .max)

    /// The date of a day number, clamped to the representable dates.
    init(clampingDayNumber dayNumber: Int64) {
        daysSinceEpoch = Int32(clamping: dayNumber)
    }

    /// The astronomical year: 0 is 1 BC.
    package var year: Int { Int(parts.year) }
    /// 1…12.
    package var month: Int { Int(parts.month) }
    /// The day of the month, 1…31.
    package var day: Int { Int(parts.day) }

    package var weekday: Weekday {
        // Day 0 was a Thursday, three days after a Monday.
        let daysAfterMonday = (Int64(daysSinceEpoch) + 3).flooredDivision(by: 7).remainder
        return Weekday.allCases[Int(daysAfterMonday)]
    }

    /// The date `days` later (earlier if negative), clamped to `earliest` and `latest`.
    package func adding(days: Int) -> CivilDate {
        CivilDate(clampingDayNumber: Int64(daysSinceEpoch).addingSaturated(Int64(days)))
    }

    package var firstOfMonth: CivilDate { firstOfMonth(monthsLater: 0) }
    package var firstOfPreviousMonth: CivilDate { firstOfMonth(monthsLater: -1) }
    package var firstOfYear: CivilDate { firstOfMonth(monthsLater: 1 - parts.month) }

    package static func < (left: CivilDate, right: CivilDate) -> Bool {
        left.daysSinceEpoch < right.daysSinceEpoch
    }

    private var parts: (year: Int64, month: Int64, day: Int64) {
        Gregorian.date(ofDayNumber: Int64(daysSinceEpoch))
    }

    private func firstOfMonth(monthsLater: Int64) -> CivilDate {
        let (year, month, _) = parts
        let (yearsLater, monthFromJanuary) = (month - 1 + monthsLater).flooredDivision(by: 12)
        let first = Gregorian.dayNumber(year: year + yearsLater, month: monthFromJanuary + 1, day: 1)
        return CivilDate(clampingDayNumber: first)
    }
}

extension CivilDate: CustomStringConvertible {
    /// ISO 8601: "2026-11-20". Years outside 0…9999 have a sign and at least six digits: "+012026-11-20".
    package var description: String {
        Gregorian.isoDate(ofDayNumber: Int64(daysSinceEpoch))
    }
}
