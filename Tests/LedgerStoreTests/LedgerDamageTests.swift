import CSQLite
import SQLite
import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// Whatever a file contains, the ledger works with it or reports what is wrong.
@Suite("Damaged ledgers")
struct LedgerDamageTests {
    /// A populated ledger as a kill left it: with bytes in the database and in the log.
    private static func populated() throws -> TemporaryDirectory {
        let living = try TemporaryDirectory()
        let file = try LedgerFile(path: living.ledger)
        for sequence: Int64 in 1...6 {
            var commit = Commit.make(
                sequence, accounts: [.make(1, .uplink), .make(2, "eth0"), .make(3, .collapsed("veth*"))],
                devices: [.make(1, "eth0", account: 2), .make(2, "veth1", account: 3)])
            for number: Int64 in 0..<200 {
                let account = 1 + number % 3
                commit.book(account, UInt64(number) << 20, 1, at: testStart + sequence * 86_400 + number * 400, .utc)
            }
            try file.apply(commit)
            if sequence == 3 { try file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)") }
        }
        let dead = try TemporaryDirectory()
        try dead.copyLedger(from: living)
        return dead
    }

    /// Does everything that the program does with a file. Any problem must be a `StoreError`.
    private func use(_ path: String) throws(StoreError) {
        let now = Moment(
            wallNanoseconds: (testStart + 86_400 * 9) * 1_000_000_000, sinceBoot: BootTime(nanoseconds: 100_000_000_000)
        )
        let file = try LedgerFile(path: path)
        try file.rezone(to: LocalCalendar(zone: Zone(fixedOffsetSeconds: 19_800), weekStart: .monday))
        let names: Set = [DeviceName("eth0"), DeviceName("eth1"), DeviceName("veth1")]
        let stored = try file.load(daysFrom: CivilDate(daysSinceEpoch: 20_000), names: names)
        let present = names.sorted().enumerated().map { number, name in
            (
                Device(index: DeviceIndex(rawValue: UInt32(number + 1)), name: name),
                Counters(received: .max, transmitted: 1 << 62)
            )
        }
        var ledger = Ledger(
            stored: stored, devices: present,
            rules: AccountingRules(exclude: [], collapse: [], samplingInterval: .zero),
            calendar: .utc, epoch: Epoch(bootID: "boot", networkNamespace: 1), now: now, isPersistent: true)
        for round in 0..<3 {
            ledger.record(
                present.map {
                    Reading(device: $0.0.index, counters: Counters(received: UInt64(round), transmitted: 5))
                },
                at: now, endsInterval: true)
            guard let commit = ledger.takeCommit() else { return }
            let adopted = try file.apply(commit, calendar: .utc, horizon: now.timestamp.adding(seconds: -86_400 * 6))
            ledger.acknowledgeCommit()
            for history in adopted { ledger.adopt(history) }
        }
        try file.rezone(to: .utc)
        _ = try file.loadAll()
    }

    @Test func withoutDamageEverythingWorks() throws {
        let directory = try Self.populated()
        try use(directory.ledger)
        #expect(try LedgerFile(path: directory.ledger).loadAll().header?.sequence == 9)
    }

    @Test(arguments: 0..<10)
    func damagedBytesAreWorkedWithOrTold(part: UInt64) throws {
        let base = try Self.populated()
        let database = try base.bytes(of: "ledger.db")
        // Without the zeros at its end, which don't matter.
        let whole = try base.bytes(of: "ledger.db-wal")
        let log = Array(whole.prefix(through: whole.lastIndex { $0 != 0 } ?? 0))
        #expect(database.count > 10_000 && log.count > 10_000)
        var told = 0
        for seed in part * 50..<part * 50 + 50 {
            var random = SeededGenerator(seed: seed)
            let directory = try TemporaryDirectory()
            try directory.copyLedger(from: base)
            if Int.random(in: 0..<3, using: &random) > 0 {
                try directory.write(Self.damaged(database, using: &random), to: "ledger.db")
                // Half of them without the log, which would heal many pages.
                if Bool.random(using: &random) { try directory.write([], to: "ledger.db-wal") }
            } else {
                try directory.write(Self.damaged(log, using: &random), to: "ledger.db-wal")
            }
            do throws(StoreError) { try use(directory.ledger) } catch { told += 1 }
        }
        #expect(told > 0, "some damage is noticed")
    }

