import Accounting
import CivilTime
import SQLite

/// The ledger's records for plans: corrections, top-ups, events, and the bytes that plans count.
extension LedgerFile {
    /// Makes the book of these plans from the ledger's records.
    ///
    /// Bytes count at the start of their bucket. Bytes without a kept bucket count at the beginning of their day.
    ///
    /// - Parameters:
    ///   - calendars: For the zones of all cycles.
    ///   - now: The cycles that contain it are open.
    /// - Throws: `StoreError`.
    package func planBook(
        _ plans: Plans, calendars: [TimeZoneSetting: LocalCalendar], at now: Timestamp
    ) throws(StoreError) -> PlanBook {
        try inTransaction {
            // A cycle that ended since the last reading must still be evaluated.
            let last = try loadHeader().map(\.lastReading.timestamp) ?? now
            let moment = min(now, last)
            // A second after the first day with bytes began, because that day may have been metered only in part.
            let start: Timestamp? = try connection.value(
                "SELECT start FROM day_start WHERE day = (SELECT min(day) FROM day)")
            var book = PlanBook(
                plans, calendars: calendars, records: try planRecords(of: plans, calendars, from: moment),
                meteredFrom: start?.adding(seconds: 1) ?? .latest, at: moment)
            try fill(&book, calendar: calendars[.local], at: moment)
            book.complete(at: now)
            return book
        }
    }

    private func fill(_ book: inout PlanBook, calendar: LocalCalendar?, at now: Timestamp) throws {
        let keys = Dictionary(uniqueKeysWithValues: try loadAccounts().map { ($0.id, $0.key) })
        book.keys = keys
        let complete = try past.keptFrom()
        book.omitSamples(before: complete)
        let starts = try dayStarts()
        // Days that end after `complete` have their buckets, the first of them perhaps some.
        let days = starts.enumerated().map { place, entry in
            let start = entry.start
            var end = place + 1 < starts.endIndex ? starts[place + 1].start : .latest
            if let span = calendar?.span(ofDay: entry.day), span.lowerBound == start { end = min(end, span.upperBound) }
            return PlanRestore.Day(day: entry.day, span: start..<max(start, end), hasBuckets: end > complete)
        }
        let source = PlanRestore(days, for: book, at: now)
        // Most accounts of applications count for no plan.
        let counted = keys.filter { book.counts($0.value) }
        let partial = source.days.firstIndex { $0.span.contains(complete) && $0.span.lowerBound < complete }
        // Of applications fewer buckets are kept.
        struct DayOfAccount: Hashable {
            let place: Int
            let account: AccountID
        }
        var kept: [DayOfAccount: Total] = [:]
        func isPartial(_ place: Int, _ key: AccountKey) -> Bool { place == partial || key.isOfApplication }
        for span in source.bucketSpans {
            var place = source.days.firstIndex { $0.span.contains(span.lowerBound) } ?? 0
            try forEachBucket(
                from: max(span.lowerBound, complete), before: span.upperBound, of: Array(counted.keys)
            ) { start, account, total in
                guard let key = counted[account] else { return }
                while place + 1 < source.days.count, source.days[place + 1].span.lowerBound <= start { place += 1 }
                if isPartial(place, key) { kept[DayOfAccount(place: place, account: account), default: .zero] += total }
                book.restore(total, of: key, at: start, onDay: place, source)
            }
        }
        guard let range = source.dayRange else { return }
        let places = Dictionary(source.days.enumerated().map { ($0.element.day, $0.offset) }, uniquingKeysWith: { $1 })
        try connection.forEach(
            "SELECT day, account, received, transmitted FROM day WHERE day BETWEEN ?1 AND ?2", range.lowerBound,
            range.upperBound
        ) { row in
            let entry = try day(in: row)
            guard let key = counted[entry.account], let place = places[entry.day] else { return }
            // The bytes of a day that are in no kept bucket were carried before the kept buckets.
            let known = kept[DayOfAccount(place: place, account: entry.account)] ?? .zero
            let rest = isPartial(place, key) ? entry.total.without(known) : .zero
            book.restore(entry.total, withoutBuckets: rest, of: key, onDay: place, source)
        }
    }

