/// A throughput that shouldn't be exceeded for long.
package struct RateLimit: Hashable, Sendable {
    package var name: String
    package var count: Selection
    package var direction: ByteDirection
    package var limitBitsPerSecond: UInt64
    /// How long the rate must stay over the limit before that counts.
    package var hold: Span

    package init(
        name: String, count: Selection, direction: ByteDirection, limitBitsPerSecond: UInt64, hold: Span
    ) {
        self.name = name
        self.count = count
        self.direction = direction
        self.limitBitsPerSecond = limitBitsPerSecond
        self.hold = hold
    }

    package var limitBytesPerSecond: Double { Double(limitBitsPerSecond) / 8 }
}
