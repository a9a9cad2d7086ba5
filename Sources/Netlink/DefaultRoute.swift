import CLinux

/// A route to everywhere.
package struct DefaultRoute: Hashable, Sendable {
    package var family: InterfaceAddress.Family
    /// The links that it leads out of; several if the kernel spreads packets over them (ECMP). Empty for a route that
    /// refuses packets (blackhole, unreachable, prohibit), which hides later routes of its table.
    package var links: [UInt32]
    /// The lower wins.
    package var metric: UInt32
    /// `RT_TABLE_…` of linux/rtnetlink.h, or a number of the owner's.
    package var table: UInt32 = DefaultRoute.mainTable
    /// Among IPv6 routes of equal metric the kernel takes the highest: -1, 0 or 1 (RFC 4191 §2.1).
    package var preference = 0
    /// The nexthop object of a route that leads nowhere now: the object is missing, or all of its links are down. No
    /// packet takes such a route, and it hides none.
    package var lostNexthop: UInt32?

    /// `RT_TABLE_MAIN` of linux/rtnetlink.h.
    package static let mainTable: UInt32 = 254

    /// What the choice of a route needs to know about links, by their numbers.
    package struct LinkRoles: Sendable {
        /// Links whose bytes another link carries again.
        package var tunnels: Set<UInt32> = []
        /// Links that lead nowhere.
        package var loopbacks: Set<UInt32> = []
        /// The links that carry a link's bytes, too: the parent of a VLAN, the bond of a port.
        package var carriers: [UInt32: Set<UInt32>] = [:]

        /// Whether one of `others` carries the bytes of `link`, directly or through links between them.
        func isCarried(_ link: UInt32, byOneOf others: Set<UInt32>) -> Bool {
            var seen: Set<UInt32> = [link]
            var next = carriers[link] ?? []
            while let carrier = next.popFirst() {
                if !seen.insert(carrier).inserted { continue }
                if others.contains(carrier) { return true }
                next.formUnion(carriers[carrier] ?? [])
            }
            return false
        }
    }

    /// The route without links that lead nowhere, and without those whose bytes another of its links carries again;
    /// `nil` if none is left.
    func leadingOut(_ roles: LinkRoles) -> DefaultRoute? {
        var route = self
        route.links.removeAll { roles.loopbacks.contains($0) }
        if !route.isTunnel(roles) { route.links.removeAll { roles.tunnels.contains($0) } }
        let links = Set(route.links)
        route.links.removeAll { roles.isCarried($0, byOneOf: links) }
        return route.links.isEmpty ? nil : route
    }

    func isTunnel(_ roles: LinkRoles) -> Bool { links.allSatisfy { roles.tunnels.contains($0) } }

    /// The route that traffic takes: one that isn't a tunnel, if possible; then the main table's; then the lowest
    /// metric; then IPv4. In each table, a route that refuses packets hides those after it.
    ///
    /// - Parameter routes: In the kernel's order, which decides between equal ones.
    package static func best(of routes: [DefaultRoute], _ roles: LinkRoles) -> DefaultRoute? {
        struct Table: Hashable {
            let table: UInt32
            let family: InterfaceAddress.Family
        }
        var usable: [(place: Int, route: DefaultRoute)] = []
        let found = routes.filter { $0.lostNexthop == nil }
        for routes in Dictionary(grouping: found.enumerated(), by: { Table(table: $1.table, family: $1.family) }).values
        {
            let inOrder = routes.sorted {
                ($0.element.metric, -$0.element.preference, $0.offset)
                    < ($1.element.metric, -$1.element.preference, $1.offset)
            }
            for (place, route) in inOrder.map(\.element).prefix(while: { !$0.links.isEmpty }).enumerated() {
                if let route = route.leadingOut(roles) { usable.append((place, route)) }
            }
        }
        func rank(_ place: Int, _ route: DefaultRoute) -> (Int, Int, UInt32, Int, Int) {
            (
                route.isTunnel(roles) ? 1 : 0, route.table == mainTable ? 0 : 1, route.metric,
                route.family == .ipv4 ? 0 : 1, place
            )
        }
        return usable.min { rank($0.place, $0.route) < rank($1.place, $1.route) }?.route
    }
}

extension DefaultRoute.LinkRoles {
    package init(_ links: some Sequence<Link>) {
        self.init()
        for link in links {
            if link.isTunnel { tunnels.insert(link.index) }
            if link.kind == "loopback" { loopbacks.insert(link.index) }
            let above = Set([link.carrier, link.master].compactMap { $0 })
            if !above.isEmpty { carriers[link.index] = above }
        }
    }
}

