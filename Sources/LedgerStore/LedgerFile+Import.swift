import Accounting
import CivilTime
import SQLite

/// Imports from other meters.
extension LedgerFile {
    /// Books the bytes that ``Reconciliation`` finds to be new. Nothing is counted twice, and booked bytes stay.
    ///
    /// - Parameters:
    ///   - calendar: For the beginnings of days.
    ///   - now: Everything before it may be new to an account that has no metered bytes.
    ///   - horizon: Buckets that end before it aren't created.
    ///   - isTrial: Whether to change nothing.
    /// - Throws: `StoreError`. Then the file is unchanged.
    package func importPiece(
        _ accounts: [ImportedAccount], calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp, isTrial: Bool
    ) throws(StoreError) -> [ImportOutcome] {
        try inTransaction {
            let forgotten = try forget(accounts.filter(\.replaces), calendar)
            let days = try bookedDays(calendar)
            // By another clock the same bytes have other times, so it can't be known which of them are booked already.
            var outcomes = try accounts.compactMap { account -> ImportOutcome? in
                guard let clock = account.clock, let number = try number(of: account.key),
                    // The clock of the last imported file without offsets; `nil` if there was none.
                    let previous: String = try connection.value("SELECT clock FROM import WHERE account = ?1", number),
                    previous != clock
                else { return nil }
                var outcome = ImportOutcome(account.key)
                outcome.otherClock = previous
                return outcome
            }
            if outcomes.isEmpty {
                outcomes = try ImportedAccount.byKey(accounts).map { parts in
                    try importPiece(parts, of: parts[0].key, by: days, at: now, horizon)
                }
            }
            for (key, total) in forgotten {
                let place = outcomes.firstIndex { $0.key == key } ?? outcomes.endIndex
                if place == outcomes.endIndex { outcomes.append(ImportOutcome(key)) }
                outcomes[place].forgotten = .init(total)
            }
            // Then nothing is left to commit.
            if isTrial { try connection.execute("ROLLBACK; BEGIN") }
            return outcomes
        }
    }

    /// - Parameter parts: The parts of one account, each from another source.
    private func importPiece(
        _ parts: [ImportedAccount], of key: AccountKey, by days: BookedDays, at now: Timestamp, _ horizon: Timestamp
    ) throws -> ImportOutcome {
        let known = try number(of: key)
        if known == nil, parts.allSatisfy(\.slots.isEmpty) { return ImportOutcome(key) }
        let account = try known ?? newAccount(of: key)
        let news = try Reconciliation(parts, of: account, key, isNew: known == nil, in: past, by: days, at: now)
        for row in news.rows { try book(row, of: account, by: days, horizon) }
        try noteImport(of: account, ownFrom: news.ownFrom)
        if let clock = parts.lazy.compactMap(\.clock).first {
            try connection.run(
                "UPDATE import SET clock = ?2 WHERE account = ?1 AND EXISTS (SELECT 1 FROM taken WHERE account = ?1)",
                account, clock)
        }
        return news.outcome
    }

    func number(of key: AccountKey) throws -> AccountID? {
        let (kind, name, scope) = key.columns
        return try connection.value(
            "SELECT id FROM account WHERE kind = ?1 AND name = ?2 AND scope = ?3", kind, name, scope)
    }

    /// Creates an account. The program counts its numbers up from 1, so a random number far above can't be the one that
    /// the program gives to another account at the same moment.
    private func newAccount(of key: AccountKey) throws -> AccountID {
        let id = AccountID(rawValue: .random(in: (1 << 40)..<(1 << 61)))
        _ = try apply(
            AccountRecord(id: id, key: key, counterOffset: .zero, offsetBoot: 0, events: AccountEvents()))
        return id
    }

    // MARK: - Imported rows

