import CivilTime

/// A rate that the owner buys, billed by the 95th percentile.
package struct CommittedRate: Hashable, Sendable {
    /// How a missing sample counts: one in whose time nothing was read.
    package enum MissingSamples: String, Hashable, Sendable, CaseIterable {
        /// As a rate of zero.
        case zero
        /// It is left out.
        case skip
    }

    package var name: String
    package var count: Selection
    package var direction: ByteDirection
    package var limitBitsPerSecond: UInt64
    package var cycle: Cycle
    package var missing: MissingSamples

    package init(
        name: String, count: Selection, direction: ByteDirection, limitBitsPerSecond: UInt64, cycle: Cycle,
        missing: MissingSamples
    ) {
        self.name = name
        self.count = count
        self.direction = direction
        self.limitBitsPerSecond = limitBitsPerSecond
        self.cycle = cycle
        self.missing = missing
    }

    package var limitBytesPerSecond: Double { Double(limitBitsPerSecond) / 8 }
}
