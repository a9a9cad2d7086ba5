/// Bytes per second in each direction.
package struct Rate: Hashable, Sendable, BitwiseCopyable {
    package var received: Double
    package var transmitted: Double

    package static let zero = Rate(received: 0, transmitted: 0)

    package init(received: Double, transmitted: Double) {
        self.received = received
        self.transmitted = transmitted
    }
}

/// The mean rate over the last sampling interval and the highest such rate of the last minute.
struct RateGauge {
    /// How far back a peak is remembered, one slot a second.
    private static let windowSeconds: Int64 = 60

    private(set) var current = Rate.zero
    private(set) var peak = Rate.zero
    private var carried = Delta.zero
    private var slots: [Rate] = []
    private var newestSecond: Int64 = 0

    /// Whether a sample now, of an interval without bytes, would change nothing.
    var isSilent: Bool { carried.isZero && current == .zero && peak == .zero }

    /// Adds bytes that were booked in the open sampling interval.
    mutating func add(_ delta: Delta) {
        carried.received = saturatingSum(carried.received, delta.received)
        carried.transmitted = saturatingSum(carried.transmitted, delta.transmitted)
    }

    /// Adds another account's bytes of the open sampling interval.
    mutating func add(_ other: RateGauge) { add(other.carried) }

    /// Ends a sampling interval of the length `elapsed`, which isn't zero.
    mutating func sample(at time: BootTime, elapsed: Span) {
        current = Rate(
            received: Double(carried.received) / elapsed.seconds,
            transmitted: Double(carried.transmitted) / elapsed.seconds)
        carried = .zero
        remember(current, inSecond: time.nanoseconds / 1_000_000_000)
    }

    /// The account has no device any more: its rate is 0 until one comes back.
    mutating func stop() {
        self = RateGauge()
    }

    private mutating func remember(_ rate: Rate, inSecond second: Int64) {
        let length = Self.windowSeconds
        if slots.isEmpty { slots = Array(repeating: .zero, count: Int(length)) }
        if second < newestSecond || second - newestSecond >= length {
            for index in slots.indices { slots[index] = .zero }
        } else {
            for skipped in stride(from: newestSecond + 1, through: second, by: 1) {
                slots[Int(skipped % length)] = .zero
            }
        }
        newestSecond = second
        let index = Int(second % length)
        slots[index].received = max(slots[index].received, rate.received)
        slots[index].transmitted = max(slots[index].transmitted, rate.transmitted)
        peak = slots.reduce(into: .zero) { highest, slot in
            highest.received = max(highest.received, slot.received)
            highest.transmitted = max(highest.transmitted, slot.transmitted)
        }
    }
}
