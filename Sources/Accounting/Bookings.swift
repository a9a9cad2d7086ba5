import CivilTime

/// What the store has to add. While the disk fails, bookings wait and merge here, and become coarser before they fill
/// the memory. In the end they grow with accounts × days only.
package struct Bookings: Sendable {
    package typealias Fold = (source: AccountID, target: AccountID)
    package typealias GapSpread = (account: AccountID, spread: Spread)

    package struct BucketKey: Hashable, Sendable {
        package var account: AccountID
        package var bucket: Bucket

        package init(account: AccountID, bucket: Bucket) {
            self.account = account
            self.bucket = bucket
        }
    }

    package struct DayKey: Hashable, Sendable {
        package var account: AccountID
        package var day: CivilDate

        package init(account: AccountID, day: CivilDate) {
            self.account = account
            self.day = day
        }
    }

    /// Above this many buckets the older ones are merged.
    static let maximumBuckets = 400_000
    /// Above this many spreads each day's share goes into one bucket.
    static let maximumSpreads = 4096

    package var buckets: [BucketKey: Total] = [:]
    package var days: [DayKey: Total] = [:]
    /// Bookings of gaps, which the store cuts into buckets; their days are in `days` already.
    package var spreads: [GapSpread] = []
    /// Accounts to merge into others, before everything else.
    package var folds: [Fold] = []
    /// New events of quotas.
    package var events: [QuotaEvent] = []
    /// Events whose programs start once this is stored. If one still awaits its program, its start is taken back.
    package var starts: [QuotaEvent] = []
    /// Corrections and top-ups, for a new file that replaces a damaged one.
    package var adjustments: [Adjustment] = []
    /// Results of committed rates' cycles; they replace stored ones.
    package var committedCycles: [CommittedCycle] = []
    /// Time in which nothing was read.
    package var unread: [Range<Timestamp>] = []
    /// Accounts of departed devices that never had a byte.
    package var removedAccounts: [AccountID] = []
    /// Whether it has everything that is known of its accounts, for a new file that replaces a damaged one.
    package var isWhole = false

    package init() {}

    mutating func add(_ delta: Delta, to account: AccountID, bucket: Bucket, day: CivilDate) {
        buckets[BucketKey(account: account, bucket: bucket), default: .zero] += delta
        days[DayKey(account: account, day: day), default: .zero] += delta
        if buckets.count > Self.maximumBuckets { coarsen() }
    }

    /// - Parameter days: The share of `spread` on each local day.
    mutating func add(_ spread: Spread, to account: AccountID, days shares: [Spread.DayShare]) {
        for part in shares { days[.init(account: account, day: part.day), default: .zero] += part.share }
        if spreads.count < Self.maximumSpreads {
            spreads.append((account, spread))
            return
        }
        for part in shares {
            let bucket = Bucket(containing: max(part.start, spread.start))
            buckets[.init(account: account, bucket: bucket), default: .zero] += part.share
        }
        if buckets.count > Self.maximumBuckets { coarsen() }
    }

    /// Adds the bookings of `other`, whose accounts have other numbers here; without a number, they are left out.
    mutating func absorb(_ other: Bookings, numberedAs number: (AccountID) -> AccountID?) {
        for (key, total) in other.buckets {
            guard let account = number(key.account) else { continue }
            buckets[.init(account: account, bucket: key.bucket), default: .zero] += total
        }
        for (key, total) in other.days {
            guard let account = number(key.account) else { continue }
            days[.init(account: account, day: key.day), default: .zero] += total
        }
        for entry in other.spreads {
            guard let account = number(entry.account) else { continue }
            spreads.append((account, entry.spread))
        }
    }

    /// The account that each folded account is part of in the end.
    var foldTargets: [AccountID: AccountID] {
        var target: [AccountID: AccountID] = [:]
        for fold in folds.reversed() { target[fold.source] = target[fold.target] ?? fold.target }
        return target
    }

    /// Moves bookings of folded accounts to the accounts that they are part of.
    mutating func applyFolds() {
        if folds.isEmpty { return }
        let target = foldTargets
        let unfolded = self
        (buckets, days, spreads) = ([:], [:], [])
        absorb(unfolded) { target[$0] ?? $0 }
    }

    /// Moves bookings to the first bucket of each hour or, if that isn't enough, of each UTC day. Keeps `days`.
    private mutating func coarsen() {
        for grainSeconds: Int64 in [3600, 86400] {
            var coarse: [BucketKey: Total] = [:]
            for (key, total) in buckets {
                let seconds = key.bucket.start.secondsSinceEpoch
                let sinceGrain = (seconds % grainSeconds + grainSeconds) % grainSeconds
                let bucket = Bucket(containing: Timestamp(secondsSinceEpoch: seconds - sinceGrain))
                coarse[BucketKey(account: key.account, bucket: bucket), default: .zero] += total
            }
            buckets = coarse
            if buckets.count <= Self.maximumBuckets / 2 { return }
        }
    }
}
