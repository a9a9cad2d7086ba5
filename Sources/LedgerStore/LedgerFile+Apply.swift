import Accounting
import CivilTime
import SQLite

/// Writing the ledger.
extension LedgerFile {
    /// Writes a commit. All of it is on the disk when this returns.
    ///
    /// If the file has the commit already, because an earlier try failed only at its end, this writes nothing.
    ///
    /// - Parameters:
    ///   - calendar: For the beginnings of days.
    ///   - horizon: Buckets that end before it may be removed, a few with each commit.
    ///   - applicationHorizon: The same for buckets of applications.
    /// - Returns: Histories that the file has under the names of accounts that are new to it.
    /// - Throws: `StoreError`. Then the file is unchanged, unless the disk failed at the very end: then it may have the
    ///   whole commit, and the next try finds it.
    @discardableResult
    package func apply(
        _ commit: Commit, calendar: LocalCalendar, horizon: Timestamp, applicationHorizon: Timestamp = .earliest
    ) throws(StoreError) -> [AdoptedHistory] {
        try checkIsInPlace()
        copyLongLog()
        let adopted = try translatingErrors {
            try connection.transaction { () -> [AdoptedHistory] in
                let sequence: Int64 = try connection.value("SELECT sequence FROM ledger") ?? 0
                if sequence == commit.header.sequence {
                    return lastAdoption.flatMap { $0.sequence == sequence ? $0.histories : nil } ?? []
                }
                guard sequence == commit.header.sequence - 1 || !isInUse else {
                    throw StoreError(.replaced, path: path, "it holds another commit than the one written last")
                }
                for fold in commit.bookings.folds { try apply(fold) }
                // An account that has an import isn't empty.
                for id in commit.bookings.removedAccounts {
                    try connection.run(
                        """
                        DELETE FROM account WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM import WHERE account = ?1)
                            AND NOT EXISTS (SELECT 1 FROM taken WHERE account = ?1)
                        """, id)
                }
                // Remove all of them first: two may have swapped their names.
                for record in commit.accounts {
                    try connection.run("DELETE FROM account WHERE id = ?1", record.id)
                }
                let adopted = try commit.accounts.compactMap { try apply($0) }
                // All bytes count as metered here: nobody knows any more which of them were imported.
                if commit.bookings.isWhole {
                    for record in commit.accounts { try noteImport(of: record.id, ownFrom: .earliest) }
                }
                lastAdoption = (commit.header.sequence, adopted)
                try applyDevices(commit)
                let previous: Int64 = try connection.value("SELECT read_at_ns FROM ledger") ?? .min
                if previous > commit.header.lastReading.wallNanoseconds {
                    try clipUnread(at: commit.header.lastReading.timestamp)
                }
                try apply(commit.header)
                if let changes = commit.applications { try apply(changes) }
                try applyBookings(commit, calendar: calendar, horizon: horizon)
                for event in commit.bookings.events { try add(event, forgettingBefore: horizon) }
                for event in commit.bookings.starts { try setAwaitsProgram(as: event) }
                for adjustment in commit.bookings.adjustments { try add(adjustment) }
                for cycle in commit.bookings.committedCycles { try put(cycle) }
                for span in commit.bookings.unread { try addUnread(span, forgettingBefore: horizon) }
                try prune(commit, before: horizon)
                try pruneApplications(commit, before: applicationHorizon)
                return adopted
            }
        }
        isInUse = true
        return adopted
    }

    private func apply(_ header: LedgerHeader) throws {
        try connection.run(
            """
            INSERT INTO ledger (id, ledger_id, sequence, boot_id, netns, boot, read_at_ns, read_boot_ns, clean, buckets_from)
            VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, -9223372036854775808)
            ON CONFLICT (id) DO UPDATE SET sequence = ?2, boot_id = ?3, netns = ?4, boot = ?5, read_at_ns = ?6,
                read_boot_ns = ?7, clean = ?8
            """, identity, header.sequence, header.epoch.bootID, Int64(bitPattern: header.epoch.networkNamespace),
            header.boot, header.lastReading.wallNanoseconds, header.lastReading.sinceBoot.nanoseconds, header.isClean)
    }

