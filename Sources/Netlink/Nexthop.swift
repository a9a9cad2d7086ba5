/// A nexthop object: the destination of routes that name it (linux/nexthop.h, since Linux 5.3).
struct Nexthop: Hashable {
    let id: UInt32
    /// The link that it leads out of; `nil` for a group, and for an object that refuses packets.
    private(set) var link: UInt32?
    /// The numbers of a group's members.
    private(set) var members: [UInt32] = []

    /// From the payload of an `RTM_NEWNEXTHOP` message: `struct nhmsg` and attributes. `nil` if its link is down.
    init?(payload: UnsafeRawBufferPointer) {
        guard let flags = payload.loadInteger(at: 4, as: UInt32.self), !RouteMessage.isDead(flags) else { return nil }
        var id: UInt32?
        var refuses = false
        for (type, value) in AttributeReader(payload, behind: 8) {
            switch type {
            case 1: id = value.loadInteger(at: 0, as: UInt32.self)  // NHA_ID
            case 2:  // NHA_GROUP, of `struct nexthop_grp`: a number and a weight, 8 bytes.
                members = stride(from: 0, to: value.count, by: 8).compactMap {
                    value.loadInteger(at: $0, as: UInt32.self)
                }
            case 4: refuses = true  // NHA_BLACKHOLE
            case 5: link = value.loadInteger(at: 0, as: UInt32.self)  // NHA_OIF
            default: break  // Gateways and encapsulations don't name a link.
            }
        }
        guard let id else { return nil }
        self.id = id
        if refuses { link = nil }
    }

    /// The links that an object leads out of, each once. A group has no groups as members.
    static func links(of id: UInt32, among nexthops: [UInt32: Nexthop]) -> [UInt32] {
        guard let nexthop = nexthops[id] else { return [] }
        var links: [UInt32] = []
        for link in [nexthop.link] + nexthop.members.map({ nexthops[$0]?.link }) {
            if let link, link != 0, !links.contains(link) { links.append(link) }
        }
        return links
    }
}
