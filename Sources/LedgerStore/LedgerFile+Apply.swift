import Accounting
import CivilTime

/// Writing the ledger.
extension LedgerFile {
    /// Carries out a commit: all of it is on the disk when this returns, or nothing of it.
    ///
    /// One that was carried out before, without the program hearing of it, isn't carried out again.
    ///
    /// - Parameters:
    ///   - calendar: Tells when days begin.
    ///   - horizon: Buckets that end before it may go; a few at a time do.
    /// - Returns: Histories that were found under the name of an account that is new to the store.
    /// - Throws: `StoreError`; then the file is as it was before, unless the disk failed at the very end: then it may have
    ///   the whole commit, which the next try finds.
    @discardableResult
    package func apply(_ commit: Commit, calendar: LocalCalendar, horizon: Timestamp) throws(StoreError)
        -> [AdoptedHistory]
    {
        try checkIsInPlace()
        copyLongLog()
        let adopted = try translatingErrors {
            try connection.transaction { () -> [AdoptedHistory] in
                let sequence = try connection.integer("SELECT sequence FROM ledger") ?? 0
                if sequence == commit.header.sequence {
                    return lastAdoption.flatMap { $0.sequence == sequence ? $0.histories : nil } ?? []
                }
                guard sequence == commit.header.sequence - 1 || !isInUse else {
                    throw StoreError(.replaced, path: path, "it holds another commit than the one written last")
                }
                for fold in commit.folds { try apply(fold) }
                for id in commit.removedAccounts { try removeEmptyAccount(id) }
                // All of them make room first: two may have swapped their names.
                for record in commit.accounts { try removeAccount(record.id) }
                let adopted = try commit.accounts.compactMap { try apply($0) }
                // All counts as metered here, whenever that was: nobody knows any more what was taken over.
                if commit.isWhole {
                    for record in commit.accounts { try noteImport(of: record.id, ownFrom: .earliest) }
                }
                lastAdoption = (commit.header.sequence, adopted)
                try applyDevices(commit)
                let former = try connection.integer("SELECT read_at_ns FROM ledger") ?? .min
                if former > commit.header.lastReading.wallNanoseconds {
                    try clipUnread(at: commit.header.lastReading.timestamp)
                }
                try apply(commit.header)
                try applyBookings(commit, calendar: calendar, horizon: horizon)
                for event in commit.events { try add(event, forgettingBefore: horizon) }
                for event in commit.starts { try setAwaitsProgram(as: event) }
                for adjustment in commit.adjustments { try add(adjustment) }
                for cycle in commit.committedCycles { try put(cycle) }
                for span in commit.unread { try addUnread(span, forgettingBefore: horizon) }
                try prune(commit, before: horizon)
                return adopted
            }
        }
        isInUse = true
        return adopted
    }

    private func apply(_ header: LedgerHeader) throws {
        try statement(
            """
            INSERT INTO ledger (id, ledger_id, sequence, boot_id, netns, boot, read_at_ns, read_boot_ns, clean, buckets_from)
            VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, -9223372036854775808)
            ON CONFLICT (id) DO UPDATE SET sequence = ?2, boot_id = ?3, netns = ?4, boot = ?5, read_at_ns = ?6,
                read_boot_ns = ?7, clean = ?8
            """
        ).run(
            .integer(identity), .integer(header.sequence), .text(header.epoch.bootID),
            .integer(Int64(bitPattern: header.epoch.networkNamespace)), .integer(header.boot),
            .integer(header.lastReading.wallNanoseconds), .integer(header.lastReading.sinceBoot.nanoseconds),
            .integer(header.isClean ? 1 : 0))
    }

    // MARK: - Accounts

    private func apply(_ fold: Commit.Fold) throws {
        let ownFrom = [try ownBeginning(of: fold.source), try ownBeginning(of: fold.target)].compactMap { $0 }.min()
        for table in ["bucket", "day"] {
            let slot = table == "bucket" ? "start" : "day"
            try statement(
                """
                INSERT INTO \(table) (\(slot), account, received, transmitted)
                SELECT \(slot), ?2, received, transmitted FROM \(table) WHERE account = ?1
                ON CONFLICT (\(slot), account) DO UPDATE SET \(Self.addition)
                """
            ).run(.integer(fold.source.rawValue), .integer(fold.target.rawValue))
            try statement("DELETE FROM \(table) WHERE account = ?1").run(.integer(fold.source.rawValue))
        }
        try foldImport(fold, ownFrom: ownFrom)
        try removeAccount(fold.source)
    }

