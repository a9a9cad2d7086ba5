import Accounting
import CivilTime

/// Taking over what another meter has counted.
extension LedgerFile {
    /// Books what was carried before the ledger began to meter an account, as far as it isn't there: nothing counts twice,
    /// and what is there stays.
    ///
    /// - Parameters:
    ///   - calendar: Tells when days begin.
    ///   - now: Of an account for which nothing was metered yet, all that was carried before is taken.
    ///   - horizon: Buckets that end before it aren't made.
    ///   - isTrial: Whether everything stays as it was.
    /// - Throws: `StoreError`; then the file is as it was before.
    package func takeOver(
        _ accounts: [ImportedAccount], calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp, isTrial: Bool
    ) throws(StoreError) -> [ImportOutcome] {
        struct Trial: Error {
            var outcomes: [ImportOutcome]
        }
        try checkIsInPlace()
        return try translatingErrors {
            do {
                return try connection.transaction {
                    let outcomes = try accounts.map { try takeOver($0, calendar, at: now, horizon) }
                    if isTrial { throw Trial(outcomes: outcomes) }
                    return outcomes
                }
            } catch let trial as Trial {
                return trial.outcomes
            }
        }
    }

    private func takeOver(
        _ imported: ImportedAccount, _ calendar: LocalCalendar, at now: Timestamp, _ horizon: Timestamp
    ) throws -> ImportOutcome {
        var outcome = ImportOutcome(imported.key)
        guard let from = imported.slots.map(\.span.lowerBound).min() else { return outcome }
        let account = try account(of: imported.key)
        var known = try KnownBytes(of: account, in: self, calendar, at: now)
        if imported.replaces { try forget(&known, of: account, calendar) }
        try known.load(of: account, in: self, imported.slots)
        let parts = known.parts(of: imported.slots)
        for part in parts {
            let spread = Spread(
                Delta(received: part.total.received, transmitted: part.total.transmitted),
                from: part.span.lowerBound, to: part.span.upperBound)
            if spread.start < horizon {
                try omitBuckets(before: min(Bucket(containing: horizon).start, Bucket(containing: spread.end).end))
            }
            try spread.forEachBucket(since: horizon) { bucket, share in
                if bucket >= known.edge { known.takenAtEdge += share }
                try add(Total(share), to: account, at: bucket)
            }
            for entry in spread.days(by: calendar) {
                try add(Total(entry.share), to: account, on: entry.day, calendar: calendar)
            }
        }
        try put(known, of: account, takenFrom: from)
        let taken = parts.reduce(into: Total.zero) { $0 += $1.total }
        let all = imported.slots.reduce(into: Total.zero) { $0 += $1.total }
        outcome.taken = .init(taken)
        outcome.late = .init(known.late)
        outcome.known = .init(all.without(taken).without(known.late))
        outcome.from = parts.map(\.span.lowerBound.secondsSinceEpoch).min()
        outcome.until = parts.map(\.span.upperBound.secondsSinceEpoch).max()
        let until = min(known.from, imported.slots.map(\.span.upperBound).max() ?? from)
        if imported.key == .uplink, from < until { try noteRead(from..<until) }
        return outcome
    }

    /// The number of an account; a new one if there is none. Numbers of the program count up from 1: one that is drawn far
    /// above is in nobody's way, also if the program gives one at the same moment.
    private func account(of key: AccountKey) throws -> AccountID {
        let (kind, name) = key.columns
        let rows = try statement("SELECT id FROM account WHERE kind = ?1 AND name = ?2")
        try rows.bind([kind, name])
        defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
        if try rows.step() { return AccountID(rawValue: rows.integer(0)) }
        let id = Int64.random(in: (1 << 40)..<(1 << 61))
        try statement(
            """
            INSERT INTO account
                (id, kind, name, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes)
            VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0)
            """
        ).run(.integer(id), kind, name)
        return AccountID(rawValue: id)
    }

