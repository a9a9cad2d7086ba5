import Foundation
import TestSupport
import Testing

@testable import CivilTime

/// Moments of history that every copy of the zone database has.
@Suite struct LocalCalendarTests {
    private func hours(_ span: Range<Timestamp>) -> Double {
        Double(span.upperBound.secondsSinceEpoch - span.lowerBound.secondsSinceEpoch) / 3600
    }

    @Test("In São Paulo, where clocks went from midnight to one, the day begins at one and has 23 hours")
    func missingMidnight() throws {
        let calendar = try ZoneDatabase.calendar("America/Sao_Paulo")
        #expect(calendar.start(of: date("2018-11-04")) == moment("2018-11-04T03:00:00Z"))
        #expect(calendar.localTime(at: moment("2018-11-04T03:00:00Z")).secondsOfDay == 3600)
        #expect(hours(calendar.span(ofDay: date("2018-11-04"))) == 23)
        #expect(calendar.day(containing: moment("2018-11-04T02:59:59Z")) == date("2018-11-03"))
    }

    @Test("In São Paulo, where clocks went from midnight back to eleven, the date ends at the second midnight")
    func autumnBeforeMidnight() throws {
        // The clock never showed the new date before it went back, so there is only one first instant, after 25 hours.
        let calendar = try ZoneDatabase.calendar("America/Sao_Paulo")
        #expect(calendar.start(of: date("2018-02-18")) == moment("2018-02-18T03:00:00Z"))
        #expect(hours(calendar.span(ofDay: date("2018-02-17"))) == 25)
    }

