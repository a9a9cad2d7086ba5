import CivilTime

/// Bookings that wait for the store. While the disk fails they merge here, and become coarser before they fill the
/// memory. In the end they grow with accounts × days only.
struct Pending {
    /// Above this many buckets the older ones are merged.
    static let maximumBuckets = 400_000
    /// Above this many spreads each day's share goes into one bucket.
    static let maximumSpreads = 4096

    var buckets: [Commit.BucketKey: Total] = [:]
    var days: [Commit.DayKey: Total] = [:]
    var spreads: [Commit.GapSpread] = []
    var folds: [Commit.Fold] = []
    var events: [QuotaEvent] = []
    /// See ``Commit/starts``.
    var starts: [QuotaEvent] = []
    var adjustments: [Adjustment] = []
    var committedCycles: [CommittedCycle] = []
    /// Time in which nothing was read.
    var unread: [Range<Timestamp>] = []
    /// See ``Commit/removedAccounts``.
    var removedAccounts: [AccountID] = []
    /// See ``Commit/isWhole``.
    var isWhole = false

    mutating func add(_ delta: Delta, to account: AccountID, bucket: Bucket, day: CivilDate) {
        buckets[Commit.BucketKey(account: account, bucket: bucket), default: .zero] += delta
        days[Commit.DayKey(account: account, day: day), default: .zero] += delta
        if buckets.count > Self.maximumBuckets { coarsen() }
    }

    /// - Parameter days: The share of `spread` on each local day.
    mutating func add(_ spread: Spread, to account: AccountID, days shares: [Spread.DayShare]) {
        for part in shares { days[.init(account: account, day: part.day), default: .zero] += part.share }
        if spreads.count < Self.maximumSpreads {
            spreads.append(.init(account: account, spread: spread))
            return
        }
        for part in shares {
            let bucket = Bucket(containing: max(part.start, spread.start))
            buckets[.init(account: account, bucket: bucket), default: .zero] += part.share
        }
        if buckets.count > Self.maximumBuckets { coarsen() }
    }

    /// Adds the bookings of `other`, whose accounts have other numbers here.
    mutating func absorb(_ other: Pending, numberedAs number: [AccountID: AccountID]) {
        for (key, total) in other.buckets {
            guard let account = number[key.account] else { continue }
            buckets[.init(account: account, bucket: key.bucket), default: .zero] += total
        }
        for (key, total) in other.days {
            guard let account = number[key.account] else { continue }
            days[.init(account: account, day: key.day), default: .zero] += total
        }
        for entry in other.spreads {
            guard let account = number[entry.account] else { continue }
            spreads.append(.init(account: account, spread: entry.spread))
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
        for (key, total) in buckets {
            guard let account = target[key.account] else { continue }
            buckets[key] = nil
            buckets[Commit.BucketKey(account: account, bucket: key.bucket), default: .zero] += total
        }
        for (key, total) in days {
            guard let account = target[key.account] else { continue }
            days[key] = nil
            days[Commit.DayKey(account: account, day: key.day), default: .zero] += total
        }
        for index in spreads.indices {
            if let account = target[spreads[index].account] { spreads[index].account = account }
        }
    }

    /// Moves bookings to the first bucket of each hour or, if that isn't enough, of each UTC day. Keeps `days`.
    private mutating func coarsen() {
        for grainSeconds: Int64 in [3600, 86400] {
            var coarse: [Commit.BucketKey: Total] = [:]
            for (key, total) in buckets {
                let seconds = key.bucket.start.secondsSinceEpoch
                let remainder = seconds % grainSeconds
                let start = Timestamp(
                    secondsSinceEpoch: seconds - (remainder < 0 ? remainder + grainSeconds : remainder))
                let bucket = Bucket(containing: start)
                coarse[Commit.BucketKey(account: key.account, bucket: bucket), default: .zero] += total
            }
            buckets = coarse
            if buckets.count <= Self.maximumBuckets / 2 { return }
        }
    }
}
