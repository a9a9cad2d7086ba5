import CivilTime

/// The quotas' hourly use of the last weeks, read from the store bit by bit after the start.
package struct HistoryScan: Sendable {
    /// How far the scan has come.
    package private(set) var next: Timestamp
    package let end: Timestamp
    /// The quotas with the hourly use that was found.
    private(set) var book: PlanBook

    /// - Parameter book: The book with the quotas; its own histories begin at `now`.
    package init(_ book: PlanBook, at now: Timestamp) {
        end = Bucket(containing: now).start
        next = end.adding(seconds: -Int64(UseHistory.hours) * 3600)
        self.book = book
        for place in book.quotas.indices {
            self.book.quotas[place].forecast = QuotaForecast(book.quotas[place].quota.direction)
        }
    }

    package var isDone: Bool { next >= end }

    /// The quotas that count an account; `nil` if none does.
    package mutating func counting(_ key: AccountKey) -> PlanBook.Counting? {
        let counting = book.counting(key)
        return counting.shares.isEmpty ? nil : counting
    }

    package mutating func add(_ total: Total, for counting: PlanBook.Counting, at slot: Timestamp) {
        for (place, sign) in counting.shares { book.quotas[place].rememberOnly(total, sign, at: slot) }
    }

    package mutating func advance(to moment: Timestamp) { next = min(moment, end) }

    /// Whether it scans for the quotas of this book.
    package func isOf(_ book: PlanBook) -> Bool { book.plans.quotas == self.book.plans.quotas }
}
