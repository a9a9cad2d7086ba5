import Accounting
import CivilTime

/// Taking over what another meter has counted.
extension LedgerFile {
    /// Books what was carried before the ledger began to meter an account. Done again, with the same or with more, it
    /// takes the place of what was taken over before, day by day: nothing counts twice.
    ///
    /// - Parameters:
    ///   - calendar: Tells when days begin.
    ///   - now: An account that has metered nothing yet begins to here.
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
        var outcome = ImportOutcome(imported)
        if imported.slots.isEmpty { return outcome }
        let account = try account(of: imported.key)
        var own = try OwnRecord(of: account, in: self, calendar, at: now)
        let (parts, known) = own.parts(of: imported.slots)
        try forget(parts, of: account, &own, calendar)
        var taken = Total.zero
        for part in parts {
            taken += part.total
            let spread = Spread(
                Delta(received: part.total.received, transmitted: part.total.transmitted),
                from: part.span.lowerBound, to: part.span.upperBound)
            if spread.start < horizon {
                try omitBuckets(before: min(Bucket(containing: horizon).start, Bucket(containing: spread.end).end))
            }
            try spread.forEachBucket(since: horizon) { bucket, share in
                if bucket >= own.edge { own.takenAtEdge += share }
                try add(Total(share), to: account, at: bucket)
            }
            for entry in spread.days(by: calendar) {
                try add(Total(entry.share), to: account, on: entry.day, calendar: calendar)
            }
        }
        let first = parts.map(\.span.lowerBound).min()
        try put(own, of: account, takenFrom: first)
        outcome.taken = .init(taken)
        outcome.known = .init(known)
        outcome.from = first?.secondsSinceEpoch
        outcome.until = parts.map(\.span.upperBound.secondsSinceEpoch).max()
        if imported.key == .uplink, let from = first, let until = parts.map(\.span.upperBound).max() {
            try noteRead(from..<until)
        }
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

    private func put(_ own: OwnRecord, of account: AccountID, takenFrom: Timestamp?) throws {
        try statement(
            """
            INSERT INTO import (account, own_from, edge_received, edge_transmitted, taken_from) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (account) DO UPDATE SET own_from = ?2, edge_received = ?3, edge_transmitted = ?4,
                taken_from = min(taken_from, ?5)
            """
        ).run(
            .integer(account.rawValue), .integer(own.from.secondsSinceEpoch),
            .integer(Int64(clamping: own.takenAtEdge.received)), .integer(Int64(clamping: own.takenAtEdge.transmitted)),
            .integer((takenFrom ?? .latest).secondsSinceEpoch))
    }

    /// Takes away what was taken over before of the same days.
    private func forget(
        _ parts: [OwnRecord.Part], of account: AccountID, _ own: inout OwnRecord, _ calendar: LocalCalendar
    ) throws {
        var days: Set<CivilDate> = []
        for part in parts {
            let last = calendar.day(containing: part.span.upperBound.adding(seconds: -1))
            var day = calendar.day(containing: part.span.lowerBound)
            while day <= last {
                days.insert(day)
                day = calendar.nextDay(after: day)
            }
        }
        let id = SQLValue.integer(account.rawValue)
        for day in days {
            let span = calendar.span(ofDay: day)
            let end = min(span.upperBound, own.edge.start)
            var former = Total.zero
            if span.upperBound > own.edge.start {
                for row in try bucketRows(of: account, from: span.lowerBound, before: end) { former += row.total }
                former += own.takenAtEdge
                try take(own.takenAtEdge, from: "bucket", at: own.edge.start.secondsSinceEpoch, of: account)
                try take(former, from: "day", at: Int64(day.daysSinceEpoch), of: account)
                own.takenAtEdge = .zero
            } else {
                try statement("DELETE FROM day WHERE day = ?1 AND account = ?2").run(
                    .integer(Int64(day.daysSinceEpoch)), id)
            }
            try statement("DELETE FROM bucket WHERE start >= ?1 AND start < ?2 AND account = ?3").run(
                .integer(span.lowerBound.secondsSinceEpoch), .integer(end.secondsSinceEpoch), id)
        }
    }

    private func take(_ total: Total, from table: String, at slot: Int64, of account: AccountID) throws {
        let column = table == "bucket" ? "start" : "day"
        try statement(
            """
            UPDATE \(table) SET received = max(0, received - ?3), transmitted = max(0, transmitted - ?4)
            WHERE \(column) = ?1 AND account = ?2
            """
        ).run(
            .integer(slot), .integer(account.rawValue), .integer(Int64(clamping: total.received)),
            .integer(Int64(clamping: total.transmitted)))
        try statement(
            "DELETE FROM \(table) WHERE \(column) = ?1 AND account = ?2 AND received = 0 AND transmitted = 0"
        ).run(.integer(slot), .integer(account.rawValue))
    }