    /// Takes away all that was taken over before.
    private func forget(_ known: inout KnownBytes, of account: AccountID, _ calendar: LocalCalendar) throws {
        let id = SQLValue.integer(account.rawValue)
        let edge = SQLValue.integer(known.edge.start.secondsSinceEpoch)
        let span = calendar.span(ofDay: calendar.day(containing: known.from))
        let day = SQLValue.integer(Int64(calendar.day(containing: known.from).daysSinceEpoch))
        if known.hasBuckets {
            let rows = try bucketRows(of: account, from: known.edge.start, before: span.upperBound)
            let own = rows.reduce(into: Total.zero) { $0 += $1.total }.without(known.takenAtEdge)
            try statement("UPDATE day SET received = ?3, transmitted = ?4 WHERE day = ?1 AND account = ?2").run(
                day, id, .integer(Int64(clamping: own.received)), .integer(Int64(clamping: own.transmitted)))
        }
        try statement(
            "UPDATE bucket SET received = received - ?3, transmitted = transmitted - ?4 WHERE start = ?1 AND account = ?2"
        ).run(
            edge, id, .integer(Int64(clamping: known.takenAtEdge.received)),
            .integer(Int64(clamping: known.takenAtEdge.transmitted)))
        try statement("DELETE FROM bucket WHERE start < ?1 AND account = ?2").run(edge, id)
        try statement("DELETE FROM day WHERE day < ?1 AND account = ?2").run(day, id)
        known.takenAtEdge = .zero
    }

    private func put(_ known: KnownBytes, of account: AccountID, takenFrom: Timestamp) throws {
        try statement(
            """
            INSERT INTO import (account, own_from, edge_received, edge_transmitted, taken_from) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (account) DO UPDATE SET own_from = ?2, edge_received = ?3, edge_transmitted = ?4,
                taken_from = min(taken_from, ?5)
            """
        ).run(
            .integer(account.rawValue), .integer(known.from.secondsSinceEpoch),
            .integer(Int64(clamping: known.takenAtEdge.received)),
            .integer(Int64(clamping: known.takenAtEdge.transmitted)), .integer(takenFrom.secondsSinceEpoch))
    }

    /// An account's buckets, ascending.
    fileprivate func bucketRows(
        of account: AccountID, from start: Timestamp, before end: Timestamp
    ) throws -> [KnownBytes.Row] {
        let rows = try statement(
            "SELECT start, received, transmitted FROM bucket WHERE start >= ?1 AND start < ?2 AND account = ?3 ORDER BY start"
        )
        try rows.bind([
            .integer(start.secondsSinceEpoch), .integer(end.secondsSinceEpoch), .integer(account.rawValue),
        ])
        var found: [KnownBytes.Row] = []
        while try rows.step() {
            let start = Timestamp(secondsSinceEpoch: rows.integer(0))
            found.append((start..<Bucket(start: start).end, total(in: rows, from: 1)))
        }
        return found
    }

    /// An account's days, ascending.
    fileprivate func dayRows(of account: AccountID, _ days: ClosedRange<CivilDate>) throws -> [StoredLedger.StoredDay] {
        let rows = try statement(
            "SELECT day, account, received, transmitted FROM day WHERE day BETWEEN ?1 AND ?2 AND account = ?3 ORDER BY day"
        )
        try rows.bind([
            .integer(Int64(days.lowerBound.daysSinceEpoch)), .integer(Int64(days.upperBound.daysSinceEpoch)),
            .integer(account.rawValue),
        ])
        var found: [StoredLedger.StoredDay] = []
        while try rows.step() {
            guard let entry = storedDay(in: rows) else { throw damaged("it has an impossible day") }
            found.append(entry)
        }
        return found
    }

    /// The uplink was metered in this time, as far as quotas and forecasts are concerned.
    private func noteRead(_ span: Range<Timestamp>) throws {
        let unread = try unread()
        try statement("DELETE FROM unread").run()
        for gap in unread {
            for rest in [
                gap.lowerBound..<min(gap.upperBound, max(gap.lowerBound, span.lowerBound)),
                max(gap.lowerBound, min(gap.upperBound, span.upperBound))..<gap.upperBound,
            ] where !rest.isEmpty {
                try statement("INSERT INTO unread (start_at, end_at) VALUES (?1, ?2)").run(
                    .integer(rest.lowerBound.secondsSinceEpoch), .integer(rest.upperBound.secondsSinceEpoch))
            }
        }
    }
}

/// What the ledger has of an account: what it has metered itself, from some moment on, and what was taken over before it.
private struct KnownBytes {
    /// Bytes of a span: of a bucket, or of a day whose buckets aren't kept.
    typealias Row = (span: Range<Timestamp>, total: Total)
    /// What is to be booked.
    typealias Part = (span: Range<Timestamp>, total: Total)