    /// What was taken over for either stays known as that. Before the first bytes of both, more may be.
    private func foldImport(_ fold: Commit.Fold, ownFrom: Timestamp?) throws {
        let (source, target) = (SQLValue.integer(fold.source.rawValue), SQLValue.integer(fold.target.rawValue))
        let numbers = "(\(fold.source.rawValue), \(fold.target.rawValue))"
        if try connection.integer("SELECT 1 FROM import WHERE account IN \(numbers) LIMIT 1") == nil { return }
        try statement(
            """
            INSERT INTO taken (account, source, start_at, end_at, booked_until, received, transmitted, \(Self.toldColumns))
            SELECT ?2, source, start_at, end_at, booked_until, received, transmitted, \(Self.toldColumns)
            FROM taken WHERE account = ?1
            ON CONFLICT (account, source, start_at, end_at, booked_until) DO UPDATE SET \(Self.takenAddition)
            """
        ).run(source, target)
        try noteImport(of: fold.target, ownFrom: ownFrom)
        try statement(
            "UPDATE import SET clock = coalesce(clock, (SELECT clock FROM import WHERE account = ?1)) WHERE account = ?2"
        ).run(source, target)
        for table in ["taken", "import"] { try statement("DELETE FROM \(table) WHERE account = ?1").run(source) }
    }

    /// When an account's own bytes begin, as it is noted; `nil` if it isn't, or there are none.
    func ownFrom(of account: AccountID) throws -> Timestamp? {
        try connection.integer(
            "SELECT own_from FROM import WHERE account = \(account.rawValue) AND own_from IS NOT NULL"
        ).map { Timestamp(secondsSinceEpoch: $0) }
    }

    /// The same, or what the first day tells if nothing was taken over.
    private func ownBeginning(of account: AccountID) throws -> Timestamp? {
        let id = account.rawValue
        if try connection.integer("SELECT 1 FROM import WHERE account = \(id)") != nil {
            return try ownFrom(of: account)
        }
        guard
            let day = try connection.integer(
                "SELECT start FROM day_start WHERE day = (SELECT min(day) FROM day WHERE account = \(id))")
        else { return nil }
        let start = Timestamp(secondsSinceEpoch: day)
        return try start < keptFrom() ? start : firstBucket(of: account, from: start)?.start ?? start
    }

    /// Buckets that start before may be gone.
    func keptFrom() throws -> Timestamp {
        Timestamp(secondsSinceEpoch: try connection.integer("SELECT buckets_from FROM ledger") ?? .min)
    }

    func firstBucket(of account: AccountID, from start: Timestamp) throws -> Bucket? {
        let rows = try statement("SELECT start FROM bucket WHERE start >= ?1 AND account = ?2 ORDER BY start LIMIT 1")
        try rows.bind([.integer(start.secondsSinceEpoch), .integer(account.rawValue)])
        defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
        return try rows.step() ? Bucket(start: Timestamp(secondsSinceEpoch: rows.integer(0))) : nil
    }

    /// Notes from when on an account's bytes are the ledger's own, if it has any, and the time of what was taken over.
    func noteImport(of account: AccountID, ownFrom: Timestamp?) throws {
        try statement(
            """
            INSERT OR REPLACE INTO import (account, own_from, taken_from, taken_until, clock)
            SELECT ?1, ?2, min(min(start_at, booked_until - 1)), max(booked_until),
                (SELECT clock FROM import WHERE account = ?1)
            FROM taken WHERE account = ?1 AND (received > 0 OR transmitted > 0)
            """
        ).run(.integer(account.rawValue), ownFrom.map { .integer($0.secondsSinceEpoch) } ?? .null)
    }

    /// One for which something was taken over isn't empty.
    private func removeEmptyAccount(_ id: AccountID) throws {
        try statement(
            """
            DELETE FROM account WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM import WHERE account = ?1)
                AND NOT EXISTS (SELECT 1 FROM taken WHERE account = ?1)
            """
        ).run(.integer(id.rawValue))
    }

