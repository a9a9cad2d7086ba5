import Accounting
import Netlink

/// What is known of the kernel's links besides their counters, by number.
struct LinkTable {
    /// A host may have ten thousand addresses; so many series would help nobody.
    static let maximumAddresses = 1000

    private(set) var links: [UInt32: Link] = [:]
    private(set) var addresses: Set<InterfaceAddress> = []
    /// Changes with every change that can be seen in a metric.
    private(set) var version: UInt64 = 0

    subscript(index: UInt32) -> Link? { links[index] }

    mutating func update(_ link: Link) {
        if links.updateValue(link, forKey: link.index) != link { version += 1 }
    }

    mutating func remove(_ index: UInt32) {
        links[index] = nil
        addresses = addresses.filter { $0.index != index }
        version += 1
    }

    mutating func insert(_ address: InterfaceAddress) {
        if addresses.count < Self.maximumAddresses, addresses.insert(address).inserted { version += 1 }
    }

    mutating func remove(_ address: InterfaceAddress) {
        if addresses.remove(address) != nil { version += 1 }
    }

    mutating func replaceAddresses(_ addresses: [InterfaceAddress]) {
        self.addresses = Set(addresses.prefix(Self.maximumAddresses))
        version += 1
    }
}

extension Link {
    var deviceIndex: DeviceIndex { DeviceIndex(rawValue: index) }
    var deviceName: DeviceName { DeviceName(bytes: name) }
}

extension LinkCounters {
    var reading: Reading { Reading(device: DeviceIndex(rawValue: index), counters: counters) }
    var counters: Counters { Counters(received: receivedBytes, transmitted: transmittedBytes) }
}
