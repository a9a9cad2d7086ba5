import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime

/// What of another meter's history is new, against a ledger in memory.
@Suite("Imports: what is new")
struct ReconciliationTests {
    @Test(arguments: 0..<tries(100) as Range<UInt64>)
    func everyByteIsThereOnceHoweverOftenItIsImported(seed: UInt64) throws {
        var scene = try ImportScene(seed: seed)
        var store = ModelStore()
        #expect(try scene.play(to: &store) == [])
    }

    // MARK: - Files

    /// A ledger whose account 2 has metered 777 bytes on 2026-11-20.
    private static var metered: ModelStore {
        var store = ModelStore()
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        commit.book(2, 777, 77, at: ImportSlots.begin + 50 * ImportSlots.day, .utc)
        _ = store.apply(commit)
        return store
    }

    @discardableResult
    private func take(_ accounts: ImportedAccount..., in store: inout ModelStore) throws -> ImportOutcome {
        let now = Timestamp(secondsSinceEpoch: ImportSlots.begin + 50 * ImportSlots.day + 3600)
        return try store.outcomes(of: accounts, by: .utc, at: now)[0]
    }

    private func lifetimes(in store: ModelStore) -> [AccountID: Total] {
        store.accounts.keys.reduce(into: [:]) { sums, account in
            let total = store.total(of: account)
            #expect(store.bucketTotal(of: account) == total)
            if !total.isZero { sums[account] = total }
        }
    }

    private func received(in store: ModelStore) -> UInt64 {
        lifetimes(in: store).values.reduce(0) { $0 + $1.received }
    }

