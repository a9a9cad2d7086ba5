import Accounting
import CivilTime

extension ModelStore: BookedPast {
    package func keptFrom() -> Timestamp { bucketsFrom }

    package func lastReading() -> Timestamp? { header?.lastReading.timestamp }

    package func meteredFrom() -> Timestamp? { unread.filter { $0.lowerBound == .earliest }.map(\.upperBound).max() }

    package func key(of account: AccountID) -> AccountKey? { accounts[account]?.key }

    package func accounts(ofSource source: String) -> [AccountID] {
        guard let name = DeviceName(label: source) else { return [] }
        let classes = accounts.values.filter { record in
            if case .collapsed(let text) = record.key { DevicePattern(text)?.matches(name) ?? false } else { false }
        }
        return accounts.values.filter { $0.key == .device(name) }.map(\.id) + classes.map(\.id).sorted()
    }

    package func hasImport(_ account: AccountID) -> Bool { ownBeginnings[account] != nil }

    package func ownFrom(of account: AccountID) -> Timestamp? { ownBeginnings[account] ?? nil }

    package func firstBucket(of account: AccountID, from start: Timestamp) -> Bucket? {
        buckets.keys.filter { $0.account == account && $0.bucket.start >= start }.map(\.bucket).min()
    }

    package func bucketRows(of account: AccountID, from start: Timestamp, before end: Timestamp) -> [OwnBytes.Row] {
        buckets.filter { $0.key.account == account && $0.key.bucket.start >= start && $0.key.bucket.start < end }
            .map { ($0.key.bucket.start..<$0.key.bucket.end, $0.value) }
            .sorted { $0.0.lowerBound < $1.0.lowerBound }
    }

    package func dayRows(of account: AccountID, _ days: ClosedRange<CivilDate>) -> [StoredLedger.StoredDay] {
        self.days.filter { $0.key.account == account && days.contains($0.key.day) }
            .map { (account: account, day: $0.key.day, total: $0.value) }
            .sorted { $0.day < $1.day }
    }

    package func importedRows(_ owner: ImportOwner, in span: Range<Timestamp>) -> [ImportedRow] {
        func isMeant(_ account: AccountID, _ row: ImportedRow) -> Bool {
            switch owner {
            case .account(let owner): account == owner
            case .source(let source, in: let owner): account == owner && row.source == source
            case .sourceElsewhere(let source, than: let other):
                account != other && row.source == source && key(of: account) != .uplink
            case .ownElsewhere(than: let other):
                account != other && !row.own.isZero && key(of: account) != .uplink
            }
        }
        return imported.filter { account, row in
            isMeant(account, row) && row.booked.lowerBound < span.upperBound
                && max(row.slot.upperBound, row.bookedUntil) > span.lowerBound
        }.map(\.row).sorted { $0.slot.lowerBound < $1.slot.lowerBound }
    }

    package func gaps(in span: Range<Timestamp>) -> [Range<Timestamp>] {
        unread.filter {
            $0.lowerBound > .earliest && $0.lowerBound < span.upperBound && $0.upperBound > span.lowerBound
        }.sorted { $0.lowerBound < $1.lowerBound }
    }

    /// Imports reports of other meters. They replace nothing that was imported before.
    ///
    /// - Returns: The outcome for each account.
    package mutating func outcomes(
        of parts: [ImportedAccount], by calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp = .earliest
    ) throws -> [ImportOutcome] {
        try ImportedAccount.byKey(parts).map { parts in
            let known = accounts.values.first { $0.key == parts[0].key }?.id
            let account = known ?? AccountID(rawValue: 1000 + Int64(accounts.count))
            if known == nil { accounts[account] = .make(account.rawValue, parts[0].key) }
            let days = BookedDays(calendar, starts: [:])
            let news = try Reconciliation(
                parts, of: account, parts[0].key, isNew: known == nil, in: self, by: days, at: now)
            for row in news.rows { book(row, of: account, by: days, horizon: horizon) }
            ownBeginnings[account] = .some(news.ownFrom)
            return news.outcome
        }
    }

    private mutating func book(_ row: ImportedRow, of account: AccountID, by days: BookedDays, horizon: Timestamp) {
        let spread = row.spread
        if spread.start < horizon, !row.total.isZero {
            bucketsFrom = max(
                bucketsFrom, min(Bucket(containing: horizon).start, Bucket(containing: spread.end).end))
        }
        spread.forEachBucket(since: max(horizon, bucketsFrom)) { bucket, share in
            buckets[.init(account: account, bucket: bucket), default: .zero] += Total(share)
        }
        for (day, share) in days.shares(of: spread) {
            self.days[.init(account: account, day: day), default: .zero] += share
        }
        let same = imported.firstIndex {
            $0.account == account && $0.row.source == row.source && $0.row.slot == row.slot
                && $0.row.bookedUntil == row.bookedUntil
        }
        guard let same else {
            imported.append((account, row))
            return
        }
        let old = imported[same].row
        imported[same].row = ImportedRow(
            slot: row.slot, bookedUntil: row.bookedUntil, total: old.total.adding(row.total),
            reported: old.reported.largest(row.reported), own: old.own.largest(row.own), source: row.source)
    }
}

extension Total {
    fileprivate func largest(_ other: Total) -> Total {
        Total(received: max(received, other.received), transmitted: max(transmitted, other.transmitted))
    }
}

extension AccountRecord {
    package static func make(_ id: Int64, _ key: AccountKey, events: AccountEvents = AccountEvents()) -> AccountRecord {
        AccountRecord(
            id: AccountID(rawValue: id), key: key, counterOffset: Counters(received: .max, transmitted: UInt64(id)),
            offsetBoot: 1, events: events)
    }

    package static func make(_ id: Int64, _ name: String, events: AccountEvents = AccountEvents()) -> AccountRecord {
        make(id, .device(DeviceName(name)), events: events)
    }
}