    func forEachBucket(
        from start: Timestamp, before end: Timestamp, _ body: (Timestamp, AccountID, Total) throws -> Void
    ) throws {
        try connection.forEach(Self.bucketsOfTime, start, end) { row in
            try body(Timestamp(row, column: 0), AccountID(row, column: 1), row.total(from: 2))
        }
    }

    private func forEachBucket(
        from start: Timestamp, before end: Timestamp, of accounts: [AccountID],
        _ body: (Timestamp, AccountID, Total) throws -> Void
    ) throws {
        let list = "[" + accounts.map { String($0.rawValue) }.joined(separator: ",") + "]"
        try connection.forEach(
            """
            SELECT start, account, received, transmitted FROM bucket
            WHERE start >= ?1 AND start < ?2 AND account IN (SELECT value FROM json_each(?3)) ORDER BY start, account
            """, start, end, list
        ) { row in
            try body(Timestamp(row, column: 0), AccountID(row, column: 1), row.total(from: 2))
        }
    }

    private static let bucketsOfTime = """
        SELECT start, account, received, transmitted FROM bucket WHERE start >= ?1 AND start < ?2
        ORDER BY start, account
        """

    // MARK: - Usual traffic

    /// How many rows are read at a time: a tenth of a second's work, so that commits don't wait for long.
    private static let rowsPerScan = 200_000

    /// Reads the next part of the quotas' hourly traffic.
    ///
    /// - Throws: `StoreError`.
    package func continueScan(_ scan: HistoryScan) throws(StoreError) -> HistoryScan {
        try checkIsInPlace()
        return try translatingErrors {
            var scan = scan
            var countings: [AccountID: PlanBook.Counting] = [:]
            for record in try loadAccounts() { countings[record.id] = scan.counting(record.key) }
            var count = 0
            var last = scan.next
            var next = scan.end
            try connection.scan(Self.bucketsOfTime, scan.next, scan.end) { row in
                let start = Timestamp(row, column: 0)
                if start != last, count >= Self.rowsPerScan {
                    next = start
                    return false
                }
                last = start
                count += 1
                if let counting = countings[AccountID(row, column: 1)] {
                    scan.add(row.total(from: 2), for: counting, at: start)
                }
                return true
            }
            scan.advance(to: next)
            return scan
        }
    }

    // MARK: - Records

    /// - Parameter moment: Events of cycles that were over then are left out: they cause no more notifications.
    private func planRecords(
        of plans: Plans, _ calendars: [TimeZoneSetting: LocalCalendar], from moment: Timestamp
    ) throws -> PlanRecords {
        var records = PlanRecords.none
        for quota in plans.quotas {
            guard let calendar = calendars[quota.cycle.timezone] else { continue }
            let start = quota.cycle.rule.cycle(containing: moment, in: calendar).lowerBound
            records.events += try events(of: quota.name, endingAfter: start)
        }
        let breaches = try connection.rows(
            "SELECT quota, count(*) FROM quota_event WHERE kind = 'breach' GROUP BY quota"
        ) { ($0[0] as String, $0[1] as UInt64) }
        records.breaches = Dictionary(breaches, uniquingKeysWith: { $1 })
        records.adjustments = try adjustments()
        records.unread = try unread()
        records.committedCycles = try connection.rows(
            """
            SELECT name, cycle_start, cycle_end, bits_limit, percentile, samples, missing FROM committed_cycle
            ORDER BY name, cycle_start
            """
        ) { row in
            CommittedCycle(
                name: row[0], cycle: row.span(from: 1), limitBitsPerSecond: row[3], percentileBytes: row[4],
                samples: max(0, row[5]), missing: max(0, row[6]))
        }
        records.importedFrom = try connection.value("SELECT min(taken_from) FROM import")
        records.meteredUntil = try connection.value("SELECT max(start) FROM bucket") ?? .earliest
        return records
    }

