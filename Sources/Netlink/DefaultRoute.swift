import CLinux

/// A route to everywhere, of the main table.
package struct DefaultRoute: Hashable, Sendable {
    /// The link that it leads out of; of several, the one with the greatest weight.
    package var index: UInt32
    /// Lower goes first.
    package var metric: UInt32
    package var family: InterfaceAddress.Family

    package init(index: UInt32, metric: UInt32, family: InterfaceAddress.Family) {
        self.index = index
        self.metric = metric
        self.family = family
    }

    /// From a route message's payload: `struct rtmsg` and attributes. `nil` for any other route and for a dead one.
    package init?(payload: UnsafeRawBufferPointer) {
        guard let familyNumber = payload.loadInteger(at: 0, as: UInt8.self),
            payload.loadInteger(at: 1, as: UInt8.self) == 0,
            let shortTable = payload.loadInteger(at: 4, as: UInt8.self),
            payload.loadInteger(at: 7, as: UInt8.self) == UInt8(RTN_UNICAST),
            let flags = payload.loadInteger(at: 8, as: UInt32.self), !Self.isDead(flags), flags & Self.clonedFlag == 0
        else { return nil }
        switch Int32(familyNumber) {
        case AF_INET: family = .ipv4
        case AF_INET6: family = .ipv6
        default: return nil
        }
        var table = UInt32(shortTable)
        var index: UInt32?
        metric = 0
        var attributes = AttributeReader(payload, behind: 12)
        while let (type, value) = attributes.next() {
            switch type {
            case RouteAttribute.outgoingLink: index = value.loadInteger(at: 0, as: UInt32.self)
            case RouteAttribute.priority: metric = value.loadInteger(at: 0, as: UInt32.self) ?? 0
            case RouteAttribute.multipath: index = Self.heaviestLink(in: value)
            case RouteAttribute.table: table = value.loadInteger(at: 0, as: UInt32.self) ?? table
            default: break  // Gateways, preferred sources and metrics don't say which link it is.
            }
        }
        guard table == UInt32(RT_TABLE_MAIN.rawValue), let index, index != 0 else { return nil }
        self.index = index
    }

    /// The route that traffic takes: one that isn't a tunnel, if there is any; then the lowest metric; then IPv4.
    package static func best(of routes: some Sequence<DefaultRoute>, isTunnel: (UInt32) -> Bool) -> DefaultRoute? {
        routes.min { a, b in a.rank(isTunnel: isTunnel(a.index)) < b.rank(isTunnel: isTunnel(b.index)) }
    }

    /// `RTM_F_CLONED` of linux/rtnetlink.h: a cached answer, no route.
    private static let clonedFlag: UInt32 = 0x200

    private func rank(isTunnel: Bool) -> (Int, UInt32, Int, UInt32) {
        (isTunnel ? 1 : 0, metric, family == .ipv4 ? 0 : 1, index)
    }

    /// The link of the next hop with the greatest weight, by `struct rtnexthop` of linux/rtnetlink.h.
    private static func heaviestLink(in hops: UnsafeRawBufferPointer) -> UInt32? {
        var rest = hops
        var best: (weight: UInt8, index: UInt32)?
        while let length = rest.loadInteger(at: 0, as: UInt16.self), length >= 8, Int(length) <= rest.count,
            let flags = rest.loadInteger(at: 2, as: UInt8.self), let weight = rest.loadInteger(at: 3, as: UInt8.self),
            let index = rest.loadInteger(at: 4, as: UInt32.self)
        {
            if !isDead(UInt32(flags)), best.map({ weight > $0.weight }) ?? true { best = (weight, index) }
            rest = UnsafeRawBufferPointer(rebasing: rest[min(rest.count, (Int(length) + 3) & ~3)...])
        }
        return best?.index
    }

    /// `RTNH_F_DEAD` or `RTNH_F_LINKDOWN`.
    private static func isDead(_ flags: UInt32) -> Bool { flags & (1 | 16) != 0 }
}

/// `RTA_…` of linux/rtnetlink.h.
private enum RouteAttribute {
    static let outgoingLink: UInt16 = 4
    static let priority: UInt16 = 6
    static let multipath: UInt16 = 9
    static let table: UInt16 = 15
}
