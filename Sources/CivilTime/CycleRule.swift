/// How time is cut into cycles: what "each month from the 31st, at 06:00" means on the wall clocks of a zone.
///
/// A cycle begins when the wall clock shows its date and time: the first time if the clock shows them twice, or at the
/// end of the gap if the clock skips them. It lasts until the next cycle begins, so every instant lies in exactly one.
/// Only ``Kind/once(from:until:)`` has no cycle before or after it.
package struct CycleRule: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case day
        case week(Weekday)
        /// The day of the month, 1…31; a month without it begins its cycle on its last day.
        case month(day: Int)
        /// The month, 1…12, and its day; a year without that day begins its cycle on the month's last.
        case year(month: Int, day: Int)
        /// Cycles of so many days each. One of them begins on the date.
        case days(Int, from: CivilDate)
        /// One cycle. `until` is the first date after it.
        case once(from: CivilDate, until: CivilDate)
    }

    package var kind: Kind
    /// The time by the wall clock at which a cycle begins on its first day: seconds since 00:00, below 86,400.
    package var secondsOfDay: Int

    package init(_ kind: Kind, at secondsOfDay: Int = 0) {
        self.kind = kind
        self.secondsOfDay = secondsOfDay
    }

    /// The cycle that contains a moment; for ``Kind/once(from:until:)`` its only cycle, even if the moment is outside.
    ///
    /// A moment outside the years 1 to 9999 counts as the first or last moment of those years.
    package func cycle(containing moment: Timestamp, in calendar: LocalCalendar) -> Range<Timestamp> {
        if case .once(let from, let until) = kind {
            let start = start(on: from, calendar)
            return start..<max(start, self.start(on: until, calendar))
        }
        let moment = min(max(moment, Self.firstMoment), Self.lastMoment)
        var number = number(of: calendar.localTime(at: moment).date)
        while start(of: number, calendar) > moment { number -= 1 }
        while true {
            let end = start(of: number + 1, calendar)
            if end > moment { return start(of: number, calendar)..<end }
            number += 1
        }
    }

    /// Whether the last cycle has ended. Only ``Kind/once(from:until:)`` has a last cycle.
    package func isOver(at moment: Timestamp, in calendar: LocalCalendar) -> Bool {
        guard case .once = kind else { return false }
        return moment >= cycle(containing: moment, in: calendar).upperBound
    }

    private static let firstMoment = Timestamp(secondsSinceEpoch: -62_135_596_800)
    private static let lastMoment = Timestamp(secondsSinceEpoch: 253_402_300_799)

    private func start(of number: Int, _ calendar: LocalCalendar) -> Timestamp {
        start(on: firstDate(of: number), calendar)
    }

    private func start(on date: CivilDate, _ calendar: LocalCalendar) -> Timestamp {
        calendar.firstInstant(on: date, secondsOfDay: secondsOfDay)
    }

    /// The number of the last cycle that begins on or before this date. Later cycles have higher numbers.
    private func number(of date: CivilDate) -> Int {
        let day = Int64(date.daysSinceEpoch)
        switch kind {
        case .day: return Int(day)
        case .week(let first):
            return Int((day - Self.aMonday - Int64(first.rawValue - 1)).flooredDivision(by: 7).quotient)
        case .month: return date.year * 12 + date.month - 1
        case .year: return date.year
        case .days(let count, let from):
            return Int((day - Int64(from.daysSinceEpoch)).flooredDivision(by: Int64(max(1, count))).quotient)
        case .once: return 0
        }
    }

    private func firstDate(of number: Int) -> CivilDate {
        switch kind {
        case .day: CivilDate(clampingDayNumber: Int64(number))
        case .week(let first):
            CivilDate(clampingDayNumber: Int64(number) * 7 + Self.aMonday + Int64(first.rawValue - 1))
        case .month(let day): Self.date(inMonth: Int64(number), day: day)
        case .year(let month, let day): Self.date(inMonth: Int64(number * 12 + month - 1), day: day)
        case .days(let count, let from):
            CivilDate(clampingDayNumber: Int64(from.daysSinceEpoch) + Int64(number) * Int64(max(1, count)))
        case .once(let from, _): from
        }
    }

    /// 1970-01-05.
    private static let aMonday: Int64 = 4

    /// - Parameter month: Counted from January of the year 0.
    private static func date(inMonth month: Int64, day: Int) -> CivilDate {
        let (year, monthFromJanuary) = month.flooredDivision(by: 12)
        let last = Gregorian.dayCount(year: year, month: monthFromJanuary + 1)
        return CivilDate(
            clampingDayNumber: Gregorian.dayNumber(year: year, month: monthFromJanuary + 1, day: min(Int64(day), last)))
    }
}
