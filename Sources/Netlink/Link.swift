import CLinux

/// A network interface as `RTM_NEWLINK` and `RTM_DELLINK` describe it.
package struct Link: Hashable, Sendable {
    /// `ifindex`.
    package var index: UInt32
    /// `IFLA_IFNAME` without its NUL: arbitrary bytes.
    package var name: [UInt8]
    /// `IFLA_IFALIAS`: arbitrary bytes, empty without one.
    package var alias: [UInt8] = []
    /// `IFLA_INFO_KIND`, such as `veth`; `nil` for hardware and loopback.
    package var driverKind: String?
    /// `ARPHRD_…` of linux/if_arp.h.
    package var hardwareType: UInt16 = 1
    /// `IFF_…` of linux/if.h.
    package var flags: UInt32 = 0
    /// `IF_OPER_…` of linux/if.h.
    package var operationalState: UInt8 = 0
    /// The bridge, bond or other device that this link is part of (`IFLA_MASTER`).
    package var master: UInt32?
    /// The device of this namespace that carries this link's bytes, as for a VLAN (`IFLA_LINK`).
    package var carrier: UInt32?
    /// `IFLA_PERM_ADDRESS` or `IFLA_ADDRESS`: arbitrary bytes, six for Ethernet. Some devices have none.
    package var hardwareAddress: [UInt8] = []
    /// The counters in the message.
    package var counters: LinkCounters?
    /// Whether the link left for another network namespace; in `RTM_DELLINK` only.
    package var movedAway = false
}

extension Link {
    /// From a link message's payload: `struct ifinfomsg` and attributes. `nil` without a number and a name.
    package init?(payload: UnsafeRawBufferPointer) {
        guard payload.count >= MemoryLayout<ifinfomsg>.size else { return nil }
        let header = payload.loadUnaligned(as: ifinfomsg.self)
        if header.ifi_family != UInt8(AF_UNSPEC) { return nil }
        self.init(
            index: UInt32(bitPattern: header.ifi_index), name: [], hardwareType: header.ifi_type,
            flags: header.ifi_flags)
        var isCarrierElsewhere = false
        for (type, value) in AttributeReader(payload, behind: MemoryLayout<ifinfomsg>.size) {
            if Int(type) == IFLA_LINK_NETNSID { isCarrierElsewhere = true }
            take(type, value)
        }
        if name.isEmpty || index == 0 { return nil }
        // A veth names its peer, which doesn't carry its bytes. Others name themselves, or a link elsewhere.
        if isCarrierElsewhere || carrier == index || carrier == 0 || driverKind == "veth" { carrier = nil }
    }

    private mutating func take(_ type: UInt16, _ value: UnsafeRawBufferPointer) {
        switch Int(type) {
        case IFLA_IFNAME: name = value.cString
        case IFLA_IFALIAS: alias = value.cString
        case IFLA_OPERSTATE: operationalState = value.first ?? 0
        case IFLA_STATS64: counters = LinkCounters(index: index, statistics: value)
        case IFLA_NEW_NETNSID: movedAway = true
        case IFLA_MASTER: master = value.loadInteger(at: 0, as: UInt32.self)
        case IFLA_LINK: carrier = value.loadInteger(at: 0, as: UInt32.self)
        case IFLA_ADDRESS: if hardwareAddress.isEmpty { hardwareAddress = Array(value) }
        case IFLA_PERM_ADDRESS: hardwareAddress = Array(value)
        case IFLA_LINKINFO:
            for (type, value) in AttributeReader(value) where Int(type) == IFLA_INFO_KIND {
                driverKind = String(decoding: value.cString, as: UTF8.self)
            }
        default: break  // Other attributes aren't needed.
        }
    }

    /// Whether the link can carry traffic: `IF_OPER_UP`, or running if the driver doesn't say (RFC 2863).
    package var isUp: Bool {
        let running = UInt32(IFF_UP.rawValue | IFF_RUNNING.rawValue)
        return operationalState == 6 || operationalState == 0 && flags & running == running
    }

    /// What the link is, in one word: the driver's kind, `loopback`, or `physical`.
    package var kind: String {
        if let driverKind, !driverKind.isEmpty { return driverKind }
        switch Int32(hardwareType) {
        case ARPHRD_LOOPBACK: return "loopback"
        case ARPHRD_PPP: return "ppp"
        case ARPHRD_TUNNEL: return "ipip"
        case ARPHRD_TUNNEL6: return "ip6tnl"
        case ARPHRD_SIT: return "sit"
        case ARPHRD_IPGRE: return "gre"
        default: return "physical"
        }
    }

    /// Whether another link carries this link's bytes again, inside other packets.
    ///
    /// PPP isn't a tunnel here: DSL and modems reach the provider with it.
    package var isTunnel: Bool { Self.tunnelKinds.contains(kind) }

    private static let tunnelKinds: Set<String> = [
        "tun", "wireguard", "amneziawg", "ovpn", "ovpn-dco", "ipip", "sit", "gre", "gretap", "erspan", "ip6gre",
        "ip6gretap", "ip6erspan", "ip6tnl", "vti", "vti6", "xfrm", "geneve", "vxlan", "gtp", "bareudp", "l2tpeth",
        "amt",
    ]
}