    private func book(
        _ row: ImportedRow, of account: AccountID, by days: BookedDays, _ horizon: Timestamp
    ) throws {
        let spread = row.spread
        if spread.start < horizon, !row.total.isZero {
            try omitBuckets(before: min(Bucket(containing: horizon).start, Bucket(containing: spread.end).end))
        }
        // Nor are buckets created for a time whose buckets may have been removed.
        try spread.forEachBucket(since: max(horizon, try past.keptFrom())) { bucket, share in
            try add(Total(share), to: account, at: bucket)
        }
        for (day, share) in days.shares(of: spread) {
            try add(share, to: account, on: day, calendar: days.calendar)
        }
        try connection.run(
            """
            INSERT INTO taken (account, source, start_at, end_at, booked_until, received, transmitted, \(Self.toldColumns))
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT (account, source, start_at, end_at, booked_until) DO UPDATE SET \(Self.takenAddition)
            """, account, row.source, row.slot.lowerBound, row.slot.upperBound, row.bookedUntil, row.total.received,
            row.total.transmitted, row.reported.received, row.reported.transmitted, row.own.received,
            row.own.transmitted)
    }

    /// Removes earlier imports, with their bytes.
    private func forget(_ accounts: [ImportedAccount], _ calendar: LocalCalendar) throws -> [AccountKey: Total] {
        if accounts.isEmpty { return [:] }
        let days = try bookedDays(calendar)
        var forgotten: [AccountKey: Total] = [:]
        for account in accounts {
            var numbers = try [number(of: account.key)].compactMap { $0 }
            if account.key != .uplink, !account.source.isEmpty {
                numbers += try connection.rows(
                    "SELECT DISTINCT account FROM taken WHERE source = ?1 AND \(FilePast.isNoUplink)", account.source
                ) { $0[0] as AccountID }
            }
            for number in Set(numbers) {
                let total = try forget(account.source, of: number, by: days)
                if let key = try past.key(of: number), !total.isZero { forgotten[key, default: .zero] += total }
            }
        }
        for table in ["bucket", "day"] {
            try connection.run("DELETE FROM \(table) WHERE received = 0 AND transmitted = 0")
        }
        // A day without bytes begins by the current calendar when it gets new ones.
        try connection.run("DELETE FROM day_start WHERE day NOT IN (SELECT day FROM day)")
        return forgotten
    }

    /// - Returns: The removed bytes.
    private func forget(_ source: String, of account: AccountID, by days: BookedDays) throws -> Total {
        /// - Returns: The bytes of `share` that aren't there.
        func subtract(
            _ share: Total, _ table: String, _ column: String, _ place: any SQLBindable
        ) throws -> Total {
            let there = try connection.rows(
                "SELECT received, transmitted FROM \(table) WHERE \(column) = ?1 AND account = ?2", place, account
            ) { $0.total(from: 0) }.first
            guard let there else { return share }
            let rest = there.without(share)
            try connection.run(
                "UPDATE \(table) SET received = ?3, transmitted = ?4 WHERE \(column) = ?1 AND account = ?2", place,
                account, rest.received, rest.transmitted)
            return share.without(there)
        }
        var forgotten = Total.zero
        let kept = try past.keptFrom()
        let owner = source.isEmpty ? ImportOwner.account(account) : .source(source, in: account)
        for row in try past.importedRows(owner, in: .earliest ..< .latest) {
            let spread = row.spread
            forgotten += row.total
            try spread.forEachBucket(since: kept) { bucket, share in
                _ = try subtract(Total(share), "bucket", "start", bucket.start)
            }
            var missing = Total.zero
            for (day, share) in days.shares(of: spread) {
                missing += try subtract(share, "day", "day", day)
            }
            // Days may have begun at other moments when it was booked. Then the days nearby have its bytes.
            let (first, last) = (days.calendar.day(containing: spread.start), days.calendar.day(containing: spread.end))
            for distance in 0...2 where !missing.isZero {
                for day in [first.adding(days: -distance), last.adding(days: distance)] {
                    missing = try subtract(missing, "day", "day", day)
                }
            }
        }
        try connection.run("DELETE FROM taken WHERE account = ?1 AND ?2 IN (source, '')", account, source)
        if try past.hasImport(account) {
            try noteImport(of: account, ownFrom: try past.ownFrom(of: account))
            // If nothing is left, the next import may use another clock.
            try connection.run(
                "UPDATE import SET clock = NULL WHERE account = ?1 AND NOT EXISTS (SELECT 1 FROM taken WHERE account = ?1)",
                account)
        }
        return forgotten
    }

    private func bookedDays(_ calendar: LocalCalendar) throws -> BookedDays {
        BookedDays(calendar, starts: Dictionary(try dayStarts().map { ($0.day, $0.start) }, uniquingKeysWith: { $1 }))
    }
}
