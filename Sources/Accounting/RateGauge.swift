/// Bytes per second in each direction.
package struct Rate: Hashable, Sendable {
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
    private var previous: Counters?
    private var slots: [Rate] = []
    private var newestSecond: Int64 = 0

    /// Takes the account's counter at the end of a sampling interval of the length `elapsed`.
    mutating func sample(_ counter: Counters, at time: BootTime, elapsed: Span) {
        defer { previous = counter }
        guard let previous, elapsed > .zero else { return }
        current = Rate(
            received: Double(counter.received &- previous.received) / elapsed.seconds,
            transmitted: Double(counter.transmitted &- previous.transmitted) / elapsed.seconds)
        remember(current, inSecond: time.nanoseconds / 1_000_000_000)
    }

    /// The account has no device any more: its rate is nothing until one comes back.
    mutating func stop() {
        self = RateGauge()
    }

    private mutating func remember(_ rate: Rate, inSecond second: Int64) {
        let length = Self.windowSeconds
        if slots.isEmpty { slots = Array(repeating: .zero, count: Int(length)) }
        if second < newestSecond || second - newestSecond >= length {
            for index in slots.indices { slots[index] = .zero }
        } else {
            var skipped = newestSecond
            while skipped < second {
                skipped += 1
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
