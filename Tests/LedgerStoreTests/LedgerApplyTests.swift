import SQLite
import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

@Suite("What a commit does to the file")
struct LedgerApplyTests {
    private let directory: TemporaryDirectory
    private let file: LedgerFile

    init() throws {
        directory = try TemporaryDirectory()
        file = try LedgerFile(path: directory.ledger)
    }

    private func total(_ received: UInt64, _ transmitted: UInt64 = 0) -> Total {
        Total(received: received, transmitted: transmitted)
    }

    // MARK: - Loading

    @Test func onlyAccountsThatAreNeededAreLoaded() throws {
        var commit = Commit.make(
            1,
            accounts: [
                .make(1, .uplink), .make(2, "old0"), .make(3, "new0"), .make(4, "old1"), .make(5, .collapsed("veth*")),
                .make(6, "empty0"), .make(7, .collapsed("tap*")), .make(8, "last0"),
            ], devices: [.make(1, "empty0", account: 6)])
        for account: Int64 in [2, 4, 5, 8] { commit.book(account, 5, 6, at: testStart - 90 * 86_400, .utc) }
        for account: Int64 in [3, 7] { commit.book(account, 7, 8, at: testStart, .utc) }
        try file.apply(commit)
        let from = LocalCalendar.utc.day(containing: Timestamp(secondsSinceEpoch: testStart))

        let stored = try file.load(daysFrom: from, names: [DeviceName("old1"), DeviceName("unknown0")])

        #expect(Set(stored.accounts.map(\.record.id.rawValue)) == [1, 3, 4, 6, 7])
        #expect(stored.lastAccountID == AccountID(rawValue: 8), "numbers of accounts that aren't loaded are taken, too")
        #expect(stored.account(4)?.lifetime == total(5, 6))
    }

    @Test func daysBeforeTheFirstAreInTheLifetimesOnly() throws {
        var commit = Commit.make(1, accounts: [.make(1, "eth0")])
        for day: Int64 in 0..<10 { commit.book(1, 1 << UInt64(day), 1, at: testStart + day * 86_400, .utc) }
        try file.apply(commit)
        let first = LocalCalendar.utc.day(containing: Timestamp(secondsSinceEpoch: testStart))
        for count in 0...10 {
            let stored = try file.load(daysFrom: first.adding(days: count), names: [DeviceName("eth0")])
            let left: UInt64 = 1024 - (1 << UInt64(count))
            #expect(stored.days.map(\.total.received).reduce(0, +) == left)
            #expect(stored.days.count == 10 - count)
            #expect(stored.account(1)?.lifetime == total(1023, 10))
            #expect(stored.daysFrom == first.adding(days: count))
        }
    }

    @Test func recordsComeBackToTheBit() throws {
        var account = AccountRecord.make(
            3, .collapsed("ve\"th'*"), events: AccountEvents(resets: 1, gapBytes: 2, suspectBytes: saturationLimit))
        account.counterOffset = Counters(received: 1 << 63, transmitted: .max)
        account.offsetBoot = 12
        var device = DeviceRecord.make(.max, "eth0", account: 3)
        device.counters = Counters(received: .max, transmitted: 1 << 63)
        var commit = Commit.make(1, accounts: [account], devices: [device, .make(4, "away0", account: nil)])
        commit.header.epoch.networkNamespace = .max
        commit.header.isClean = true
        commit.header.lastReading = Moment(wallNanoseconds: .min, sinceBoot: BootTime(nanoseconds: .max))
        #expect(!file.isInUse)
        try file.apply(commit)
        #expect(file.isInUse)
        let stored = try file.loadAll()
        #expect(stored.header == commit.header)
        #expect(Set(stored.devices) == Set(commit.devices))
        // A class without bytes is loaded only because of its device.
        #expect(stored.accounts.map(\.record) == [account])
    }

