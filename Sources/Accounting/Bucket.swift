import CivilTime

/// Five minutes of UTC, the finest grain that is stored; named by when it starts.
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

    /// The first moment that is no longer in the bucket.
    package var end: Timestamp { start.adding(seconds: Self.seconds) }

    package static func < (a: Bucket, b: Bucket) -> Bool { a.start < b.start }
}
