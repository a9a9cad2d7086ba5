import Accounting
import CivilTime

/// What reports are made of.
extension LedgerFile {
    /// Every account with its days from a date on.
    ///
    /// - Throws: `StoreError`.
    package func days(from first: CivilDate) throws(StoreError) -> StoredDays {
        try checkIsInPlace()
        return try translatingErrors {
            try connection.transaction {
                var stored = StoredDays(sequence: try storedSequence(), accounts: [:])
                for record in try loadAccounts() { stored.accounts[record.id] = record.key }
                let beginning = Timestamp.earliest.secondsSinceEpoch
                stored.meteredFrom = try connection.integer(
                    """
                    SELECT min(end_at, coalesce((SELECT min(taken_from) FROM import), end_at))
                    FROM unread WHERE start_at = \(beginning) ORDER BY end_at DESC LIMIT 1
                    """
                ).map { Timestamp(secondsSinceEpoch: $0) }
                let rows = try statement("SELECT day, account, received, transmitted FROM day ORDER BY day")
                try rows.bind([])
                while try rows.step() {
                    guard let entry = storedDay(in: rows) else { throw damaged("it has an impossible day") }
                    stored.lifetimes[entry.account, default: .zero] += entry.total
                    if !entry.total.isZero, stored.firsts[entry.account] == nil {
                        stored.firsts[entry.account] = entry.day
                    }
                    if entry.day >= first { stored.days.append(entry) }
                }
                return stored
            }
        }
    }

    /// A page of buckets, whole ones of time: so many rows, and those that start with the last of them.
    ///
    /// - Parameter only: Of this account alone, which may have these numbers too; `nil` for all.
    /// - Throws: `StoreError`.
    package func buckets(
        from start: Timestamp, before end: Timestamp, rowsPerPage: Int,
        only: (key: AccountKey, numbers: Set<AccountID>)? = nil
    ) throws(StoreError) -> StoredBuckets {
        try checkIsInPlace()
        return try translatingErrors {
            try connection.transaction {
                let kept = try connection.integer("SELECT buckets_from FROM ledger") ?? .min
                var page = StoredBuckets(
                    sequence: try storedSequence(), accounts: [:], rows: [], from: start, until: end,
                    keptFrom: Timestamp(secondsSinceEpoch: kept),
                    first: Timestamp(secondsSinceEpoch: try oldestBucket() ?? kept))
                for record in try loadAccounts() { page.accounts[record.id] = record.key }
                var filter = ""
                if let only {
                    let numbers = only.numbers.union(page.accounts.filter { $0.value == only.key }.keys)
                    filter = "AND account IN (\(numbers.sorted().map { String($0.rawValue) }.joined(separator: ", ")))"
                }
                let rows = try statement(
                    """
                    SELECT start, account, received, transmitted FROM bucket WHERE start >= ?1 AND start < ?2 \(filter)
                    ORDER BY start, account
                    """)
                try rows.bind([.integer(start.secondsSinceEpoch), .integer(end.secondsSinceEpoch)])
                defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
                while try rows.step() {
                    let bucket = Bucket(start: Timestamp(secondsSinceEpoch: rows.integer(0)))
                    if page.rows.count >= rowsPerPage, page.rows.last?.bucket != bucket {
                        page.until = bucket.start
                        break
                    }
                    page.rows.append((bucket, AccountID(rawValue: rows.integer(1)), total(in: rows, from: 2)))
                }
                return page
            }
        }
    }

    /// What is wrong with the file; it is looked through to its end.
    ///
    /// - Returns: `nil` if it is sound.
    /// - Throws: `StoreError` when it can't be read.
    package func problem() throws(StoreError) -> String? {
        try translatingErrors {
            let answer = try connection.text("PRAGMA quick_check(1)") ?? ""
            return answer == "ok" ? nil : answer
        }
    }

    private func storedSequence() throws -> Int64 { try connection.integer("SELECT sequence FROM ledger") ?? 0 }
}