    private static func damaged(_ bytes: [UInt8], using random: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            guard !bytes.isEmpty else { return bytes }
            let place = Int.random(in: 0..<bytes.count, using: &random)
            let length = min(bytes.count - place, Int.random(in: 1...64, using: &random))
            let page = place / 1024 * 1024
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: for index in page..<min(page + 1024, bytes.count) { bytes[index] = 0 }
            case 2: bytes.removeLast(bytes.count - place)
            case 3: for index in place..<place + length { bytes[index] = .random(in: 0 ... .max, using: &random) }
            case 4: for index in place..<place + length { bytes[index] = 0xFF }
            default:
                // The head of a page: its kind, the number of its cells and where they are.
                for index in page..<min(page + 12, bytes.count) where Bool.random(using: &random) {
                    bytes[index] = .random(in: 0 ... .max, using: &random)
                }
            }
        }
        return bytes
    }

    /// Every column that is read, with its table and that table's key.
    private static let columns: [(table: String, key: String, name: String)] = [
        ("ledger", "id", "ledger_id sequence boot_id netns boot read_at_ns read_boot_ns clean buckets_from attachment"),
        ("account", "id", "id kind name scope received_offset transmitted_offset boot resets gap_bytes suspect_bytes"),
        ("device", "ifindex", "ifindex name account received transmitted state uplink"),
        ("bucket", "start, account", "start account received transmitted"),
        ("day", "day, account", "day account received transmitted"), ("day_start", "day", "day start"),
        (
            "application_counter", "cgroup, process",
            "cgroup received transmitted saved_received saved_transmitted withheld_received withheld_transmitted"
        ),
        (
            "uplink_counter", "ifindex, scope",
            "ifindex received transmitted saved_received saved_transmitted withheld_received withheld_transmitted"
        ),
    ].flatMap { table, key, names in names.split(separator: " ").map { (table, key, String($0)) } }

    /// Pages that SQLite finds in order, with numbers in them that the program would never write.
    @Test(arguments: columns.indices)
    func impossibleNumbersAreWorkedWithOrTold(number: Int) throws {
        let base = try Self.populated()
        let (table, key, column) = Self.columns[number]
        let values: [Int64] = [
            .min, .min + 1, .min + 299, -86_401, -1, 0, 1, 299, 1 << 31, 1 << 32, 1 << 62, .max - 600, .max - 299,
            .max - 2,
            .max - 1, .max,
        ]
        for (value, order) in values.flatMap({ [($0, "ASC"), ($0, "DESC")] }) {
            let directory = try TemporaryDirectory()
            try directory.copyLedger(from: base)
            // A row isn't changed if its new key exists already.
            try Connection(path: directory.ledger).execute(
                """
                PRAGMA ignore_check_constraints = ON;
                UPDATE OR IGNORE \(table) SET \(column) = \(value)
                WHERE (\(key)) = (SELECT \(key) FROM \(table) ORDER BY \(key) \(order) LIMIT 1)
                """)
            // Working and reporting damage are both right; only a trap is wrong.
            do throws(StoreError) { try use(directory.ledger) } catch {
                #expect([.damaged, .replaced].contains(error.code), "\(table).\(column) = \(value): \(error)")
            }
        }
    }

    @Test func anAccountThatIsThereTwiceIsDamage() throws {
        let directory = try Self.populated()
        try Connection(path: directory.ledger).execute(
            """
            DROP INDEX account_name;
            INSERT INTO account SELECT 9, kind, name, 0, 0, 0, 0, 0, 0, scope FROM account WHERE id = 2
            """)
        let file = try LedgerFile(path: directory.ledger)
        let error = #expect(throws: StoreError.self) { try file.loadAll() }
        #expect(error?.code == .damaged)
    }
}
