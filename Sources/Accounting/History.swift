import CivilTime

/// Every account's bytes by local days, for reports.
package struct DayHistory: Sendable {
    package struct Entry: Sendable {
        package var key: AccountKey
        /// Whether reports show it even without bytes: its device is there, or may come back.
        package var isLive: Bool
        package var lifetime: Total
        /// The first day that is known to have bytes.
        package var first: CivilDate?
        /// The requested days that have bytes, ascending.
        package var days: [(day: CivilDate, total: Total)]
    }

    package var entries: [Entry]
    /// When metering began, if that is known.
    package var meteredFrom: Timestamp?
}

/// The store's days after one of its commits.
package struct StoredDays: Sendable {
    /// The number of that commit, see ``LedgerHeader/sequence``; 0 before the first.
    package var sequence: Int64
    package var accounts: [AccountID: AccountKey] = [:]
    package var lifetimes: [AccountID: Total] = [:]
    /// Each account's first day with bytes.
    package var firsts: [AccountID: CivilDate] = [:]
    /// The requested days, ascending.
    package var days: [StoredLedger.StoredDay] = []
    /// When metering began, if that is known.
    package var meteredFrom: Timestamp?

    /// Nothing yet.
    package init(sequence: Int64) {
        self.sequence = sequence
    }
}

/// A page of the store's buckets after one of its commits.
package struct StoredBuckets: Sendable {
    package typealias Row = (bucket: Bucket, account: AccountID, total: Total)

    package var sequence: Int64
    package var accounts: [AccountID: AccountKey] = [:]
    /// Ascending by time.
    package var rows: [Row] = []
    /// The start of the time that the page covers.
    package var from: Timestamp
    /// The end of that time, exclusive.
    package var until: Timestamp
    /// Some or all earlier buckets are deleted.
    package var keptFrom: Timestamp
    /// The same for buckets of applications.
    package var applicationsKeptFrom: Timestamp
    /// The start of the oldest bucket; for earlier days only sums are known.
    package var first: Timestamp

    /// A page without rows.
    package init(sequence: Int64, from: Timestamp, until: Timestamp, keptFrom: Timestamp, first: Timestamp) {
        self.sequence = sequence
        self.from = from
        self.until = until
        self.keptFrom = keptFrom
        applicationsKeptFrom = keptFrom
        self.first = first
    }
}

/// Bytes of one account in one bucket.
package struct BucketRow: Hashable, Sendable {
    package var start: Timestamp
    package var key: AccountKey
    package var total: Total
}

extension DayHistory {
    /// The history of a store alone, when no program has bookings beside it.
    package init(_ stored: StoredDays) {
        meteredFrom = stored.meteredFrom
        var days: [AccountID: [(day: CivilDate, total: Total)]] = [:]
        for entry in stored.days { days[entry.account, default: []].append((entry.day, entry.total)) }
        entries = stored.accounts.map { id, key in
            Entry(
                key: key, isLive: key == .uplink, lifetime: stored.lifetimes[id] ?? .zero, first: stored.firsts[id],
                days: days[id] ?? [])
        }
    }
}

extension StoredBuckets {
    /// The rows with their accounts' keys: all there are, if no program has bookings beside the store.
    package var named: [BucketRow] {
        rows.compactMap { row in
            accounts[row.account].map { BucketRow(start: row.bucket.start, key: $0, total: row.total) }
        }
    }
}

// MARK: - While the program runs

extension Ledger {
    /// Earlier days are in the store only, except bookings that aren't stored yet.
    package var daysInMemoryFrom: CivilDate { isPersistent ? historyFrom : .earliest }

    /// Whether there is a store to read.
    package var hasStore: Bool { isPersistent && !isAwaitingStore }

    /// Every account's days from ``daysInMemoryFrom`` on, with the sums of ``view(at:)``. Evicted accounts are missing.
    package func history() -> DayHistory {
        DayHistory(
            entries: allViews.map { index, key, view in
                var totals = accounts[index].days
                if !devices.falls.isEmpty {
                    for entry in heldDays(at: index).entries { totals.add(entry.total, on: entry.day) }
                }
                let days = totals.entries.filter { $0.day >= daysInMemoryFrom }
                return .init(
                    key: key, isLive: view.isLive, lifetime: view.lifetime, first: days.first?.day,
                    days: shown(days, of: index))
            }, meteredFrom: planBook.records.recordedFrom)
    }

