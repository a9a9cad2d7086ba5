import CivilTime

/// Bookings that wait for the store. While the disk fails they merge here; their number is bounded by accounts × days.
struct Pending {
    /// Above this many buckets the older ones are merged, so that a disk that fails for weeks can't fill the memory.
    static let maximumBuckets = 400_000

    var buckets: [Commit.BucketKey: Total] = [:]
    var days: [Commit.DayKey: Total] = [:]
    var spreads: [Commit.GapSpread] = []
    var folds: [Commit.Fold] = []

    mutating func add(_ delta: Delta, to account: AccountID, bucket: Bucket, day: CivilDate) {
        buckets[Commit.BucketKey(account: account, bucket: bucket), default: .zero] += delta
        days[Commit.DayKey(account: account, day: day), default: .zero] += delta
        if buckets.count > Self.maximumBuckets { coarsen() }
    }

    /// Takes back what could not be committed. `earlier` came first.
    mutating func merge(_ earlier: Commit) {
        buckets.merge(earlier.buckets) { $0.adding($1) }
        days.merge(earlier.days) { $0.adding($1) }
        spreads = earlier.spreads + spreads
        folds = earlier.folds + folds
        if buckets.count > Self.maximumBuckets { coarsen() }
    }

    /// Books what waits for folded accounts to the ones that they became part of.
    mutating func applyFolds() {
        if folds.isEmpty { return }
        var target: [AccountID: AccountID] = [:]
        for fold in folds.reversed() { target[fold.source] = target[fold.target] ?? fold.target }
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

    /// Moves what waits to coarser starts: the first bucket of each hour or, if that isn't enough, of each UTC day.
    /// Days, and sums over whole days, stay as they are.
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

extension Total {
    func adding(_ other: Total) -> Total {
        var sum = self
        sum += other
        return sum
    }
}
