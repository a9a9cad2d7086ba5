import Accounting
import CivilTime
import SQLite

/// Reading for reports.
extension LedgerFile {
    /// All accounts, and their days from a date on.
    ///
    /// - Throws: `StoreError`.
    package func days(from first: CivilDate) throws(StoreError) -> StoredDays {
        try inTransaction {
            var stored = StoredDays(sequence: try storedSequence())
            for record in try loadAccounts() { stored.accounts[record.id] = record.key }
            stored.meteredFrom = try connection.value(
                """
                SELECT min(end_at, coalesce((SELECT min(taken_from) FROM import), end_at))
                FROM unread WHERE start_at = ?1 ORDER BY end_at DESC LIMIT 1
                """, Timestamp.earliest)
            try connection.forEach("SELECT day, account, received, transmitted FROM day ORDER BY day") { row in
                let entry = try day(in: row)
                stored.lifetimes[entry.account, default: .zero] += entry.total
                if !entry.total.isZero, stored.firsts[entry.account] == nil {
                    stored.firsts[entry.account] = entry.day
                }
                if entry.day >= first { stored.days.append(entry) }
            }
            return stored
        }
    }

    /// A page of buckets: so many rows, and more if needed to have all rows of the last start.
    ///
    /// - Parameter only: Only this account, which may have these numbers too; `nil` for all accounts.
    /// - Throws: `StoreError`.
    package func buckets(
        from start: Timestamp, before end: Timestamp, rowsPerPage: Int,
        only: (key: AccountKey, numbers: Set<AccountID>)? = nil
    ) throws(StoreError) -> StoredBuckets {
        try inTransaction {
            let kept = try past.keptFrom()
            var page = StoredBuckets(
                sequence: try storedSequence(), from: start, until: end, keptFrom: kept,
                first: try oldestBucket()?.start ?? kept)
            page.applicationsKeptFrom = try past.applicationsKeptFrom()
            for record in try loadAccounts() { page.accounts[record.id] = record.key }
            var filter = ""
            if let only {
                let numbers = only.numbers.union(page.accounts.filter { $0.value == only.key }.keys)
                filter = "AND account IN (\(numbers.sorted().map { String($0.rawValue) }.joined(separator: ", ")))"
            }
            try connection.scan(
                """
                SELECT start, account, received, transmitted FROM bucket WHERE start >= ?1 AND start < ?2 \(filter)
                ORDER BY start, account
                """, start, end
            ) { row in
                let bucket = Bucket(start: row[0])
                if page.rows.count >= rowsPerPage, page.rows.last?.bucket != bucket {
                    page.until = bucket.start
                    return false
                }
                page.rows.append((bucket, row[1], row.total(from: 2)))
                return true
            }
            return page
        }
    }

    /// Reads the whole file and returns what is wrong with it.
    ///
    /// - Returns: `nil` if it is sound.
    /// - Throws: `StoreError` when it can't be read.
    package func problem() throws(StoreError) -> String? {
        try translatingErrors {
            let answer: String = try connection.value("PRAGMA quick_check(1)") ?? ""
            return answer == "ok" ? nil : answer
        }
    }

    private func storedSequence() throws -> Int64 { try connection.value("SELECT sequence FROM ledger") ?? 0 }
}