    /// Every account's days, stored or waiting for the store, with the sums of ``view(at:)``.
    ///
    /// - Returns: `nil` if `stored` is out of date; read it again then.
    package func history(with stored: StoredDays) -> DayHistory? {
        guard let uncommitted = uncommitted(since: stored.sequence) else { return nil }
        var keys = stored.accounts
        var places: [AccountKey: Int] = [:]
        for (index, account) in accounts.enumerated() where !account.isFolded {
            keys[account.id] = account.key
            places[account.key] = index
        }
        // By key: an account that is new here continues the store's account with the same key.
        var lifetimes = places.mapValues { _ in Total.zero }
        var days: [AccountKey: [CivilDate: Total]] = [:]
        for (id, key) in stored.accounts where uncommitted.foldTargets[id] == nil {
            lifetimes[keys[id] ?? key, default: .zero] += Total.zero
        }
        for (id, total) in stored.lifetimes {
            if let key = keys[uncommitted.target(id)] { lifetimes[key, default: .zero] += total }
        }
        var firsts: [AccountKey: CivilDate] = [:]
        for (id, first) in stored.firsts {
            if let key = keys[uncommitted.target(id)] { firsts[key] = min(firsts[key] ?? first, first) }
        }
        for entry in stored.days {
            if let key = keys[uncommitted.target(entry.account)] {
                days[key, default: [:]][entry.day, default: .zero] += entry.total
            }
        }
        for (slot, total) in uncommitted.days {
            guard let key = keys[slot.account] else { continue }
            lifetimes[key, default: .zero] += total
            firsts[key] = min(firsts[key] ?? slot.day, slot.day)
            days[key, default: [:]][slot.day, default: .zero] += total
        }
        let entries = lifetimes.map { key, lifetime in
            let sorted = (days[key] ?? [:]).sorted { $0.key < $1.key }.map { (day: $0.key, total: $0.value) }
            guard let place = places[key], let view = view(at: place) else {
                return DayHistory.Entry(
                    key: key, isLive: false, lifetime: lifetime, first: firsts[key], days: sorted)
            }
            return DayHistory.Entry(
                key: key, isLive: view.isLive, lifetime: lifetime.without(accounts.hiddenTotal(at: place) ?? .zero),
                first: firsts[key], days: shown(sorted, of: place))
        }
        return DayHistory(entries: entries, meteredFrom: planBook.records.recordedFrom)
    }

    /// The days without hidden bytes. These are taken off today first, then off earlier days.
    private func shown(_ days: [(day: CivilDate, total: Total)], of index: Int) -> [(day: CivilDate, total: Total)] {
        guard var hidden = accounts.hiddenTotal(at: index), let last = days.lastIndex(where: { $0.day <= window.today })
        else {
            return days
        }
        var days = days
        for place in days[...last].indices.reversed() {
            let rest = hidden.without(days[place].total)
            days[place].total = days[place].total.without(hidden)
            hidden = rest
        }
        return days
    }

    /// The account numbers under which the store may keep bytes of this key.
    package func numbers(of key: AccountKey) -> Set<AccountID> {
        var numbers = Set(accounts.lazy.filter { $0.key == key && !$0.isFolded }.map(\.id))
        for fold in (outbox.pending.folds + (outbox.inFlight?.bookings.folds ?? [])).reversed()
        where numbers.contains(fold.target) {
            numbers.insert(fold.source)
        }
        return numbers
    }

    /// A page of the store's buckets, with the bookings that wait for the store.
    ///
    /// - Returns: Ascending by time; `nil` if the page is out of date; read it again then.
    package func buckets(with page: StoredBuckets) -> [BucketRow]? {
        guard let uncommitted = uncommitted(since: page.sequence) else { return nil }
        var page = page
        for account in accounts where !account.isFolded { page.accounts[account.id] = account.key }
        var totals = uncommitted.buckets(from: page.from, before: page.until)
        if totals.isEmpty, uncommitted.foldTargets.isEmpty { return page.named }
        for row in page.rows {
            totals[.init(account: uncommitted.target(row.account), bucket: row.bucket), default: .zero] += row.total
        }
        page.rows = totals.sorted { ($0.key.bucket, $0.key.account) < ($1.key.bucket, $1.key.account) }
            .map { (bucket: $0.key.bucket, account: $0.key.account, total: $0.value) }
        return page.named
    }

    /// Bookings that a store at this commit lacks; `nil` if it is neither of the last two commits.
    private func uncommitted(since sequence: Int64) -> Uncommitted? {
        let waiting = devices.falls.isEmpty ? [outbox.pending] : [outbox.pending, heldBookings()]
        if sequence == outbox.inFlight?.header.sequence { return Uncommitted(waiting) }
        guard sequence == outbox.sequence else { return nil }
        return Uncommitted((outbox.inFlight.map { [$0.bookings] } ?? []) + waiting)
    }
}

/// Bookings that a store lacks.
private struct Uncommitted {
    let foldTargets: [AccountID: AccountID]
    private var bookings = Bookings()

    /// - Parameter parts: In the order in which they will be stored.
    init(_ parts: [Bookings]) {
        bookings.folds = parts.flatMap(\.folds)
        let targets = bookings.foldTargets
        foldTargets = targets
        for part in parts { bookings.absorb(part) { targets[$0] ?? $0 } }
    }

    var days: [Bookings.DayKey: Total] { bookings.days }

    func target(_ account: AccountID) -> AccountID { foldTargets[account] ?? account }

    func buckets(from start: Timestamp, before end: Timestamp) -> [Bookings.BucketKey: Total] {
        var totals = bookings.buckets.filter { $0.key.bucket.start >= start && $0.key.bucket.start < end }
        for entry in bookings.spreads
        where entry.spread.end >= start && Bucket(containing: entry.spread.start).start < end {
            entry.spread.forEachBucket(since: start) { bucket, delta in
                if bucket.start >= start, bucket.start < end {
                    totals[.init(account: entry.account, bucket: bucket), default: .zero] += Total(delta)
                }
            }
        }
        return totals
    }
}
