/// What one counter of packets shows, in both directions. It only grows.
package struct PacketCounter: Hashable, Sendable, BitwiseCopyable {
    /// As on the cable: every packet with its own headers.
    package var wire = Counters.zero
    /// How many of these bytes are headers that a device doesn't see if it gets merged packets.
    package var saved = Counters.zero

    package init(wire: Counters = .zero, saved: Counters = .zero) {
        self.wire = wire
        self.saved = saved
    }

    package mutating func add(_ other: PacketCounter) {
        wire.add(other.wire)
        saved.add(other.saved)
    }
}

/// Up to where a counter of packets is booked.
package struct PacketBaseline: Hashable, Sendable, BitwiseCopyable {
    package var counter = PacketCounter()
    /// Headers of merged packets that wait until somebody knows whether the uplink's counter has them.
    package var withheld = Counters.zero

    package init(counter: PacketCounter = PacketCounter(), withheld: Counters = .zero) {
        self.counter = counter
        self.withheld = withheld
    }

    /// Whether there is nothing to book.
    func isBooked(_ shown: PacketCounter, on basis: LinkBasis) -> Bool {
        shown == counter && (withheld.received == 0 || basis.received == nil)
            && (withheld.transmitted == 0 || basis.transmitted == nil)
    }

    /// Books up to what the counter shows now. A direction that is lower than before began again.
    ///
    /// - Returns: The bytes to book, on the basis of the uplink.
    mutating func advance(to shown: PacketCounter, on basis: LinkBasis) -> Delta {
        Delta(
            received: advance(\.received, to: shown, on: basis.received),
            transmitted: advance(\.transmitted, to: shown, on: basis.transmitted))
    }

    private mutating func advance(
        _ direction: WritableKeyPath<Counters, UInt64>, to shown: PacketCounter, on basis: CountingBasis?
    ) -> UInt64 {
        if shown.wire[keyPath: direction] < counter.wire[keyPath: direction] {
            counter.wire[keyPath: direction] = 0
            counter.saved[keyPath: direction] = 0
        }
        let grown = shown.wire[keyPath: direction] - counter.wire[keyPath: direction]
        counter.wire[keyPath: direction] = shown.wire[keyPath: direction]
        // The kernel adds up a packet's bytes first, and then its headers: these may be read with the next reading.
        let (saved, known) = (shown.saved[keyPath: direction], counter.saved[keyPath: direction])
        let headers = min(saved > known ? saved - known : 0, grown)
        counter.saved[keyPath: direction] = known + headers
        defer { if basis != nil { withheld[keyPath: direction] = 0 } }
        switch basis {
        case .wire: return saturatingSum(grown, withheld[keyPath: direction])
        case .merged: return grown - headers
        case nil:
            withheld[keyPath: direction] = saturatingSum(withheld[keyPath: direction], headers)
            return grown - headers
        }
    }
}

extension Counters {
    mutating func add(_ other: Counters) {
        received &+= other.received
        transmitted &+= other.transmitted
    }
}
