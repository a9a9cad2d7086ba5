import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// The disk fails, or the machine dies, at every single change of the files.
@Suite("A failing disk")
struct LedgerFaultTests {
    /// Settings of SQLite, so that different paths in it meet the fault.
    enum Cache: CaseIterable {
        /// The file is opened again for each commit.
        case asInTheProgram
        /// Pages are written before the commit, and every commit copies its pages to the database.
        case tiny

        func prepare(_ file: LedgerFile?) throws {
            switch self {
            case .asInTheProgram: file?.rest()
            case .tiny:
                try file?.connection.execute("PRAGMA cache_size = 4")
                file?.commitsPerLog = 0
            }
        }
    }

    private static let horizon = Timestamp(secondsSinceEpoch: testStart - 20 * 86_400)

    private static func populate(_ file: LedgerFile) throws {
        var first = Commit.make(
            1,
            accounts: [
                .make(1, .uplink), .make(2, "eth0"), .make(3, "eth1"), .make(4, "wwan0"), .make(5, .collapsed("veth*")),
            ], devices: [.make(1, "eth0", account: 2), .make(2, "eth1", account: 3), .make(3, "gone0", account: nil)])
        for number: Int64 in 0..<96 {
            let moment = testStart - 30 * 86_400 + number * 6 * 3600
            for account: Int64 in 1...5 {
                first.book(account, UInt64(number) * 1000, UInt64(account), at: moment, .utc)
            }
        }
        try file.apply(first)
    }

    /// A bit of everything: folds, a history that is adopted, renamed accounts, a gap, buckets that are removed.
    private static var commit: Commit {
        var commit = Commit.make(
            2, accounts: [.make(2, "lan0"), .make(6, "eth1", events: AccountEvents(resets: 1)), .make(7, "eth9")],
            devices: [.make(1, "lan0", account: 2), .make(9, "eth9", account: 7)], removed: [2, 3], folds: [(4, 2)])
        for account: Int64 in [1, 2, 6, 7] { commit.book(account, 10, 20, at: testStart, .utc) }
        commit.bookGap(7, Delta(received: 1_000_003, transmitted: 77), from: testStart - 7200, to: testStart, .utc)
        return commit
    }

    /// A ledger with a first commit, and its contents before and after an action.
    private struct Case {
        let base = try! TemporaryDirectory()  // Without a temporary directory there is nothing to test with.
        let before: FileContents
        let after: FileContents
        let action: (LedgerFile) throws(StoreError) -> Void

        init(_ action: @escaping (LedgerFile) throws(StoreError) -> Void) throws {
            self.action = action
            try LedgerFaultTests.populate(try LedgerFile(path: base.ledger))
            before = try FileContents(base)
            let directory = try TemporaryDirectory()
            try directory.copyLedger(from: base)
            try action(try LedgerFile(path: directory.ledger))
            after = try FileContents(directory)
            #expect(before != after)
        }

        /// - Returns: Whether the fault happened. If not, the action succeeded.
        func happens(_ fault: Fault, at change: Int, cache: Cache) throws -> Bool {
            let comment: Comment = "\(fault) at change \(change), \(cache)"
            let directory = try TemporaryDirectory()
            try directory.copyLedger(from: base)
            let vfs = FaultVFS()
            var file: LedgerFile? = try LedgerFile(path: directory.ledger, vfs: vfs.name)
            try cache.prepare(file)
            vfs.arm(fault, at: change)
            var succeeded = false
            do {
                if let file { try action(file) }
                succeeded = true
            } catch { #expect([.unavailable, .full].contains(error.code), comment) }
            let came = vfs.changes >= change
            #expect(succeeded || came, comment)
            if fault.isSurvived && change % 2 == 0 {
                vfs.disarm()
                if let file { try action(file) }
                file = nil
                #expect(try FileContents(directory) == after, comment)
            } else {
                file = nil
                let contents = try FileContents(directory)
                #expect(contents == after || contents == before && !succeeded, comment)
                try action(try LedgerFile(path: directory.ledger))
                #expect(try FileContents(directory) == after, comment)
            }
            #expect(try FileContents.integrity(of: directory) == "ok", comment)
            return came
        }

        func happensAtEveryChange(_ fault: Fault, _ cache: Cache) throws {
            var change = 1
            while try happens(fault, at: change, cache: cache) { change += 1 }
            #expect(change > 10, "the fault met something")
        }
    }

    @Test(arguments: Fault.allCases, Cache.allCases)
    func aCommitIsInTheFileOnceOrNotAtAllWhateverWriteFails(fault: Fault, cache: Cache) throws {
        let testCase = try Case { file throws(StoreError) in
            try file.apply(Self.commit, calendar: .utc, horizon: Self.horizon)
        }
        try testCase.happensAtEveryChange(fault, cache)
    }

    @Test(arguments: Fault.allCases)
    func anotherCalendarHoldsForAllDaysOrForNone(fault: Fault) throws {
        let calendar = LocalCalendar(zone: Zone(fixedOffsetSeconds: 5 * 3600 + 1800), weekStart: .monday)
        let testCase = try Case { file throws(StoreError) in try file.rezone(to: calendar) }
        try testCase.happensAtEveryChange(fault, .tiny)
    }

    @Test func aCommitWhoseOutcomeGotLostIsNotWrittenAgain() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        try Self.populate(file)
        let adopted = try file.apply(Self.commit)
        #expect(adopted.map(\.account.rawValue) == [6])
        let contents = try FileContents(directory)
        #expect(try file.apply(Self.commit).map(Normalized.init) == adopted.map(Normalized.init), "nobody heard of it")
        #expect(try FileContents(directory) == contents)
    }

    @Test func aCommitThatDoesNotFollowTheLastOneIsRefused() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        try Self.populate(file)
        let contents = try FileContents(directory)
        for sequence: Int64 in [0, 3, 1 << 40] {
            let error = #expect(throws: StoreError.self) { try file.apply(.make(sequence)) }
            #expect(error?.code == .replaced)
        }
        #expect(try FileContents(directory) == contents)
    }

    @Test(arguments: Fault.allCases)
    func aLedgerWhoseBeginningFailedAnywhereCanBeBegunAgain(fault: Fault) throws {
        var change = 1
        while true {
            let directory = try TemporaryDirectory()
            let vfs = FaultVFS()
            vfs.watchLock(at: directory.ledger + ".lock")
            vfs.arm(fault, at: change)
            var failure: StoreError?
            do throws(StoreError) { _ = try LedgerFile(path: directory.ledger, vfs: vfs.name) } catch {
                failure = error
            }
            let came = vfs.changes >= change
            #expect(vfs.unlockedChanges == 0, "\(fault) at \(change)")
            if let failure {
                #expect(came && [.unavailable, .full].contains(failure.code), "\(fault) at \(change): \(failure)")
            }
            let file = try LedgerFile(path: directory.ledger)
            try Self.populate(file)
            #expect(try file.loadAll().accounts.count == 5, "\(fault) at \(change)")
            if !came { break }
            change += 1
        }
        #expect(change > 20, "the fault met something")
    }

    @Test func nothingIsWrittenWithoutTheLock() throws {
        let directory = try TemporaryDirectory()
        let vfs = FaultVFS()
        vfs.watchLock(at: directory.ledger + ".lock")
        var file: LedgerFile? = try LedgerFile(path: directory.ledger, vfs: vfs.name)
        if let file { try Self.populate(file) }
        vfs.disarm()
        try file?.tidy()
        file = nil
        #expect(vfs.changes > 0, "the log is copied to the database")
        #expect(vfs.unlockedChanges == 0)
    }
}
