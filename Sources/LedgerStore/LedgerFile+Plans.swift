import Accounting
import CivilTime

/// What the ledger has for plans: corrections, top-ups and events, and the bytes they count.
extension LedgerFile {
    /// Makes the book of these plans from everything that is stored.
    ///
    /// Bytes count in the slot that they are stored in. What is older than the kept slots counts at its day's beginning.
    ///
    /// - Parameters:
    ///   - calendars: For the zones of all cycles.
    ///   - now: Whose cycles are open.
    /// - Throws: `StoreError`.
    package func planBook(
        _ plans: Plans, calendars: [TimeZoneSetting: LocalCalendar], at now: Timestamp
    ) throws(StoreError) -> PlanBook {
        try checkIsInPlace()
        return try translatingErrors {
            try connection.transaction {
                // A cycle that ended since the last reading is yet to be looked at.
                let last = try loadHeader().map(\.lastReading.timestamp) ?? now
                let moment = min(now, last)
                var book = PlanBook(
                    plans, calendars: calendars, records: try planRecords(of: plans, calendars, from: moment),
                    meteredFrom: try firstBooking(), at: moment)
                try fill(&book, calendar: calendars[.local], at: moment)
                book.complete(at: now)
                return book
            }
        }
    }

    /// When the first day with bytes began; it may have been metered in part only.
    private func firstBooking() throws -> Timestamp {
        let start = try connection.integer(
            "SELECT start FROM day_start WHERE day = (SELECT min(day) FROM day) ORDER BY day LIMIT 1")
        return start.map { Timestamp(secondsSinceEpoch: $0).adding(seconds: 1) } ?? .latest
    }

    private func fill(_ book: inout PlanBook, calendar: LocalCalendar?, at now: Timestamp) throws {
        let keys = Dictionary(uniqueKeysWithValues: try loadAccounts().map { ($0.id, $0.key) })
        book.keys = keys
        let complete = Timestamp(secondsSinceEpoch: try connection.integer("SELECT buckets_from FROM ledger") ?? .min)
        book.omitSamples(before: complete)
        let source = PlanRestore(try days(calendar: calendar, bucketsFrom: complete), for: book, at: now)
        let partial = source.days.firstIndex { $0.span.contains(complete) && $0.span.lowerBound < complete }
        var kept: [AccountID: Total] = [:]
        for span in source.bucketSpans {
            var place = source.days.firstIndex { $0.span.contains(span.lowerBound) } ?? 0
            try forEachBucket(from: max(span.lowerBound, complete), before: span.upperBound) { start, account, total in
                guard let key = keys[account] else { return }
                while place + 1 < source.days.count, source.days[place + 1].span.lowerBound <= start { place += 1 }
                if place == partial { kept[account, default: .zero] += total }
                book.restore(total, of: key, at: start, onDay: place, source)
            }
        }
        guard let range = source.dayRange else { return }
        let places = Dictionary(uniqueKeysWithValues: source.days.enumerated().map { ($0.element.day, $0.offset) })
        try forEachDay(range) { entry in
            guard let key = keys[entry.account], let place = places[entry.day] else { return }
            // What a day has besides its buckets was carried before those that are kept.
            let rest = place == partial ? entry.total.without(kept[entry.account] ?? .zero) : .zero
            book.restore(entry.total, withoutBuckets: rest, of: key, onDay: place, source)
        }
    }

    /// The days that have bytes. Their buckets are there if they end after `complete`; of the first such day, some.
    private func days(calendar: LocalCalendar?, bucketsFrom complete: Timestamp) throws -> [PlanRestore.Day] {
        let starts = try dayStarts()
        return starts.enumerated().map { place, entry in
            let start = Timestamp(secondsSinceEpoch: entry.start)
            var end = place + 1 < starts.endIndex ? Timestamp(secondsSinceEpoch: starts[place + 1].start) : .latest
            if let span = calendar?.span(ofDay: entry.day), span.lowerBound == start { end = min(end, span.upperBound) }
            return PlanRestore.Day(day: entry.day, span: start..<max(start, end), hasBuckets: end > complete)
        }
    }

