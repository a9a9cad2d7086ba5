import Foundation
import SQLite
import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// Looking at a ledger without touching anything.
@Suite("An image of a database")
struct DatabaseImageTests {
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

    private func sum() throws -> Int64? {
        try LedgerFile(reading: directory.ledger).connection.value("SELECT sum(received) FROM day")
    }

    @Test func itHasTheLastCommitWhereverThatStands() throws {
        for sequence: Int64 in 1...70 {
            try book(sequence)
            #expect(try sum() == sequence, "in the log, in the file, and in both")
        }
        try file.tidy()
        #expect(try sum() == 70)
    }

    /// File and log may each be small enough, and the database that both make too large.
    @Test func aDatabaseThatItsLogMakesTooLargeIsntRead() throws {
        let path = directory.path + "/foreign.db"
        let database = try Connection(path: path)
        try database.execute("PRAGMA journal_mode = WAL")
        try database.execute("PRAGMA wal_autocheckpoint = 0")
        try database.run("CREATE TABLE filler (bytes BLOB)")
        try database.run("INSERT INTO filler VALUES (zeroblob(400000))")
        try database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        try database.run("INSERT INTO filler VALUES (zeroblob(400000))")
        #expect(throws: StoreError.self) { _ = try DatabaseImage(path: path, maximumBytes: 600_000) }
        let image = try DatabaseImage(path: path, maximumBytes: 1_000_000).connect()
        #expect(try image.value("SELECT count(*) FROM filler") == 2)
    }

    @Test func readingLeavesNothingAndNeedsNoWriting() throws {
        try book(1)
        let before = try directory.names.map { ($0, try directory.bytes(of: $0)) }
        chmod(directory.path, 0o500)
        chmod(directory.ledger, 0o400)
        defer { chmod(directory.path, 0o700) }
        let reader = try LedgerFile(reading: directory.ledger)
        #expect(try reader.loadAll().header?.sequence == 1)
        #expect(try reader.problem() == nil)
        let after = try directory.names.map { ($0, try directory.bytes(of: $0)) }
        #expect(before.map(\.0) == after.map(\.0) && before.map(\.1) == after.map(\.1))
    }

    @Test func aReaderSeesOneStateWhileTheFileIsWritten() throws {
        try book(1)
        let reader = try LedgerFile(reading: directory.ledger)
        for sequence: Int64 in 2...40 { try book(sequence) }
        #expect(try reader.connection.value("SELECT sum(received) FROM day") == 1)
    }

