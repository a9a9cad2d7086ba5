import CivilTime

/// When local days begin. A day with bytes begins where it began when they were booked, even if the zone has changed.
package struct BookedDays {
    package let calendar: LocalCalendar
    private let starts: [CivilDate: Timestamp]

    /// - Parameter starts: The starts of the days that have bytes.
    package init(_ calendar: LocalCalendar, starts: [CivilDate: Timestamp]) {
        self.calendar = calendar
        self.starts = starts
    }

    func span(of day: CivilDate) -> Range<Timestamp> {
        let start = start(of: day)
        return start..<max(start, self.start(of: calendar.nextDay(after: day)))
    }

    /// The last second of the day that holds `part`.
    func lastSecond(of part: Range<Timestamp>) -> Timestamp {
        span(of: calendar.day(containing: part.lowerBound)).upperBound.adding(seconds: -1)
    }

    private func start(of day: CivilDate) -> Timestamp { starts[day] ?? calendar.start(of: day) }

    /// The days that a span touches, and two more at either end, because zones are up to 26 hours apart.
    func days(of span: Range<Timestamp>) -> ClosedRange<CivilDate> {
        let (first, last) = (calendar.day(containing: span.lowerBound), calendar.day(containing: span.upperBound))
        return first.adding(days: -2)...last.adding(days: 2)
    }

    /// Each day's share of a spread; days without bytes are left out.
    package func shares(of spread: Spread) -> [(day: CivilDate, share: Total)] {
        let days = days(of: spread.start..<spread.end)
        var shares: [(CivilDate, Total)] = []
        var day = days.lowerBound
        while day <= days.upperBound {
            let span = span(of: day)
            let share = spread.share(from: span.lowerBound, to: span.upperBound)
            if !share.isZero { shares.append((day, Total(share))) }
            day = calendar.nextDay(after: day)
        }
        return shares
    }
}