    /// Time in which the uplink wasn't metered, neither here nor by a meter whose history was imported.
    func unread() throws -> [Range<Timestamp>] {
        let spans = try connection.rows("SELECT start_at, end_at FROM unread ORDER BY start_at") { $0.span(from: 0) }
        let metered = try connection.rows(
            """
            SELECT taken_from, taken_until FROM import JOIN account ON id = account
            WHERE kind = 'uplink' AND taken_from IS NOT NULL
            """
        ) { (start: $0[0] as Timestamp, end: $0[1] as Timestamp) }.first
        guard let (start, end) = metered else { return spans }
        return spans.flatMap { gap in
            [
                gap.lowerBound..<max(gap.lowerBound, min(gap.upperBound, start)),
                min(gap.upperBound, max(gap.lowerBound, end))..<gap.upperBound,
            ]
        }.filter { !$0.isEmpty }
    }

    func put(_ cycle: CommittedCycle) throws {
        try connection.run(
            """
            INSERT OR REPLACE INTO committed_cycle
                (name, cycle_start, cycle_end, bits_limit, percentile, samples, missing)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            """, cycle.name, cycle.cycle.lowerBound, cycle.cycle.upperBound, cycle.limitBitsPerSecond,
            cycle.percentileBytes, cycle.samples, cycle.missing)
    }

    /// So many of the last records are kept, however old they seem: a wrong clock must not cost them.
    private static let recordsKept: Int64 = 10_000

    /// - Parameter horizon: Older spans are removed if they ended by then: their buckets may be gone too.
    func addUnread(_ span: Range<Timestamp>, forgettingBefore horizon: Timestamp) throws {
        let beginning = Timestamp.earliest
        if span.lowerBound == beginning {
            try connection.run("DELETE FROM unread WHERE start_at = ?1", beginning)
        }
        try connection.run(
            """
            DELETE FROM unread
            WHERE end_at <= ?1 AND start_at > ?2 AND rowid <= (SELECT max(rowid) FROM unread) - ?3
            """, horizon, beginning, Self.recordsKept)
        try connection.run(
            "INSERT INTO unread (start_at, end_at) VALUES (?1, ?2)", span.lowerBound, span.upperBound)
    }

    /// Removes time after this moment, to which the clock was set back. The span before the first reading stays.
    func clipUnread(at moment: Timestamp) throws {
        try connection.run("DELETE FROM unread WHERE start_at >= ?1", moment)
        try connection.run(
            "UPDATE unread SET end_at = ?1 WHERE end_at > ?1 AND start_at > ?2", moment, Timestamp.earliest)
    }

    /// All corrections and top-ups, including those that were taken back.
    ///
    /// - Throws: `StoreError`.
    package func allAdjustments() throws(StoreError) -> [Adjustment] {
        try checkIsInPlace()
        return try translatingErrors { try adjustments() }
    }

    /// The same after a failed write, read from the disk again. Then copies the log into the file.
    ///
    /// - Throws: `StoreError`.
    package func recoveredAdjustments() throws(StoreError) -> [Adjustment] {
        rest()
        let found = try allAdjustments()
        try translatingErrors { try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)") }
        return found
    }

    private func adjustments() throws -> [Adjustment] {
        try connection.rows(
            "SELECT id, quota, kind, at, bytes, entered_at, undone_at, cycle_start FROM adjustment ORDER BY id"
        ) { row in
            Adjustment(
                id: row[0], quota: row[1],
                kind: row[2] == "top-up" ? .topUp(bytes: row[4]) : .correction(usedBytes: row[4]), at: row[3],
                enteredAt: row[5], undoneAt: row[6], cycleStart: row[7])
        }
    }

    private func events(of quota: String, endingAfter moment: Timestamp) throws -> [QuotaEvent] {
        try connection.rows(
            """
            SELECT quota, cycle_start, cycle_end, kind, share, at, used, quota_limit, awaits FROM quota_event
            WHERE quota = ?1 AND cycle_end > ?2 ORDER BY id
            """, quota, moment
        ) { row in
            guard let kind = QuotaEvent.Kind(rawValue: row[3]) else { throw damaged("it has an impossible event") }
            return QuotaEvent(
                quota: row[0], cycle: row.span(from: 1), kind: kind, share: Share(millionths: row[4]), at: row[5],
                usedBytes: row[6], limitBytes: row[7], awaitsProgram: row[8])
        }
    }

