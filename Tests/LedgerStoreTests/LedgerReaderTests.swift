import SQLite
import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// What other programs see in the file while this program has it open.
@Suite("Other readers of a ledger")
struct LedgerReaderTests {
    private let directory: TemporaryDirectory
    private let file: LedgerFile

    init() throws {
        directory = try TemporaryDirectory()
        file = try LedgerFile(path: directory.ledger)
    }

    private func book(_ sequence: Int64) throws {
        var commit = Commit.make(sequence, accounts: sequence == 1 ? [.make(1, "eth0")] : [])
        commit.book(1, 1, 2, at: testStart + sequence * 60, .utc)
        try file.apply(commit)
        file.rest()
    }

    @Test func betweenCommitsEveryoneReadsTheFileAsItIs() throws {
        for sequence: Int64 in 1...5 {
            try book(sequence)
            let reader = try Connection(path: directory.ledger)
            #expect(try reader.value("SELECT sum(received) FROM days") == sequence)
            #expect(try reader.value("SELECT sum(transmitted) FROM buckets") == 2 * sequence)
        }
    }

    @Test func aReaderThatStaysHoldsUpNoCommitAndSeesOneStateThroughout() throws {
        try book(1)
        var reader: Connection? = try Connection(path: directory.ledger)
        try reader?.execute("BEGIN")
        #expect(try reader?.value("SELECT sum(received) FROM day") == 1)
        for sequence: Int64 in 2...10 { try book(sequence) }
        #expect(try reader?.value("SELECT sum(received) FROM day") == 1)
        try reader?.execute("COMMIT")
        #expect(try reader?.value("SELECT sum(received) FROM day") == 10)
        reader = nil
        for sequence: Int64 in 11...12 { try book(sequence) }
        #expect(try Connection(path: directory.ledger).value("SELECT sum(received) FROM day") == 12)
        #expect(try FileContents.integrity(of: directory) == "ok")
    }

    @Test func theLogStaysShortAndIsWrittenInPlace() throws {
        var sizes: [Int] = []
        for sequence: Int64 in 1...300 {
            try book(sequence)
            sizes.append(try directory.bytes(of: "ledger.db-wal").count)
        }
        #expect(sizes.max() ?? 0 < 300_000)
        #expect(sizes.allSatisfy { $0 == sizes[0] }, "a file that grows costs more than what is written to it")
        #expect(try Connection(path: directory.ledger).value("SELECT sum(received) FROM day") == 300)
    }

    @Test func tidyingLeavesOneFileWithEverythingInIt() throws {
        for sequence: Int64 in 1...3 { try book(sequence) }
        try file.tidy()
        #expect(try directory.names.sorted() == ["ledger.db", "ledger.db.lock"])
        #expect(try Connection(path: directory.ledger).value("SELECT sum(received) FROM day") == 3)
    }

    @Test func aFileThatIsExchangedMeanwhileIsNotWrittenTo() throws {
        try book(1)
        // The file is overwritten in place, so that it is still the same inode.
        try Connection(path: directory.ledger).execute("UPDATE ledger SET ledger_id = ledger_id + 1")
        let error = #expect(throws: StoreError.self) { try book(2) }
        #expect(error?.code == .replaced)
        #expect(try Connection(path: directory.ledger).value("SELECT sum(received) FROM day") == 1)
    }

    @Test func aFileThatWasEmptiedIsNoNewLedger() throws {
        try book(1)
        try directory.write([], to: "ledger.db")
        let error = #expect(throws: StoreError.self) { try book(2) }
        #expect(error?.code == .damaged)
    }

    @Test func aWriterWhoMeetsALockSaysSo() throws {
        try book(1)
        let other = try Connection(path: directory.ledger)
        try other.execute("BEGIN IMMEDIATE")
        let error = #expect(throws: StoreError.self) { try book(2) }
        #expect(error?.code == .busy)
        try other.execute("ROLLBACK")
        try book(2)
    }

    @Test func aCommitThatASoundFileRefusesIsNoReasonToMoveTheFileAside() throws {
        try book(1)
        let twice = Commit.make(2, accounts: [.make(2, "eth1"), .make(2, "eth2")])
        let error = #expect(throws: StoreError.self) { try file.apply(twice) }
        #expect(error?.code == .unavailable)
        try book(2)
    }

    @Test func aFileWithoutOneOfItsTablesIsDamaged() throws {
        try book(1)
        try Connection(path: directory.ledger).execute("DROP TABLE day_start")
        let error = #expect(throws: StoreError.self) { try book(2) }
        #expect(error?.code == .damaged)
    }
}