    @Test func namesNeedNotBeUTF8() throws {
        let names: [[UInt8]] = [
            [0x65, 0xFF], [0xC3, 0x28], [0xED, 0xA0, 0x80], Array("e\u{301}\"".utf8), Array("caf\u{E9}".utf8), [0x27],
            Array("123".utf8), Array("1e3".utf8), Array("0x10".utf8),
        ]
        let records = names.enumerated().map { number, bytes in
            AccountRecord.make(Int64(number + 1), .device(DeviceName(bytes: bytes)))
        }
        let devices = records.enumerated().map { number, record in
            var device = DeviceRecord.make(UInt32(number + 1), "", account: record.id.rawValue)
            device.name = DeviceName(bytes: names[number])
            return device
        }
        try file.apply(.make(1, accounts: records, devices: devices))
        let stored = try file.load(daysFrom: .latest, names: Set(names.map { DeviceName(bytes: $0) }))
        #expect(Set(stored.accounts.map(\.record)) == Set(records))
        #expect(Set(stored.devices) == Set(devices))
        let copy = try directory.copy()
        let connection = try Connection(path: copy.ledger)
        #expect(try connection.value("SELECT count(*) FROM account WHERE typeof(name) = 'blob'") == 3)
        #expect(try connection.value("SELECT count(*) FROM device WHERE typeof(name) = 'text'") == 6)
    }

    // MARK: - Accounts

    @Test func aFoldAddsTheBytesOfOneAccountToAnother() throws {
        var commit = Commit.make(1, accounts: [.make(1, "eth0"), .make(2, "lan0"), .make(3, "lan1")])
        for account: UInt64 in 1...3 {
            commit.book(Int64(account), account * 10, account, at: testStart, .utc)
            commit.book(Int64(account), account * 100, 0, at: testStart + Int64(account) * 86_400, .utc)
        }
        try file.apply(commit)
        try file.apply(.make(2, accounts: [.make(3, "eth0")], folds: [(1, 2), (2, 3)]))
        let stored = try file.loadAll()
        #expect(stored.accounts.map(\.record.id.rawValue) == [3])
        #expect(stored.account(3)?.lifetime == total(660, 6))
        #expect(stored.days.map(\.total.received).sorted() == [60, 100, 200, 300])
        let bytes = try StoredBytes(directory)
        #expect(bytes.bucketSums == bytes.lifetimes && bytes.buckets.count == 4)
    }

    @Test func anAccountFoundUnderItsNameBecomesPartOfTheNewOne() throws {
        var first = Commit.make(1, accounts: [.make(7, "eth0", events: AccountEvents(resets: 2, gapBytes: 3))])
        first.book(7, 10, 1, at: testStart, .utc)
        first.book(7, 20, 2, at: testStart + 86_400, .utc)
        try file.apply(first)
        var second = Commit.make(2, accounts: [.make(8, "eth0", events: AccountEvents(resets: 1, suspectBytes: 5))])
        second.book(8, 30, 3, at: testStart + 86_400, .utc)
        let adopted = try file.apply(second)

        #expect(adopted.count == 1)
        #expect(adopted.first?.account == AccountID(rawValue: 8))
        #expect(adopted.first?.events == AccountEvents(resets: 2, gapBytes: 3))
        let days = adopted.first?.days.map(\.total).sorted { $0.received < $1.received }
        #expect(days == [total(10, 1), total(20, 2)], "what was there before this commit")
        let stored = try file.loadAll()
        #expect(stored.accounts.map(\.lifetime) == [total(60, 6)])
        #expect(stored.account(8)?.record.events == AccountEvents(resets: 3, gapBytes: 3, suspectBytes: 5))
    }