    private func forEachBucket(
        from start: Timestamp, before end: Timestamp, _ body: (Timestamp, AccountID, Total) throws -> Void
    ) throws {
        let rows = try statement(
            """
            SELECT start, account, received, transmitted FROM bucket WHERE start >= ?1 AND start < ?2
            ORDER BY start, account
            """)
        try rows.bind([.integer(start.secondsSinceEpoch), .integer(end.secondsSinceEpoch)])
        while try rows.step() {
            try body(
                Timestamp(secondsSinceEpoch: rows.integer(0)), AccountID(rawValue: rows.integer(1)),
                total(in: rows, from: 2))
        }
    }

    private func forEachDay(
        _ range: ClosedRange<CivilDate>, _ body: (StoredLedger.StoredDay) throws -> Void
    ) throws {
        let rows = try statement("SELECT day, account, received, transmitted FROM day WHERE day BETWEEN ?1 AND ?2")
        try rows.bind([
            .integer(Int64(range.lowerBound.daysSinceEpoch)), .integer(Int64(range.upperBound.daysSinceEpoch)),
        ])
        while try rows.step() {
            guard let entry = storedDay(in: rows) else { throw damaged("it has an impossible day") }
            try body(entry)
        }
    }

    // MARK: - What is usual

    /// How many rows are read at a time: a tenth of a second's work, so that commits don't wait for long.
    private static let rowsPerScan = 200_000

