/// What a device's two byte counters show at one moment: cumulative since the counter's life began.
package struct Counters: Hashable, Sendable, BitwiseCopyable {
    package var received: UInt64
    package var transmitted: UInt64

    package static let zero = Counters(received: 0, transmitted: 0)

    package init(received: UInt64, transmitted: UInt64) {
        self.received = received
        self.transmitted = transmitted
    }

    /// Whether neither direction is lower than in `earlier`.
    package func continues(_ earlier: Counters) -> Bool {
        received >= earlier.received && transmitted >= earlier.transmitted
    }

    /// The baseline of a device that may be the one that left with the counters `carried`. If it is, bytes carried
    /// elsewhere aren't booked. If it is another device, all its bytes are.
    ///
    /// - Parameter isSame: Whether it is certainly the same device. Then one direction may have restarted alone.
    func baseline(leftWith carried: Counters, isSame: Bool) -> Counters {
        if continues(carried) { return self }
        guard isSame else { return .zero }
        return Counters(
            received: carried.received > 0 && received >= carried.received ? received : 0,
            transmitted: carried.transmitted > 0 && transmitted >= carried.transmitted ? transmitted : 0)
    }

    /// The bytes since `earlier`; 0 in a direction that is lower.
    package func growth(since earlier: Counters) -> Delta {
        Delta(
            received: received >= earlier.received ? received - earlier.received : 0,
            transmitted: transmitted >= earlier.transmitted ? transmitted - earlier.transmitted : 0)
    }
}

/// Bytes carried between two readings. Never a total: two deltas of different spans may be added to a `Total` only.
package struct Delta: Hashable, Sendable, BitwiseCopyable {
    package var received: UInt64
    package var transmitted: UInt64

    package static let zero = Delta(received: 0, transmitted: 0)

    package init(received: UInt64, transmitted: UInt64) {
        self.received = received
        self.transmitted = transmitted
    }

    /// Everything that a counter shows, as carried since the counter's life began.
    package init(sinceCreation counters: Counters) {
        self.init(received: counters.received, transmitted: counters.transmitted)
    }

    package var isZero: Bool { received == 0 && transmitted == 0 }

    /// Both directions together.
    package var bytes: UInt64 { saturatingSum(received, transmitted) }
}

/// A sum of deltas. It stops at `Int64.max` (9.2 exabytes) instead of wrapping: that is what SQLite can hold exactly.
package struct Total: Hashable, Sendable, BitwiseCopyable {
    package private(set) var received: UInt64
    package private(set) var transmitted: UInt64

    package static let zero = Total(received: 0, transmitted: 0)

    package init(received: UInt64, transmitted: UInt64) {
        self.received = min(received, saturationLimit)
        self.transmitted = min(transmitted, saturationLimit)
    }

    package init(_ delta: Delta) {
        self.init(received: delta.received, transmitted: delta.transmitted)
    }

    package var isZero: Bool { received == 0 && transmitted == 0 }

    /// Both directions together.
    package var bytes: UInt64 { saturatingSum(received, transmitted) }

    package static func += (total: inout Total, delta: Delta) {
        total.received = saturatingSum(total.received, delta.received)
        total.transmitted = saturatingSum(total.transmitted, delta.transmitted)
    }

    package static func += (total: inout Total, other: Total) {
        total += Delta(received: other.received, transmitted: other.transmitted)
    }

    package func adding(_ other: Total) -> Total {
        var sum = self
        sum += other
        return sum
    }

    /// The total minus `other`, never below 0.
    package func without(_ other: Total) -> Total {
        Total(
            received: received >= other.received ? received - other.received : 0,
            transmitted: transmitted >= other.transmitted ? transmitted - other.transmitted : 0)
    }
}

/// The largest total that is kept: SQLite's integers are signed 64-bit numbers.
package let saturationLimit = UInt64(Int64.max)

/// `a + b`, at most ``saturationLimit``.
func saturatingSum(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    return overflow ? saturationLimit : min(sum, saturationLimit)
}
