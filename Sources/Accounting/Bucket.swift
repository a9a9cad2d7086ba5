import CivilTime

/// Five minutes of UTC, or the part of them after a cut. Buckets are the finest stored grain.
package struct Bucket: Hashable, Comparable, Sendable {
    /// The length of every bucket in seconds.
    package static let seconds: Int64 = 300

    package let start: Timestamp

    package init(containing timestamp: Timestamp) {
        let seconds = timestamp.secondsSinceEpoch
        let remainder = seconds % Self.seconds
        let offset = remainder < 0 ? remainder + Self.seconds : remainder
        start = Timestamp(secondsSinceEpoch: seconds < .min + Self.seconds ? .min + Self.seconds : seconds - offset)
    }

    package init(start: Timestamp) {
        self.start = start
    }

    /// The bucket that holds a moment, if buckets also end at `cuts`, which ascend.
    init(containing timestamp: Timestamp, cutAt cuts: [Timestamp]) {
        self.init(containing: timestamp)
        if let cut = cuts.last(where: { $0 <= timestamp }), cut > start { self.init(start: cut) }
    }

    /// The start of the next five minutes; a cut may come before it.
    package var end: Timestamp { Bucket(containing: start).start.adding(seconds: Self.seconds) }

    package static func < (a: Bucket, b: Bucket) -> Bool { a.start < b.start }
}
