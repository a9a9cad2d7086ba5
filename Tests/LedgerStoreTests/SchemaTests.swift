import Foundation
import SQLite
import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

@Suite("Ledgers of released versions")
struct SchemaTests {
    /// A ledger made from the dump of a ledger that a released version wrote: `Fixtures/schema-N.sql`.
    private func ledger(ofVersion version: Int, in directory: TemporaryDirectory) throws -> LedgerFile {
        let url = try #require(
            Bundle.module.url(forResource: "schema-\(version)", withExtension: "sql", subdirectory: "Fixtures"))
        try Connection(path: directory.ledger).execute(try String(contentsOf: url, encoding: .utf8))
        return try LedgerFile(path: directory.ledger)
    }

    @Test(arguments: 1...Int(Schema.version))
    func aLedgerOfEveryReleasedVersionOpensAndGoesOn(version: Int) throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(ofVersion: version, in: directory)
        let stored = try file.loadAll()
        #expect(stored.header?.sequence == 2)
        #expect(stored.header?.epoch == Epoch(bootID: "boot", networkNamespace: 1))
        #expect(stored.accounts.count == 3)
        #expect(stored.account(2)?.record.key == .device(DeviceName("eth0")))
        #expect(stored.account(2)?.lifetime == Total(received: 1500, transmitted: 50))
        #expect(stored.account(3)?.record.key == .device(DeviceName(bytes: [0x65, 0xFF])))
        #expect(stored.devices.map(\.index.rawValue).sorted() == [1, 2])
        #expect(stored.devices.first { $0.index.rawValue == 1 }?.counters == Counters(received: 1, transmitted: .max))
        let fall = stored.devices.first { $0.index.rawValue == 1 }?.falls[.received]
        #expect(
            fall.map { [$0.shown, $0.firstShown, $0.fastestGrowth, $0.held, $0.heldOfUplink] }
                == (version < 5 ? nil : [7, 3, 4, 9, 8]))
        #expect(stored.applications?.attachment == (version < 7 ? nil : 4711))
        #expect(
            stored.applications?.baselines.values.map(\.application) == (version < 7 ? nil : [ApplicationName("curl")]))
        let basis = [DeviceIndex(rawValue: 1): LinkBasis(received: .wire)]
        #expect(version < 7 || stored.applications?.bases == basis)
        var commit = Commit.make(3)
        commit.book(2, 1, 1, at: testStart, .utc)
        try file.apply(commit)
        #expect(try file.loadAll().account(2)?.lifetime == Total(received: 1501, transmitted: 51))
        let copy = try directory.copy()
        #expect(try Connection(path: copy.ledger).value("PRAGMA user_version") == Schema.version)
    }

    /// A released step never changes. Each new step needs a new dump.
    @Test func theNewestDumpHasTheTablesThatThisVersionMakes() throws {
        func schema(_ path: String) throws -> [String] {
            try Connection(path: path).rows("SELECT type || name || sql FROM sqlite_master ORDER BY 1") { $0[0] }
        }
        let old = try TemporaryDirectory()
        let new = try TemporaryDirectory()
        _ = try ledger(ofVersion: Int(Schema.version), in: old)
        _ = try LedgerFile(path: new.ledger)
        #expect(try schema(old.ledger) == schema(new.ledger))
        #expect(try schema(new.ledger).count >= 9)
    }

    @Test func theViewsShowBytesByNameAndDate() throws {
        let directory = try TemporaryDirectory()
        _ = try ledger(ofVersion: 1, in: directory)
        let lines: [String] = try Connection(path: directory.ledger).rows(
            """
            SELECT date || ' ' || name || ' ' || received FROM days
            WHERE kind = 'device' AND typeof(name) = 'text' ORDER BY 1
            """
        ) { $0[0] }
        #expect(lines == ["2026-11-20 eth0 500", "2026-11-21 eth0 1000"])
    }
}