    @Test(arguments: [
        (Array(0...11), [0] + Array(12...23)), ([0, 3, 5, 9], [3, 13]),
        (Array(stride(from: 0, to: 24, by: 2)), [1, 3, 5]),
    ])
    func aFileWithOtherHoursOfADayAddsThem(first: [Int64], second: [Int64]) throws {
        var store = Self.metered
        for hours in [first, second, first] {
            try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: ImportSlots.hours(hours)), in: &store)
        }
        #expect(received(in: store) == 777 + UInt64(Set(first + second).count) * 1000)
    }

    /// Bytes at the very end of five minutes, which one meter reads before and the other behind it.
    @Test func whatOneMeterReadsInTheNextFiveMinutesCountsOnce() throws {
        var store = ModelStore()
        let open = ImportSlots.begin + 20 * 3600
        func five(_ number: Int64, _ bytes: UInt64) -> ImportedAccount.Slot {
            ImportSlots.slot(open + number * 300, open + number * 300 + 300, bytes)
        }
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        for (number, bytes) in [84402, 43764, 44806].enumerated() {
            commit.book(2, UInt64(bytes), UInt64(bytes / 2), at: open + Int64(number) * 300, .utc)
        }
        _ = store.apply(commit)
        let slots = [five(-2, 98990), five(-1, 41680), five(0, 86486), five(2, 44806)]
        let done = try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: slots), in: &store)
        #expect(done.taken.received == 98990)
    }

    @Test func devicesThatShareAnAccountDoNotExplainEachOther() throws {
        var store = Self.metered
        let key = AccountKey.collapsed("veth*")
        let parts = [
            ImportedAccount(
                key, from: "veth1",
                slots: [ImportSlots.slot(ImportSlots.begin, ImportSlots.begin + 10 * ImportSlots.day, 10_000_000)]),
            ImportedAccount(
                key, from: "veth2",
                slots: [
                    ImportSlots.slot(
                        ImportSlots.begin + 5 * ImportSlots.day, ImportSlots.begin + 14 * ImportSlots.day, 9_000_000)
                ]),
        ]
        for _ in 0..<3 { try take(parts[0], parts[1], in: &store) }
        #expect(received(in: store) == 777 + 19_000_000)
        // All of the account, by the ledger's own export of another machine.
        let all = ImportedAccount(
            key, slots: [ImportSlots.slot(ImportSlots.begin, ImportSlots.begin + 20 * ImportSlots.day, 19_000_000)])
        #expect(try take(all, in: &store).taken.received == 0)
    }

    @Test func allOfAnAccountExplainsEachByteOfItsDevicesOnce() throws {
        var store = Self.metered
        let key = AccountKey.collapsed("veth*")
        try take(.init(key, slots: ImportSlots.hours([0], 100)), in: &store)
        let parts = ["veth1", "veth2"].map { ImportedAccount(key, from: $0, slots: ImportSlots.hours([0], 100)) }
        for _ in 0..<2 { try take(parts[0], parts[1], in: &store) }
        #expect(received(in: store) == 777 + 200)
    }

    /// It was metered by itself, then with its class, or the other way round: what was metered then doesn't come again.
    @Test(arguments: [false, true])
    func aDeviceThatChangedAccountsCountsOnce(isOfClassFirst: Bool) throws {
        var store = ModelStore()
        let keys = [AccountKey.device(DeviceName("veth9")), .collapsed("veth*")]
        let (previous, now) = isOfClassFirst ? (keys[1], keys[0]) : (keys[0], keys[1])
        var commit = Commit.make(1, accounts: [.make(2, previous), .make(3, now), .make(4, .collapsed("wlan*"))])
        commit.book(4, 5, 0, at: ImportSlots.begin, .utc)
        // The class has another device, too.
        let (before, since) = isOfClassFirst ? (2000, 1000) : (1000, 2000)
        for hour in 10..<20 {
            commit.book(2, UInt64(before), 0, at: ImportSlots.begin + Int64(hour) * 3600 + 1800, .utc)
        }
        for hour in 20..<30 {
            commit.book(3, UInt64(since), 0, at: ImportSlots.begin + Int64(hour) * 3600 + 1800, .utc)
        }
        _ = store.apply(commit)
        let account = ImportedAccount(now, from: "veth9", slots: ImportSlots.hours(Array(0..<30), 1000))
        for _ in 0..<2 { try take(account, in: &store) }
        #expect(received(in: store) == 5 + 40 * 1000)
        #expect(try take(account, in: &store).missed.received == 0)
        // Another device of the class wasn't in the first one's account.
        let other = ImportedAccount(.collapsed("veth*"), from: "veth1", slots: ImportSlots.hours(Array(0..<30), 1000))
        let done = try take(other, in: &store)
        #expect(done.taken.received == (isOfClassFirst ? 10_000 : 20_000))
    }

    /// Each of them was in the class: what the class has counted explains the bytes of one of them only.
    @Test(arguments: [false, true])
    func devicesThatLeaveAClassCountOnce(isFineFirst: Bool) throws {
        var store = ModelStore()
        let names = ["veth1", "veth2", "veth3"]
        var commit = Commit.make(1, accounts: [.make(2, .collapsed("veth*"))])
        for hour in 8..<30 { commit.book(2, 3000, 0, at: ImportSlots.begin + Int64(hour) * 3600 + 1800, .utc) }
        _ = store.apply(commit)
        let days = [ImportSlots.slot(ImportSlots.begin, ImportSlots.begin + ImportSlots.day, 24_000)]
        for slots in [isFineFirst ? ImportSlots.hours(Array(0..<30)) : days, days] {
            for name in names {
                try take(.init(.device(DeviceName(name)), from: name, slots: slots), in: &store)
            }
        }
        #expect(received(in: store) == 22 * 3000 + 8 * 3000)
    }

    /// What was carried in a gap is booked evenly; the other meter knows when it was.
    @Test(arguments: [600, 1800, 7200, 36_000])
    func whatAGapBeginsWithCountsOnce(length: Int64) throws {
        var store = ModelStore()
        let open = ImportSlots.begin + 9 * 3600 + 20
        let gap = Timestamp(secondsSinceEpoch: open + 180)..<Timestamp(secondsSinceEpoch: open + 180 + length)
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        commit.bookings.unread = [.earliest..<Timestamp(secondsSinceEpoch: open), gap]
        commit.book(2, 333, 0, at: open, .utc)
        let spread = Spread(Delta(received: 1_000_000_007, transmitted: 0), from: gap.lowerBound, to: gap.upperBound)
        spread.forEachBucket(since: .earliest) { bucket, share in
            commit.book(2, share.received, 0, at: bucket.start.secondsSinceEpoch, .utc)
        }
        commit.book(2, 444, 0, at: gap.upperBound.secondsSinceEpoch + 600, .utc)
        _ = store.apply(commit)
        // 5555 of them before the first reading, and the gap's right at its beginning.
        let first = ImportSlots.begin + 9 * 3600
        let slots = [
            ImportSlots.slot(first - 300, first, 5000), ImportSlots.slot(first, first + 300, 555 + 333 + 1_000_000_007),
            ImportSlots.slot(gap.upperBound.secondsSinceEpoch, gap.upperBound.secondsSinceEpoch + 900, 444),
        ]
        let done = try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: slots), in: &store)
        #expect(done.taken.received == 5555)
    }

    @Test func aBootWithAWrongClockDoesNotRefuseThePast() throws {
        var store = ModelStore()
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        commit.bookings.unread = [.earliest..<Timestamp(secondsSinceEpoch: ImportSlots.begin + 20 * ImportSlots.day)]
        for day in [-400, 20, 21] as [Int64] {
            commit.book(2, 100, 0, at: ImportSlots.begin + day * ImportSlots.day, .utc)
        }
        commit.header.lastReading = Moment(
            wallNanoseconds: (ImportSlots.begin + 22 * ImportSlots.day) * 1_000_000_000,
            sinceBoot: BootTime(nanoseconds: 1))
        _ = store.apply(commit)
        let slots = (0..<20).map {
            ImportSlots.slot(
                ImportSlots.begin + $0 * ImportSlots.day, ImportSlots.begin + $0 * ImportSlots.day + ImportSlots.day,
                1000)
        }
        let done = try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: slots), in: &store)
        #expect(done.taken.received == 20_000)
    }

    /// A device that wasn't the uplink since the first reading: what it has carried since isn't booked to it.
    @Test func theUplinkGetsWhatADeviceCarriedBeforeTheFirstReading() throws {
        var store = ModelStore()
        let noon = ImportSlots.begin + 12 * 3600
        var commit = Commit.make(1, accounts: [.make(2, "eth0"), .make(3, .uplink), .make(4, "wwan0")])
        commit.bookings.unread = [.earliest..<Timestamp(secondsSinceEpoch: noon)]
        for hour in 0..<12 as Range<Int64> {
            commit.book(2, 100, 0, at: noon + hour * 3600 + 1800, .utc)
            commit.book(3, 100, 0, at: noon + hour * 3600 + 1800, .utc)
            commit.book(4, 30, 0, at: noon + hour * 3600 + 1800, .utc)
        }
        _ = store.apply(commit)
        for (name, bytes) in [("wwan0", 30), ("eth0", 100)] as [(String, UInt64)] {
            let slots = [ImportSlots.slot(ImportSlots.begin, ImportSlots.begin + ImportSlots.day, 24 * bytes)]
            for _ in 0..<2 {
                let account = ImportedAccount(.device(DeviceName(name)), from: name, slots: slots)
                try take(account, .init(.uplink, from: name, slots: slots), in: &store)
            }
        }
        let sums = lifetimes(in: store)
        #expect(
            sums.mapValues(\.received) == [
                AccountID(rawValue: 2): 2400, AccountID(rawValue: 3): 1200 + 12 * 130, AccountID(rawValue: 4): 720,
            ])
    }

    @Test func aCoarseRowExplainsNothingBeyondItsTime() throws {
        var store = Self.metered
        let key = AccountKey.device(DeviceName("eth0"))
        try take(.init(key, from: "eth0", slots: ImportSlots.hours([0], 1200)), in: &store)
        let fives = (10..<22).map {
            ImportSlots.slot(ImportSlots.begin + $0 * 300, ImportSlots.begin + $0 * 300 + 300, 100)
        }
        #expect(try take(.init(key, from: "eth0", slots: fives), in: &store).taken.received == 1000)
    }

    @Test func ownBytesExplainOnlyOneOfTwoSources() throws {
        var store = ModelStore()
        let key = AccountKey.collapsed("veth*")
        var commit = Commit.make(1, accounts: [.make(2, key)])
        commit.book(2, 200, 0, at: ImportSlots.begin + 1800, .utc)
        _ = store.apply(commit)
        for source in ["veth1", "veth2", "veth1", "veth2"] {
            try take(.init(key, from: source, slots: ImportSlots.hours([0], 150)), in: &store)
        }
        #expect(received(in: store) == 300)
    }

    /// A class whose devices are in several pieces: the class's own bytes explain each of theirs once.
    @Test func devicesOfAClassStayTogether() {
        let key = AccountKey.collapsed("veth*")
        let accounts = (0..<7).map { number in
            ImportedAccount(key, from: "veth\(number)", slots: ImportSlots.hours(Array(0..<240), UInt64(number)))
        }
        let pieces = ImportedAccount.pieces(of: accounts, ofSlots: 100, by: .utc)
        #expect(pieces.count > 7)
        for account in accounts {
            #expect(pieces.flatMap { $0 }.filter { $0.source == account.source }.flatMap(\.slots) == account.slots)
        }
        for (piece, next) in zip(pieces, pieces.dropFirst()) {
            let end = piece.flatMap(\.slots).map(\.end).max() ?? 0
            #expect(next.flatMap(\.slots).allSatisfy { $0.start >= end })
        }
    }

    @Test func piecesAreCutBetweenSlotsEvenIfADayIsLong() {
        let slots = (0..<1000).map {
            ImportSlots.slot(ImportSlots.begin + $0 * 60, ImportSlots.begin + $0 * 60 + 60, 1)
        }
        let long = ImportSlots.slot(ImportSlots.begin + 2 * ImportSlots.day, ImportSlots.begin + 9 * ImportSlots.day, 1)
        let within = (0..<300).map {
            ImportSlots.slot(
                ImportSlots.begin + 3 * ImportSlots.day + $0 * 60,
                ImportSlots.begin + 3 * ImportSlots.day + $0 * 60 + 60, 1)
        }
        let account = ImportedAccount(.uplink, slots: slots + [long] + within)
        let pieces = ImportedAccount.pieces(of: [account], ofSlots: 100, by: .utc).flatMap { $0 }
        #expect(pieces.flatMap(\.slots) == account.slots)
        #expect(pieces.map(\.slots.count).max() == 301)
        for (piece, next) in zip(pieces, pieces.dropFirst()) {
            #expect((piece.slots.map(\.end).max() ?? 0) <= next.slots[0].start)
        }
    }
}