    // MARK: - Accounts

    private func apply(_ fold: Bookings.Fold) throws {
        let ownFrom = [try ownBeginning(of: fold.source), try ownBeginning(of: fold.target)].compactMap { $0 }.min()
        for (table, slot) in [("bucket", "start"), ("day", "day")] {
            try connection.run(
                """
                INSERT INTO \(table) (\(slot), account, received, transmitted)
                SELECT \(slot), ?2, received, transmitted FROM \(table) WHERE account = ?1
                ON CONFLICT (\(slot), account) DO UPDATE SET \(Self.addition)
                """, fold.source, fold.target)
            try connection.run("DELETE FROM \(table) WHERE account = ?1", fold.source)
        }
        try foldImport(fold, ownFrom: ownFrom)
        try connection.run("DELETE FROM account WHERE id = ?1", fold.source)
    }

    /// Imports of either account stay marked as imports. Later ones can add bytes from before both accounts' own bytes.
    private func foldImport(_ fold: Bookings.Fold, ownFrom: Timestamp?) throws {
        let (source, target) = (fold.source, fold.target)
        if try !past.hasImport(source), try !past.hasImport(target) { return }
        try connection.run(
            """
            INSERT INTO taken (account, source, start_at, end_at, booked_until, received, transmitted, \(Self.toldColumns))
            SELECT ?2, source, start_at, end_at, booked_until, received, transmitted, \(Self.toldColumns)
            FROM taken WHERE account = ?1
            ON CONFLICT (account, source, start_at, end_at, booked_until) DO UPDATE SET \(Self.takenAddition)
            """, source, target)
        try noteImport(of: target, ownFrom: ownFrom)
        try connection.run(
            "UPDATE import SET clock = coalesce(clock, (SELECT clock FROM import WHERE account = ?1)) WHERE account = ?2",
            source, target)
        for table in ["taken", "import"] { try connection.run("DELETE FROM \(table) WHERE account = ?1", source) }
    }

    /// When an account's own bytes begin: the noted time if something was imported, else by its first day.
    private func ownBeginning(of account: AccountID) throws -> Timestamp? {
        if try past.hasImport(account) { return try past.ownFrom(of: account) }
        guard
            let start: Timestamp = try connection.value(
                "SELECT start FROM day_start WHERE day = (SELECT min(day) FROM day WHERE account = ?1)", account)
        else { return nil }
        return try start < past.keptFrom() ? start : past.firstBucket(of: account, from: start)?.start ?? start
    }

    /// Notes when an account's own bytes begin, `nil` if it has none, and for which time bytes were imported.
    func noteImport(of account: AccountID, ownFrom: Timestamp?) throws {
        try connection.run(
            """
            INSERT OR REPLACE INTO import (account, own_from, taken_from, taken_until, clock)
            SELECT ?1, ?2, min(min(start_at, booked_until - 1)), max(booked_until),
                (SELECT clock FROM import WHERE account = ?1)
            FROM taken WHERE account = ?1 AND (received > 0 OR transmitted > 0)
            """, account, ownFrom)
    }

    /// - Returns: The history of another account that had this one's name, if there was one.
    func apply(_ record: AccountRecord) throws -> AdoptedHistory? {
        let (kind, name, scope) = record.key.columns
        let namesake = try connection.rows(
            """
            SELECT id, resets, gap_bytes, suspect_bytes FROM account WHERE kind = ?1 AND name = ?2 AND scope = ?3
            """, kind, name, scope
        ) { (id: $0[0] as AccountID, events: $0.events(from: 1)) }.first
        var adopted: AdoptedHistory?
        var record = record
        if let (id, events) = namesake {
            adopted = try adopt(id, into: record.id, events: events)
            record.events.add(events)
        }
        try connection.run(
            """
            INSERT INTO account
                (id, kind, name, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes, scope)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
            """, record.id, kind, name, Int64(bitPattern: record.counterOffset.received),
            Int64(bitPattern: record.counterOffset.transmitted), record.offsetBoot, record.events.resets,
            record.events.gapBytes, record.events.suspectBytes, scope)
        return adopted
    }

