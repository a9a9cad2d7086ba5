import CivilTime

/// Bytes of a gap, or of a reading that came late, spread evenly over its time so that each byte is counted once.
///
/// The share of a part is a difference of ``bytes(until:)``, so parts that tile the gap add up to the delta exactly.
package struct Spread: Hashable, Sendable {
    package let delta: Delta
    package let start: Timestamp
    package let end: Timestamp
    /// Moments in between at which buckets end too, ascending.
    package let cuts: [Timestamp]

    /// A gap that ends before it starts has no length: then all of it lies in the last bucket.
    package init(_ delta: Delta, from start: Timestamp, to end: Timestamp, cutAt cuts: [Timestamp] = []) {
        self.delta = delta
        self.cuts = cuts
        self.start = min(start, end)
        self.end = end
    }

    /// The bytes of `[from, to)`. If the gap has no length, they belong to the part that holds its end.
    package func share(from: Timestamp, to: Timestamp) -> Delta {
        let upper = bytes(until: to)
        let lower = bytes(until: from)
        return Delta(received: upper.received - lower.received, transmitted: upper.transmitted - lower.transmitted)
    }

    /// Calls `body` with each bucket of the gap that has bytes, in order.
    ///
    /// - Parameter horizon: Earlier buckets are left out, because they aren't kept.
    package func forEachBucket(since horizon: Timestamp, _ body: (Bucket, Delta) throws -> Void) rethrows {
        var bucket = Bucket(containing: max(start, horizon), cutAt: cuts)
        var rest = cuts[(cuts.firstIndex { $0 > bucket.start } ?? cuts.endIndex)...]
        let last = Bucket(containing: end, cutAt: cuts)
        while bucket <= last {
            var bucketEnd = bucket.end
            if let cut = rest.first, cut < bucketEnd { bucketEnd = rest.removeFirst() }
            if rest.first == bucketEnd { rest.removeFirst() }
            let share = share(from: bucket.start, to: bucketEnd)
            if !share.isZero { try body(bucket, share) }
            if bucket == last { return }
            bucket = Bucket(start: bucketEnd)
        }
    }

    /// The gap's bytes on one local day, which began at `start`.
    package typealias DayShare = (day: CivilDate, start: Timestamp, share: Delta)

    /// The gap's bytes by local day, in order; days without bytes are left out.
    package func days(by calendar: LocalCalendar) -> [DayShare] {
        var shares: [DayShare] = []
        var day = calendar.day(containing: start)
        let last = calendar.day(containing: end)
        while day <= last {
            let span = calendar.span(ofDay: day)
            let share = share(from: span.lowerBound, to: span.upperBound)
            if !share.isZero { shares.append((day, span.lowerBound, share)) }
            day = calendar.nextDay(after: day)
        }
        return shares
    }

    private func bytes(until moment: Timestamp) -> Delta {
        if moment > end { return delta }
        if moment <= start { return .zero }
        let length = UInt64(bitPattern: end.secondsSinceEpoch &- start.secondsSinceEpoch)
        let part = UInt64(bitPattern: moment.secondsSinceEpoch &- start.secondsSinceEpoch)
        return Delta(
            received: Self.scale(delta.received, part, length), transmitted: Self.scale(delta.transmitted, part, length)
        )
    }

    /// `bytes * part / length` by 128-bit arithmetic, for `part <= length`.
    private static func scale(_ bytes: UInt64, _ part: UInt64, _ length: UInt64) -> UInt64 {
        if part >= length { return bytes }
        return length.dividingFullWidth(bytes.multipliedFullWidth(by: part)).quotient
    }
}
