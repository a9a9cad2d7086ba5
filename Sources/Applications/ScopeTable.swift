import Accounting

/// What the kernel programs need to know of this machine's network to say where the other end of a connection is.
package struct ScopeTable: Hashable, Sendable {
    package enum DeviceKind: Sendable {
        case normal
        /// Another device carries its bytes again.
        case tunnel
    }

    package struct Device: Hashable, Sendable {
        /// What the kernel programs take a device for that isn't in their map.
        static let ordinary = Device(kind: .normal, linkHeaderBytes: 14, isUplink: false)

        package var kind: DeviceKind
        /// Bytes of the link-layer header of each packet.
        package var linkHeaderBytes: UInt8
        package var isUplink: Bool

        package init(kind: DeviceKind, linkHeaderBytes: UInt8, isUplink: Bool) {
            self.kind = kind
            self.linkHeaderBytes = linkHeaderBytes
            self.isUplink = isUplink
        }
    }

    /// Where the addresses of a prefix are.
    package enum Nearness: Sendable {
        case lan
        /// Within this machine: not metered.
        case inside
    }

    /// Devices that differ from ``Device/ordinary``.
    package internal(set) var devices: [UInt32: Device] = [:]
    package internal(set) var prefixes: [AddressPrefix: Nearness]

    /// More don't fit into the kernel's maps. What has no room counts as the internet.
    package static let maximumEntries = 1024

    /// Private addresses (RFC 1918, 4193), link-local ones (RFC 3927, 4291), multicast (RFC 5771, 4291) and broadcast
    /// (RFC 919) are the local network's.
    package init() {
        prefixes = [
            .ipv4(10, 0, 0, 0, bits: 8): .lan, .ipv4(172, 16, 0, 0, bits: 12): .lan,
            .ipv4(192, 168, 0, 0, bits: 16): .lan, .ipv4(169, 254, 0, 0, bits: 16): .lan,
            .ipv4(224, 0, 0, 0, bits: 4): .lan, .ipv4(255, 255, 255, 255, bits: 32): .lan,
            .ipv4(127, 0, 0, 0, bits: 8): .inside, .ipv6(0xFE80, bits: 10): .lan, .ipv6(0xFC00, bits: 7): .lan,
            .ipv6(0xFF00, bits: 8): .lan,
        ]
    }

    /// Adds a device, as long as there is room.
    package mutating func insert(_ device: Device, at index: UInt32) {
        if device != .ordinary, devices.count < Self.maximumEntries { devices[index] = device }
    }

    /// Adds a prefix. A subnet within this machine stays that, whatever else has the same prefix.
    package mutating func insert(_ prefix: AddressPrefix, _ nearness: Nearness) {
        if prefixes[prefix] == .inside || prefixes.count >= Self.maximumEntries { return }
        prefixes[prefix] = nearness
    }

    /// Not even the prefixes that always hold.
    static var nothing: ScopeTable {
        var table = ScopeTable()
        table.prefixes = [:]
        return table
    }
}