    /// - Parameter horizon: Old events of the quota are removed if their cycle was over by then. Breaches are kept.
    func add(_ event: QuotaEvent, forgettingBefore horizon: Timestamp) throws {
        try connection.run(
            """
            DELETE FROM quota_event
            WHERE quota = ?1 AND cycle_end <= ?2 AND kind <> 'breach' AND id <= (SELECT max(id) FROM quota_event) - ?3
            """, event.quota, horizon, Self.recordsKept)
        try connection.run(
            """
            INSERT INTO quota_event (quota, cycle_start, cycle_end, kind, share, at, used, quota_limit, awaits)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            """, event.quota, event.cycle.lowerBound, event.cycle.upperBound, event.kind.rawValue,
            event.share.millionths, event.at, event.usedBytes, event.limitBytes, event.awaitsProgram)
    }

    /// Stores whether the event's program is still to be started.
    func setAwaitsProgram(as event: QuotaEvent) throws {
        try connection.run(
            """
            UPDATE quota_event SET awaits = ?6
            WHERE quota = ?1 AND cycle_end = ?2 AND kind = ?3 AND share = ?4 AND at = ?5
            """, event.quota, event.cycle.upperBound, event.kind.rawValue, event.share.millionths, event.at,
            event.awaitsProgram)
    }

    func add(_ adjustment: Adjustment) throws {
        let (kind, bytes) =
            switch adjustment.kind {
            case .correction(let used): ("correction", used)
            case .topUp(let bytes): ("top-up", bytes)
            }
        try connection.run(
            """
            INSERT INTO adjustment (id, quota, kind, at, bytes, entered_at, undone_at, cycle_start)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            """, adjustment.id, adjustment.quota, kind, adjustment.at, bytes, adjustment.enteredAt, adjustment.undoneAt,
            adjustment.cycleStart)
    }

    // MARK: - Corrections and top-ups

    /// Stores a correction or a top-up.
    ///
    /// - Returns: The adjustment, with its number.
    /// - Throws: `StoreError`. Then it isn't stored.
    package func adjust(
        _ quota: String, _ kind: Adjustment.Kind, at moment: Timestamp, enteredAt now: Timestamp,
        cycleStart: Timestamp? = nil
    ) throws(StoreError) -> Adjustment {
        try inTransaction {
            let last: Int64 = try connection.value("SELECT max(id) FROM adjustment") ?? 0
            guard Self.plausibleNumbers.contains(last) else { throw damaged("it has an impossible correction") }
            let adjustment = Adjustment(
                id: last + 1, quota: quota, kind: kind, at: moment, enteredAt: now, cycleStart: cycleStart)
            try add(adjustment)
            return adjustment
        }
    }

    /// Takes back a correction or a top-up.
    ///
    /// - Parameters:
    ///   - id: Its number; `nil` for the last one that isn't taken back.
    ///   - start: If `id` is `nil`, adjustments of an earlier moment aren't taken back.
    /// - Returns: The adjustment, or `nil` when there is none.
    /// - Throws: `StoreError`. Then the adjustment stays valid.
    package func undo(_ quota: String, id: Int64?, from start: Timestamp, at now: Timestamp) throws(StoreError)
        -> Adjustment?
    {
        try inTransaction {
            let holding = try adjustments().filter { $0.quota == quota && $0.undoneAt == nil }
            let found = if let id { holding.first { $0.id == id } } else { holding.last { $0.at >= start } }
            guard var adjustment = found else { return nil }
            adjustment.undoneAt = now
            try connection.run("UPDATE adjustment SET undone_at = ?2 WHERE id = ?1", adjustment.id, now)
            return adjustment
        }
    }
}
