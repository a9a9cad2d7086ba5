import Accounting
import CivilTime
import Synchronization

@testable import Exporter
@testable import Netlink

/// A kernel of a few devices, in memory. Everything happens when the test says so.
final class FakeKernel: Kernel, Sendable {
    let networkNamespace: UInt64 = 1
    let isBusy = false
    private let state = Mutex(State())

    private struct State {
        var present: [UInt32: (link: Link, counters: Counters)] = [:]
        var events: [KernelNetwork.Event] = []
        var addresses: [InterfaceAddress] = []
        var route: DefaultRoute?
        var failure: NetlinkError?
        var overruns: UInt64 = 0
        var patienceMilliseconds = 0
        var whileReading: (@Sendable () -> Void)?
        var whileListing: (@Sendable () -> Void)?

        func reading(_ index: UInt32) -> LinkCounters? {
            present[index].map {
                LinkCounters(
                    index: index, receivedBytes: $0.counters.received, transmittedBytes: $0.counters.transmitted)
            }
        }

        /// The link as an event has it: with its counters.
        func link(_ index: UInt32) -> Link? {
            guard var link = present[index]?.link else { return nil }
            link.counters = reading(index)
            return link
        }
    }

    // MARK: - What happens

    func add(_ index: UInt32, _ name: String, kind: String? = nil, isUp: Bool = true) {
        let link = Link(
            index: index, name: Array(name.utf8), driverKind: kind, hardwareType: name == "lo" ? 772 : 1,
            operationalState: isUp ? 6 : 2)
        state.withLock {
            $0.present[index] = (link, .zero)
            $0.events.append(.linkChanged(link))
        }
    }

    func address(_ index: UInt32, _ text: String) {
        let address = InterfaceAddress(index: index, family: .ipv4, text: text, prefixLength: 24, peer: [])
        state.withLock {
            $0.addresses.append(address)
            $0.events.append(.addressAdded(address))
        }
    }

    /// A device carries bytes.
    func carry(_ index: UInt32, _ received: UInt64, _ transmitted: UInt64) {
        state.withLock {
            $0.present[index]?.counters.received += received
            $0.present[index]?.counters.transmitted += transmitted
        }
    }

    func rename(_ index: UInt32, to name: String) {
        change(index) { $0.name = Array(name.utf8) }
    }

    func setUp(_ index: UInt32, _ isUp: Bool) {
        change(index) { $0.operationalState = isUp ? 6 : 2 }
    }

    private func change(_ index: UInt32, _ body: (inout Link) -> Void) {
        state.withLock {
            guard var link = $0.present[index]?.link else { return }
            body(&link)
            $0.present[index]?.link = link
            $0.events += [$0.link(index)].compactMap { $0 }.map { .linkChanged($0) }
        }
    }

    func remove(_ index: UInt32) {
        state.withLock {
            $0.events += [$0.link(index)].compactMap { $0 }.map { .linkRemoved($0) }
            $0.present[index] = nil
        }
    }

    func lead(over indices: UInt32...) {
        state.withLock {
            $0.route = indices.isEmpty ? nil : DefaultRoute(family: .ipv4, links: indices, metric: 100)
            $0.events.append(.defaultRouteChanged)
        }
    }

    /// The socket's buffer runs over: nobody hears of what has happened.
    func loseEvents() {
        state.withLock {
            $0.events = [.lost]
            $0.overruns += 1
        }
    }

    /// Counters, links and routes can't be read from now on; `nil` for that they can.
    func fail(_ error: NetlinkError?) { state.withLock { $0.failure = error } }

    /// This happens while the counters are read next, after the kernel has listed them.
    func whileReading(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.whileReading = body } }

    /// This happens while the links are read next, after the kernel has listed them.
    func whileListing(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.whileListing = body } }

    // MARK: - What the meter asks

    var overruns: UInt64 { state.withLock { $0.overruns } }

    var patienceMilliseconds: Int {
        get { state.withLock { $0.patienceMilliseconds } }
        set { state.withLock { $0.patienceMilliseconds = newValue } }
    }

    func readCounters(into counters: inout [LinkCounters]) throws(NetlinkError) {
        try check()
        let (list, happening) = state.withLock { state in
            defer { state.whileReading = nil }
            return (state.present.keys.sorted().compactMap { state.reading($0) }, state.whileReading)
        }
        counters = list
        happening?()
    }

    func links() throws(NetlinkError) -> [Link] {
        try check()
        let (list, happening) = state.withLock { state in
            defer { state.whileListing = nil }
            return (state.present.keys.sorted().compactMap { state.present[$0]?.link }, state.whileListing)
        }
        happening?()
        return list
    }

    func addresses() throws(NetlinkError) -> [InterfaceAddress] { state.withLock { $0.addresses } }

    func defaultRoute(_ roles: DefaultRoute.LinkRoles) throws(NetlinkError) -> DefaultRoute? {
        try check()
        return state.withLock { $0.route }
    }

    func drainEvents(_ body: (KernelNetwork.Event) -> Void) throws(NetlinkError) {
        let events = state.withLock { state in
            defer { state.events = [] }
            return state.events
        }
        for event in events { body(event) }
    }

    func bytesPerSecond(of link: Link) -> UInt64? { link.kind == "physical" ? 125_000_000 : nil }

    private func check() throws(NetlinkError) {
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }
}

/// A wall clock and a clock since boot that go when the test says so.
final class FakeClock: Sendable {
    private let moment = Mutex(
        // 2026-11-21T22:00:00Z, a Saturday; 1,000 seconds after boot.
        Moment(wallNanoseconds: 1_795_298_400_000_000_000, sinceBoot: BootTime(nanoseconds: 1_000_000_000_000)))

    var now: Moment { moment.withLock { $0 } }

    func pass(seconds: Int64) {
        move(wall: seconds, sinceBoot: seconds)
    }

    /// Somebody sets the wall clock.
    func step(seconds: Int64) {
        move(wall: seconds, sinceBoot: 0)
    }

    private func move(wall: Int64, sinceBoot: Int64) {
        moment.withLock {
            $0 = Moment(
                wallNanoseconds: $0.wallNanoseconds + wall * 1_000_000_000,
                sinceBoot: BootTime(nanoseconds: $0.sinceBoot.nanoseconds + sinceBoot * 1_000_000_000))
        }
    }
}
