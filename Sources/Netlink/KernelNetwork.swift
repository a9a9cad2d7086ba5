import CLinux
import Glibc
import Machine
import Synchronization

/// The kernel's view of the network: links and their counters, addresses, default routes, and events.
///
/// Used by one thread at a time. No call waits for a busy kernel much longer than
/// ``patienceMilliseconds``: only a list that took long before gets three times as long, up to two seconds.
package final class KernelNetwork {
    /// Where counters are read from.
    package enum CounterSource: Sendable {
        /// `RTM_GETSTATS`, since Linux 4.7: counters and nothing else.
        case statistics
        /// `RTM_GETLINK`: everything about every link.
        case links
    }

    /// How often messages were lost, or a list was read again because it changed during the reading.
    package private(set) var overruns: UInt64 = 0
    /// How long an answer may take.
    package var patienceMilliseconds = 30_000
    /// The namespace that is read; see `Epoch`.
    package let networkNamespace: UInt64
    /// Whether the last counters came from `/proc/net/dev`, because the kernel was too busy for another answer.
    package private(set) var isBusy = false

    private let worker: PatientWorker<KernelQueries>
    private let linkEvents: NetlinkSocket
    private let routeEvents: NetlinkSocket
    private let decisionEvents: NetlinkSocket
    private let deviceTable = DeviceTable()
    private let effort = Effort()
    private var counterSource: CounterSource

    /// - Throws: `NetlinkError` when the kernel allows no routing sockets.
    package init(counterSource: CounterSource = .statistics) throws(NetlinkError) {
        linkEvents = try NetlinkSocket(groups: [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR])
        routeEvents = try NetlinkSocket(groups: [RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE])
        // Routers learn thousands of routes; only default ones matter. Without the filter, others are skipped later.
        _ = netusage_filter_default_routes(routeEvents.descriptor)
        // Other things decide about routes, too. Nexthop objects remove routes that no event reports.
        decisionEvents = try NetlinkSocket(
            groups: [RTNLGRP_IPV4_RULE], optionalGroups: [RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP])
        networkNamespace = linkEvents.networkNamespace
        self.counterSource = counterSource
        let queries = try KernelQueries()
        do throws(PatientWorkerFailure) {
            worker = try PatientWorker(queries)
        } catch {
            throw NetlinkError(error)
        }
    }

    /// The sockets to wait on for events.
    package var eventDescriptors: [CInt] {
        [linkEvents.descriptor, routeEvents.descriptor, decisionEvents.descriptor]
    }

    // MARK: - Lists

    /// Reads the counters of all links of the namespace into `counters`; from `/proc/net/dev` if the kernel is busy.
    ///
    /// - Throws: `NetlinkError`; then `counters` is unchanged.
    package func readCounters(into counters: inout [LinkCounters]) throws(NetlinkError) {
        do {
            counters = try readCounters(capacity: counters.count)
            isBusy = false
        } catch let error where error.code == .busy {
            guard let table = deviceTable?.counters(linkEvents.descriptor) else { throw error }
            counters = table
            isBusy = true
        }
    }

    private func readCounters(capacity: Int) throws(NetlinkError) -> [LinkCounters] {
        let source = counterSource
        do {
            return try ask(.counters) { queries throws(NetlinkError) in
                try queries.counters(from: source, capacity: capacity)
            }
        } catch let error where source == .statistics && error.isUnsupported {
            counterSource = .links
            return try readCounters(capacity: capacity)
        }
    }

    /// All links, without counters.
    ///
    /// - Throws: `NetlinkError`; `.busy` when the kernel doesn't answer in time.
    package func links() throws(NetlinkError) -> [Link] {
        try ask(.links) { queries throws(NetlinkError) in try queries.links() }
    }

    /// All IPv4 and IPv6 addresses of all links.
    ///
    /// - Throws: `NetlinkError`; `.busy` when the kernel doesn't answer in time.
    package func addresses() throws(NetlinkError) -> [InterfaceAddress] {
        try ask(.addresses) { queries throws(NetlinkError) in try queries.addresses() }
    }

    /// The route of packets to the rest of the world; `nil` if there is none.
    ///
    /// - Throws: `NetlinkError`; `.busy` when the kernel doesn't answer in time.
    package func defaultRoute(_ roles: DefaultRoute.LinkRoles) throws(NetlinkError) -> DefaultRoute? {
        try ask(.route) { queries throws(NetlinkError) in try queries.defaultRoute(roles) }
    }

    /// The default routes of all tables and both families, including those that refuse packets.
    ///
    /// - Throws: `NetlinkError`; `.busy` when the kernel doesn't answer in time.
    package func defaultRoutes() throws(NetlinkError) -> [DefaultRoute] {
        try ask(.route) { queries throws(NetlinkError) in try queries.defaultRoutes() }
    }

    /// Does something else that needs the kernel's lock, on the thread that waits for it.
    ///
    /// - Returns: `nil` if it takes too long.
    package func behindTheLock<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value? {
        // The only error is that it takes too long.
        try? ask(.other) { _ throws(NetlinkError) in body() }
    }

    private enum Question: Hashable {
        case counters, links, addresses, route, other
    }

    /// How long the kernel last worked for each question: long lists take longer than the patience for a lock.
    private final class Effort: Sendable {
        private let milliseconds = Mutex<[Question: Int]>([:])

        func of(_ question: Question) -> Int { milliseconds.withLock { $0[question] ?? 0 } }

        /// Measures the thread's own time, without waiting for a lock.
        func measure<Value>(_ question: Question, _ body: () -> Value) -> Value {
            let before = Self.threadMilliseconds()
            let value = body()
            let took = Self.threadMilliseconds() - before + 1
            milliseconds.withLock { $0[question] = took }
            return value
        }

        private static func threadMilliseconds() -> Int {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
        }
    }

    /// The longest wait, however long an answer took before.
    private static let longestPatienceMilliseconds = 2000

    private func ask<Value: Sendable>(
        _ question: Question, _ body: @escaping @Sendable (KernelQueries) throws(NetlinkError) -> Value
    ) throws(NetlinkError) -> Value {
        let needed = min(effort.of(question) * 3, Self.longestPatienceMilliseconds)
        let answer: (result: Result<Value, NetlinkError>, overruns: UInt64)
        do throws(PatientWorkerFailure) {
            answer = try worker.ask(within: max(patienceMilliseconds, needed)) { [effort] queries in
                effort.measure(question) {
                    let before = queries.overruns
                    let result = Result { () throws(NetlinkError) in try body(queries) }
                    return (result, queries.overruns - before)
                }
            }
        } catch {
            throw NetlinkError(error)
        }
        overruns += answer.overruns
        return try answer.result.get()
    }

    // MARK: - Events

    /// An event of the network.
    package enum Event: Sendable {
        /// A link is new, or something about it changed. Its counters are those of that moment.
        case linkChanged(Link)
        /// A link is gone; its counters are its last.
        case linkRemoved(Link)
        case addressAdded(InterfaceAddress)
        case addressRemoved(InterfaceAddress)
        /// A default route changed, or something else that decides where packets go.
        case defaultRouteChanged
        /// Events were lost, so the lists must be read again.
        case lost
    }

    /// Hands over the events since the last call, in order; routes come last. Doesn't wait.
    ///
    /// - Throws: `NetlinkError` when the socket itself fails.
    package func drainEvents(_ body: (Event) -> Void) throws(NetlinkError) {
        if !hasEvents { return }
        try drain(linkEvents, body) { message in
            switch Int(message.type) {
            case RTM_NEWLINK: Link(payload: message.payload).map { .linkChanged($0) }
            case RTM_DELLINK: Link(payload: message.payload).map { .linkRemoved($0) }
            case RTM_NEWADDR: InterfaceAddress(payload: message.payload).map { .addressAdded($0) }
            case RTM_DELADDR: InterfaceAddress(payload: message.payload).map { .addressRemoved($0) }
            default: nil
            }
        }
        try drain(routeEvents, body) { message in
            // The second byte of struct rtmsg is the length of the destination's prefix.
            message.payload.loadInteger(at: 1, as: UInt8.self) == 0 ? .defaultRouteChanged : nil
        }
        try drain(decisionEvents, body) { _ in .defaultRouteChanged }
    }

    /// Whether something waits to be received, an error among it: one question to the kernel instead of three.
    private var hasEvents: Bool {
        var descriptors = eventDescriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        return poll(&descriptors, nfds_t(descriptors.count), 0) != 0
    }

    private func drain(
        _ socket: NetlinkSocket, _ body: (Event) -> Void, _ decode: (NetlinkMessage) -> Event?
    ) throws(NetlinkError) {
        while true {
            do {
                guard let datagram = try socket.receive() else { return }
                var messages = MessageReader(datagram)
                while let message = try messages.next() {
                    if let event = decode(message) { body(event) }
                }
            } catch let error where error.code == .overrun || error.code == .malformed {
                overruns += 1
                body(.lost)
            }
        }
    }
}

extension NetlinkError {
    /// Whether the kernel doesn't know the request at all.
    var isUnsupported: Bool {
        switch code {
        case .refused(let reason): [EOPNOTSUPP, EINVAL, ENOENT, EAFNOSUPPORT].contains(reason)
        case .system, .overrun, .interrupted, .malformed, .busy: false
        }
    }
}
