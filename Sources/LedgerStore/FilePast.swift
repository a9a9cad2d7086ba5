import Accounting
import CivilTime
import SQLite

/// The booked past in a ledger's file. Use it within a transaction.
struct FilePast: BookedPast {
    let file: LedgerFile

    private var connection: Connection { get throws { try file.connection } }

    func lastReading() throws -> Timestamp? { try file.loadHeader()?.lastReading.timestamp }

    func keptFrom() throws -> Timestamp {
        try connection.value("SELECT buckets_from FROM ledger") ?? .earliest
    }

    /// The same for buckets of applications.
    func applicationsKeptFrom() throws -> Timestamp {
        max(
            try keptFrom(),
            try connection.value("SELECT application_buckets_from FROM ledger") ?? .earliest)
    }

    func firstBucket(of account: AccountID, from start: Timestamp) throws -> Bucket? {
        let first: Timestamp? = try connection.value(
            "SELECT start FROM bucket WHERE start >= ?1 AND account = ?2 ORDER BY start LIMIT 1", start, account)
        return first.map { Bucket(start: $0) }
    }

    func meteredFrom() throws -> Timestamp? {
        try connection.value("SELECT max(end_at) FROM unread WHERE start_at = ?1", Timestamp.earliest)
    }

    func key(of account: AccountID) throws -> AccountKey? {
        try connection.rows("SELECT kind, name, scope FROM account WHERE id = ?1", account) { AccountKey($0, from: 0) }
            .first
            ?? nil
    }

    func accounts(ofSource source: String) throws -> [AccountID] {
        guard let name = DeviceName(label: source) else { return [] }
        var found = try [file.number(of: .device(name))].compactMap { $0 }
        try connection.forEach("SELECT id, name FROM account WHERE kind = 'collapsed' ORDER BY id") { row in
            let isOfClass = DevicePattern(row[1])?.matches(name) ?? false
            if isOfClass { found.append(row[0]) }
        }
        return found
    }

    func hasImport(_ account: AccountID) throws -> Bool {
        try connection.value("SELECT 1 FROM import WHERE account = ?1", account) == 1
    }

    func ownFrom(of account: AccountID) throws -> Timestamp? {
        try connection.value("SELECT own_from FROM import WHERE account = ?1", account)
    }

    func importedRows(_ owner: ImportOwner, in span: Range<Timestamp>) throws -> [ImportedRow] {
        let (isMeant, account, source) =
            switch owner {
            case .account(let account): ("account = ?1", account, "")
            case .source(let source, in: let account): ("account = ?1 AND source = ?2", account, source)
            case .sourceElsewhere(let source, than: let account):
                ("source = ?2 AND account <> ?1 AND \(Self.isNoUplink)", account, source)
            case .ownElsewhere(let account):
                ("account <> ?1 AND (own_received > 0 OR own_transmitted > 0) AND \(Self.isNoUplink)", account, "")
            }
        return try connection.rows(
            """
            SELECT start_at, end_at, booked_until, received, transmitted, \(LedgerFile.toldColumns), source FROM taken
            WHERE \(isMeant) AND min(start_at, booked_until - 1) < ?4 AND max(end_at, booked_until) > ?3 ORDER BY start_at
            """, account, source, span.lowerBound, span.upperBound
        ) { row in
            let slot = row.span(from: 0)
            if slot.isEmpty { throw file.damaged("it has an impossible time of an import") }
            return ImportedRow(
                slot: slot, bookedUntil: row[2], total: row.total(from: 3), reported: row.total(from: 5),
                own: row.total(from: 7), source: row[9])
        }
    }

    /// A condition for a row of `taken`. It looks up one account per row, because a list of all accounts costs more.
    static let isNoUplink = "(SELECT kind FROM account WHERE id = taken.account) <> 'uplink'"

    func gaps(in span: Range<Timestamp>) throws -> [Range<Timestamp>] {
        try connection.rows(
            "SELECT start_at, end_at FROM unread WHERE start_at > ?1 AND start_at < ?3 AND end_at > ?2 ORDER BY start_at",
            Timestamp.earliest, span.lowerBound, span.upperBound
        ) { $0.span(from: 0) }
    }

    func bucketRows(
        of account: AccountID, from start: Timestamp, before end: Timestamp
    ) throws -> [OwnBytes.Row] {
        try connection.rows(Self.rows(of: "bucket", by: "start", upTo: "<"), start, end, account) { row in
            let bucket = Bucket(start: row[0])
            return (bucket.start..<bucket.end, row.total(from: 2))
        }
    }

    func dayRows(of account: AccountID, _ days: ClosedRange<CivilDate>) throws -> [StoredLedger.StoredDay] {
        let sql = Self.rows(of: "day", by: "day", upTo: "<=")
        return try connection.rows(sql, days.lowerBound, days.upperBound, account) { try file.day(in: $0) }
    }

    /// An account's rows from `?1` on. Steps from one value of `column` to the next, because each may have thousands of
    /// accounts.
    private static func rows(of table: String, by column: String, upTo sign: String) -> String {
        """
        WITH RECURSIVE step (place) AS (
            SELECT min(\(column)) FROM \(table) WHERE \(column) >= ?1
            UNION ALL
            SELECT (SELECT min(\(column)) FROM \(table) WHERE \(column) > place) FROM step WHERE place \(sign) ?2
        )
        SELECT \(column), account, received, transmitted FROM step CROSS JOIN \(table)
        WHERE place \(sign) ?2 AND \(column) = place AND account = ?3
        """
    }
}
