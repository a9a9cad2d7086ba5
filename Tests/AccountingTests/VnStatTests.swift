import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime

@Suite("Tables of vnStat")
struct VnStatTests {
    private static let berlin = LocalCalendar(
        zone: (try? Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3")) ?? .utc, weekStart: .monday)

    private static func moment(_ calendar: LocalCalendar, _ date: String, _ hours: Int64 = 0) throws -> Timestamp {
        calendar.start(of: try #require(CivilDate(date[...]))).adding(seconds: hours * 3600)
    }

    private static func record(_ date: String, _ bytes: UInt64) -> VnStatInterface.Record {
        (date, Total(received: bytes, transmitted: bytes * 2))
    }

    /// Traffic by the five minutes over years; the tables hold it for as long as they are kept.
    @Test(arguments: 0..<12)
    func whatIsKeptOfItInAnyTableComesToTheTotal(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let calendar = Self.berlin
        let created = try Self.moment(calendar, "2023-05-17", 9).adding(
            seconds: Int64.random(in: 0..<300, using: &random))
        let until = try Self.moment(calendar, "2026-11-01", Int64.random(in: 0...24, using: &random))
        var interface = VnStatInterface(
            name: Array("eth0".utf8), created: text(created, calendar), updated: text(until, calendar))
        var tables: [String: [String: UInt64]] = [:]
        var total: UInt64 = 0
        /// Each table forgets what is older.
        let keeps = (
            fives: until.adding(seconds: -Int64.random(in: 0...48, using: &random) * 3600),
            hours: until.adding(seconds: -Int64.random(in: 0...400, using: &random) * 3600),
            days: until.adding(seconds: -Int64.random(in: 0...400, using: &random) * 86400),
            months: until.adding(seconds: -Int64.random(in: 0...1300, using: &random) * 86400)
        )
        var now = created
        while now < until {
            let bytes = UInt64.random(in: 0...1000, using: &random)
            total += bytes
            let wall = text(now, calendar)
            let five = text(now.adding(seconds: -(now.secondsSinceEpoch % 300)), calendar).prefix(16) + ":00"
            tables["five", default: [:]][String(five), default: 0] += bytes
            tables["hour", default: [:]][wall.prefix(13) + ":00:00", default: 0] += bytes
            tables["day", default: [:]][String(wall.prefix(10)), default: 0] += bytes
            tables["month", default: [:]][wall.prefix(7) + "-01", default: 0] += bytes
            tables["year", default: [:]][wall.prefix(4) + "-01-01", default: 0] += bytes
            now = now.adding(seconds: Int64.random(in: 60...40_000, using: &random))
        }
        func records(_ table: String, since: Timestamp) -> [VnStatInterface.Record] {
            let first = text(since, calendar)
            return (tables[table] ?? [:]).filter { $0.key >= first }.map { Self.record($0.key, $0.value) }
        }
        interface.rows[.fiveminute] = records("five", since: keeps.fives)
        interface.rows[.hour] = records("hour", since: keeps.hours)
        interface.rows[.day] = records("day", since: keeps.days)
        interface.rows[.month] = records("month", since: keeps.months)
        interface.rows[.year] = records("year", since: seed % 2 == 0 ? .earliest : until)
        interface.total = Total(received: total, transmitted: total * 2)
        let (slots, problems) = interface.slots(by: calendar, at: until)
        #expect(problems == [], "seed \(seed)")
        #expect(slots.reduce(into: Total.zero) { $0 += $1.total } == interface.total, "seed \(seed)")
        #expect(
            slots.allSatisfy {
                $0.span.lowerBound >= calendar.start(of: calendar.day(containing: created))
                    && $0.span.upperBound <= until
            }, "seed \(seed)")
        // What a table tells of a day is told of that day.
        var days: [CivilDate: UInt64] = [:]
        for slot in slots { days[calendar.day(containing: slot.span.lowerBound), default: 0] += slot.total.received }
        let kept = interface.rows[.day] ?? []
        let firstKept = kept.map { $0.date }.min() ?? "9"
        for row in kept where row.date > firstKept {
            #expect(
                days[try #require(CivilDate(row.date[...]))] ?? 0 == row.total.received, "seed \(seed): \(row.date)")
        }
    }

    private func text(_ moment: Timestamp, _ calendar: LocalCalendar) -> String {
        String(calendar.rfc3339(moment).prefix(19)).replacing("T", with: " ")
    }

    @Test func anHourThatComesTwiceIsTwoHoursLong() throws {
        let calendar = Self.berlin
        var interface = VnStatInterface(
            name: Array("eth0".utf8), created: "2026-10-20 10:00:00", updated: "2026-10-25 02:40:00")
        interface.rows[.hour] = [
            Self.record("2026-10-25 01:00:00", 1), Self.record("2026-10-25 02:00:00", 20),
        ]
        let slots = interface.slots(by: calendar, at: .latest).slots
        let midnight = try Self.moment(calendar, "2026-10-25")
        #expect(
            slots.map(\.span) == [
                midnight.adding(seconds: 3600)..<midnight.adding(seconds: 7200),
                midnight.adding(seconds: 7200)..<midnight.adding(seconds: 7200 + 3600 + 2400),
            ])
    }

    @Test func aLeftOutHourOfADayThatIsToldCostsNothing() throws {
        var interface = VnStatInterface(
            name: Array("eth0".utf8), created: "2026-10-01 00:00:00", updated: "2026-11-20 10:00:00")
        interface.rows[.day] = [Self.record("2026-11-20", 100)]
        interface.rows[.month] = [Self.record("2026-11-01", 5000)]
        interface.total = Total(received: 9000, transmitted: 18_000)
        interface.leaveOut(.hour, "2026-11-20 09:00:00", because: "REAL")
        let (slots, problems) = interface.slots(by: Self.berlin, at: .latest)
        #expect(slots.reduce(into: Total.zero) { $0 += $1.total } == interface.total)
        #expect(problems == ["hour 2026-11-20 09:00:00: REAL"])
    }

    @Test func whatOnlyTheTotalTellsIsFromBeforeAllElse() throws {
        let calendar = Self.berlin
        var interface = VnStatInterface(
            name: Array("eth0".utf8), created: "2025-12-31 12:00:00", updated: "2026-11-20 10:00:00")
        interface.rows[.hour] = [Self.record("2026-11-20 09:00:00", 1000)]
        interface.total = Total(received: 1_000_000, transmitted: 2_000_000)
        let slots = interface.slots(by: calendar, at: .latest).slots
        let hour = try Self.moment(calendar, "2026-11-20", 9)
        #expect(slots.map(\.span.upperBound).max() == hour.adding(seconds: 3600))
        let rest = try #require(slots.first { $0.received == 999_000 })
        #expect(rest.span == (try Self.moment(calendar, "2025-12-31"))..<hour)
    }

    /// With `MonthRotate 15`, months are told by their first day all the same.
    @Test(arguments: [1, 15, 28], [9, 40, 400])
    func monthsMayBeginOnAnotherDay(rotation: Int, daysKept: Int) throws {
        let calendar = Self.berlin
        let (created, updated) = ("2025-01-20 10:00:00", "2026-11-20 12:00:00")
        var interface = VnStatInterface(name: [], created: created, updated: updated)
        var (day, sum) = (try #require(CivilDate("2025-01-20")), UInt64(0))
        let last = try #require(CivilDate("2026-11-20"))
        var (months, years): ([String: UInt64], [String: UInt64]) = ([:], [:])
        var truth: [CivilDate: UInt64] = [:]
        while day <= last {
            let bytes = UInt64(1000 + day.daysSinceEpoch % 7)
            sum += bytes
            let period = day.adding(days: 1 - rotation).firstOfMonth
            months["\(period)", default: 0] += bytes
            years["\(day.firstOfYear)", default: 0] += bytes
            truth[period.adding(days: rotation - 1), default: 0] += bytes
            if day > last.adding(days: -daysKept) {
                interface.rows[.day, default: []].append(Self.record("\(day)", bytes))
            }
            day = day.adding(days: 1)
        }
        interface.rows[.month] = months.map { Self.record($0.key, $0.value) }
        interface.rows[.year] = years.map { Self.record($0.key, $0.value) }
        interface.total = Total(received: sum, transmitted: sum * 2)
        let (slots, problems) = interface.slots(by: calendar, at: .latest)
        #expect(problems.isEmpty == (rotation == 1 || daysKept > 31))
        #expect(slots.reduce(into: Total.zero) { $0 += $1.total } == interface.total)
        if daysKept < 31 { return }
        var told: [CivilDate: UInt64] = [:]
        for slot in slots {
            let start = calendar.day(containing: slot.span.lowerBound).adding(days: 1 - rotation).firstOfMonth
            told[start.adding(days: rotation - 1), default: 0] += slot.received
        }
        #expect(told == truth)
    }

    @Test func whatIsPoisonedIsToldAndNothingElseIsLost() throws {
        let calendar = Self.berlin
        var interface = VnStatInterface(
            name: Array("eth0".utf8), created: "2026-10-30 10:00:00", updated: "2026-11-03 12:00:00")
        interface.rows[.day] = [
            Self.record("2026-10-30", 10), Self.record("2026-11-01", 30), Self.record("2026-11-03", 50),
        ]
        interface.leaveOut(.day, "2026-10-31", because: "REAL")
        interface.rows[.month] = [Self.record("2026-10-01", 1_000_000), Self.record("2026-11-01", 80)]
        interface.leaveOut(.month, "2026-13-01", because: "no such month")
        let (slots, problems) = interface.slots(by: calendar, at: try Self.moment(calendar, "2026-11-03", 12))
        #expect(slots.map(\.total.received).sorted() == [10, 30, 50])
        #expect(problems.count == 3 && problems.contains { $0.hasPrefix("month 2026-10-01: holds what is left out") })
    }

    /// As a counter leaves it that was reset in July: month, year and total have overflowed.
    @Test func poisonOfLongPeriodsSpoilsNoShorterOne() throws {
        var interface = VnStatInterface(name: [], created: "2024-03-15", updated: "2025-09-03 12:00:00")
        interface.rows[.month] = [
            Self.record("2024-03-01", 100), Self.record("2025-01-01", 200), Self.record("2025-08-01", 300),
        ]
        interface.leaveOut(.month, "2025-07-01", because: "REAL")
        interface.rows[.year] = [Self.record("2024-01-01", 150)]
        interface.leaveOut(.year, "2025-01-01", because: "REAL")
        interface.leaveOut(.total, "2024-03-15", because: "REAL")
        let (slots, problems) = interface.slots(by: .utc, at: try Self.moment(.utc, "2025-09-03", 12))
        #expect(slots.reduce(into: Total.zero) { $0 += $1.total }.received == 650)
        #expect(problems.count == 3)
    }

    @Test(arguments: [
        "2026-02-30", "2026-11-03 24:00:00", "2026-11-03 1:2", "", "now", "2026-11-04", "-1", "1970-01-01",
    ])
    func timesThatThereAreNotAreLeftOutAndTold(date: String) throws {
        var interface = VnStatInterface(name: [], created: "2026-11-01", updated: "2026-11-03 12:00:00")
        interface.rows[.hour] = [Self.record(date, 10), Self.record("2026-11-03 02:00:00", 5)]
        let (slots, problems) = interface.slots(by: .utc, at: try Self.moment(.utc, "2026-11-03", 13))
        #expect(slots.map(\.total.received) == [5] && problems.count == 1)
    }
}