    /// Goes on with reading what the quotas carried by the hour.
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
            let rows = try statement(
                """
                SELECT start, account, received, transmitted FROM bucket WHERE start >= ?1 AND start < ?2
                ORDER BY start, account
                """)
            try rows.bind([.integer(scan.next.secondsSinceEpoch), .integer(scan.end.secondsSinceEpoch)])
            defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
            while try rows.step() {
                let start = Timestamp(secondsSinceEpoch: rows.integer(0))
                if start != last, count >= Self.rowsPerScan {
                    scan.advance(to: start)
                    return scan
                }
                last = start
                count += 1
                guard let counting = countings[AccountID(rawValue: rows.integer(1))] else { continue }
                scan.add(total(in: rows, from: 2), for: counting, at: start)
            }
            scan.advance(to: scan.end)
            return scan
        }
    }

    // MARK: - Records

    /// - Parameter moment: Events of cycles that were over then have been told for good.
    private func planRecords(
        of plans: Plans, _ calendars: [TimeZoneSetting: LocalCalendar], from moment: Timestamp
    ) throws -> PlanRecords {
        var recent: [QuotaEvent] = []
        for quota in plans.quotas {
            guard let calendar = calendars[quota.cycle.timezone] else { continue }
            let start = quota.cycle.rule.cycle(containing: moment, in: calendar).lowerBound
            recent += try events(of: quota.name, endingAfter: start)
        }
        var records = PlanRecords(
            adjustments: try adjustments(), events: recent, breaches: try breaches(),
            committedCycles: try committedCycles(), unread: try unread())
        let last = try connection.integer("SELECT max(start) FROM bucket")
        let taken = try connection.integer(
            "SELECT taken_from FROM import WHERE taken_from IS NOT NULL ORDER BY taken_from LIMIT 1")
        records.takenOverFrom = taken.map { Timestamp(secondsSinceEpoch: $0) }
        records.meteredUntil = last.map { Timestamp(secondsSinceEpoch: $0) } ?? .earliest
        return records
    }

    private func committedCycles() throws -> [CommittedCycle] {
        let rows = try statement(
            """
            SELECT name, cycle_start, cycle_end, bits_limit, percentile, samples, missing FROM committed_cycle
            ORDER BY name, cycle_start
            """)
        try rows.bind([])
        var cycles: [CommittedCycle] = []
        while try rows.step() {
            let start = Timestamp(secondsSinceEpoch: rows.integer(1))
            cycles.append(
                CommittedCycle(
                    name: rows.text(0), cycle: start..<max(start, Timestamp(secondsSinceEpoch: rows.integer(2))),
                    limitBitsPerSecond: UInt64(max(0, rows.integer(3))),
                    percentileBytes: UInt64(max(0, rows.integer(4))),
                    samples: Int(max(0, rows.integer(5))), missing: Int(max(0, rows.integer(6)))))
        }
        return cycles
    }

    /// Time in which the uplink wasn't metered, neither here nor by a meter whose records were taken over.
    func unread() throws -> [Range<Timestamp>] {
        let rows = try statement("SELECT start_at, end_at FROM unread ORDER BY start_at")
        try rows.bind([])
        var spans: [Range<Timestamp>] = []
        while try rows.step() {
            let start = Timestamp(secondsSinceEpoch: rows.integer(0))
            spans.append(start..<max(start, Timestamp(secondsSinceEpoch: rows.integer(1))))
        }
        let uplink = "FROM import JOIN account ON id = account WHERE kind = 'uplink' AND taken_from IS NOT NULL"
        guard let from = try connection.integer("SELECT taken_from \(uplink)"),
            let until = try connection.integer("SELECT taken_until \(uplink)")
        else { return spans }
        let (start, end) = (Timestamp(secondsSinceEpoch: from), Timestamp(secondsSinceEpoch: until))
        return spans.flatMap { gap in
            [
                gap.lowerBound..<max(gap.lowerBound, min(gap.upperBound, start)),
                min(gap.upperBound, max(gap.lowerBound, end))..<gap.upperBound,
            ]
        }.filter { !$0.isEmpty }
    }

    func put(_ cycle: CommittedCycle) throws {
        try statement(
            """
            INSERT OR REPLACE INTO committed_cycle
                (name, cycle_start, cycle_end, bits_limit, percentile, samples, missing)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            """
        ).run(
            .text(cycle.name), .integer(cycle.cycle.lowerBound.secondsSinceEpoch),
            .integer(cycle.cycle.upperBound.secondsSinceEpoch), .integer(Int64(clamping: cycle.limitBitsPerSecond)),
            .integer(Int64(clamping: cycle.percentileBytes)), .integer(Int64(cycle.samples)),
            .integer(Int64(cycle.missing)))
    }

    /// As many of the last records are kept, however old they seem: a clock that was wrong must not cost them.
    private static let recordsKept: Int64 = 10_000

    /// - Parameter horizon: Other time in which nothing was read goes if it was over by then: its buckets may be gone too.
    func addUnread(_ span: Range<Timestamp>, forgettingBefore horizon: Timestamp) throws {
        let beginning = Timestamp.earliest
        if span.lowerBound == beginning {
            try statement("DELETE FROM unread WHERE start_at = ?1").run(.integer(beginning.secondsSinceEpoch))
        }
        try statement(
            """
            DELETE FROM unread
            WHERE end_at <= ?1 AND start_at > ?2 AND rowid <= (SELECT max(rowid) FROM unread) - ?3
            """
        ).run(
            .integer(horizon.secondsSinceEpoch), .integer(beginning.secondsSinceEpoch), .integer(Self.recordsKept))
        try statement("INSERT INTO unread (start_at, end_at) VALUES (?1, ?2)").run(
            .integer(span.lowerBound.secondsSinceEpoch), .integer(span.upperBound.secondsSinceEpoch))
    }

    /// The clock was set back to this moment: nothing later has gone by yet. When metering began is told by the ledger.
    func clipUnread(at moment: Timestamp) throws {
        let end = SQLValue.integer(moment.secondsSinceEpoch)
        let beginning = SQLValue.integer(Timestamp.earliest.secondsSinceEpoch)
        try statement("DELETE FROM unread WHERE start_at >= ?1").run(end)
        try statement("UPDATE unread SET end_at = ?1 WHERE end_at > ?1 AND start_at > ?2").run(end, beginning)
    }

    /// Every correction and top-up, those that were taken back among them.
    ///
    /// - Throws: `StoreError`.
    package func allAdjustments() throws(StoreError) -> [Adjustment] {
        try checkIsInPlace()
        return try translatingErrors { try adjustments() }
    }

    /// The same after writing failed: of what the disk has. What is in the log is written once more, to the file.
    ///
    /// - Throws: `StoreError`.
    package func recoveredAdjustments() throws(StoreError) -> [Adjustment] {
        rest()
        let found = try allAdjustments()
        try translatingErrors { try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)") }
        return found
    }

    private func adjustments() throws -> [Adjustment] {
        let rows = try statement(
            "SELECT id, quota, kind, at, bytes, entered_at, undone_at, cycle_start FROM adjustment ORDER BY id")
        try rows.bind([])
        var adjustments: [Adjustment] = []
        while try rows.step() {
            let bytes = UInt64(max(0, rows.integer(4)))
            adjustments.append(
                Adjustment(
                    id: rows.integer(0), quota: rows.text(1),
                    kind: rows.text(2) == "top-up" ? .topUp(bytes: bytes) : .correction(usedBytes: bytes),
                    at: Timestamp(secondsSinceEpoch: rows.integer(3)),
                    enteredAt: Timestamp(secondsSinceEpoch: rows.integer(5)),
                    undoneAt: rows.isNull(6) ? nil : Timestamp(secondsSinceEpoch: rows.integer(6)),
                    cycleStart: rows.isNull(7) ? nil : Timestamp(secondsSinceEpoch: rows.integer(7))))
        }
        return adjustments
    }

    private func events(of quota: String, endingAfter moment: Timestamp) throws -> [QuotaEvent] {
        let rows = try statement(
            """
            SELECT quota, cycle_start, cycle_end, kind, share, at, used, quota_limit, awaits FROM quota_event
            WHERE quota = ?1 AND cycle_end > ?2 ORDER BY id
            """)
        try rows.bind([.text(quota), .integer(moment.secondsSinceEpoch)])
        var events: [QuotaEvent] = []
        while try rows.step() {
            let start = Timestamp(secondsSinceEpoch: rows.integer(1))
            guard let kind = QuotaEvent.Kind(rawValue: rows.text(3)) else {
                throw damaged("it has an impossible event")
            }
            events.append(
                QuotaEvent(
                    quota: rows.text(0), cycle: start..<max(start, Timestamp(secondsSinceEpoch: rows.integer(2))),
                    kind: kind, share: Share(millionths: UInt64(max(0, rows.integer(4)))),
                    at: Timestamp(secondsSinceEpoch: rows.integer(5)), usedBytes: UInt64(max(0, rows.integer(6))),
                    limitBytes: UInt64(max(0, rows.integer(7))), awaitsProgram: rows.integer(8) == 1))
        }
        return events
    }

    private func breaches() throws -> [String: UInt64] {
        let rows = try statement("SELECT quota, count(*) FROM quota_event WHERE kind = 'breach' GROUP BY quota")
        try rows.bind([])
        var breaches: [String: UInt64] = [:]
        while try rows.step() { breaches[rows.text(0)] = UInt64(max(0, rows.integer(1))) }
        return breaches
    }

    /// - Parameter horizon: Other events of the quota go if their cycle was over by then, but for breaches, which are counted.
    func add(_ event: QuotaEvent, forgettingBefore horizon: Timestamp) throws {
        try statement(
            """
            DELETE FROM quota_event
            WHERE quota = ?1 AND cycle_end <= ?2 AND kind <> 'breach' AND id <= (SELECT max(id) FROM quota_event) - ?3
            """
        ).run(.text(event.quota), .integer(horizon.secondsSinceEpoch), .integer(Self.recordsKept))
        try statement(
            """
            INSERT INTO quota_event (quota, cycle_start, cycle_end, kind, share, at, used, quota_limit, awaits)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
            """
        ).run(
            .text(event.quota), .integer(event.cycle.lowerBound.secondsSinceEpoch),
            .integer(event.cycle.upperBound.secondsSinceEpoch), .text(event.kind.rawValue),
            .integer(Int64(clamping: event.share.millionths)), .integer(event.at.secondsSinceEpoch),
            .integer(Int64(clamping: event.usedBytes)), .integer(Int64(clamping: event.limitBytes)),
            .integer(event.awaitsProgram ? 1 : 0))
    }

    /// Whether the event's program awaits its start is from now on as in `event`.
    func setAwaitsProgram(as event: QuotaEvent) throws {
        try statement(
            """
            UPDATE quota_event SET awaits = ?6
            WHERE quota = ?1 AND cycle_end = ?2 AND kind = ?3 AND share = ?4 AND at = ?5
            """
        ).run(
            .text(event.quota), .integer(event.cycle.upperBound.secondsSinceEpoch), .text(event.kind.rawValue),
            .integer(Int64(clamping: event.share.millionths)), .integer(event.at.secondsSinceEpoch),
            .integer(event.awaitsProgram ? 1 : 0))
    }

    func add(_ adjustment: Adjustment) throws {
        let (kind, bytes) = adjustment.kind.columns
        try statement(
            """
            INSERT INTO adjustment (id, quota, kind, at, bytes, entered_at, undone_at, cycle_start)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            """
        ).run(
            .integer(adjustment.id), .text(adjustment.quota), .text(kind),
            .integer(adjustment.at.secondsSinceEpoch), .integer(Int64(clamping: bytes)),
            .integer(adjustment.enteredAt.secondsSinceEpoch),
            adjustment.undoneAt.map { .integer($0.secondsSinceEpoch) } ?? .null,
            adjustment.cycleStart.map { .integer($0.secondsSinceEpoch) } ?? .null)
    }

    // MARK: - What the owner tells

    /// Keeps a correction or a top-up.
    ///
    /// - Returns: It, with its number.
    /// - Throws: `StoreError`; then it isn't kept.
    package func adjust(
        _ quota: String, _ kind: Adjustment.Kind, at moment: Timestamp, enteredAt now: Timestamp,
        cycleStart: Timestamp? = nil
    ) throws(StoreError) -> Adjustment {
        try checkIsInPlace()
        return try translatingErrors {
            try connection.transaction {
                let last = try connection.integer("SELECT max(id) FROM adjustment") ?? 0
                guard Self.plausibleNumbers.contains(last) else { throw damaged("it has an impossible correction") }
                let adjustment = Adjustment(
                    id: last + 1, quota: quota, kind: kind, at: moment, enteredAt: now, cycleStart: cycleStart)
                try add(adjustment)
                return adjustment
            }
        }
    }

    /// Takes back a correction or a top-up.
    ///
    /// - Parameters:
    ///   - id: Which; `nil` for the one that was entered last of those that hold.
    ///   - start: Without a number, only of this moment or a later one.
    /// - Returns: It, or `nil` when there is none.
    /// - Throws: `StoreError`; then it holds on.
    package func undo(_ quota: String, id: Int64?, from start: Timestamp, at now: Timestamp) throws(StoreError)
        -> Adjustment?
    {
        try checkIsInPlace()
        return try translatingErrors {
            try connection.transaction {
                let holding = try adjustments().filter { $0.quota == quota && $0.undoneAt == nil }
                guard
                    var adjustment = id.map({ id in holding.first { $0.id == id } })
                        ?? holding.last(where: { $0.at >= start })
                else {
                    return nil
                }
                adjustment.undoneAt = now
                try statement("UPDATE adjustment SET undone_at = ?2 WHERE id = ?1").run(
                    .integer(adjustment.id), .integer(now.secondsSinceEpoch))
                return adjustment
            }
        }
    }
}

extension Adjustment.Kind {
    /// How the table `adjustment` has it.
    fileprivate var columns: (kind: String, bytes: UInt64) {
        switch self {
        case .correction(let used): ("correction", used)
        case .topUp(let bytes): ("top-up", bytes)
        }
    }
}
