import Foundation
import Testing

@testable import CivilTime

@Suite struct CivilDateTests {
    @Test("Every date of the years -400 to 2400 follows from the one before, and its parts give it back")
    func everyDate() throws {
        var expected = try #require(CivilDate(year: -400, month: 1, day: 1))
        var weekday = expected.weekday
        for year in -400...2400 {
            let isLeap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
            for (index, length) in [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].enumerated() {
                let first = expected
                for day in 1...length {
                    let date = CivilDate(year: year, month: index + 1, day: day)
                    let parts = [expected.year, expected.month, expected.day]
                    guard date == expected, parts == [year, index + 1, day], expected.weekday == weekday,
                        expected.firstOfMonth == first
                    else {
                        Issue.record("\(expected) is wrong")
                        return
                    }
                    expected = expected.adding(days: 1)
                    weekday = Weekday(rawValue: weekday.rawValue % 7 + 1)!
                }
                #expect(expected.firstOfPreviousMonth == first)
                #expect(CivilDate(year: year, month: index + 1, day: length + 1) == nil)
            }
        }
        #expect(expected.description == "2401-01-01")
    }

    @Test("Known dates have the numbers, weekdays and names that the calendar gives them")
    func knownDates() {
        #expect(CivilDate(daysSinceEpoch: 0).description == "1970-01-01")
        #expect(CivilDate(daysSinceEpoch: 0).weekday == .thursday)
        #expect(date("2026-11-20").daysSinceEpoch == 20_777)
        #expect(date("2026-11-20").weekday == .friday)
        #expect(date("2026-01-31").firstOfPreviousMonth == date("2025-12-01"))
        #expect(CivilDate(year: -1, month: 2, day: 3)?.description == "-000001-02-03")
        #expect(CivilDate(year: 12_026, month: 2, day: 3)?.description == "+012026-02-03")
    }

    @Test("The ends of the calendar saturate and never trap")
    func ends() {
        #expect(CivilDate.earliest.description == "-5877641-06-23")
        #expect(CivilDate.latest.description == "+5881580-07-11")
        for end in [CivilDate.earliest, .latest] {
            #expect(CivilDate(year: end.year, month: end.month, day: end.day) == end)
            #expect(end.adding(days: .max) == .latest)
            #expect(end.adding(days: .min) == .earliest)
        }
        #expect(CivilDate.earliest.firstOfMonth == .earliest)
        #expect(CivilDate.earliest.firstOfPreviousMonth == .earliest)
        for extreme in [Int.min, Int.max, 0, -1, 32] {
            #expect(CivilDate(year: 2026, month: extreme, day: 1) == nil)
            #expect(CivilDate(year: 2026, month: 1, day: extreme) == nil)
        }
        #expect(CivilDate(year: .min, month: 1, day: 1) == nil)
        #expect(CivilDate(year: .max, month: 1, day: 1) == nil)
        #expect(CivilDate(year: 5_881_580, month: 7, day: 12) == nil)
    }

    @Test(
        "Only a real date in the form 2026-11-20 is read",
        arguments: [
            "", "2026-11-2", "2026-11-200", "2026-02-29", "2026-13-01", "2026-00-01", "2026-01-00", "20261120",
            "+026-11-20",
            "2026/11/20", "2026-11-20 ", " 2026-11-20", "2026-1１-20", "2026-+1-20", "2026-11-20\u{301}",
            "٢٠٢٦-11-20",
        ])
    func badText(text: String) {
        #expect(CivilDate(text) == nil)
    }

    @Test("A substring is read like a string, and a date's description gives it back")
    func text() {
        #expect(CivilDate("at 2026-11-20".dropFirst(3)) == date("2026-11-20"))
        #expect(CivilDate("0000-01-01")?.description == "0000-01-01")
        #expect(CivilDate("9999-12-31")?.description == "9999-12-31")
    }

    @Test("A weekday has its lower-case English name, and its number of ISO 8601")
    func weekdayNames() {
        let names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        #expect(Weekday.allCases.map(\.name) == names)
        #expect(Weekday.sunday.rawValue == 7)
    }
}

@Suite struct TimestampTests {
    @Test("A timestamp shows itself in UTC as RFC 3339")
    func descriptions() {
        #expect(Timestamp(secondsSinceEpoch: 1_795_218_120).description == "2026-11-20T23:42:00Z")
        #expect(Timestamp(secondsSinceEpoch: -1).description == "1969-12-31T23:59:59Z")
        #expect(moment("2026-11-20T23:42:01Z").secondsSinceEpoch == 1_795_218_121)
        #expect(Timestamp.earliest.description == "-292277022657-01-27T08:29:52Z")
        #expect(Timestamp.latest.description == "+292277026596-12-04T15:30:07Z")
    }

    @Test("Adding seconds saturates at both ends of time")
    func saturation() {
        #expect(Timestamp.latest.adding(seconds: 1) == .latest)
        #expect(Timestamp.earliest.adding(seconds: -1) == .earliest)
        #expect(Timestamp.earliest.adding(seconds: .max).secondsSinceEpoch == -1)
        #expect(Timestamp.latest.adding(seconds: .min).secondsSinceEpoch == -1)
        #expect(moment("2026-11-20T00:00:00Z").adding(seconds: -1) == moment("2026-11-19T23:59:59Z"))
    }
}