    private func adopt(_ previous: AccountID, into account: AccountID, events: AccountEvents) throws -> AdoptedHistory {
        var history = AdoptedHistory(account: account, events: events, days: [])
        try connection.forEach("SELECT day, account, received, transmitted FROM day WHERE account = ?1", previous) {
            row in
            var entry = try day(in: row)
            entry.account = account
            history.days.append(entry)
        }
        try apply((source: previous, target: account))
        return history
    }

    // MARK: - Devices and bytes

    private func applyDevices(_ commit: Commit) throws {
        for index in commit.removedDevices {
            try connection.run("DELETE FROM device WHERE ifindex = ?1", index)
            try connection.run("DELETE FROM fall WHERE ifindex = ?1", index)
        }
        for record in commit.devices {
            try connection.run(
                """
                INSERT OR REPLACE INTO device (ifindex, name, account, received, transmitted, state, uplink, address)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                """, record.index, record.name, record.account, Int64(bitPattern: record.counters.received),
                Int64(bitPattern: record.counters.transmitted), record.state.rawValue, record.holdsUplink,
                record.hardwareAddress.isEmpty ? nil : record.hardwareAddress)
            try connection.run("DELETE FROM fall WHERE ifindex = ?1", record.index)
            for direction in TrafficDirection.allCases {
                if let fall = record.falls[direction] { try add(fall, of: record.index, direction) }
            }
        }
    }

    private func add(_ fall: FallRecord, of index: DeviceIndex, _ direction: TrafficDirection) throws {
        try connection.run(
            """
            INSERT INTO fall (ifindex, direction, read_at_ns, read_boot_ns, seen_boot_ns, uplink, shown, first_shown, growth,
                held, held_uplink)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            """, index, direction.rawValue, fall.beforeAt.wallNanoseconds, fall.beforeAt.sinceBoot.nanoseconds,
            fall.seenAt.nanoseconds, fall.heldUplink, Int64(bitPattern: fall.shown),
            Int64(bitPattern: fall.firstShown), fall.fastestGrowth, fall.held, fall.heldOfUplink)
    }

    private func applyBookings(_ commit: Commit, calendar: LocalCalendar, horizon: Timestamp) throws {
        for (key, total) in commit.bookings.buckets { try add(total, to: key.account, at: key.bucket) }
        for entry in commit.bookings.spreads {
            let made = min(Bucket(containing: horizon).start, Bucket(containing: entry.spread.end).end)
            if entry.spread.start < made { try omitBuckets(before: made) }
            try entry.spread.forEachBucket(since: horizon) { bucket, delta in
                try add(Total(delta), to: entry.account, at: bucket)
            }
        }
        for (key, total) in commit.bookings.days { try add(total, to: key.account, on: key.day, calendar: calendar) }
        // Note when own bytes begin, for accounts that had an import before. Later, when the buckets are gone, nobody
        // can find that out.
        let waiting: Set<AccountID> = Set(
            try connection.rows("SELECT account FROM import WHERE own_from IS NULL") { $0[0] })
        if waiting.isEmpty { return }
        let starts: [(AccountID, Timestamp)] =
            commit.bookings.buckets.keys.map { ($0.account, $0.bucket.start) }
            + commit.bookings.spreads.map { ($0.account, $0.spread.start) }
        let firsts = Dictionary(starts.filter { waiting.contains($0.0) }, uniquingKeysWith: min)
        for (account, first) in firsts {
            try connection.run("UPDATE import SET own_from = ?2 WHERE account = ?1", account, first)
        }
    }