    private func removeAccount(_ id: AccountID) throws {
        try statement("DELETE FROM account WHERE id = ?1").run(.integer(id.rawValue))
    }

    /// - Returns: The history of an account that had this one's name, if there was one.
    private func apply(_ record: AccountRecord) throws -> AdoptedHistory? {
        let (kind, name) = record.key.columns
        let namesake = try statement(
            "SELECT id, resets, gap_bytes, suspect_bytes FROM account WHERE kind = ?1 AND name = ?2")
        try namesake.bind([kind, name])
        var adopted: AdoptedHistory?
        var record = record
        if try namesake.step() {
            let former = AccountID(rawValue: namesake.integer(0))
            let events = events(in: namesake, from: 1)
            try namesake.bind([])
            adopted = try adopt(former, into: record.id, events: events)
            record.events.add(events)
        }
        try namesake.bind([])
        try statement(
            """
            INSERT INTO account
                (id, kind, name, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            """
        ).run(
            .integer(record.id.rawValue), kind, name, .integer(Int64(bitPattern: record.counterOffset.received)),
            .integer(Int64(bitPattern: record.counterOffset.transmitted)), .integer(record.offsetBoot),
            .integer(Int64(clamping: record.events.resets)), .integer(Int64(clamping: record.events.gapBytes)),
            .integer(Int64(clamping: record.events.suspectBytes)))
        return adopted
    }

    private func adopt(_ former: AccountID, into account: AccountID, events: AccountEvents) throws -> AdoptedHistory {
        let rows = try statement("SELECT day, account, received, transmitted FROM day WHERE account = ?1")
        try rows.bind([.integer(former.rawValue)])
        var history = AdoptedHistory(account: account, lifetime: .zero, events: events, days: [])
        while try rows.step() {
            guard var entry = storedDay(in: rows) else { throw damaged("it has an impossible day") }
            entry.account = account
            history.lifetime += entry.total
            history.days.append(entry)
        }
        try apply(Commit.Fold(source: former, target: account))
        return history
    }

    // MARK: - Devices and bytes

    private func applyDevices(_ commit: Commit) throws {
        let removal = try statement("DELETE FROM device WHERE ifindex = ?1")
        for index in commit.removedDevices {
            try removal.run(.integer(Int64(index.rawValue)))
            try removeFalls(of: index)
        }
        let replacement = try statement(
            """
            INSERT OR REPLACE INTO device (ifindex, name, account, received, transmitted, state, uplink, address)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            """)
        for record in commit.devices {
            try replacement.run(
                .integer(Int64(record.index.rawValue)), record.name.sqlValue,
                record.account.map { .integer($0.rawValue) } ?? .null,
                .integer(Int64(bitPattern: record.counters.received)),
                .integer(Int64(bitPattern: record.counters.transmitted)), .text(record.state.rawValue),
                .integer(record.holdsUplink ? 1 : 0),
                record.hardwareAddress.isEmpty ? .null : .blob(record.hardwareAddress))
            try removeFalls(of: record.index)
            for direction in TrafficDirection.allCases {
                if let fall = record.falls[direction] { try add(fall, of: record.index, direction) }
            }
        }
    }

    private func removeFalls(of index: DeviceIndex) throws {
        try statement("DELETE FROM fall WHERE ifindex = ?1").run(.integer(Int64(index.rawValue)))
    }

    private func add(_ fall: FallRecord, of index: DeviceIndex, _ direction: TrafficDirection) throws {
        try statement(
            """
            INSERT INTO fall (ifindex, direction, read_at_ns, read_boot_ns, seen_boot_ns, uplink, shown, first_shown, growth,
                held, held_uplink)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            """
        ).run(
            .integer(Int64(index.rawValue)), .text(direction.rawValue), .integer(fall.beforeAt.wallNanoseconds),
            .integer(fall.beforeAt.sinceBoot.nanoseconds), .integer(fall.seenAt.nanoseconds),
            .integer(fall.heldUplink ? 1 : 0), .integer(Int64(bitPattern: fall.shown)),
            .integer(Int64(bitPattern: fall.firstShown)), .integer(Int64(clamping: fall.fastestGrowth)),
            .integer(Int64(clamping: fall.held)), .integer(Int64(clamping: fall.heldOfUplink)))
    }