/// A route as `RTM_NEWROUTE` describes it. The links of its nexthop object may still be unknown.
struct RouteMessage {
    /// A prefix of 0 is everywhere.
    let destinationLength: UInt8
    private(set) var route: DefaultRoute
    /// Set if the route names a nexthop object instead of links.
    private(set) var nexthop: UInt32?

    /// From a route message's payload: `struct rtmsg` and attributes.
    ///
    /// `nil` for a route that ordinary packets of this machine don't take: another type of service or source, the table
    /// of local addresses, a cached answer, `throw`, or a link that is down.
    init?(payload: UnsafeRawBufferPointer) {
        guard payload.count >= MemoryLayout<rtmsg>.size else { return nil }
        let header = payload.loadUnaligned(as: rtmsg.self)
        // From any source; not dead, and not a cached answer.
        guard header.rtm_src_len == 0, !Self.isDead(header.rtm_flags), header.rtm_flags & UInt32(RTM_F_CLONED) == 0
        else { return nil }
        let family: InterfaceAddress.Family
        switch Int32(header.rtm_family) {
        case AF_INET where header.rtm_tos == 0: family = .ipv4
        case AF_INET6: family = .ipv6
        default: return nil
        }
        destinationLength = header.rtm_dst_len
        route = DefaultRoute(family: family, links: [], metric: 0, table: UInt32(header.rtm_table))
        for (type, value) in AttributeReader(payload, behind: MemoryLayout<rtmsg>.size) { take(type, value) }
        if route.table == UInt32(RT_TABLE_LOCAL.rawValue) { return nil }
        switch UInt32(header.rtm_type) {
        case UInt32(RTN_UNICAST): if route.links.isEmpty, nexthop == nil { return nil }
        case UInt32(RTN_BLACKHOLE), UInt32(RTN_UNREACHABLE), UInt32(RTN_PROHIBIT): (route.links, nexthop) = ([], nil)
        default: return nil
        }
    }

    private mutating func take(_ type: UInt16, _ value: UnsafeRawBufferPointer) {
        switch rtattr_type_t(rawValue: UInt32(type)) {
        case RTA_OIF:
            if let link = value.loadInteger(at: 0, as: UInt32.self), link != 0 { route.links = [link] }
        case RTA_PRIORITY: route.metric = value.loadInteger(at: 0, as: UInt32.self) ?? 0
        case RTA_MULTIPATH: route.links = Self.links(ofHops: value)
        case RTA_TABLE: route.table = value.loadInteger(at: 0, as: UInt32.self) ?? route.table
        case RTA_PREF:
            // ICMPV6_ROUTER_PREF_… of linux/icmpv6.h: 1 is high, 3 is low.
            route.preference = value.first == 1 ? 1 : value.first == 3 ? -1 : 0
        case RTA_NH_ID: nexthop = value.loadInteger(at: 0, as: UInt32.self)
        default: break  // Gateways, preferred sources and metrics don't name a link.
        }
    }

    /// Adds the links of the route's nexthop object, or notes the object if it leads nowhere.
    func resolved(_ nexthops: [UInt32: Nexthop]) -> RouteMessage {
        guard route.links.isEmpty, let nexthop else { return self }
        var message = self
        message.route.links = Nexthop.links(of: nexthop, among: nexthops)
        if message.route.links.isEmpty { message.route.lostNexthop = nexthop }
        return message
    }

    /// Whether its links must be looked up among the nexthop objects.
    var needsNexthops: Bool { route.links.isEmpty && nexthop != nil }

    /// The links of working next hops, by `struct rtnexthop` of linux/rtnetlink.h.
    private static func links(ofHops hops: UnsafeRawBufferPointer) -> [UInt32] {
        var rest = hops
        var links: [UInt32] = []
        while let length = rest.loadInteger(at: 0, as: UInt16.self), length >= 8, Int(length) <= rest.count,
            let flags = rest.loadInteger(at: 2, as: UInt8.self), let index = rest.loadInteger(at: 4, as: UInt32.self)
        {
            if !isDead(UInt32(flags)), index != 0, !links.contains(index) { links.append(index) }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(aligned(Int(length))))
        }
        return links
    }

    /// `RTNH_F_DEAD` or `RTNH_F_LINKDOWN` of linux/rtnetlink.h.
    static func isDead(_ flags: UInt32) -> Bool { flags & (1 | 16) != 0 }
}