    @Test func aStartThatIsTakenBackIsWaitedForAgain() throws {
        let quota = Quota(
            name: "q", count: .uplink, direction: .total, limitBytes: 1000, cycle: Cycle(.init(.day)),
            run: ["/bin/true"])
        func waiting() throws -> Int {
            let plans = Plans(quotas: [quota], rateLimits: [], committedRates: [])
            let now = Timestamp(secondsSinceEpoch: testStart)
            return try file.planBook(plans, calendars: [.local: .utc], at: now).waitingEvents.count
        }
        let start = Timestamp(secondsSinceEpoch: testStart)
        var event = QuotaEvent(
            quota: "q", cycle: start..<Timestamp(secondsSinceEpoch: testStart + 86_400), kind: .breach, share: .whole,
            at: start, usedBytes: 1000, limitBytes: 1000, awaitsProgram: true)
        var commit = Commit.make(1, accounts: [])
        commit.bookings.events = [event]
        try file.apply(commit)
        #expect(try waiting() == 1)
        for (sequence, awaits) in [(2, false), (3, true)] {
            event.awaitsProgram = awaits
            commit = Commit.make(Int64(sequence), accounts: [])
            commit.bookings.starts = [event]
            try file.apply(commit)
            #expect(try waiting() == (awaits ? 1 : 0))
        }
    }

    /// The table checks the kinds. One that it doesn't know would keep everything from being stored.
    @Test func everyKindOfEventIsStored() throws {
        let start = Timestamp(secondsSinceEpoch: testStart)
        var commit = Commit.make(1, accounts: [])
        commit.bookings.events = QuotaEvent.Kind.allCases.map {
            QuotaEvent(
                quota: "q", cycle: start..<start.adding(seconds: 86_400), kind: $0, share: .whole, at: start,
                usedBytes: 1000, limitBytes: 1000)
        }
        try file.apply(commit)
        let quota = Quota(
            name: "q", count: .uplink, direction: .total, limitBytes: 1000, cycle: Cycle(CycleRule(.day)))
        let book = try file.planBook(
            Plans(quotas: [quota], rateLimits: [], committedRates: []), calendars: [.local: .utc], at: start)
        #expect(Set(book.records.events.map(\.kind)) == Set(QuotaEvent.Kind.allCases))
    }

    @Test func accountsMaySwapTheirNamesInOneCommit() throws {
        var first = Commit.make(1, accounts: [.make(1, "eth0"), .make(2, "eth1"), .make(3, "eth2")])
        for account: UInt64 in 1...3 { first.book(Int64(account), account, 0, at: testStart, .utc) }
        try file.apply(first)
        let adopted = try file.apply(.make(2, accounts: [.make(1, "eth1"), .make(2, "eth2"), .make(3, "eth0")]))
        #expect(adopted.isEmpty)
        let stored = try file.loadAll()
        for (account, name) in [(1, "eth1"), (2, "eth2"), (3, "eth0")] as [(Int64, String)] {
            #expect(stored.account(account)?.record.key == .device(DeviceName(name)))
            #expect(stored.account(account)?.lifetime == total(UInt64(account)))
        }
    }

    @Test func aDeviceAndAClassMayHaveTheSameName() throws {
        try file.apply(.make(1, accounts: [.make(1, "veth*"), .make(2, .collapsed("veth*")), .make(3, .uplink)]))
        let stored = try file.load(daysFrom: .latest, names: [DeviceName("veth*")])
        #expect(stored.lastAccountID == AccountID(rawValue: 3))
        #expect(Set(stored.accounts.map(\.record.id.rawValue)) == [1, 3])
    }

    // MARK: - The largest numbers