    /// The account's first reading, as far as that is known; otherwise the beginning of its bucket, or of its day. If all that
    /// it has is claimed as its own, the beginning of time.
    private(set) var from: Timestamp
    /// Up to when something may be booked: the first reading, or the end of its day where no buckets tell more.
    private var open: Timestamp { hasBuckets ? from : calendar.span(ofDay: calendar.day(containing: from)).upperBound }
    /// The bucket in which that is: it may hold something of both.
    private(set) var edge: Bucket
    /// What of that bucket was taken over.
    var takenAtEdge = Total.zero
    /// What slots have that the ledger may yet read itself.
    private(set) var late = Total.zero
    /// The last reading: what was carried since is booked when netusage runs.
    private let readUntil: Timestamp
    /// Buckets that start before may be gone.
    private let kept: Timestamp
    /// Whether the buckets tell all that was metered since the first reading.
    let hasBuckets: Bool
    private let calendar: LocalCalendar
    /// Ascending, and apart from each other: what isn't used up yet to explain slots.
    private var rows: [Row] = []

    init(of account: AccountID, in file: LedgerFile, _ calendar: LocalCalendar, at now: Timestamp) throws {
        self.calendar = calendar
        kept = Timestamp(secondsSinceEpoch: try file.connection.integer("SELECT buckets_from FROM ledger") ?? .min)
        readUntil = try file.loadHeader()?.lastReading.timestamp ?? .latest
        let number = account.rawValue
        let noted = try file.statement(
            "SELECT own_from, edge_received, edge_transmitted FROM import WHERE account = ?1")
        try noted.bind([.integer(number)])
        defer { try? noted.bind([]) }  // Only resets the statement, so that no read stays open.
        let isNoted = try noted.step()
        from = min(now, readUntil)
        if isNoted {
            from = Timestamp(secondsSinceEpoch: noted.integer(0))
            takenAtEdge = file.total(in: noted, from: 1)
        } else if let day = try file.connection.integer(
            "SELECT day FROM day WHERE account = \(number) ORDER BY day LIMIT 1")
        {
            from = calendar.start(of: CivilDate(daysSinceEpoch: Int32(clamping: day)))
        }
        edge = Bucket(containing: from)
        hasBuckets = edge.start >= kept && from > .earliest
        if !hasBuckets { return }
        let first = try file.bucketRows(of: account, from: edge.start, before: .latest)
            .first { $0.span.lowerBound > edge.start || !$0.total.without(takenAtEdge).isZero }?.span.lowerBound
        guard let first else {
            // Nothing was metered: all there is was taken over.
            from = max(from, min(now, readUntil))
            if edge != Bucket(containing: from) { (edge, takenAtEdge) = (Bucket(containing: from), .zero) }
            return
        }
        if first >= edge.end || !isNoted {
            (from, edge, takenAtEdge) = (first, Bucket(containing: first), .zero)
            let begin = try file.connection.integer(
                "SELECT end_at FROM unread WHERE start_at = \(Timestamp.earliest.secondsSinceEpoch) ORDER BY end_at DESC LIMIT 1"
            )
            let metered = Timestamp(secondsSinceEpoch: begin ?? .min)
            if metered > from, metered < edge.end { from = metered }
        }
    }

    /// Reads what there is in the time of these slots.
    mutating func load(of account: AccountID, in file: LedgerFile, _ slots: [ImportedAccount.Slot]) throws {
        guard let start = slots.map(\.span.lowerBound).min(), let end = slots.map(\.span.upperBound).max() else {
            return
        }
        // Whole days, so that what a day has besides its buckets can be told.
        let days = calendar.day(containing: start.adding(seconds: -Bucket.seconds))...calendar.day(containing: end)
        let span = calendar.start(of: days.lowerBound)..<calendar.span(ofDay: days.upperBound).upperBound
        let buckets = try file.bucketRows(of: account, from: max(span.lowerBound, kept), before: span.upperBound)
        var place = buckets.startIndex
        for entry in try file.dayRows(of: account, days) {
            let day = calendar.span(ofDay: entry.day)
            if day.lowerBound >= kept { break }
            var rest = entry.total
            while place < buckets.endIndex, buckets[place].span.lowerBound < day.upperBound {
                rest = rest.without(buckets[place].total)
                place += 1
            }
            rows.append((day.lowerBound..<max(day.lowerBound.adding(seconds: 1), min(day.upperBound, kept)), rest))
        }
        let seam = max(from, edge.start.adding(seconds: 1))
        for row in buckets {
            if hasBuckets, row.span.lowerBound == edge.start {
                rows.append((edge.start..<seam, takenAtEdge))
                rows.append((seam..<edge.end, row.total.without(takenAtEdge)))
            } else {
                rows.append(row)
            }
        }
    }

