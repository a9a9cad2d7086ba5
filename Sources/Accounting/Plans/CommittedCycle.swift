import CivilTime

/// The final figures of a committed rate's cycle, kept for good.
package struct CommittedCycle: Hashable, Sendable {
    package var name: String
    package var cycle: Range<Timestamp>
    package var limitBitsPerSecond: UInt64
    /// The 95th percentile in bytes of five minutes.
    package var percentileBytes: UInt64
    package var samples: Int
    package var missing: Int

    package init(
        name: String, cycle: Range<Timestamp>, limitBitsPerSecond: UInt64, percentileBytes: UInt64, samples: Int,
        missing: Int
    ) {
        self.name = name
        self.cycle = cycle
        self.limitBitsPerSecond = limitBitsPerSecond
        self.percentileBytes = percentileBytes
        self.samples = samples
        self.missing = missing
    }

    package var percentileBytesPerSecond: Double { Double(percentileBytes) / Double(Bucket.seconds) }
}
