import CivilTime

/// How each plan restores its past from the store: from whole local days if these are enough, else from buckets.
///
/// A day's row is enough for a quota if the day lies in one cycle, on one side of each correction, and has no free
/// time. So a start needn't read months of buckets for every device.
package struct PlanRestore: Sendable {
    /// A local day with bytes in the store.
    ///
    /// `hasBuckets`: Whether all its buckets are kept.
    package typealias Day = (day: CivilDate, span: Range<Timestamp>, hasBuckets: Bool)

    package let days: [Day]
    /// The time whose buckets must be read; ascending and disjoint.
    package let bucketSpans: [Range<Timestamp>]
    /// For each quota, the first day that it needs, and which days from there on it takes as a whole.
    private let wholeDays: [(first: Int, isWhole: [Bool])]
    /// The first moment whose buckets committed rates need.
    let committedFrom: Timestamp

    /// - Parameter days: Ascending.
    package init(_ days: [Day], for book: PlanBook, at now: Timestamp) {
        self.days = days
        committedFrom = book.committedRates.map { $0.historyFrom(at: now) }.min() ?? .latest
        wholeDays = book.quotas.map { $0.wholeDays(days, at: now) }
        var spans: [Range<Timestamp>] = []
        for (place, day) in days.enumerated() where day.hasBuckets {
            let isNeeded = wholeDays.contains { place >= $0.first && !$0.isWhole[place - $0.first] }
            guard isNeeded || day.span.upperBound > committedFrom else { continue }
            if let last = spans.last, last.upperBound == day.span.lowerBound {
                spans[spans.count - 1] = last.lowerBound..<day.span.upperBound
            } else {
                spans.append(day.span)
            }
        }
        bucketSpans = spans
    }

    /// The days whose rows are needed.
    package var dayRange: ClosedRange<CivilDate>? {
        let first = wholeDays.map(\.first).min() ?? days.count
        guard first < days.count, let last = days.last else { return nil }
        return days[first].day...last.day
    }

    /// Whether a quota takes this day as a whole; `nil` if it doesn't need it.
    func isWhole(_ day: Int, forQuota quota: Int) -> Bool? {
        let known = wholeDays[quota]
        return day < known.first ? nil : known.isWhole[day - known.first]
    }
}

extension QuotaBook {
    fileprivate func wholeDays(_ days: [PlanRestore.Day], at now: Timestamp) -> (first: Int, isWhole: [Bool]) {
        let from = historyFrom(at: now)
        let first = days.firstIndex { $0.span.upperBound > from } ?? days.count
        let corrections = adjustments.filter(\.isCorrection).map(\.at)
        var span = Timestamp.earliest..<Timestamp.earliest
        let isWhole = days[first...].map { day -> Bool in
            if !day.hasBuckets { return true }
            if !quota.free.isEmpty || Bucket(containing: day.span.lowerBound).start != day.span.lowerBound {
                return false
            }
            if !span.contains(day.span.lowerBound) { span = cycle(at: day.span.lowerBound) }
            return day.span.upperBound <= span.upperBound && span.contains(day.span.lowerBound)
                && !corrections.contains { $0 > day.span.lowerBound && $0 < day.span.upperBound }
        }
        return (first, isWhole)
    }
}

extension PlanBook {
    /// Whether bytes booked to this account count for any plan.
    package mutating func counts(_ key: AccountKey) -> Bool { !counting(key).isEmpty }

    /// Counts the stored bytes of the day at this place.
    ///
    /// - Parameter withoutBuckets: The part of them that is in no bucket.
    package mutating func restore(
        _ total: Total, withoutBuckets rest: Total, of key: AccountKey, onDay place: Int, _ source: PlanRestore
    ) {
        let start = source.days[place].span.lowerBound
        for (quota, sign) in counting(key).shares {
            guard let isWhole = source.isWhole(place, forQuota: quota) else { continue }
            // Applications have fewer buckets than the uplink: without a bucket nobody knows whether the uplink's bytes of the
            // same moment count, and only what certainly counts is left out.
            if !isWhole, key.isOfApplication, case .uplinkWithout = quotas[quota].quota.count { continue }
            quotas[quota].restore(isWhole ? total : rest, sign, at: start)
        }
    }

    /// Counts one of the store's buckets, on the day at this place.
    package mutating func restore(
        _ total: Total, of key: AccountKey, at slot: Timestamp, onDay place: Int, _ source: PlanRestore
    ) {
        let counting = counting(key)
        for (quota, sign) in counting.shares where source.isWhole(place, forQuota: quota) == false {
            quotas[quota].restore(total, sign, at: slot)
        }
        if slot < source.committedFrom { return }
        for place in counting.committedRates { committedRates[place].add(total, at: slot) }
    }
}
