import TestSupport
import Testing

@testable import CivilTime

/// Cycles tile time, and begin where the wall clock first shows their date and time.
@Suite struct CycleRuleTests {
    static let firstMoment = moment("2005-01-01T00:00:00Z")
    static let lastMoment = moment("2038-01-01T00:00:00Z")

    static let longRules: [CycleRule] = [
        .init(.month(day: 31), at: 86_100), .init(.month(day: 29), at: 9000), .init(.month(day: 1)),
        .init(.year(month: 2, day: 29), at: 1800), .init(.year(month: 4, day: 6)),
        .init(.days(30, from: date("2026-01-15"))), .init(.days(1000, from: date("2010-03-28")), at: 9000),
    ]
    /// These rules have so many cycles that the test walks them only around clock changes, where it matters.
    static let shortRules: [CycleRule] = [
        .init(.day), .init(.day, at: 1800), .init(.day, at: 9000), .init(.week(.monday)),
        .init(.week(.sunday), at: 9000),
    ]

    @Test("In every zone, 2005 to 2037, no instant lies in two cycles or in none, and each begins where it should")
    func cyclesTileTime() throws {
        for name in tried(try ZoneDatabase.distinctNames()) {
            let calendar = try ZoneDatabase.calendar(name)
            for rule in Self.longRules {
                let problem = Self.walk(rule, calendar, from: Self.firstMoment, to: Self.lastMoment)
                #expect(problem == nil, "\(name) \(rule)")
            }
            var segment = calendar.zone.segment(containing: Self.firstMoment.secondsSinceEpoch)
            while segment.end < Self.lastMoment.secondsSinceEpoch {
                let change = Timestamp(secondsSinceEpoch: segment.end)
                for rule in Self.shortRules {
                    let (first, last) = (change.adding(seconds: -90_000), change.adding(seconds: 90_000))
                    let problem = Self.walk(rule, calendar, from: first, to: last)
                    #expect(problem == nil, "\(name) \(rule) around \(change)")
                }
                segment = calendar.zone.segment(containing: segment.end)
            }
        }
    }

    /// Walks from cycle to cycle and returns the first problem.
    private static func walk(
        _ rule: CycleRule, _ calendar: LocalCalendar, from first: Timestamp, to last: Timestamp
    ) -> String? {
        var cycle = rule.cycle(containing: first, in: calendar)
        guard cycle.contains(first) else { return "the first cycle doesn't hold the first moment" }
        while cycle.upperBound < last {
            let next = rule.cycle(containing: cycle.upperBound, in: calendar)
            guard next.lowerBound == cycle.upperBound, !next.isEmpty else { return "\(next) isn't next to \(cycle)" }
            let length = next.upperBound.secondsSinceEpoch - next.lowerBound.secondsSinceEpoch
            for inside in [length / 3, length - 1] {
                guard rule.cycle(containing: next.lowerBound.adding(seconds: inside), in: calendar) == next else {
                    return "an instant of \(next) lies in another cycle"
                }
            }
            if let problem = Self.problem(ofStart: next.lowerBound, rule, calendar) { return problem }
            cycle = next
        }
        return nil
    }

    /// A cycle begins at the first instant that shows a date and time of its rule, or a later one.
    private static func problem(ofStart start: Timestamp, _ rule: CycleRule, _ calendar: LocalCalendar) -> String? {
        let shown = calendar.localTime(at: start)
        let before = [1, 1800, 3600, 7200, 86_400].map { calendar.localTime(at: start.adding(seconds: -$0)) }
        // The latest of the rule's dates whose time the clock shows or has passed.
        var date = shown.date
        if shown.secondsOfDay < rule.secondsOfDay { date = date.adding(days: -1) }
        while !isFirstDay(date, of: rule) { date = date.adding(days: -1) }
        for earlier in before where (earlier.date, earlier.secondsOfDay) >= (date, rule.secondsOfDay) {
            return "\(start): the clock showed \(earlier) before, which isn't earlier than \(date)"
        }
        return nil
    }

    /// The definition of each kind of cycle, written without the code under test.
    private static func isFirstDay(_ date: CivilDate, of rule: CycleRule) -> Bool {
        let isLastOfMonth = date.adding(days: 1).day == 1
        return switch rule.kind {
        case .day: true
        case .week(let first): date.weekday == first
        case .month(let day): date.day == day || isLastOfMonth && date.day < day
        case .year(let month, let day): date.month == month && (date.day == day || isLastOfMonth && date.day < day)
        case .days(let count, let from): (Int(date.daysSinceEpoch) - Int(from.daysSinceEpoch)) % count == 0
        case .once(let from, _): date == from
        }
    }

