import CLinux

/// The kernel's view of the network: links and their counters, addresses, default routes, and what happens to them.
///
/// Used by one thread at a time. Everything is read through the routing socket; no call waits for anything but the
/// kernel.
package final class KernelNetwork {
    /// Where counters are read from.
    package enum CounterSource: Sendable {
        /// `RTM_GETSTATS`, since Linux 4.7: counters and nothing else.
        case statistics
        /// `RTM_GETLINK`: everything about every link.
        case links
    }

    /// How often messages were lost or a list changed while it was read, so that it was read anew.
    package private(set) var overruns: UInt64 = 0

    private let requests: NetlinkSocket
    private let linkEvents: NetlinkSocket
    private let routeEvents: NetlinkSocket
    private var counterSource: CounterSource

    /// - Throws: `NetlinkError` when the kernel allows no routing sockets.
    package init(counterSource: CounterSource = .statistics) throws(NetlinkError) {
        linkEvents = try NetlinkSocket(groups: [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR])
        routeEvents = try NetlinkSocket(groups: [RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE])
        // Routers learn thousands of routes; only default ones matter. Without the filter they are passed over later.
        _ = netusage_filter_default_routes(routeEvents.descriptor)
        requests = try NetlinkSocket()
        self.counterSource = counterSource
    }

    /// The sockets to wait on for events.
    package var eventDescriptors: [CInt] { [linkEvents.descriptor, routeEvents.descriptor] }

    /// The namespace that is read; see `Epoch`.
    package var networkNamespace: UInt64 { requests.networkNamespace }

    // MARK: - Lists

    /// Reads the counters of all links, the namespace's own and no others, into `counters`.
    ///
    /// - Throws: `NetlinkError`; then `counters` holds nothing of use.
    package func readCounters(into counters: inout [LinkCounters]) throws(NetlinkError) {
        do {
            try read(into: &counters)
        } catch let error where counterSource == .statistics && error.isUnsupported {
            counterSource = .links
            try read(into: &counters)
        }
    }

    private func read(into counters: inout [LinkCounters]) throws(NetlinkError) {
        switch counterSource {
        case .statistics:
            // struct if_stats_msg with filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64).
            try dump(RTM_GETSTATS, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], into: &counters) {
                $0.type == UInt16(RTM_NEWSTATS) ? LinkCounters(statsPayload: $0.payload) : nil
            }
        case .links:
            try dump(RTM_GETLINK, Self.linkRequest(withStatistics: true), into: &counters) {
                $0.type == UInt16(RTM_NEWLINK) ? Link(payload: $0.payload)?.counters : nil
            }
        }
    }

    /// All links, without counters.
    package func links() throws(NetlinkError) -> [Link] {
        var links: [Link] = []
        try dump(RTM_GETLINK, Self.linkRequest(withStatistics: false), into: &links) {
            guard $0.type == UInt16(RTM_NEWLINK), var link = Link(payload: $0.payload) else { return nil }
            link.counters = nil
            return link
        }
        return links
    }

    /// All IPv4 and IPv6 addresses of all links.
    package func addresses() throws(NetlinkError) -> [InterfaceAddress] {
        var addresses: [InterfaceAddress] = []
        // struct ifaddrmsg with family AF_UNSPEC.
        try dump(RTM_GETADDR, [UInt8](repeating: 0, count: 8), into: &addresses) {
            $0.type == UInt16(RTM_NEWADDR) ? InterfaceAddress(payload: $0.payload) : nil
        }
        return addresses
    }

    /// The usable default routes of the main table, both families.
    package func defaultRoutes() throws(NetlinkError) -> [DefaultRoute] {
        var routes: [DefaultRoute] = []
        for family in [AF_INET, AF_INET6] {
            var found: [DefaultRoute] = []
            // struct rtmsg with the family and the table.
            var request = [UInt8](repeating: 0, count: 12)
            request[0] = UInt8(family)
            request[4] = UInt8(RT_TABLE_MAIN.rawValue)
            do {
                try dump(RTM_GETROUTE, request, into: &found) {
                    $0.type == UInt16(RTM_NEWROUTE) ? DefaultRoute(payload: $0.payload) : nil
                }
            } catch let error where error.isUnsupported {
                continue  // A kernel without this family, or a table that isn't there yet.
            }
            routes += found
        }
        return routes
    }

    /// Reads a list; one that changed while it was read is read anew.
    private func dump<Element>(
        _ type: Int, _ payload: [UInt8], into list: inout [Element], _ decode: (NetlinkMessage) -> Element?
    ) throws(NetlinkError) {
        var attempts = 5
        while true {
            list.removeAll(keepingCapacity: true)
            do {
                try requests.dump(type: UInt16(type), payload: payload) { message in
                    if let element = decode(message) { list.append(element) }
                }
                return
            } catch let error where error.code == .interrupted || error.code == .overrun {
                overruns += 1
                attempts -= 1
                if attempts == 0 { throw error }
            }
        }
    }

    /// `struct ifinfomsg` and, to be spared the counters, `IFLA_EXT_MASK` with `RTEXT_FILTER_SKIP_STATS`.
    private static func linkRequest(withStatistics: Bool) -> [UInt8] {
        let header = [UInt8](repeating: 0, count: 16)
        return withStatistics ? header : header + [8, 0, 29, 0, 8, 0, 0, 0]
    }

    // MARK: - Events

    /// Something that happened to the network.
    package enum Event: Sendable {
        /// A link is new, or something about it changed. Its counters are no reading.
        case linkChanged(Link)
        /// A link is gone; its counters are its last.
        case linkRemoved(Link)
        case addressAdded(InterfaceAddress)
        case addressRemoved(InterfaceAddress)
        case defaultRouteChanged
        /// Events were lost: what the lists say now is all that can be known.
        case lost
    }

    /// Hands over what has happened since the last call, in order; routes come last. Doesn't wait.
    ///
    /// - Throws: `NetlinkError` when the socket itself fails.
    package func drainEvents(_ body: (Event) -> Void) throws(NetlinkError) {
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
            // struct rtmsg: the second byte is the length of the destination's prefix.
            message.payload.loadInteger(at: 1, as: UInt8.self) == 0 ? .defaultRouteChanged : nil
        }
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
        case .system, .overrun, .interrupted, .malformed: false
        }
    }
}
