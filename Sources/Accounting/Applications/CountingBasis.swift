/// What a device's byte counter makes of packets that pass it merged (GSO, GRO). Drivers differ.
package enum CountingBasis: String, Sendable, BitwiseCopyable {
    /// Each packet with its own headers, as on the cable.
    case wire
    /// The headers once for all packets that were merged.
    case merged
}

/// The basis of both directions of a device; `nil` until it is learnt.
package struct LinkBasis: Hashable, Sendable, BitwiseCopyable {
    package var received: CountingBasis?
    package var transmitted: CountingBasis?

    package init(received: CountingBasis? = nil, transmitted: CountingBasis? = nil) {
        self.received = received
        self.transmitted = transmitted
    }

    /// With every header where it isn't learnt.
    var orWire: LinkBasis { LinkBasis(received: received ?? .wire, transmitted: transmitted ?? .wire) }
}

/// Learns the basis of a device: over some time, its counter grows as one of the two sums of its packets does.
struct BasisLearner {
    /// One direction.
    private struct Direction {
        private var start: (device: UInt64, wire: UInt64, saved: UInt64)?
        private(set) var basis: CountingBasis?

        init(_ basis: CountingBasis?) { self.basis = basis }

        /// Below this the sums are too near to each other, because they aren't read at one moment.
        private static let minimumBytes: UInt64 = 1_000_000

        mutating func take(device: UInt64, wire: UInt64, saved: UInt64, isComplete: Bool) {
            guard let start, device >= start.device, wire >= start.wire, saved >= start.saved else {
                self.start = (device, wire, saved)
                return
            }
            let (grown, onWire) = (device - start.device, wire - start.wire)
            let headers = min(saved - start.saved, onWire)
            if headers < Self.minimumBytes {
                // So few were merged that what comes next is measured from here.
                if !isComplete, onWire / 200 > Self.minimumBytes { self.start = (device, wire, saved) }
                return
            }
            // Other packets may have passed, too, so only a counter that grew by less proves something, once and for all.
            if isComplete || basis != .merged { basis = grown >= onWire - headers / 2 ? .wire : .merged }
            self.start = (device, wire, saved)
        }
    }

    private var received: Direction
    private var transmitted: Direction

    /// - Parameter known: What was learnt before.
    init(_ known: LinkBasis?) {
        received = Direction(known?.received)
        transmitted = Direction(known?.transmitted)
    }

    var basis: LinkBasis { LinkBasis(received: received.basis, transmitted: transmitted.basis) }

    /// - Parameters:
    ///   - device: What the device's counters show.
    ///   - packets: What its packets add up to, at the same time.
    ///   - isComplete: Whether these are all of its packets. Otherwise only a counter that grew by less than they do proves
    ///     something, and what looks like ``CountingBasis/wire`` may turn out to be ``CountingBasis/merged``.
    mutating func take(_ device: Counters, _ packets: PacketCounter, isComplete: Bool) {
        received.take(
            device: device.received, wire: packets.wire.received, saved: packets.saved.received, isComplete: isComplete)
        transmitted.take(
            device: device.transmitted, wire: packets.wire.transmitted, saved: packets.saved.transmitted,
            isComplete: isComplete)
    }
}
