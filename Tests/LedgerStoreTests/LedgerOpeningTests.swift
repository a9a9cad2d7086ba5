import CTestLinux
import Glibc
import SQLite
import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

@Suite("Opening a ledger")
struct LedgerOpeningTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.ledger }

    init() throws { directory = try TemporaryDirectory() }

    private func failure(_ path: String? = nil) -> StoreError.Code? {
        do throws(StoreError) {
            _ = try LedgerFile(path: path ?? self.path)
            return nil
        } catch { return error.code }
    }

    @Test func missingDirectoriesAreCreated() throws {
        let path = directory.path + "/a/b//c/ledger.db"
        try LedgerFile(path: path).apply(.make(1))
        #expect(try LedgerFile(path: path).loadAll().header?.sequence == 1)
    }

    @Test func aFileWithoutBytesBecomesALedger() throws {
        try directory.write([], to: "ledger.db")
        #expect(LedgerFile.exists(at: path))
        try LedgerFile(path: path).apply(.make(1))
        let file = try LedgerFile(path: path)
        #expect(file.isInUse)
    }

    @Test func aSecondWriterIsTurnedAway() throws {
        let first = try LedgerFile(path: path)
        #expect(failure() == .locked)
        try first.apply(.make(1))
        withExtendedLifetime(first) {}
    }

    @Test func aLedgerOfANewerVersionIsLeftAlone() throws {
        try LedgerFile(path: path).apply(.make(1))
        try Connection(path: path).execute("PRAGMA user_version = \(Schema.version + 1)")
        let bytes = try directory.bytes(of: "ledger.db")
        for _ in 0..<2 { #expect(failure() == .newer) }
        #expect(try directory.bytes(of: "ledger.db") == bytes)
    }

    @Test(arguments: [0, 1_196_444_487], [false, true])
    func aDatabaseOfAnotherProgramStaysForeignHoweverOftenItIsTried(application: Int, hasLog: Bool) throws {
        let other = try Connection(path: path)
        if hasLog { try other.execute("PRAGMA journal_mode = WAL") }
        try other.execute("PRAGMA application_id = \(application); CREATE TABLE bookmarks (address TEXT)")
        let bytes = try directory.bytes(of: "ledger.db")
        for _ in 0..<3 { #expect(failure() == .foreign) }
        #expect(try directory.bytes(of: "ledger.db") == bytes)
        withExtendedLifetime(other) {}
    }

    @Test func aFileThatIsNoDatabaseStaysForeignHoweverOftenItIsTried() throws {
        for bytes in [Array("a letter".utf8), [UInt8](repeating: 0, count: 5000), [0x53]] {
            try directory.write(bytes, to: "ledger.db")
            for _ in 0..<3 { #expect(failure() == .foreign) }
            #expect(try directory.bytes(of: "ledger.db") == bytes)
            #expect(try directory.names == ["ledger.db"], "nothing is left beside it")
        }
    }

    @Test func whatIsNoDatabaseWhereALedgerWasIsDamaged() throws {
        try LedgerFile(path: path).apply(.make(1))
        for bytes in [Array("a letter".utf8), [UInt8](repeating: 0, count: 5000), [0x53]] {
            try directory.write(bytes, to: "ledger.db")
            for _ in 0..<2 { #expect(failure() == .damaged) }
            #expect(try directory.bytes(of: "ledger.db") == bytes)
        }
    }

    @Test func aDirectoryAtThePathIsRefused() throws {
        _ = try LedgerFile(path: path + "/ledger.db")
        #expect(failure() == .foreign)
        #expect(access(path + ".lock", F_OK) != 0, "nothing is left beside it")
    }

    @Test func aPathThroughAFileIsRefused() throws {
        try directory.write([1], to: "file")
        #expect(failure(directory.path + "/file/ledger.db") == .unavailable)
    }

    @Test(.enabled(if: geteuid() == 0, "only root can take on another user's rights"))
    func aFileThatMayNotBeReadIsUnavailable() throws {
        try LedgerFile(path: path).apply(.make(1))
        chmod(path, 0o600)
        chmod(path + ".lock", 0o666)
        chmod(directory.path, 0o755)
        // This changes only this thread. The function returns the previous user: the second call shows that it worked.
        _ = test_set_file_user(65_534)
        defer { _ = test_set_file_user(0) }
        #expect(test_set_file_user(65_534) == 65_534)
        #expect(failure() == .unavailable)
    }

    @Test func aDamagedLedgerMakesRoomForANewOne() throws {
        do {
            let file = try LedgerFile(path: path)
            try file.apply(.make(1))
            let left = try directory.bytes(of: "ledger.db-wal")
            withExtendedLifetime(file) {}
            try directory.write(left, to: "left")
        }
        try directory.write(try directory.bytes(of: "left"), to: "ledger.db-wal")
        try directory.write(Array("damaged".utf8), to: "ledger.db")
        #expect(failure() == .damaged)
        let aside = try LedgerFile.moveAside(path: path, at: Timestamp(secondsSinceEpoch: testStart))
        #expect(aside == path + ".damaged-20261121T000000Z")
        #expect(try directory.bytes(of: "ledger.db.damaged-20261121T000000Z") == Array("damaged".utf8))
        #expect(directory.exists("ledger.db.damaged-20261121T000000Z-wal") && !directory.exists("ledger.db-wal"))
        #expect(try LedgerFile(path: path).isInUse == false)
    }

    @Test func aFileThatWasDeletedOrReplacedIsNotWrittenTo() throws {
        let file = try LedgerFile(path: path)
        try file.apply(.make(1))
        try directory.remove("ledger.db")
        func code(_ body: () throws(StoreError) -> Void) -> StoreError.Code? {
            do throws(StoreError) { try body() } catch { return error.code }
            return nil
        }
        #expect(code { () throws(StoreError) in try file.apply(.make(2)) } == .replaced)
        try directory.write([1, 2, 3], to: "ledger.db")
        #expect(code { () throws(StoreError) in try file.apply(.make(2)) } == .replaced)
        #expect(code { () throws(StoreError) in try file.rezone(to: .utc) } == .replaced)
        #expect(try directory.bytes(of: "ledger.db") == [1, 2, 3])
    }

    @Test func theSizeIsThatOfTheFileAndItsLog() throws {
        let file = try LedgerFile(path: path)
        try file.apply(.make(1))
        let sum = try directory.bytes(of: "ledger.db").count + directory.bytes(of: "ledger.db-wal").count
        #expect(file.sizeBytes == Int64(sum))
    }

    @Test func everyErrorNamesTheFileAndTheRemedy() {
        for code in [.locked, .newer, .foreign, .damaged, .replaced, .busy, .full, .unavailable] as [StoreError.Code] {
            let text = StoreError(code, path: "/x/ledger.db", "what is wrong").description
            #expect(text.hasPrefix("/x/ledger.db: what is wrong; "))
            #expect(text.utf8.count > "/x/ledger.db: what is wrong; ".utf8.count + 20)
        }
    }
}