    /// An account's buckets, ascending.
    fileprivate func bucketRows(
        of account: AccountID, from start: Timestamp, before end: Timestamp = .latest
    ) throws -> [(start: Timestamp, total: Total)] {
        let rows = try statement(
            "SELECT start, received, transmitted FROM bucket WHERE start >= ?1 AND start < ?2 AND account = ?3 ORDER BY start"
        )
        try rows.bind([
            .integer(start.secondsSinceEpoch), .integer(end.secondsSinceEpoch), .integer(account.rawValue),
        ])
        var found: [(start: Timestamp, total: Total)] = []
        while try rows.step() {
            found.append((Timestamp(secondsSinceEpoch: rows.integer(0)), total(in: rows, from: 1)))
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

/// What the ledger has metered of an account itself, and from when on. What is stored of it before was taken over.
private struct OwnRecord {
    /// What is to be booked.
    typealias Part = (span: Range<Timestamp>, total: Total)

    /// The account's first reading, as far as that is known; otherwise the beginning of its bucket, or of its day.
    private(set) var from: Timestamp
    /// The bucket in which that is: it may hold something of both.
    private(set) var edge: Bucket
    /// What of that bucket was taken over.
    var takenAtEdge = Total.zero
    /// Whether the buckets tell all that was metered since.
    private let hasBuckets: Bool
    /// From the edge on, without what was taken over.
    private var rows: [(start: Timestamp, total: Total)] = []

    init(of account: AccountID, in file: LedgerFile, _ calendar: LocalCalendar, at now: Timestamp) throws {
        let kept = Timestamp(
            secondsSinceEpoch: try file.connection.integer("SELECT buckets_from FROM ledger") ?? .min)
        let number = account.rawValue
        let noted = try file.statement(
            "SELECT own_from, edge_received, edge_transmitted FROM import WHERE account = ?1")
        try noted.bind([.integer(number)])
        defer { try? noted.bind([]) }  // Only resets the statement, so that no read stays open.
        let isNoted = try noted.step()
        from = now
        if isNoted {
            from = Timestamp(secondsSinceEpoch: noted.integer(0))
            takenAtEdge = file.total(in: noted, from: 1)
        } else if let day = try file.connection.integer(
            "SELECT day FROM day WHERE account = \(number) ORDER BY day LIMIT 1")
        {
            from = calendar.start(of: CivilDate(daysSinceEpoch: Int32(clamping: day)))
        }
        let midnight = calendar.start(of: calendar.day(containing: from))
        hasBuckets = midnight >= kept
        if !hasBuckets {
            // What of that day is whose can't be told any more: it stays as it is.
            from = midnight
            edge = Bucket(start: midnight)
            takenAtEdge = .zero
            return
        }
        edge = Bucket(containing: from)
        rows = try file.bucketRows(of: account, from: edge.start)
        if rows.first?.start == edge.start { rows[0].total = rows[0].total.without(takenAtEdge) }
        rows.removeAll { $0.total.isZero }
        guard let first = rows.first?.start else {
            // Nothing was metered: all there is was taken over.
            from = max(from, now)
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

    /// What of the slots is to be booked, and what of them was metered here as well.
    ///
    /// What was metered explains what the slots have in its time: first the slots that begin in it, then those that reach
    /// into it, the shortest first; then, for meters read at different moments, what is left of a slot's neighbours. What
    /// isn't explained was carried before the first reading, if the slot begins before it or right behind it.
    mutating func parts(of slots: [ImportedAccount.Slot]) -> (parts: [Part], known: Total) {
        guard hasBuckets else { return shares(of: slots) }
        let lastEarly = edge.end.adding(seconds: Bucket.seconds)
        // Where the first reading isn't known but by its bucket, its bytes may have been carried in the one before.
        let slack = from == edge.start ? Bucket.seconds : 0
        let order = slots.indices.filter { slots[$0].span.upperBound > from.adding(seconds: -slack) }.sorted {
            one, other in
            func rank(_ slot: ImportedAccount.Slot) -> (Int, Int64, Int64) {
                (slot.span.lowerBound < lastEarly ? 1 : 0, slot.end - slot.start, slot.start)
            }
            return rank(slots[one]) < rank(slots[other])
        }
        var rests = slots.map(\.total)
        for index in order { explain(&rests[index], of: slots[index].span, slack: 0) }
        // The other meter may have been off for a part of the last bucket.
        let end = slots.map(\.span.upperBound).max() ?? from
        rows.removeAll { Bucket(start: $0.start).end > end }
        for index in order { explain(&rests[index], of: slots[index].span, slack: Bucket.seconds) }
        var parts: [Part] = []
        var known = Total.zero
        let last = max(from, edge.start.adding(seconds: 1))
        for (slot, rest) in zip(slots, rests) {
            let isTaken = slot.span.lowerBound < lastEarly
            known += isTaken ? slot.total.without(rest) : slot.total
            if !isTaken || rest.isZero { continue }
            let end = min(slot.span.upperBound, last)
            parts.append((min(slot.span.lowerBound, end.adding(seconds: -1))..<end, rest))
        }
        return (parts, known)
    }

    /// Where no buckets tell what was metered: what of the slots falls to the time before it.
    private func shares(of slots: [ImportedAccount.Slot]) -> (parts: [Part], known: Total) {
        var parts: [Part] = []
        var known = Total.zero
        for slot in slots {
            let spread = Spread(
                Delta(received: slot.received, transmitted: slot.transmitted), from: slot.span.lowerBound,
                to: slot.span.upperBound)
            let part = Total(spread.share(from: .earliest, to: from))
            known += slot.total.without(part)
            if !part.isZero { parts.append((slot.span.lowerBound..<min(slot.span.upperBound, from), part)) }
        }
        return (parts, known)
    }

    /// Uses up what was metered in a slot's time.
    private mutating func explain(_ rest: inout Total, of span: Range<Timestamp>, slack: Int64) {
        let start = Bucket(containing: span.lowerBound).start.adding(seconds: -slack)
        let end = span.upperBound.adding(seconds: slack)
        var place = rows.startIndex
        var upper = rows.endIndex
        while place < upper {
            let middle = (place + upper) / 2
            if rows[middle].start < start { place = middle + 1 } else { upper = middle }
        }
        while place < rows.endIndex, rows[place].start < end, !rest.isZero {
            let metered = rows[place].total
            rows[place].total = metered.without(rest)
            rest = rest.without(metered)
            place += 1
        }
    }
}