    @Test func sumsStopAtTheLargestIntegerAndStayIntegers() throws {
        let large = [saturationLimit, saturationLimit - 1, 1, 0, saturationLimit / 2 + 1]
        var sequence: Int64 = 0
        var expected = Total.zero
        for amount in large + large.reversed() {
            sequence += 1
            var commit = Commit.make(
                sequence, accounts: [.make(1, "eth0", events: AccountEvents(resets: .max, gapBytes: amount))])
            commit.book(1, amount, saturationLimit - amount, at: testStart, .utc)
            expected += total(amount, saturationLimit - amount)
            try file.apply(commit)
            #expect(try file.loadAll().account(1)?.lifetime == expected)
        }
        try file.apply(.make(sequence + 1, accounts: [.make(2, "eth0", events: AccountEvents(gapBytes: .max))]))
        try file.rezone(to: LocalCalendar(zone: Zone(fixedOffsetSeconds: 3600), weekStart: .monday))
        #expect(expected == total(saturationLimit, saturationLimit))
        #expect(try file.loadAll().account(2)?.lifetime == expected)
        #expect(
            try file.loadAll().account(2)?.record.events
                == AccountEvents(resets: saturationLimit, gapBytes: saturationLimit))
        let copy = try directory.copy()
        let connection = try Connection(path: copy.ledger)
        for table in ["bucket", "day"] {
            let sql = "SELECT count(*) FROM \(table) WHERE typeof(received) || typeof(transmitted) = 'integerinteger'"
            #expect(try connection.value(sql) == 1)
        }
    }

    // MARK: - Retention

    @Test func bucketsBeforeTheHorizonGoAFewAtATimeAndDaysStay() throws {
        var commit = Commit.make(1, accounts: [.make(1, "eth0"), .make(2, "eth1")])
        for number: Int64 in 0..<20 {
            for account: Int64 in 1...2 { commit.book(account, 1, 2, at: testStart + number * 300, .utc) }
        }
        try file.apply(commit)
        let days = try StoredBytes(directory).days
        #expect(try StoredBytes(directory).bucketsFrom == .earliest, "nothing is gone yet")
        // In the middle of the bucket that starts at 3000: that one must stay.
        let horizon = Timestamp(secondsSinceEpoch: testStart + 3100)
        for sequence: Int64 in 2...9 {
            let before = try StoredBytes(directory)
            try file.apply(.make(sequence), calendar: .utc, horizon: horizon)
            let bytes = try StoredBytes(directory)
            let gone = min(10, (sequence - 1) * 2)
            #expect(bytes.buckets.count == 2 * (20 - Int(gone)))
            #expect(bytes.buckets.keys.allSatisfy { $0.bucket.start >= bytes.bucketsFrom })
            #expect(bytes.bucketsFrom >= before.bucketsFrom)
            #expect(bytes.bucketsFrom.secondsSinceEpoch == testStart + gone * 300)
            #expect(bytes.days == days)
        }
    }

    @Test func aClockThatWasWrongForAMomentCostsAFewBucketsOnly() throws {
        var commit = Commit.make(1, accounts: [.make(1, "eth0")])
        for number: Int64 in 0..<1000 { commit.book(1, 1, 2, at: testStart + number * 300, .utc) }
        try file.apply(commit)
        try file.apply(.make(2), calendar: .utc, horizon: .latest)
        #expect(try StoredBytes(directory).buckets.count == 998)
    }

    @Test func bucketsOfAGapAreMadeFromTheHorizonOnAndAllOfItsDays() throws {
        var commit = Commit.make(1, accounts: [.make(1, "eth0")])
        let delta = Delta(received: 100_000_007, transmitted: 1_000_003)
        commit.bookGap(1, delta, from: testStart - 100 * 86_400, to: testStart, .utc)
        let horizon = Timestamp(secondsSinceEpoch: testStart - 62 * 86_400 + 17)
        try file.apply(commit, calendar: .utc, horizon: horizon)
        let bytes = try StoredBytes(directory)
        #expect(bytes.lifetimes.values.first == Total(delta))
        #expect(bytes.buckets.keys.map(\.bucket).min() == Bucket(containing: horizon))
        #expect(bytes.bucketsFrom == Bucket(containing: horizon).start, "buckets before were never made")
        let first = try #require(bytes.firstCoveredDay)
        #expect(bytes.days(from: first) == bytes.days(from: first, summedBy: .utc))
    }
}