    @Test func anOlderLedgerIsBroughtUpToDateInMemoryOnly() throws {
        let old = try TemporaryDirectory()
        let url = try #require(
            Bundle.module.url(forResource: "schema-1", withExtension: "sql", subdirectory: "Fixtures"))
        try Connection(path: old.ledger).execute(try String(contentsOf: url, encoding: .utf8))
        let bytes = try old.bytes(of: "ledger.db")
        let reader = try LedgerFile(reading: old.ledger)
        #expect(try reader.allAdjustments().isEmpty)
        #expect(try reader.loadAll().account(2)?.lifetime == Total(received: 1500, transmitted: 50))
        #expect(try old.bytes(of: "ledger.db") == bytes)
    }

    /// Whatever the log contains, nothing after the last whole commit is read, and nothing traps.
    @Test(arguments: 0..<20)
    func aDamagedLogGivesAnEarlierCommitOrNone(part: UInt64) throws {
        for sequence: Int64 in 1...4 { try book(sequence) }
        let whole = try directory.bytes(of: "ledger.db-wal")
        let last = try #require(WriteAheadLog(whole)?.offsets.values.max())
        let log = Array(whole[..<(last + 1024)])
        var random = SeededGenerator(seed: part)
        var seen: Set<Int> = []
        for _ in 0..<100 {
            var damaged = Array(log.prefix(Int.random(in: 0...log.count, using: &random)))
            for _ in 0..<Int.random(in: 0...2, using: &random) where !damaged.isEmpty {
                damaged[Int.random(in: 0..<damaged.count, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
            }
            let pages = WriteAheadLog(damaged)
            seen.insert(pages?.offsets.values.max() ?? 0)
            for offset in pages?.offsets.values ?? [:].values {
                #expect(offset + (pages?.pageBytes ?? 0) <= damaged.count)
            }
        }
        #expect(seen.count > 2, "some logs still have a commit or two")
    }

    @Test func aSecondDamagedLedgerOfOneSecondGetsANameOfItsOwn() throws {
        let moment = Timestamp(secondsSinceEpoch: testStart)
        var names: Set<String> = []
        for text in ["one", "two", "three"] {
            let other = try TemporaryDirectory()
            for known in names { try Data("kept".utf8).write(to: URL(fileURLWithPath: other.path + "/" + known)) }
            try other.write(Array(text.utf8), to: "ledger.db")
            let aside = try LedgerFile.moveAside(path: other.ledger, at: moment)
            names.insert(String(aside.split(separator: "/").last ?? ""))
            #expect(try other.bytes(of: String(aside.split(separator: "/").last ?? "")) == Array(text.utf8))
            for known in names.dropFirst(0) where known != aside.split(separator: "/").last.map(String.init) {
                #expect(try other.bytes(of: known) == Array("kept".utf8))
            }
        }
        #expect(names.count == 3)
    }

    @Test func linksAndTrapsAreNoLedgers() throws {
        let place = try TemporaryDirectory()
        try FileManager.default.createSymbolicLink(atPath: place.ledger, withDestinationPath: place.path + "/victim")
        #expect(throws: StoreError.self) { try LedgerFile(path: place.ledger) }
        #expect(!place.exists("victim") && !place.exists("ledger.db.lock"))
        try place.remove("ledger.db")
        try FileManager.default.createSymbolicLink(
            atPath: place.ledger + ".lock", withDestinationPath: place.path + "/victim")
        #expect(throws: StoreError.self) { try LedgerFile(path: place.ledger) }
        #expect(!place.exists("victim"))
        try place.write([1], to: "victim")
        #expect(throws: StoreError.self, "not one that leads somewhere either") { try LedgerFile(path: place.ledger) }
        try place.remove("ledger.db.lock")
        #expect(mkfifo(place.ledger, 0o600) == 0)
        #expect(throws: StoreError.self) { try LedgerFile(path: place.ledger) }
        #expect(throws: StoreError.self) { try LedgerFile(reading: place.ledger) }
    }

    @Test(arguments: ["link", "directory", "fifo"])
    func whatIsInTheLogsPlaceIsntTakenForNoLog(trap: String) throws {
        try book(1)
        let log = directory.ledger + "-wal"
        let real = directory.path + "/log"
        try FileManager.default.moveItem(atPath: log, toPath: real)
        switch trap {
        case "link": try FileManager.default.createSymbolicLink(atPath: log, withDestinationPath: real)
        case "directory": try FileManager.default.createDirectory(atPath: log, withIntermediateDirectories: false)
        default: #expect(mkfifo(log, 0o600) == 0)
        }
        let error = #expect(throws: StoreError.self) { try LedgerFile(reading: directory.ledger) }
        #expect(error?.code == .foreign && error?.path.hasSuffix("ledger.db-wal") == true)
    }

    @Test func aHardLinkIsntReadWithoutTheLogThatItLacks() throws {
        try book(1)
        let other = try TemporaryDirectory()
        try FileManager.default.linkItem(atPath: directory.ledger, toPath: other.ledger)
        #expect(try sum() == 1, "by the name that is in use")
        let reading = #expect(throws: StoreError.self) { try LedgerFile(reading: other.ledger) }
        #expect(reading?.code == .foreign && reading?.message.contains("hard link") == true)
        // As a kill leaves it.
        let killed = try directory.copy()
        let again = try TemporaryDirectory()
        try FileManager.default.linkItem(atPath: killed.ledger, toPath: again.ledger)
        let writing = #expect(throws: StoreError.self) { try LedgerFile(path: again.ledger) }
        #expect(writing?.code == .foreign)
        #expect(try again.names == ["ledger.db"])
        #expect(try LedgerFile(path: killed.ledger).loadAll().header?.sequence == 1)
    }

    @Test func aPathThatIsNoTextStaysAsItIsGiven() throws {
        let place = try TemporaryDirectory()
        let bytes = Array(place.path.utf8) + Array("/not\u{FFFD}".utf8).dropLast(3) + [0xFF]
        #expect(mkdir(bytes.map { CChar(bitPattern: $0) } + [0], 0o700) == 0)
        #expect(symlink((bytes + [0]).map { CChar(bitPattern: $0) }, place.path + "/link") == 0)
        #expect(symlink((bytes + Array("/ledger.db".utf8) + [0]).map { CChar(bitPattern: $0) }, place.ledger) == 0)
        #expect(LedgerPlace.resolved(place.path + "/link/ledger.db").hasSuffix("/link/ledger.db"))
        for path in [place.path + "/link/ledger.db", place.ledger] {
            let error = #expect(throws: StoreError.self) { try LedgerFile(path: path) }
            #expect(
                error?.code == .foreign && error?.message.contains("symbolic link") == true, "\(error?.message ?? "")")
        }
        #expect(try place.names.count == 3, "nothing else is made")
    }

    /// The log's new name is too long for any file system, the ledger's isn't.
    @Test func whatCantBeMovedAsideAsAWholeStays() throws {
        let place = try TemporaryDirectory()
        let name = String(repeating: "l", count: 255 - ".damaged-20260101T000000Z".utf8.count)
        for suffix in ["", "-wal", "-shm"] { try place.write(Array(suffix.utf8), to: name + suffix) }
        let error = #expect(throws: StoreError.self) {
            try LedgerFile.moveAside(path: place.path + "/" + name, at: Timestamp(secondsSinceEpoch: testStart))
        }
        #expect(error?.message.contains("can't be moved aside") == true)
        #expect(try place.names == [name, name + "-shm", name + "-wal"])
    }

    @Test func aLedgerIsOneByWhateverPath() throws {
        try book(1)
        let link = try TemporaryDirectory()
        try FileManager.default.createSymbolicLink(atPath: link.ledger, withDestinationPath: directory.ledger)
        #expect(LedgerPlace.resolved(link.ledger) == LedgerPlace.resolved(directory.ledger))
        let first = #expect(throws: StoreError.self) { try LedgerFile(path: link.ledger) }
        #expect(first?.code == .locked)
        let other = try TemporaryDirectory()
        try FileManager.default.linkItem(atPath: directory.ledger, toPath: other.ledger)
        let second = #expect(throws: StoreError.self) { try LedgerFile(path: other.ledger) }
        #expect(second?.code == .locked && !other.exists("ledger.db.lock"), "a hard link")
        #expect(LedgerPlace.resolved(other.path + "/new/dir/l.db").hasSuffix("/new/dir/l.db"))
    }

    @Test func newFilesAreForTheirOwnerAndGroupAlone() throws {
        try book(1)
        for name in ["ledger.db", "ledger.db-wal", "ledger.db.lock"] {
            var status = stat()
            #expect(stat(directory.path + "/" + name, &status) == 0 && status.st_mode & 0o777 & ~0o640 == 0, "\(name)")
        }
    }
}
