import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// Imports into the real file. `ReconciliationTests` tests without a file which bytes of an import are new.
@Suite("Imports into a ledger's file")
struct LedgerImportTests {
    private struct RealLedger: ImportingLedger {
        let directory: TemporaryDirectory
        let file: LedgerFile

        init() throws {
            directory = try TemporaryDirectory()
            file = try LedgerFile(path: directory.ledger)
        }

        func apply(_ commit: Commit, by calendar: LocalCalendar, horizon: Timestamp) throws {
            try file.apply(commit, calendar: calendar, horizon: horizon)
        }

        func add(_ parts: [ImportedAccount], by calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp) throws {
            _ = try file.importPiece(parts, calendar: calendar, at: now, horizon: horizon, isTrial: false)
        }

        func bytes() throws -> BookedBytes {
            let stored = try StoredBytes(directory)
            return BookedBytes(buckets: stored.buckets, days: stored.days)
        }
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func everyByteIsThereOnceHoweverOftenItIsImported(seed: UInt64) throws {
        var scene = try ImportScene(seed: seed)
        var ledger = try RealLedger()
        #expect(try scene.play(to: &ledger) == [])
    }

    // MARK: - Files

    /// A ledger whose account 2 has metered 777 bytes on 2026-11-20.
    private func ledger(in directory: TemporaryDirectory) throws -> LedgerFile {
        let file = try LedgerFile(path: directory.ledger)
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        commit.book(2, 777, 77, at: ImportSlots.begin + 50 * ImportSlots.day, .utc)
        try file.apply(commit)
        return file
    }

    @discardableResult
    private func take(
        _ accounts: ImportedAccount..., in file: LedgerFile, by calendar: LocalCalendar = .utc
    ) throws -> ImportOutcome {
        let now = Timestamp(secondsSinceEpoch: ImportSlots.begin + 50 * ImportSlots.day + 3600)
        return try file.importPiece(accounts, calendar: calendar, at: now, horizon: .earliest, isTrial: false)[0]
    }

    private func received(in directory: TemporaryDirectory) throws -> UInt64 {
        let bytes = try StoredBytes(directory)
        #expect(bytes.bucketSums == bytes.lifetimes)
        return bytes.lifetimes.values.reduce(0) { $0 + $1.received }
    }

    @Test func daysOfAnotherZoneAreTakenOnce() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let berlin = LocalCalendar(zone: try Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3"), weekStart: .monday)
        // One of them has 25 hours.
        let days = (0..<40).map { number in
            let span = berlin.span(
                ofDay: CivilDate(daysSinceEpoch: Int32(ImportSlots.begin / ImportSlots.day) + Int32(number)))
            return ImportSlots.slot(span.lowerBound.secondsSinceEpoch, span.upperBound.secondsSinceEpoch, 1_000_000)
        }
        let account = ImportedAccount(.device(DeviceName("eth0")), from: "eth0", slots: days)
        #expect(try take(account, in: file).taken.received == 40_000_000)
        #expect(try take(account, in: file).taken.received == 0)
        #expect(try take(account, in: file, by: berlin).taken.received == 0)
        #expect(try received(in: directory) == 777 + 40_000_000)
    }

    @Test func aDeviceOfAnotherClassThanBeforeCountsOnce() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let slots = ImportSlots.hours([0], 1000)
        try take(.init(.collapsed("veth*"), from: "veth9", slots: slots), in: file)
        for key in [AccountKey.collapsed("v*"), .device(DeviceName("veth9"))] {
            #expect(try take(.init(key, from: "veth9", slots: slots), in: file).taken.received == 0)
        }
        try take(.init(.collapsed("v*"), from: "veth9", slots: slots, replaces: true), in: file)
        try take(.init(.device(DeviceName("veth9")), from: "veth9", slots: slots, replaces: true), in: file)
        try take(.init(.collapsed("v*"), from: "veth9", slots: slots, replaces: true), in: file)
        #expect(try received(in: directory) == 777 + 1000)
        #expect(try StoredBytes(directory).lifetimes.values.filter { $0.received == 1000 }.count == 1)
    }

