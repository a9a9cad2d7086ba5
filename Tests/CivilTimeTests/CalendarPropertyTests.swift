import Foundation
import TestSupport
import Testing

@testable import CivilTime

/// Days tile time, whatever the zone does.
@Suite struct CalendarPropertyTests {
    static let oddRules = [
        "EST5EDT", "<+0330>-3:30", "XXX24YYY-24,J100/0,J200/0", "XXX-24YYY24,J100/0,J200/0",
        "XXX-12YYY12,0/12,J365/12", "EST5EDT,0/0,J365/25", "EST5EDT,J365/25,0/0", "EST5EDT,J365/24,0/1",
        "AAA0BBB,J100/2,J100/3",
        "AAA0BBB,M1.1.0/-167,M12.5.6/167", "AAA0BBB,M12.5.6/167,M1.1.0/-167", "AAA0BBB-13,M3.2.0/0:00:01,J73/23:59:59",
        "AAA-0:01BBB-0:00:30,365,0", "AAA3BBB,J60,59", "AAA11:59:59BBB-11:59:59,M2.5.0/24,M2.5.1/-24",
        "LHS-10:30LHD-11,M10.1.0,M4.1.0", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "IST-1GMT0,M10.5.0,M3.5.0/1",
    ]

    @Test("Every instant lies in exactly one day, and a day's start and the day of an instant are inverse")
    func daysTileTime() throws {
        print("seed \(testSeed)")
        var generator = SeededGenerator(seed: testSeed)
        var zones = try Self.oddRules.map { (name: $0, zone: try Zone(posix: $0), rounds: 400) }
        for name in tried(try ZoneDatabase.distinctNames()) {
            zones.append((name: name, zone: try Zone(tzif: try ZoneDatabase.bytes(name)), rounds: 8))
        }
        for (name, zone, rounds) in zones {
            let calendar = LocalCalendar(zone: zone, weekStart: .monday)
            for _ in 0..<rounds {
                let moment = Self.randomMoment(in: zone, using: &generator)
                let problem = Self.problem(of: calendar, at: moment)
                #expect(problem == nil, "\(name) at \(moment.secondsSinceEpoch) (\(moment)), seed \(testSeed)")
            }
        }
    }

    /// Near a change of offset, somewhere in two centuries, or anywhere at all.
    private static func randomMoment(in zone: Zone, using generator: inout SeededGenerator) -> Timestamp {
        let centuries = Int64.random(in: -2_208_988_800...4_102_444_800, using: &generator)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0: return Timestamp(secondsSinceEpoch: .random(in: .min ... .max, using: &generator))
        case 1...3: return Timestamp(secondsSinceEpoch: centuries)
        default:
            let change = zone.segment(containing: centuries).start
            let nearby = Int64.random(in: -200_000...200_000, using: &generator)
            return Timestamp(secondsSinceEpoch: change).adding(seconds: nearby)
        }
    }

    /// The calendar's promise that is broken around a moment; nil if none is.
    private static func problem(of calendar: LocalCalendar, at moment: Timestamp) -> String? {
        let day = calendar.day(containing: moment)
        let span = calendar.span(ofDay: day)
        guard span.contains(moment) || moment == .latest else { return "\(day) doesn't contain it" }
        guard calendar.day(containing: span.lowerBound) == day else { return "\(day) doesn't start in itself" }
        guard calendar.nextDayStart(after: moment) == span.upperBound else { return "the next day starts elsewhere" }
        guard calendar.localTime(at: moment).date <= day else { return "the clock shows a later date than \(day)" }
        guard day > .earliest, day < .latest else { return nil }
        let (previous, next) = (calendar.previousDay(before: day), calendar.nextDay(after: day))
        guard previous < day, day < next else { return "\(previous), \(day), \(next) don't ascend" }
        guard calendar.span(ofDay: previous).upperBound == span.lowerBound, calendar.start(of: next) == span.upperBound
        else { return "\(previous), \(day), \(next) leave a gap or overlap" }
        guard calendar.nextDay(after: previous) == day, calendar.previousDay(before: next) == day else {
            return "there and back isn't \(day)"
        }
        for skipped in stride(from: day.daysSinceEpoch + 1, to: next.daysSinceEpoch, by: 1) {
            guard calendar.span(ofDay: CivilDate(daysSinceEpoch: skipped)).isEmpty else {
                return "\(skipped) isn't empty"
            }
        }
        guard calendar.localTime(at: span.lowerBound).date == day else { return "\(day) starts on another date" }
        // The definition itself, by brute force: the clock didn't show the date earlier.
        for earlier in stride(from: Int64(-1), to: -200_000, by: -1799) {
            let shown = calendar.localTime(at: span.lowerBound.adding(seconds: earlier)).date
            guard shown < day else { return "the clock showed \(shown) before it started" }
        }
        return nil
    }

    @Test("Segments tile time: each second's segment contains it, and has the offset of that second throughout")
    func segmentsTileTime() throws {
        print("seed \(testSeed)")
        var generator = SeededGenerator(seed: testSeed, stream: 1)
        for rule in Self.oddRules {
            let zone = try Zone(posix: rule)
            for _ in 0..<300 {
                let second = Self.randomMoment(in: zone, using: &generator).secondsSinceEpoch
                let segment = zone.segment(containing: second)
                let isLast = segment.end == .max
                try #require(segment.start <= second && (second < segment.end || isLast), "\(rule) \(second)")
                let last = isLast ? Int64.max : segment.end - 1
                for inside in [segment.start, last, .random(in: segment.start...last, using: &generator)] {
                    try #require(zone.segment(containing: inside) == segment, "\(rule) \(second) \(inside)")
                }
            }
        }
    }

    @Test("A rule's segments match a walk through the sorted changes of many years")
    func segmentsMatchSortedChanges() throws {
        print("seed \(testSeed)")
        var generator = SeededGenerator(seed: testSeed, stream: 2)
        let rules = [
            "EST5EDT", "IST-1GMT0,M10.5.0,M3.5.0/1", "LHS-10:30LHD-11,M10.1.0,M4.1.0", "AAA3BBB,J59/23,300/-5",
            "AAA-12BBB-13:30,M12.5.0/100,M1.3.0/-50",
        ]
        for rule in rules {
            let parsed = try Zone(posix: rule)
            guard case .rule(let yearly) = try RuleParser.tail(of: Array(rule.utf8)) else { continue }
            let changes = (1890...2110).flatMap { (year: Int64) in
                [
                    (yearly.start.localSeconds(in: year) - yearly.standardOffset, yearly.daylightOffset),
                    (yearly.end.localSeconds(in: year) - yearly.daylightOffset, yearly.standardOffset),
                ]
            }.sorted { $0.0 < $1.0 }
            for _ in 0..<300 {
                let second = Int64.random(in: -2_208_988_800...4_102_444_800, using: &generator)
                let expected = changes.last { $0.0 <= second }!.1
                #expect(
                    parsed.offsetSeconds(at: Timestamp(secondsSinceEpoch: second)) == Int(expected), "\(rule) \(second)"
                )
            }
        }
    }
}
