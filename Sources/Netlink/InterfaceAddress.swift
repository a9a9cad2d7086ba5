import CLinux

/// An address of a link, as `RTM_NEWADDR` and `RTM_DELADDR` describe it.
package struct InterfaceAddress: Hashable, Sendable {
    package enum Family: String, Hashable, Sendable {
        case ipv4
        case ipv6
    }

    /// The link's number (`ifindex`).
    package var index: UInt32
    package var family: Family
    /// In text form, without a prefix length: `192.0.2.7`, `2001:db8::7`.
    package var text: String
    /// With `peer`, it distinguishes addresses of a link: one may be there with several prefixes and peers.
    package var prefixLength: UInt8
    package var peer: [UInt8]

    /// The address itself: four or sixteen bytes.
    package var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: family == .ipv4 ? 4 : 16)
        return inet_pton(family == .ipv4 ? AF_INET : AF_INET6, text, &bytes) == 1 ? bytes : []
    }
}

extension InterfaceAddress {
    /// From an address message's payload: `struct ifaddrmsg` and attributes. `nil` for other families.
    ///
    /// On a point-to-point link `IFA_ADDRESS` is the peer's, so `IFA_LOCAL` takes precedence (linux/if_addr.h).
    package init?(payload: UnsafeRawBufferPointer) {
        guard payload.count >= MemoryLayout<ifaddrmsg>.size else { return nil }
        let header = payload.loadUnaligned(as: ifaddrmsg.self)
        switch Int32(header.ifa_family) {
        case AF_INET: family = .ipv4
        case AF_INET6: family = .ipv6
        default: return nil
        }
        var address: UnsafeRawBufferPointer?
        var local: UnsafeRawBufferPointer?
        for (type, value) in AttributeReader(payload, behind: MemoryLayout<ifaddrmsg>.size) {
            if type == UInt16(IFA_ADDRESS) { address = value }
            if type == UInt16(IFA_LOCAL) { local = value }
        }
        guard let bytes = local ?? address, bytes.count == (family == .ipv4 ? 4 : 16), let start = bytes.baseAddress
        else { return nil }
        var text = [CChar](repeating: 0, count: 46)  // INET6_ADDRSTRLEN
        guard inet_ntop(Int32(header.ifa_family), start, &text, socklen_t(text.count)) != nil else { return nil }
        index = header.ifa_index
        prefixLength = header.ifa_prefixlen
        peer = address.map { Array($0) } ?? []
        self.text = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
