import CivilTime

/// The calendar's open periods at one moment: the dates of today, this week, this month and the previous ones.
package struct PeriodWindow: Hashable, Sendable {
    package let today: CivilDate
    package let weekStart: CivilDate
    package let monthStart: CivilDate
    package let previousDay: CivilDate
    package let previousMonthStart: CivilDate
    /// When today began and when the next day begins.
    package let daySpan: Range<Timestamp>
    package let weekStartTime: Timestamp
    package let monthStartTime: Timestamp

    package init(_ calendar: LocalCalendar, at moment: Timestamp) {
        today = calendar.day(containing: moment)
        weekStart = calendar.weekStart(containing: today)
        monthStart = today.firstOfMonth
        previousDay = calendar.previousDay(before: today)
        previousMonthStart = today.firstOfPreviousMonth
        daySpan = calendar.span(ofDay: today)
        weekStartTime = calendar.start(of: weekStart)
        monthStartTime = calendar.start(of: monthStart)
    }

    /// The sums of `days` over the window's periods.
    func totals(of days: DayTotals) -> PeriodTotals {
        let tomorrow = today.adding(days: 1)
        return PeriodTotals(
            day: days.sum(from: today, before: tomorrow),
            week: days.sum(from: weekStart, before: tomorrow),
            month: days.sum(from: monthStart, before: tomorrow),
            previousDay: days.sum(from: previousDay, before: previousDay.adding(days: 1)),
            previousMonth: days.sum(from: previousMonthStart, before: monthStart))
    }
}
