import Testing

@testable import Accounting
@testable import Applications
@testable import Exporter
@testable import Netlink

@Suite("What the kernel programs know of the network")
struct ScopeTableTests {
    private static let wireless: UInt32 = 2
    private static let tunnel: UInt32 = 3
    private static let bridge: UInt32 = 4

    private static func link(_ index: UInt32, _ name: String, driver: String? = nil, hardware: UInt16 = 1) -> Link {
        Link(index: index, name: Array(name.utf8), driverKind: driver, hardwareType: hardware)
    }

    private static func address(
        _ index: UInt32, _ family: InterfaceAddress.Family, _ text: String, _ network: [UInt8], bits: UInt8
    ) -> InterfaceAddress {
        InterfaceAddress(index: index, family: family, text: text, prefixLength: bits, peer: network)
    }

    private static let global: [UInt8] = [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [7]

    private static var links: LinkTable {
        var links = LinkTable()
        links.update(link(wireless, "wlan0"))
        links.update(link(tunnel, "wg0", driver: "wireguard", hardware: 0xFFFE))
        links.update(link(bridge, "docker0", driver: "bridge"))
        links.insert(address(wireless, .ipv4, "203.0.113.9", [203, 0, 113, 9], bits: 24))
        links.insert(address(wireless, .ipv6, "2001:db8::7", global, bits: 64))
        links.insert(address(bridge, .ipv4, "172.17.0.1", [172, 17, 0, 1], bits: 16))
        return links
    }

    @Test func ofDevicesItHasThoseThatAreNotOrdinary() {
        let table = ScopeTable(Self.links, uplinks: [Self.wireless])
        #expect(table.devices.keys.sorted() == [Self.wireless, Self.tunnel])
        #expect(table.devices[Self.wireless] == .init(kind: .normal, linkHeaderBytes: 14, isUplink: true))
        #expect(table.devices[Self.tunnel] == .init(kind: .tunnel, linkHeaderBytes: 0, isUplink: false))
    }

    /// There is room for 1,024 devices, and a machine may have more, the uplink last.
    @Test func theUplinkHasAPlaceHoweverManyDevicesThereAre() {
        var links = LinkTable()
        for index in 1...2000 as ClosedRange<UInt32> {
            links.update(Self.link(index, "wg\(index)", driver: "wireguard", hardware: 0xFFFE))
        }
        let table = ScopeTable(links, uplinks: [2000])
        #expect(table.devices.count == ScopeTable.maximumEntries && table.devices[2000]?.isUplink == true)
    }

    /// Containers reach their own machine by any of its addresses, and that never passes the uplink.
    @Test(arguments: ["203.0.113.9", "2001:db8::7", "172.17.0.1"])
    func theMachinesOwnAddressesAreInside(text: String) throws {
        let own = try #require(Self.links.addresses.first { $0.text == text })
        let prefix = try #require(AddressPrefix(own.bytes, bits: own.bytes.count * 8))
        #expect(ScopeTable(Self.links, uplinks: [Self.wireless]).prefixes[prefix] == .inside)
    }

    @Test func neighboursAreTheLANAndContainersAreInside() throws {
        let table = ScopeTable(Self.links, uplinks: [Self.wireless], lan: [.ipv4(198, 51, 100, 0, bits: 24)])
        #expect(table.prefixes[try #require(AddressPrefix(Self.global, bits: 64))] == .lan)
        #expect(table.prefixes[.ipv4(203, 0, 113, 0, bits: 24)] == nil, "hosters bill neighbours")
        #expect(table.prefixes[.ipv4(172, 17, 0, 0, bits: 16)] == .inside)
        #expect(table.prefixes[.ipv4(198, 51, 100, 0, bits: 24)] == .lan)
    }
}