    /// What of the slots is to be booked.
    ///
    /// What is there explains what slots of the same time have, the shortest first; near the first reading also, for meters
    /// that read at different moments, what is left of a slot's neighbours. What isn't explained was carried before the
    /// first reading, if the slot begins before it or right behind it.
    mutating func parts(of slots: [ImportedAccount.Slot]) -> [Part] {
        // Not those of the next day, which may come in another piece.
        let midnight = calendar.span(ofDay: calendar.day(containing: edge.start)).upperBound
        let earlyUntil = hasBuckets ? min(edge.end.adding(seconds: Bucket.seconds), midnight) : open
        let order = slots.indices.sorted { one, other in
            func rank(_ slot: ImportedAccount.Slot) -> (Int, Int64, Int64) {
                (slot.span.lowerBound < earlyUntil ? 1 : 0, slot.end - slot.start, slot.start)
            }
            return rank(slots[one]) < rank(slots[other])
        }
        var rests = slots.map(\.total)
        let days = order.filter { day(of: slots[$0]) != nil }
        for index in days { explain(&rests[index], of: slots[index].span, slack: 0) }
        // Meters differ in when they read, and files in how fine they are: the time of a day that the file tells of gets
        // what it lacks, and no more.
        var told: [CivilDate: Range<Timestamp>] = [:]
        for slot in slots {
            guard let day = day(of: slot), slot.span.lowerBound < open else { continue }
            let span = told[day] ?? slot.span
            told[day] = min(span.lowerBound, slot.span.lowerBound)..<max(span.upperBound, slot.span.upperBound)
        }
        for index in days where slots[index].span.lowerBound < earlyUntil {
            guard let day = day(of: slots[index]), let span = told[day] else { continue }
            explain(&rests[index], of: span.clamped(to: .earliest..<open), slack: 0)
        }
        for index in order where day(of: slots[index]) == nil {
            explain(&rests[index], of: slots[index].span, slack: 0)
        }
        // Where the first reading isn't known but by its bucket, its bytes may have been carried in the one before.
        let nearFrom = open.adding(seconds: from == edge.start ? -Bucket.seconds : 0)
        // What lies outside of the file's time is meant by none of its slots.
        let (start, end) = (slots.map(\.span.lowerBound).min() ?? from, slots.map(\.span.upperBound).max() ?? from)
        rows.removeAll { $0.span.lowerBound < start || $0.span.upperBound > end }
        for index in order where slots[index].span.upperBound > nearFrom {
            explain(&rests[index], of: slots[index].span, slack: Bucket.seconds)
        }
        return order.compactMap { index in
            let (span, rest) = (slots[index].span, rests[index])
            if rest.isZero { return nil }
            let isEarly = span.lowerBound < earlyUntil
            if span.upperBound > readUntil, isEarly || span.lowerBound >= readUntil {
                late += rest
                return nil
            }
            if !isEarly { return nil }
            let end = min(span.upperBound, max(open, edge.start.adding(seconds: 1)))
            return (min(span.lowerBound, end.adding(seconds: -1))..<end, rest)
        }
    }

    /// The day that a slot lies in; `nil` for one that reaches over midnight.
    private func day(of slot: ImportedAccount.Slot) -> CivilDate? {
        let day = calendar.day(containing: slot.span.lowerBound)
        return slot.span.upperBound <= calendar.span(ofDay: day).upperBound ? day : nil
    }

    /// Uses up what there is in a slot's time; what reaches over its ends comes last.
    private mutating func explain(_ rest: inout Total, of span: Range<Timestamp>, slack: Int64) {
        let wide = span.lowerBound.adding(seconds: -slack)..<span.upperBound.adding(seconds: slack)
        var first = rows.startIndex
        var upper = rows.endIndex
        while first < upper {
            let middle = (first + upper) / 2
            if rows[middle].span.upperBound <= wide.lowerBound { first = middle + 1 } else { upper = middle }
        }
        // Whole ones first, then those of the ledger's own, which no earlier slot can mean.
        for rank in 0...2 {
            var place = first
            while place < rows.endIndex, rows[place].span.lowerBound < wide.upperBound, !rest.isZero {
                let row = rows[place].span
                let isWhole = row.lowerBound >= wide.lowerBound && row.upperBound <= wide.upperBound
                if (isWhole ? 0 : row.lowerBound >= from ? 1 : 2) == rank {
                    let there = rows[place].total
                    rows[place].total = there.without(rest)
                    rest = rest.without(there)
                }
                place += 1
            }
        }
    }
}