    @Test func anotherClockIsRefusedUntilAllIsReplaced() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let key = AccountKey.device(DeviceName("eth0"))
        func take(_ clock: String?, _ slots: [ImportedAccount.Slot], replaces: Bool = false) throws -> ImportOutcome {
            try self.take(.init(key, from: "eth0", slots: slots, replaces: replaces, clock: clock), in: file)
        }
        #expect(try take("UTC", ImportSlots.hours([0, 1, 2])).taken.received == 3000)
        let refused = try take("UTC+01:00", ImportSlots.hours([-1, 0, 1]))
        #expect(refused.otherClock == "UTC" && refused.taken.received == 0)
        // The times of a CSV have offsets.
        #expect(try take(nil, ImportSlots.hours([3])).taken.received == 1000)
        #expect(try take("UTC", ImportSlots.hours([4])).taken.received == 1000)
        let replaced = try take("UTC+01:00", ImportSlots.hours([-1, 0, 1]), replaces: true)
        #expect(replaced.forgotten.received == 5000 && replaced.taken.received == 3000)
        #expect(try received(in: directory) == 777 + 3000)
        // Replacing the import of one device of a class doesn't change the imports of the others.
        let veth = AccountKey.collapsed("veth*")
        for name in ["veth1", "veth2"] {
            try self.take(.init(veth, from: name, slots: ImportSlots.hours([0]), clock: "UTC"), in: file)
        }
        let part = ImportedAccount(
            veth, from: "veth1", slots: ImportSlots.hours([1]), replaces: true, clock: "UTC+01:00")
        #expect(try self.take(part, in: file).otherClock == "UTC")
    }

    @Test func whatIsReplacedGoesAndNothingElse() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let key = AccountKey.device(DeviceName("eth0"))
        let before = try StoredBytes(directory)
        try take(
            .init(
                key, from: "eth0",
                slots: [ImportSlots.slot(ImportSlots.begin + 100, ImportSlots.begin + 40 * ImportSlots.day, 12_345)]),
            in: file
        )
        // The clock was behind: own bytes in the time of the import.
        var commit = Commit.make(2)
        commit.book(2, 500, 50, at: ImportSlots.begin + 20 * ImportSlots.day, .utc)
        try file.apply(commit)
        try take(.init(key, from: "eth0", slots: [], replaces: true), in: file)
        var expected = before
        expected.buckets[
            .init(
                account: AccountID(rawValue: 2),
                bucket: Bucket(containing: Timestamp(secondsSinceEpoch: ImportSlots.begin + 20 * ImportSlots.day)))] =
            Total(received: 500, transmitted: 50)
        let after = try StoredBytes(directory)
        #expect(after.buckets == expected.buckets)
        #expect(after.lifetimes[AccountID(rawValue: 2)] == Total(received: 1277, transmitted: 127))
    }

    /// Own bytes by the hour, and a file that has as many in all, but not in each hour.
    @Test(arguments: [false, true])
    func whatTheLedgerHasMeteredIsNotOpenedByReplacing(replaces: Bool) throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        for hour in 0..<24 {
            commit.book(2, hour % 2 == 0 ? 900 : 1000, 0, at: ImportSlots.begin + Int64(hour) * 3600, .utc)
        }
        try file.apply(commit)
        let slots = (0..<24).map { ImportSlots.hours([$0], $0 % 2 == 0 ? 1000 : 900)[0] }
        let key = AccountKey.device(DeviceName("eth0"))
        try take(.init(key, from: "eth0", slots: slots, replaces: replaces), in: file)
        try take(.init(key, from: "eth0", slots: slots), in: file)
        #expect(try received(in: directory) <= 24 * 950 + 100)
    }

    @Test func afterAChangeOfTheZoneReplacingTakesAllAway() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let berlin = LocalCalendar(zone: try Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3"), weekStart: .monday)
        let key = AccountKey.device(DeviceName("eth0"))
        // The last hour of a day, and none of the next.
        try take(.init(key, from: "eth0", slots: ImportSlots.hours([23])), in: file)
        try take(.init(key, from: "eth0", slots: ImportSlots.hours([23]), replaces: true), in: file, by: berlin)
        #expect(try received(in: directory) == 777 + 1000)
    }
}