    /// Adds to the stored bytes, and stops at the largest integer: beyond it SQLite would change to floating point.
    static var addition: String {
        ["received", "transmitted"].map { column in
            "\(column) = CASE WHEN \(column) > 9223372036854775807 - excluded.\(column) THEN 9223372036854775807"
                + " ELSE \(column) + excluded.\(column) END"
        }.joined(separator: ", ")
    }

    static let toldColumns = "told_received, told_transmitted, own_received, own_transmitted"

    /// The same for `taken`.
    static var takenAddition: String {
        toldColumns.split(separator: ", ").reduce(addition) { $0 + ", \($1) = max(\($1), excluded.\($1))" }
    }

    private static let bucketAddition = """
        INSERT INTO bucket (start, account, received, transmitted) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (start, account) DO UPDATE SET \(addition)
        """

    private static let dayAddition = """
        INSERT INTO day (day, account, received, transmitted) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (day, account) DO UPDATE SET \(addition)
        """

    func add(_ total: Total, to account: AccountID, at bucket: Bucket) throws {
        try connection.run(Self.bucketAddition, bucket.start, account, total.received, total.transmitted)
    }

    func add(_ total: Total, to account: AccountID, on day: CivilDate, calendar: LocalCalendar) throws {
        try connection.run(Self.dayAddition, day, account, total.received, total.transmitted)
        try connection.run(
            "INSERT OR IGNORE INTO day_start (day, start) VALUES (?1, ?2)", day, calendar.start(of: day))
    }

    // MARK: - Retention

    /// How many buckets one commit removes beyond the number that it added. Small steps keep commits short. And a clock
    /// that is wrong for an hour costs hours of buckets, not all of them.
    private static let bucketsPrunedPerCommit = 2

    private func prune(_ commit: Commit, before horizon: Timestamp) throws {
        let added = Set(commit.bookings.buckets.keys.map(\.bucket)).count
        for _ in 0..<added + Self.bucketsPrunedPerCommit {
            guard let oldest = try oldestBucket() else { return }
            if oldest.end > horizon { return }
            try connection.run("DELETE FROM bucket WHERE start = ?1", oldest.start)
            try omitBuckets(before: oldest.end)
        }
    }

    /// Removes buckets of applications, as many as ``prune(_:before:)`` does of all.
    private func pruneApplications(_ commit: Commit, before horizon: Timestamp) throws {
        var from: Timestamp = try connection.value("SELECT application_buckets_from FROM ledger") ?? .earliest
        let added = Set(commit.bookings.buckets.keys.map(\.bucket))
        // Of a time that was removed already, by a clock that was set back.
        from = min(from, added.map(\.start).min() ?? from)
        for _ in 0..<added.count + Self.bucketsPrunedPerCommit {
            let start: Timestamp? = try connection.value("SELECT min(start) FROM bucket WHERE start >= ?1", from)
            guard let oldest = start.map({ Bucket(start: $0) }), oldest.end <= horizon else { return }
            try connection.run(
                """
                DELETE FROM bucket WHERE start = ?1
                    AND account IN (SELECT id FROM account WHERE kind IN ('application', 'application_elsewhere'))
                """, oldest.start)
            from = oldest.end
            try connection.run("UPDATE ledger SET application_buckets_from = max(application_buckets_from, ?1)", from)
        }
    }

    /// Notes that buckets before this moment may be missing: their sums may be less than the days.
    func omitBuckets(before start: Timestamp) throws {
        try connection.run("UPDATE ledger SET buckets_from = max(buckets_from, ?1)", start)
    }

    func oldestBucket() throws -> Bucket? {
        let start: Timestamp? = try connection.value("SELECT min(start) FROM bucket")
        return start.map { Bucket(start: $0) }
    }
}
