/// Days, weeks and months as the wall clocks of a zone show them.
///
/// A date begins at its first instant: the first of two midnights, or the end of the gap if midnight is missing. It
/// lasts until a later date begins, so when clocks go back over midnight, the repeated end of the old date belongs to
/// the new one. Every instant lies in exactly one date. A date that the zone skipped has length zero and begins with
/// the next date. The first and the last representable date cover the rest of time.
package struct LocalCalendar: Hashable, Codable, Sendable {
    package var zone: Zone
    /// The day on which weeks begin.
    package var weekStart: Weekday

    /// UTC, with weeks that begin on Monday (ISO 8601).
    package static let utc = LocalCalendar(zone: .utc, weekStart: .monday)

    package init(zone: Zone, weekStart: Weekday) {
        self.zone = zone
        self.weekStart = weekStart
    }

    /// The first instant of a date, or of the next date if the zone skipped this one.
    package func start(of date: CivilDate) -> Timestamp {
        guard date > .earliest else { return .earliest }
        return firstInstant(on: date, secondsOfDay: 0)
    }

    /// The first instant at which the wall clock shows this time or a later one: in a gap, where the gap ends.
    ///
    /// `secondsOfDay` is clamped to 0…86,400, the whole day.
    package func firstInstant(on date: CivilDate, secondsOfDay: Int) -> Timestamp {
        let local = Int64(date.daysSinceEpoch) * secondsPerDay + min(max(Int64(secondsOfDay), 0), secondsPerDay)
        // Before this, no zone's clock can show the time. 52 hours later, the clock of every zone has shown it.
        var segment = zone.segment(containing: local - Zone.widestOffsetSeconds)
        while true {
            let instant = max(segment.start, local - segment.offsetSeconds)
            if instant < segment.end || segment.end == .max { return Timestamp(secondsSinceEpoch: instant) }
            segment = zone.segment(containing: segment.end)
        }
    }

    /// All instants at which the wall clock shows this time: two if the clock goes back over it. If the clock skips the
    /// time, the end of the gap.
    ///
    /// `secondsOfDay` is clamped to 0…86,400, the whole day.
    package func instants(on date: CivilDate, secondsOfDay: Int) -> [Timestamp] {
        let first = firstInstant(on: date, secondsOfDay: secondsOfDay)
        let local = Int64(date.daysSinceEpoch) * secondsPerDay + min(max(Int64(secondsOfDay), 0), secondsPerDay)
        var instants = [first]
        var segment = zone.segment(containing: first.secondsSinceEpoch)
        // Clocks go back by an hour or two, rarely by a day.
        while segment.end < first.secondsSinceEpoch.addingSaturated(2 * Zone.widestOffsetSeconds) {
            segment = zone.segment(containing: segment.end)
            let again = local - segment.offsetSeconds
            if again >= segment.start, again < segment.end, again > first.secondsSinceEpoch {
                instants.append(Timestamp(secondsSinceEpoch: again))
            }
            if segment.end == .max { break }
        }
        return instants
    }

    /// The date that an instant belongs to: the last date that has begun.
    package func day(containing moment: Timestamp) -> CivilDate {
        let second = moment.secondsSinceEpoch
        var segment = zone.segment(containing: second)
        var dayNumber = Self.dayNumber(at: second, offsetSeconds: segment.offsetSeconds)
        // The clock may have shown a later date before it went back, but not longer ago than this.
        let horizon = second.addingSaturated(-2 * Zone.widestOffsetSeconds)
        while segment.start > horizon {
            segment = zone.segment(containing: segment.start - 1)
            dayNumber = max(dayNumber, Self.dayNumber(at: segment.end - 1, offsetSeconds: segment.offsetSeconds))
        }
        return CivilDate(clampingDayNumber: dayNumber)
    }

    /// The nearest earlier date that the zone had; `earliest` if there is none.
    package func previousDay(before date: CivilDate) -> CivilDate {
        guard date > .earliest else { return .earliest }
        return day(containing: start(of: date).adding(seconds: -1))
    }

    /// The nearest later date that the zone has; `latest` if there is none.
    package func nextDay(after date: CivilDate) -> CivilDate {
        day(containing: end(of: date))
    }

    /// From the first instant of a date to that of the next, or `Timestamp.latest`; empty if the zone skipped the date.
    package func span(ofDay date: CivilDate) -> Range<Timestamp> {
        start(of: date)..<end(of: date)
    }

    /// The date on which the week of a date begins. The zone may have skipped that date.
    package func weekStart(containing date: CivilDate) -> CivilDate {
        let daysAfterStart = (date.weekday.rawValue - weekStart.rawValue + 7) % 7
        return date.adding(days: -daysAfterStart)
    }

    /// The wall clock's date and time. The date is before `day(containing:)` if the clock just went back over midnight.
    package func localTime(at moment: Timestamp) -> (date: CivilDate, secondsOfDay: Int) {
        let local = moment.secondsSinceEpoch.addingSaturated(Int64(zone.offsetSeconds(at: moment)))
        let (dayNumber, secondsOfDay) = local.flooredDivision(by: secondsPerDay)
        return (CivilDate(clampingDayNumber: dayNumber), Int(secondsOfDay))
    }

    /// RFC 3339 in local time: "2026-11-20T23:42:00+01:00".
    package func rfc3339(_ moment: Timestamp) -> String { "\(local(moment))" }

    /// A moment by this calendar's clock.
    ///
    /// By UTC if RFC 3339 can't write the local time: offsets with seconds or over 23:59, and dates outside `CivilDate`.
    package func local(_ moment: Timestamp) -> LocalMoment {
        let (minutes, seconds) = zone.offsetSeconds(at: moment).quotientAndRemainder(dividingBy: 60)
        let date = localTime(at: moment).date
        let isWritable = seconds == 0 && abs(minutes) < 24 * 60 && date > .earliest && date < .latest
        return LocalMoment(moment, offsetMinutes: isWritable ? minutes : 0)
    }

    private func end(of date: CivilDate) -> Timestamp {
        date < .latest ? start(of: date.adding(days: 1)) : .latest
    }

    /// The zone's offsets in 2025, for people: `UTC+01:00, in July UTC+02:00`. No later law changes those.
    package var clockText: String {
        func text(_ month: Int) -> String {
            let time = rfc3339(start(of: CivilDate(year: 2025, month: month, day: 1) ?? .earliest))
            return time.hasSuffix("Z") ? "UTC" : "UTC" + time.suffix(6)
        }
        return text(1) + (text(7) == text(1) ? "" : ", in July " + text(7))
    }

    private static func dayNumber(at second: Int64, offsetSeconds: Int64) -> Int64 {
        second.addingSaturated(offsetSeconds).flooredDivision(by: secondsPerDay).quotient
    }
}