    @Test("A billing day of 29 to 31 skips no February, and the 30th never becomes the 2nd")
    func clampedMonths() throws {
        let starts = try Self.starts(.init(.month(day: 30)), "Europe/Berlin", from: "2026-01-01T00:00:00Z", count: 6)
        #expect(
            starts == [
                "2025-12-29T23:00:00Z", "2026-01-29T23:00:00Z", "2026-02-27T23:00:00Z", "2026-03-29T22:00:00Z",
                "2026-04-29T22:00:00Z", "2026-05-29T22:00:00Z",
            ])
        let leap = try Self.starts(.init(.month(day: 31)), "Asia/Kolkata", from: "2028-02-01T00:00:00Z", count: 3)
        #expect(leap == ["2028-01-30T18:30:00Z", "2028-02-28T18:30:00Z", "2028-03-30T18:30:00Z"])
    }

    @Test("A billing day after a change of the clock begins at its local midnight, not an hour off")
    func startAfterClockChange() throws {
        let starts = try Self.starts(.init(.month(day: 5)), "America/New_York", from: "2026-03-06T00:00:00Z", count: 2)
        #expect(starts == ["2026-03-05T05:00:00Z", "2026-04-05T04:00:00Z"])
    }

    @Test("A time of day that the clock skips begins where the gap ends; one that comes twice begins at the first")
    func missingAndDoubledTimes() throws {
        let rule = CycleRule(.day, at: 9000)  // 02:30
        let spring = try Self.starts(rule, "Europe/Berlin", from: "2026-03-29T00:00:00Z", count: 3)
        #expect(spring == ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"])
        let autumn = try Self.starts(rule, "Europe/Berlin", from: "2026-10-25T00:00:00Z", count: 3)
        #expect(autumn == ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"])
    }

    @Test("A yearly cycle from the 29th of February begins on the 28th in other years")
    func leapDay() throws {
        let rule = CycleRule(.year(month: 2, day: 29))
        let starts = try Self.starts(rule, "UTC", from: "2026-06-01T00:00:00Z", count: 3)
        #expect(starts == ["2026-02-28T00:00:00Z", "2027-02-28T00:00:00Z", "2028-02-29T00:00:00Z"])
    }

    @Test("A cycle of so many days counts from its date in both directions")
    func countedDays() throws {
        let rule = CycleRule(.days(30, from: date("2026-01-15")))
        let starts = try Self.starts(rule, "UTC", from: "2026-01-10T00:00:00Z", count: 3)
        #expect(starts == ["2025-12-16T00:00:00Z", "2026-01-15T00:00:00Z", "2026-02-14T00:00:00Z"])
    }

    @Test("A cycle that comes once is the same before, in and after it")
    func once() throws {
        let calendar = try ZoneDatabase.calendar("Europe/Berlin")
        let rule = CycleRule(.once(from: date("2026-03-01"), until: date("2026-04-01")), at: 3600)
        let cycle = moment("2026-03-01T00:00:00Z")..<moment("2026-03-31T23:00:00Z")
        for each in ["2020-01-01T00:00:00Z", "2026-03-15T00:00:00Z", "2030-01-01T00:00:00Z"] {
            #expect(rule.cycle(containing: moment(each), in: calendar) == cycle)
        }
    }

    @Test("Moments at the ends of time have a cycle too", arguments: longRules + shortRules)
    func endsOfTime(_ rule: CycleRule) {
        let calendar = LocalCalendar(zone: .utc, weekStart: .monday)
        for each in [Timestamp.earliest, .latest] { #expect(!rule.cycle(containing: each, in: calendar).isEmpty) }
    }

    private static func starts(
        _ rule: CycleRule, _ zone: String, from first: String, count: Int
    ) throws -> [String] {
        let calendar = try ZoneDatabase.calendar(zone)
        var cycle = rule.cycle(containing: moment(first), in: calendar)
        return (0..<count).map { _ in
            defer { cycle = rule.cycle(containing: cycle.upperBound, in: calendar) }
            return cycle.lowerBound.description
        }
    }
}
