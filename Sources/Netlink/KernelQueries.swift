import CLinux
import Glibc

/// Asks the kernel through the routing socket, and waits for its answers. Used by one thread at a time.
///
/// Most answers need the kernel's lock of all network configuration (RTNL). Another program may hold it for seconds,
/// see `PatientWorker`.
final class KernelQueries {
    /// How often a list was read again, because it changed during the reading.
    private(set) var overruns: UInt64 = 0
    private let socket: NetlinkSocket

    /// - Throws: `NetlinkError` when the kernel allows no routing socket.
    init() throws(NetlinkError) {
        socket = try NetlinkSocket()
    }

    /// The counters of all links of the namespace.
    func counters(from source: KernelNetwork.CounterSource, capacity: Int) throws(NetlinkError) -> [LinkCounters] {
        switch source {
        case .statistics:
            // struct if_stats_msg with filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64).
            try dump(RTM_GETSTATS, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], of: RTM_NEWSTATS, capacity: capacity) {
                LinkCounters(statsPayload: $0)
            }
        case .links:
            try dump(RTM_GETLINK, Self.linkRequest(withStatistics: true), of: RTM_NEWLINK, capacity: capacity) {
                Link(payload: $0)?.counters
            }
        }
    }

    /// All links, without counters.
    func links() throws(NetlinkError) -> [Link] {
        try dump(RTM_GETLINK, Self.linkRequest(withStatistics: false), of: RTM_NEWLINK) {
            var link = Link(payload: $0)
            link?.counters = nil
            return link
        }
    }

    /// All IPv4 and IPv6 addresses of all links.
    func addresses() throws(NetlinkError) -> [InterfaceAddress] {
        // struct ifaddrmsg with family AF_UNSPEC.
        try dump(RTM_GETADDR, [UInt8](repeating: 0, count: 8), of: RTM_NEWADDR) { InterfaceAddress(payload: $0) }
    }

    // MARK: - Routes

    /// The route of packets to the rest of the world.
    ///
    /// It asks the kernel, which considers rules, tables, metrics, preferences, types of service, nexthop objects and
    /// whether routers answer. Only if that leads into a tunnel, or nowhere, it reads the lists of routes, to find the
    /// link that carries the tunnel, or the one that special packets take.
    func defaultRoute(_ roles: DefaultRoute.LinkRoles) throws(NetlinkError) -> DefaultRoute? {
        var answers: [DefaultRoute] = []
        var isClear = true
        for family in [AF_INET, AF_INET6] {
            switch try answer(for: family) {
            case .route(let route): if let route = route.leadingOut(roles) { answers.append(route) }
            case .none: break
            case .linkDown: isClear = false
            }
        }
        let carriers = answers.filter { !$0.isTunnel(roles) }
        if isClear, !carriers.isEmpty {
            return carriers.min { ($0.metric, $0.family == .ipv4 ? 0 : 1) < ($1.metric, $1.family == .ipv4 ? 0 : 1) }
        }
        return DefaultRoute.best(of: try defaultRoutes() + answers, roles)
    }

    /// Addresses that stand for the internet, grouped by half of the address space. It asks the kernel for the route to
    /// each, and sends nothing. Hardly anybody routes documentation addresses (RFC 5737, 3849, 9637) on their own; some
    /// others follow, because a router may refuse the first ones. IPv6 has one half only.
    private static let farAddresses: [CInt: [[[UInt8]]]] = [
        AF_INET: [
            [[192, 0, 2, 1], [198, 51, 100, 1], [203, 0, 113, 1], [193, 0, 0, 1]], [[12, 0, 0, 1], [17, 0, 0, 1]],
        ],
        AF_INET6: [
            [[0x20, 0x01, 0x0D, 0xB8], [0x3F, 0xFF], [0x26, 0x00], [0x2A, 0x00]].map {
                $0 + [UInt8](repeating: 0, count: 15 - $0.count) + [1]
            }
        ],
    ]

    private enum Answer {
        case route(DefaultRoute)
        case none
        /// The kernel would send packets out of a link that is down.
        case linkDown
    }

    /// The kernel's route to far addresses, if it is one to everywhere. Some tunnels have two routes, one for each half
    /// of all addresses, and the halves may lead over different links.
    private func answer(for family: CInt) throws(NetlinkError) -> Answer {
        var halves: [DefaultRoute] = []
        for addresses in Self.farAddresses[family] ?? [] {
            switch try answer(for: family, addresses) {
            case .route(let route): halves.append(route)
            case .none: break
            case .linkDown: return .linkDown
            }
        }
        guard var route = halves.first else { return .none }
        for half in halves.dropFirst() { route.links += half.links.filter { !route.links.contains($0) } }
        return .route(route)
    }

    private func answer(for family: CInt, _ addresses: [[UInt8]]) throws(NetlinkError) -> Answer {
        var remaining = addresses[...]
        while let address = remaining.popFirst() {
            // struct rtmsg with the family, the prefix's length and RTM_F_FIB_MATCH; then RTA_DST.
            var request: [UInt8] = [UInt8(family), UInt8(address.count * 8), 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0]
            request += [UInt8(4 + address.count), 0, UInt8(RTA_DST.rawValue), 0] + address
            let message: RouteMessage?
            var isLocal = false
            do {
                message = try socket.ask(type: UInt16(RTM_GETROUTE), payload: request) {
                    guard $0.type == UInt16(RTM_NEWROUTE) else { return nil }
                    isLocal = $0.payload.loadInteger(at: 7, as: UInt8.self) == UInt8(RTN_LOCAL)
                    return RouteMessage(payload: $0.payload)
                }
            } catch {
                guard case .refused(let reason) = error.code else { throw error }
                // Most likely there is no route at all. One more is tried, because a rule or a `throw` may be for this
                // one.
                if reason == ENETUNREACH { remaining = remaining.suffix(1) }
                continue  // A route of its own refuses it, or the kernel lacks the family.
            }
            if isLocal { continue }  // The machine itself has the address, as in test networks.
            guard let message, let resolved = try resolved([message]).first, resolved.route.lostNexthop == nil else {
                return .linkDown
            }
            // All global addresses of IPv6 are in 2000::/3 (RFC 4291, IANA's registry).
            if resolved.destinationLength <= (family == AF_INET6 ? 3 : 1) { return .route(resolved.route) }
        }
        return .none
    }

    /// The default routes of all tables and both families, including those that refuse packets or lead nowhere.
    func defaultRoutes() throws(NetlinkError) -> [DefaultRoute] {
        var messages: [RouteMessage] = []
        for family in [AF_INET, AF_INET6] {
            // struct rtmsg with the family.
            let request = [UInt8(family)] + [UInt8](repeating: 0, count: 11)
            do {
                messages += try dump(RTM_GETROUTE, request, of: RTM_NEWROUTE) {
                    // The second byte of struct rtmsg is the prefix's length: few of a router's many routes are
                    // decoded.
                    $0.loadInteger(at: 1, as: UInt8.self) == 0 ? RouteMessage(payload: $0) : nil
                }
            } catch let error where error.isUnsupported {
                continue  // A kernel without this family.
            }
        }
        return try resolved(messages).map(\.route)
    }

    private func resolved(_ messages: [RouteMessage]) throws(NetlinkError) -> [RouteMessage] {
        guard messages.contains(where: \.needsNexthops) else { return messages }
        // struct nhmsg.
        let nexthops = try dump(RTM_GETNEXTHOP, [UInt8](repeating: 0, count: 8), of: RTM_NEWNEXTHOP) {
            Nexthop(payload: $0)
        }
        let byID = Dictionary(nexthops.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        return messages.map { $0.resolved(byID) }
    }

    /// Reads a list; one that changed while it was read is read again.
    ///
    /// - Parameter answerType: The type of the messages whose payloads are decoded.
    private func dump<Element>(
        _ type: Int, _ payload: [UInt8], of answerType: Int, capacity: Int = 0,
        _ decode: (UnsafeRawBufferPointer) -> Element?
    ) throws(NetlinkError) -> [Element] {
        var list: [Element] = []
        list.reserveCapacity(capacity)
        var attempts = 5
        while true {
            list.removeAll(keepingCapacity: true)
            do {
                try socket.dump(type: UInt16(type), payload: payload) { message in
                    if message.type == UInt16(answerType), let element = decode(message.payload) {
                        list.append(element)
                    }
                }
                return list
            } catch let error where error.code == .interrupted || error.code == .overrun {
                overruns += 1
                attempts -= 1
                if attempts == 0 { throw error }
            }
        }
    }

    /// `struct ifinfomsg`; to leave out counters, `IFLA_EXT_MASK` with `RTEXT_FILTER_SKIP_STATS`.
    private static func linkRequest(withStatistics: Bool) -> [UInt8] {
        let header = [UInt8](repeating: 0, count: 16)
        return withStatistics ? header : header + [8, 0, 29, 0, 8, 0, 0, 0]
    }
}