    private func applyBookings(_ commit: Commit, calendar: LocalCalendar, horizon: Timestamp) throws {
        for (key, total) in commit.buckets { try add(total, to: key.account, at: key.bucket) }
        for entry in commit.spreads {
            let made = min(Bucket(containing: horizon).start, Bucket(containing: entry.spread.end).end)
            if entry.spread.start < made { try omitBuckets(before: made) }
            try entry.spread.forEachBucket(since: horizon) { bucket, delta in
                try add(Total(delta), to: entry.account, at: bucket)
            }
        }
        for (key, total) in commit.days { try add(total, to: key.account, on: key.day, calendar: calendar) }
        try noteFirstBytes(commit)
    }

    /// Where something was taken over for an account before it had any bytes of its own: when these begin can't be told later,
    /// when the buckets are gone.
    private func noteFirstBytes(_ commit: Commit) throws {
        let rows = try statement("SELECT account FROM import WHERE own_from IS NULL")
        try rows.bind([])
        var waiting: Set<AccountID> = []
        while try rows.step() { waiting.insert(AccountID(rawValue: rows.integer(0))) }
        if waiting.isEmpty { return }
        var firsts: [AccountID: Timestamp] = [:]
        for key in commit.buckets.keys where waiting.contains(key.account) {
            firsts[key.account] = min(firsts[key.account] ?? .latest, key.bucket.start)
        }
        for entry in commit.spreads where waiting.contains(entry.account) {
            firsts[entry.account] = min(firsts[entry.account] ?? .latest, entry.spread.start)
        }
        for (account, first) in firsts {
            try statement("UPDATE import SET own_from = ?2 WHERE account = ?1").run(
                .integer(account.rawValue), .integer(first.secondsSinceEpoch))
        }
    }

    /// Adds to what is stored, and stops at the largest integer: beyond it SQLite would go over to floating point.
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
        try statement(Self.bucketAddition).run(
            .integer(bucket.start.secondsSinceEpoch), .integer(account.rawValue),
            .integer(Int64(clamping: total.received)), .integer(Int64(clamping: total.transmitted)))
    }

    func add(_ total: Total, to account: AccountID, on day: CivilDate, calendar: LocalCalendar) throws {
        try statement(Self.dayAddition).run(
            .integer(Int64(day.daysSinceEpoch)), .integer(account.rawValue),
            .integer(Int64(clamping: total.received)), .integer(Int64(clamping: total.transmitted)))
        try statement("INSERT OR IGNORE INTO day_start (day, start) VALUES (?1, ?2)").run(
            .integer(Int64(day.daysSinceEpoch)), .integer(calendar.start(of: day).secondsSinceEpoch))
    }

    // MARK: - Retention

    /// How many buckets of time one commit removes beyond those that it may have added. Small steps: no commit takes long,
    /// and a clock that is wrong for an hour costs hours of the finest grain, not all of it.
    private static let bucketsPrunedPerCommit = 2

    private func prune(_ commit: Commit, before horizon: Timestamp) throws {
        let added = Set(commit.buckets.keys.map(\.bucket)).count
        for _ in 0..<added + Self.bucketsPrunedPerCommit {
            guard let oldest = try oldestBucket() else { return }
            let end = Timestamp(secondsSinceEpoch: oldest).adding(seconds: Bucket.seconds)
            if end > horizon { return }
            try statement("DELETE FROM bucket WHERE start = ?1").run(.integer(oldest))
            try omitBuckets(before: end)
        }
    }

    /// From here on buckets that start before this moment don't make up their days.
    func omitBuckets(before start: Timestamp) throws {
        try statement("UPDATE ledger SET buckets_from = max(buckets_from, ?1)").run(.integer(start.secondsSinceEpoch))
    }

    func oldestBucket() throws -> Int64? {
        let rows = try statement("SELECT start FROM bucket ORDER BY start LIMIT 1")
        try rows.bind([])
        defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
        return try rows.step() ? rows.integer(0) : nil
    }
}
