import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// Random bookings under random calendars, one after the other.
@Suite("Another calendar for the same bytes")
struct LedgerRezoneTests {
    private struct Bookings {
        var random: SeededGenerator
        var sequence: Int64 = 0
        var calendar: LocalCalendar
        /// The time of the clock, which advances by hours.
        var second = testStart
        let keepsSeconds: Int64?

        /// Books what a program with this calendar would: readings, and a gap now and then.
        mutating func next() -> Commit {
            sequence += 1
            var commit = Commit.make(sequence, accounts: sequence == 1 ? [.make(1, "eth0"), .make(2, "eth1")] : [])
            for _ in 0..<20 {
                let end = second + Int64.random(in: 1...9000, using: &random)
                let account = Int64.random(in: 1...2, using: &random)
                let received = UInt64.random(in: 0...1_000_000, using: &random)
                if Int.random(in: 0..<8, using: &random) == 0 {
                    commit.bookGap(account, Delta(received: received, transmitted: 7), from: second, to: end, calendar)
                } else {
                    commit.book(within: account, received, at: end, calendar)
                }
                second = end
            }
            return commit
        }

        var horizon: Timestamp { keepsSeconds.map { Timestamp(secondsSinceEpoch: second - $0) } ?? .earliest }
    }

    /// Offsets of whole five minutes: there buckets tile days.
    private static let evenZones = [
        "UTC0", "<+14>-14", "<-12>12", "<+0545>-5:45", "<-0930>9:30", "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
    ]
    private static let oddZones = ["<+001932>-0:19:32", "<-0044>0:44:30", "<+0007>-0:07", "<+1234>-12:34:56"]

    @Test(arguments: 0..<24)
    func coveredDaysAreTheSumsOfTheirBucketsInAnyZoneAndNoByteIsLost(seed: UInt64) throws {
        try check(seed: seed, zones: Self.evenZones, keepsSeconds: seed % 2 == 0 ? nil : Int64(1 + seed % 5) * 86_400) {
            bytes, calendar in
            guard let first = bytes.firstCoveredDay else { return }
            #expect(bytes.days(from: first) == bytes.days(from: first, summedBy: calendar), "seed \(seed)")
        }
    }

    @Test(arguments: 0..<24)
    func noByteIsLostInAZoneWhoseDaysBeginWithinABucket(seed: UInt64) throws {
        try check(
            seed: seed, zones: Self.evenZones + Self.oddZones, keepsSeconds: seed % 2 == 0 ? nil : 2 * 86_400
        ) { _, _ in }
    }

    private func check(
        seed: UInt64, zones: [String], keepsSeconds: Int64?, _ holds: (StoredBytes, LocalCalendar) throws -> Void
    ) throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var random = SeededGenerator(seed: seed)
        func calendar() throws -> LocalCalendar {
            LocalCalendar(zone: try Zone(posix: zones.randomElement(using: &random) ?? ""), weekStart: .monday)
        }
        var bookings = Bookings(
            random: SeededGenerator(seed: ~seed), calendar: try calendar(), keepsSeconds: keepsSeconds)
        var lifetimes: [AccountID: Total] = [:]
        for _ in 0..<6 {
            for _ in 0..<Int.random(in: 1...16, using: &random) {
                let commit = bookings.next()
                for (key, total) in commit.bookings.days { lifetimes[key.account, default: .zero] += total }
                try file.apply(commit, calendar: bookings.calendar, horizon: bookings.horizon)
            }
            let before = try StoredBytes(directory)
            try holds(before, bookings.calendar)
            bookings.calendar = try calendar()
            try file.rezone(to: bookings.calendar)
            let bytes = try StoredBytes(directory)
            #expect(bytes.lifetimes == lifetimes, "seed \(seed)")
            #expect(bytes.buckets == before.buckets, "seed \(seed)")
            try holds(bytes, bookings.calendar)
            checkUncovered(before, bytes, bookings.calendar, "seed \(seed)")
        }
    }

    /// Days before the day of the first bucket, by both calendars, stay as they are.
    private func checkUncovered(
        _ before: StoredBytes, _ after: StoredBytes, _ calendar: LocalCalendar, _ comment: Comment
    ) {
        let former = before.dayStarts.filter { $0.value <= before.bucketsFrom }.keys.max()
        let boundary = min(former ?? .earliest, calendar.day(containing: before.bucketsFrom))
        #expect(after.days.filter { $0.key.day < boundary } == before.days.filter { $0.key.day < boundary }, comment)
    }

    @Test(arguments: [nil, 86_400, 5 * 86_400])
    func aZoneAndBackGivesTheSameDays(keepsSeconds: Int64?) throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        let home = LocalCalendar(zone: try Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3"), weekStart: .monday)
        var bookings = Bookings(random: SeededGenerator(seed: 5), calendar: home, keepsSeconds: keepsSeconds)
        for _ in 0..<50 { try file.apply(bookings.next(), calendar: home, horizon: bookings.horizon) }
        let days = try StoredBytes(directory).days
        for zone in Self.evenZones {
            try file.rezone(to: LocalCalendar(zone: try Zone(posix: zone), weekStart: .monday))
            try file.rezone(to: LocalCalendar(zone: Zone(fixedOffsetSeconds: -12 * 3600), weekStart: .monday))
            try file.rezone(to: home)
            #expect(try StoredBytes(directory).days == days, "\(zone)")
        }
    }

    @Test func daysWhoseBucketsWereNeverMadeStay() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var commit = Commit.make(1, accounts: [.make(1, "eth0")])
        commit.bookGap(
            1, Delta(received: 1_000_000, transmitted: 0), from: testStart - 100 * 86_400, to: testStart, .utc)
        try file.apply(commit, calendar: .utc, horizon: Timestamp(secondsSinceEpoch: testStart - 62 * 86_400))
        let before = try StoredBytes(directory)
        try file.rezone(to: LocalCalendar(zone: Zone(fixedOffsetSeconds: -3600), weekStart: .monday))
        let after = try StoredBytes(directory)
        let early = LocalCalendar.utc.day(containing: Timestamp(secondsSinceEpoch: testStart - 64 * 86_400))
        #expect(after.days.filter { $0.key.day < early } == before.days.filter { $0.key.day < early })
        #expect(after.days != before.days)
        #expect(after.lifetimes == before.lifetimes)
    }

    @Test func theSameCalendarChangesNothing() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var bookings = Bookings(random: SeededGenerator(seed: 6), calendar: .utc, keepsSeconds: 86_400)
        for _ in 0..<20 { try file.apply(bookings.next(), calendar: .utc, horizon: bookings.horizon) }
        let contents = try FileContents(directory)
        try file.rezone(to: .utc)
        #expect(try FileContents(directory) == contents)
    }
}

extension Commit {
    /// Books bytes to the bucket and to the day that contain this second. The bucket may start on the day before.
    fileprivate mutating func book(
        within account: Int64, _ received: UInt64, at seconds: Int64, _ calendar: LocalCalendar
    ) {
        let id = AccountID(rawValue: account)
        let total = Total(received: received, transmitted: 1)
        let moment = Timestamp(secondsSinceEpoch: seconds)
        bookings.buckets[.init(account: id, bucket: Bucket(containing: moment)), default: .zero] += total
        bookings.days[.init(account: id, day: calendar.day(containing: moment)), default: .zero] += total
    }
}
