import Accounting
import Applications
import CLinux
import Netlink

extension ScopeTable {
    /// - Parameters:
    ///   - uplinks: The devices that carry the default route.
    ///   - lan: Prefixes that the owner counts as the local network.
    init(_ links: LinkTable, uplinks: Set<UInt32>, lan: [AddressPrefix] = []) {
        self.init()
        // If there is no room for all of them, then at least for the uplink.
        let byNumber = links.links.values.sorted { $0.index < $1.index }
        for link in byNumber.filter({ uplinks.contains($0.index) }) + byNumber {
            let device = Device(
                // A tunnel that is the uplink carries all there is to count.
                kind: link.isTunnel && !uplinks.contains(link.index) ? .tunnel : .normal,
                linkHeaderBytes: link.linkHeaderBytes,
                isUplink: uplinks.contains(link.index))
            insert(device, at: link.index)
        }
        for prefix in lan { insert(prefix, .lan) }
        // Devices that lead out of this machine, and bridges that such a device is part of.
        let leading = Set(links.links.values.filter(\.leadsOut).map(\.index)).union(uplinks)
        let outside = leading.union(links.links.values.filter { leading.contains($0.index) }.compactMap(\.master))
        for address in links.addresses.sorted(by: { ($0.index, $0.text) < ($1.index, $1.text) }) {
            guard let link = links[address.index],
                let prefix = AddressPrefix(address.peer, bits: Int(address.prefixLength))
            else { continue }
            if outside.contains(link.index) {
                // Neighbours use global addresses, too. Of IPv4 ones hosters bill them.
                if address.family == .ipv6 { insert(prefix, .lan) }
            } else if link.kind == "bridge" {
                insert(prefix, .inside)
            }
        }
        // Programs send to this machine's own addresses over lo, so only its containers reach them over other devices.
        // Those of dummy devices may be of services elsewhere (kube-ipvs0).
        for address in links.addresses where links[address.index]?.kind != "dummy" {
            let bytes = address.bytes
            if let own = AddressPrefix(bytes, bits: bytes.count * 8) { insert(own, .inside) }
        }
    }
}

extension Link {
    /// Whether packets leave the machine through it, not inside those of another device.
    fileprivate var leadsOut: Bool { ["physical", "bond", "team", "vlan", "ppp", "wwan"].contains(kind) }

    /// Packets of other types of links have none, or the kernel doesn't count it.
    fileprivate var linkHeaderBytes: UInt8 {
        switch Int32(hardwareType) {
        case ARPHRD_ETHER, ARPHRD_LOOPBACK: 14
        default: 0
        }
    }
}
