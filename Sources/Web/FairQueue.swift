import NIOCore

/// The origin of a client, as far as the client can't choose it: an IPv4 address, or the network of an IPv6 address.
struct ClientOrigin: Hashable, Sendable {
    private let number: UInt128?

    /// - Parameter address: Nil, and addresses that aren't IP, are one origin.
    init(_ address: SocketAddress?) {
        // An IPv6 address that holds no IPv4 address comes with a /64 of its own.
        number = address?.number.map { $0 >> 32 == 0xFFFF ? $0 : ($0 >> 64) << 64 }
    }
}

/// A queue in which origins take turns. Elements of one origin keep their order.
///
/// An origin that has just failed lets the others go first, so that guessers don't keep out clients from elsewhere.
struct FairQueue<Element> {
    /// A place in the queue.
    struct Ticket: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    /// How long an origin that failed lets the others go first.
    private static var penalty: TimeAmount { .seconds(1) }
    /// Older failures are forgotten when there are so many.
    private static var maximumFailures: Int { 1024 }

    /// In the order of turns; none is empty.
    private var lanes: [(origin: ClientOrigin, waiting: [(ticket: Ticket, element: Element)])] = []
    private var failures: [ClientOrigin: NIODeadline] = [:]
    private var nextNumber: UInt64 = 0

    mutating func add(_ element: Element, from origin: ClientOrigin) -> Ticket {
        let ticket = Ticket(number: nextNumber)
        nextNumber += 1
        if let lane = lanes.firstIndex(where: { $0.origin == origin }) {
            lanes[lane].waiting.append((ticket, element))
        } else {
            lanes.append((origin, [(ticket, element)]))
        }
        return ticket
    }

    /// Removes an element that has waited for too long; nil if it had its turn.
    mutating func remove(_ ticket: Ticket) -> Element? {
        for lane in lanes.indices {
            guard let place = lanes[lane].waiting.firstIndex(where: { $0.ticket == ticket }) else { continue }
            let element = lanes[lane].waiting.remove(at: place).element
            if lanes[lane].waiting.isEmpty { lanes.remove(at: lane) }
            return element
        }
        return nil
    }

    var count: Int { lanes.reduce(0) { $0 + $1.waiting.count } }

    /// Removes all elements of a kind.
    mutating func removeAll(where isOfKind: (Element) -> Bool) {
        for lane in lanes.indices { lanes[lane].waiting.removeAll { isOfKind($0.element) } }
        lanes.removeAll { $0.waiting.isEmpty }
    }

    /// Removes the next element; nil if none waits.
    mutating func next(at now: NIODeadline) -> Element? {
        if lanes.isEmpty { return nil }
        let first = lanes.firstIndex { lane in failures[lane.origin].map { now - $0 >= Self.penalty } ?? true }
        var lane = lanes.remove(at: first ?? 0)
        let element = lane.waiting.removeFirst().element
        if !lane.waiting.isEmpty { lanes.append(lane) }
        return element
    }

    /// Notes that an origin failed.
    mutating func noteFailure(of origin: ClientOrigin, at now: NIODeadline) {
        if failures.count >= Self.maximumFailures { failures = failures.filter { now - $0.value < Self.penalty } }
        if failures.count >= Self.maximumFailures { failures = [:] }
        failures[origin] = now
    }
}