    @Test("In Beirut, where summer time begins at midnight, the day begins at one")
    func beirut() throws {
        let calendar = try ZoneDatabase.calendar("Asia/Beirut")
        #expect(
            calendar.span(ofDay: date("2022-03-27")) == moment("2022-03-26T22:00:00Z")..<moment("2022-03-27T21:00:00Z"))
        #expect(calendar.localTime(at: calendar.start(of: date("2022-03-27"))).secondsOfDay == 3600)
    }

    @Test("In Havana, where clocks go from one back to midnight, the day begins at the first midnight and has 25 hours")
    func doubledMidnight() throws {
        let calendar = try ZoneDatabase.calendar("America/Havana")
        #expect(calendar.start(of: date("2021-11-07")) == moment("2021-11-07T04:00:00Z"))
        #expect(hours(calendar.span(ofDay: date("2021-11-07"))) == 25)
        #expect(calendar.localTime(at: moment("2021-11-07T05:00:00Z")).secondsOfDay == 0)
        #expect(calendar.day(containing: moment("2021-11-07T05:00:00Z")) == date("2021-11-07"))
    }

    @Test("In St John's, where clocks went from a minute past midnight back, the repeated hour belongs to the new date")
    func repeatedEvening() throws {
        let newfoundland = try ZoneDatabase.calendar("America/St_Johns")
        let again = moment("2005-10-30T02:31:00Z")
        #expect(newfoundland.start(of: date("2005-10-30")) == moment("2005-10-30T02:30:00Z"))
        #expect(newfoundland.localTime(at: again).date == date("2005-10-29"))
        #expect(newfoundland.day(containing: again) == date("2005-10-30"))
        #expect(hours(newfoundland.span(ofDay: date("2005-10-30"))) == 25)
        #expect(hours(newfoundland.span(ofDay: date("2005-10-29"))) == 24)
    }

    @Test("In Apia 2011-12-30 never was: it has no length and the days around it are neighbours")
    func skippedDay() throws {
        let calendar = try ZoneDatabase.calendar("Pacific/Apia", weekStart: .friday)
        let skipped = date("2011-12-30")
        #expect(calendar.span(ofDay: skipped).isEmpty)
        #expect(calendar.start(of: skipped) == calendar.start(of: date("2011-12-31")))
        #expect(calendar.start(of: date("2011-12-31")) == moment("2011-12-30T10:00:00Z"))
        #expect(calendar.nextDay(after: date("2011-12-29")) == date("2011-12-31"))
        #expect(calendar.previousDay(before: date("2011-12-31")) == date("2011-12-29"))
        #expect(calendar.previousDay(before: skipped) == date("2011-12-29"))
        #expect(calendar.nextDay(after: skipped) == date("2011-12-31"))
        #expect(calendar.nextDayStart(after: moment("2011-12-30T09:59:59Z")) == moment("2011-12-30T10:00:00Z"))
        #expect(calendar.day(containing: moment("2011-12-30T09:59:59Z")) == date("2011-12-29"))
        #expect(calendar.weekStart(containing: date("2011-12-31")) == skipped)
    }

    @Test("In Kwajalein, which crossed the date line both ways, one date has 47 hours and another none")
    func repeatedDay() throws {
        let calendar = try ZoneDatabase.calendar("Pacific/Kwajalein")
        let repeated = date("1969-09-30")
        #expect(calendar.span(ofDay: repeated) == moment("1969-09-29T13:00:00Z")..<moment("1969-10-01T12:00:00Z"))
        #expect(calendar.day(containing: moment("1969-09-30T12:59:59Z")) == repeated)
        #expect(calendar.day(containing: moment("1969-09-30T13:00:00Z")) == repeated)
        #expect(calendar.previousDay(before: date("1969-10-01")) == repeated)
        #expect(calendar.span(ofDay: date("1993-08-21")).isEmpty)
    }

    @Test("In Berlin the days on which clocks change have 23 and 25 hours")
    func shortAndLongDay() throws {
        let calendar = try ZoneDatabase.calendar("Europe/Berlin")
        #expect(hours(calendar.span(ofDay: date("2026-03-29"))) == 23)
        #expect(hours(calendar.span(ofDay: date("2026-10-25"))) == 25)
        #expect(hours(calendar.span(ofDay: date("2026-10-26"))) == 24)
        #expect(calendar.rfc3339(moment("2026-11-20T22:42:00Z")) == "2026-11-20T23:42:00+01:00")
    }

    @Test("On Lord Howe Island clocks change by half an hour")
    func halfHour() throws {
        let calendar = try ZoneDatabase.calendar("Australia/Lord_Howe")
        #expect(hours(calendar.span(ofDay: date("2023-04-02"))) == 24.5)
        #expect(hours(calendar.span(ofDay: date("2023-10-01"))) == 23.5)
        #expect(calendar.rfc3339(moment("2023-06-30T13:30:00Z")) == "2023-07-01T00:00:00+10:30")
    }

    @Test("At Troll clocks change by two hours")
    func twoHours() throws {
        let calendar = try ZoneDatabase.calendar("Antarctica/Troll")
        #expect(hours(calendar.span(ofDay: date("2023-03-26"))) == 22)
        #expect(hours(calendar.span(ofDay: date("2023-10-29"))) == 26)
    }

    @Test("In Dublin, whose winter time is the exception, days start right in summer and winter, also after the table")
    func negativeDaylightTime() throws {
        let rule = LocalCalendar(zone: try Zone(posix: "IST-1GMT0,M10.5.0,M3.5.0/1"), weekStart: .monday)
        for calendar in [try ZoneDatabase.calendar("Europe/Dublin"), rule] {
            for year in ["2023", "2093"] {
                #expect(calendar.start(of: date("\(year)-01-10")) == moment("\(year)-01-10T00:00:00Z"))
                #expect(calendar.start(of: date("\(year)-07-10")) == moment("\(year)-07-09T23:00:00Z"))
            }
            #expect(hours(calendar.span(ofDay: date("2023-03-26"))) == 23)
            #expect(hours(calendar.span(ofDay: date("2023-10-29"))) == 25)
        }
    }

    @Test("In Casablanca clocks went back for the month of fasting, in 2022 from 27 March to 8 May")
    func ramadan() throws {
        let calendar = try ZoneDatabase.calendar("Africa/Casablanca")
        #expect(hours(calendar.span(ofDay: date("2022-03-27"))) == 25)
        #expect(hours(calendar.span(ofDay: date("2022-05-08"))) == 23)
        #expect(calendar.start(of: date("2022-04-15")) == moment("2022-04-15T00:00:00Z"))
    }

    @Test("In Nuuk a rule's negative hour puts the change on the evening before")
    func negativeHour() throws {
        let calendar = LocalCalendar(zone: try Zone(posix: "<-02>2<-01>,M3.5.0/-1,M10.5.0/0"), weekStart: .monday)
        #expect(hours(calendar.span(ofDay: date("2026-03-28"))) == 23)
        #expect(hours(calendar.span(ofDay: date("2026-10-24"))) == 25)
    }

    @Test("Weeks begin on the chosen weekday and months on the 1st, which may be the date itself")
    func weeksAndMonths() {
        let calendar = LocalCalendar(zone: .utc, weekStart: .monday)
        #expect(calendar.weekStart(containing: date("2026-11-20")) == date("2026-11-16"))
        #expect(calendar.weekStart(containing: date("2026-11-16")) == date("2026-11-16"))
        #expect(date("2026-11-20").firstOfMonth == date("2026-11-01"))
        for weekStart in Weekday.allCases {
            let calendar = LocalCalendar(zone: .utc, weekStart: weekStart)
            for days in 0..<7 {
                let day = date("2026-11-20").adding(days: days)
                let start = calendar.weekStart(containing: day)
                #expect(start.weekday == weekStart)
                #expect(start <= day && day < start.adding(days: 7))
            }
        }
        #expect(calendar.weekStart(containing: .earliest) == .earliest)
    }

    @Test("A time of day that a gap swallows is where the gap ends, and one that comes twice is the first")
    func timeOfDay() throws {
        let calendar = try ZoneDatabase.calendar("Europe/Berlin")
        let halfPastTwo = 9000
        #expect(
            calendar.firstInstant(on: date("2026-03-29"), secondsOfDay: halfPastTwo) == moment("2026-03-29T01:00:00Z"))
        #expect(
            calendar.firstInstant(on: date("2026-10-25"), secondsOfDay: halfPastTwo) == moment("2026-10-25T00:30:00Z"))
        #expect(
            calendar.firstInstant(on: date("2026-10-25"), secondsOfDay: .max) == calendar.start(of: date("2026-10-26")))
        #expect(
            calendar.firstInstant(on: date("2026-10-25"), secondsOfDay: .min) == calendar.start(of: date("2026-10-25")))
    }

    @Test("Local RFC 3339 has a numeric offset, and falls back to UTC where the format has none")
    func rfc3339() throws {
        func text(_ offsetSeconds: Int, _ second: Int64) -> String {
            LocalCalendar(zone: Zone(fixedOffsetSeconds: offsetSeconds), weekStart: .monday)
                .rfc3339(Timestamp(secondsSinceEpoch: second))
        }
        #expect(text(0, 0) == "1970-01-01T00:00:00Z")
        #expect(text(-1800, 0) == "1969-12-31T23:30:00-00:30")
        #expect(text(20_700, 0) == "1970-01-01T05:45:00+05:45")
        #expect(text(1172, 0) == "1970-01-01T00:00:00Z")
        #expect(text(3600, .max) == Timestamp.latest.description)
        #expect(text(3600, .min) == Timestamp.earliest.description)
    }

    @Test("The first and the last date cover the rest of time, in every zone")
    func endsOfTime() throws {
        let rules = ["EST5EDT", "XXX-24YYY-24:59:59,0/-167,J365/167", "XXX24YYY-24,0,J365"]
        for zone in try [Zone.utc, Zone(fixedOffsetSeconds: .max), Zone(fixedOffsetSeconds: .min)]
            + rules.map(Zone.init)
        {
            let calendar = LocalCalendar(zone: zone, weekStart: .sunday)
            #expect(calendar.day(containing: .earliest) == .earliest)
            #expect(calendar.day(containing: .latest) == .latest)
            #expect(calendar.start(of: .earliest) == .earliest)
            #expect(calendar.span(ofDay: .earliest).lowerBound == .earliest)
            #expect(calendar.span(ofDay: .latest).upperBound == .latest)
            #expect(calendar.nextDayStart(after: .latest) == .latest)
            #expect(calendar.nextDayStart(after: .earliest) == calendar.start(of: CivilDate.earliest.adding(days: 1)))
            #expect(calendar.nextDay(after: .latest) == .latest)
            #expect(calendar.previousDay(before: .earliest) == .earliest)
            #expect(calendar.previousDay(before: CivilDate.earliest.adding(days: 1)) == .earliest)
            #expect(calendar.day(containing: calendar.start(of: .latest)) == .latest)
            #expect(calendar.day(containing: calendar.start(of: .latest).adding(seconds: -1)) < .latest)
        }
    }

    /// What is written is read again, with its clock, over all years and offsets.
    @Test func aLocalMomentSurvivesItsText() {
        var random = SeededGenerator(seed: testSeed)
        let others = (0..<3000).map { _ in
            Int64.random(in: .min ... .max, using: &random) >> Int64.random(in: 0...40, using: &random)
        }
        for second in [.min, .max] + others {
            let offset = Int.random(in: -1440...1440, using: &random) * 60
            let calendar = LocalCalendar(zone: Zone(fixedOffsetSeconds: offset), weekStart: .monday)
            let moment = calendar.local(Timestamp(secondsSinceEpoch: second))
            #expect(LocalMoment("\(moment)") == moment, "\(second) \(offset)")
            if second.magnitude < 1 << 40, abs(offset) < 86_400 {
                let (date, seconds) = calendar.localTime(at: Timestamp(secondsSinceEpoch: second))
                #expect(moment.date == date && moment.secondsOfDay == seconds)
            }
        }
        for text in [
            "", "T", "2026-11-20", "2026-11-20T09:00:00", "2026-13-20T09:00:00Z", "2026-11-31T09:00:00Z",
            "x-1-1T00:00:00Z",
        ] {
            #expect(LocalMoment(text) == nil, "\(text)")
        }
    }

    /// An hour comes twice: the later moment is later, though its clock shows less.
    @Test func localMomentsAreInTheOrderOfTime() throws {
        let first = try #require(LocalMoment("2026-10-25T02:50:00+02:00"))
        let second = try #require(LocalMoment("2026-10-25T02:10:00+01:00"))
        #expect(first < second && first.moment.adding(seconds: 1200) == second.moment)
    }

    // MARK: - Moments as people write them

    private static let newYork = try? LocalCalendar(zone: Zone(posix: "EST5EDT,M3.2.0,M11.1.0"), weekStart: .sunday)

    @Test(arguments: [
        ("09:00", "2026-11-20T14:00:00Z"), ("09:00:30", "2026-11-20T14:00:30Z"),
        ("09:00:30.25", "2026-11-20T14:00:30Z"),
        ("2026-07-01 09:00", "2026-07-01T13:00:00Z"), ("2026-07-01T09:00:01", "2026-07-01T13:00:01Z"),
        ("2026-07-01t09:00:00z", "2026-07-01T09:00:00Z"), ("2026-07-01T09:00:00+05:30", "2026-07-01T03:30:00Z"),
        ("2026-07-01T00:30:00-00:30", "2026-07-01T01:00:00Z"), ("2026-07-01 09:00:00.999Z", "2026-07-01T09:00:00Z"),
        // The clock was set from 02:00 to 03:00: what the wall never showed is when it was set.
        ("2026-03-08 02:30", "2026-03-08T07:00:00Z"),
    ])
    func aMomentIsReadByTheWallClock(text: String, expected: String) throws {
        let read = try #require(Self.newYork).moment(text, at: moment("2026-11-20T23:00:00Z"))
        #expect(read == moment(expected))
    }

    @Test(arguments: [
        "", " ", "T", "9:00", "09:60", "24:00", "T09:00", " 09:00", "09:00 ", "2026-11-20 T 09:00", "2026-11-20  09:00",
        "2026-11-31 09:00", "09:00Z", "09:00+01:00", "2026-11-20T09:00:00+24:00", "2026-11-20T09:00:00+1:00",
        "09:00:00.",
        "09:00.5", "2026-11-20", "2026-11-20T09:00:00 +01:00", "٠٩:٠٠",
    ])
    func whatIsNoMomentIsNone(text: String) throws {
        #expect(try #require(Self.newYork).moment(text, at: moment("2026-11-20T23:00:00Z")) == nil)
    }
}
