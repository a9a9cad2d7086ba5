/// A yearly daylight-saving rule as the POSIX TZ string states it.
///
/// Daylight time may be behind standard time (Europe/Dublin), begin late in the year and end early in the next (south
/// of the equator), last all year, or be empty in some years.
struct DaylightRule: Hashable, Codable, Sendable {
    var standardOffset: Int64
    var daylightOffset: Int64
    /// When daylight time begins, in standard time.
    var start: YearlyMoment
    /// When daylight time ends, in daylight time.
    var end: YearlyMoment

    /// The rule applies up to about 4.4 million years from 1970, standard time beyond. So sums can't overflow.
    private static let horizon: Int64 = 1 << 47

    /// The segment around a second. It is also cut at the turn of the UTC year, so neighbours may have the same offset.
    func segment(containing second: Int64) -> Zone.Segment {
        guard second >= -Self.horizon else {
            return Zone.Segment(start: .min, end: -Self.horizon, offsetSeconds: standardOffset)
        }
        guard second < Self.horizon else {
            return Zone.Segment(start: Self.horizon, end: .max, offsetSeconds: standardOffset)
        }
        let year = Gregorian.date(ofDayNumber: second.flooredDivision(by: secondsPerDay).quotient).year
        var segment = Zone.Segment(
            start: max(Self.startOfYear(year), -Self.horizon), end: min(Self.startOfYear(year + 1), Self.horizon),
            offsetSeconds: standardOffset)
        // A rule's time may lie a week outside its year, and daylight time may last a little over a year.
        for startYear in (year - 2)...(year + 1) {
            segment.cut(at: daylightSpan(startingIn: startYear), around: second, daylightOffset: daylightOffset)
        }
        return segment
    }

    /// The daylight time that begins in a year. It lasts until the rule's first end that isn't before that beginning.
    private func daylightSpan(startingIn year: Int64) -> Range<Int64> {
        let first = start.localSeconds(in: year) - standardOffset
        var endYear = year
        while true {
            let last = end.localSeconds(in: endYear) - daylightOffset
            // The rule's end two years later is always after this start.
            if last >= first { return first..<last }
            endYear += 1
        }
    }

    private static func startOfYear(_ year: Int64) -> Int64 {
        Gregorian.dayNumber(year: year, month: 1, day: 1) * secondsPerDay
    }
}

extension Zone.Segment {
    /// Shrinks the segment to the part around `second` that lies wholly inside or outside a span of daylight time.
    fileprivate mutating func cut(at span: Range<Int64>, around second: Int64, daylightOffset: Int64) {
        if second < span.lowerBound {
            end = min(end, span.lowerBound)
        } else if second >= span.upperBound {
            start = max(start, span.upperBound)
        } else {
            start = max(start, span.lowerBound)
            end = min(end, span.upperBound)
            offsetSeconds = daylightOffset
        }
    }
}

/// A local time on one day of every year.
struct YearlyMoment: Hashable, Codable, Sendable {
    /// The three date forms of POSIX.
    enum Day: Hashable, Codable, Sendable {
        /// "Mm.w.d": the weekday (0 is Sunday) of the 1st to 4th week, or the last one for 5.
        case weekday(month: Int64, week: Int64, weekday: Int64)
        /// "Jn": 1…365, 29 February never counted.
        case withoutLeapDay(Int64)
        /// "n": 0…365, 29 February counted. In a year without a leap day, 365 is 1 January of the next year.
        case fromZero(Int64)
    }

    var day: Day
    /// Seconds after midnight: -167…167 hours, plus minutes and seconds.
    var seconds: Int64

    /// Seconds from 1970-01-01T00:00:00 local time.
    func localSeconds(in year: Int64) -> Int64 {
        dayNumber(in: year) * secondsPerDay + seconds
    }

    private func dayNumber(in year: Int64) -> Int64 {
        switch day {
        case .weekday(let month, let week, let weekday):
            let first = Gregorian.dayNumber(year: year, month: month, day: 1)
            // Day 0 was a Thursday, number 4 when Sunday is 0.
            let firstMatch = (weekday - first - 4).flooredDivision(by: 7).remainder
            let ordinal = firstMatch + (week - 1) * 7
            return first + (ordinal < Gregorian.dayCount(year: year, month: month) ? ordinal : ordinal - 7)
        case .withoutLeapDay(let number):
            let leapDay: Int64 = number >= 60 && Gregorian.isLeap(year: year) ? 1 : 0
            return Gregorian.dayNumber(year: year, month: 1, day: number + leapDay)
        case .fromZero(let number):
            return Gregorian.dayNumber(year: year, month: 1, day: number + 1)
        }
    }
}
