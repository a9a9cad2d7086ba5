import TestSupport
import Testing

@testable import Netlink

@Suite("Messages of the kernel")
struct DecoderTests {
    /// The only message of a capture.
    private func decode<Value>(_ capture: [UInt8], _ body: (NetlinkMessage) -> Value?) throws -> Value? {
        try capture.withUnsafeBytes { bytes in
            var reader = MessageReader(bytes)
            let message = try #require(try reader.next())
            #expect(try reader.next() == nil)
            #expect(message.payload.count == capture.count - 16)
            return body(message)
        }
    }

    private func link(_ capture: [UInt8]) throws -> Link? { try decode(capture) { Link(payload: $0.payload) } }
    private func route(_ capture: [UInt8]) throws -> DefaultRoute? {
        try decode(capture) { message in
            RouteMessage(payload: message.payload).flatMap { $0.destinationLength == 0 ? $0.route : nil }
        }
    }
    private func address(_ capture: [UInt8]) throws -> InterfaceAddress? {
        try decode(capture) { InterfaceAddress(payload: $0.payload) }
    }

    // MARK: - What they say

    @Test func aHeaderTellsTypeFlagsAndSequence() throws {
        let header = try decode(Captures.statistics) { ($0.type, $0.flags, $0.sequence) }
        #expect(header?.0 == 92 && header?.1 == 2 && header?.2 == 7)
    }

    @Test func statisticsAreTheBytesOfBothDirections() throws {
        let counters = try decode(Captures.statistics) { LinkCounters(statsPayload: $0.payload) }
        #expect(counters == LinkCounters(index: 1, receivedBytes: 6816, transmittedBytes: 6816))
    }

    @Test func aLinkTellsItsNameKindStateAndCounters() throws {
        let loopback = try #require(try link(Captures.loopback))
        #expect(loopback.index == 1 && loopback.name == Array("lo".utf8) && loopback.alias.isEmpty)
        #expect(loopback.hardwareType == 772 && loopback.driverKind == nil && loopback.kind == "loopback")
        #expect(loopback.operationalState == 0 && loopback.isUp && !loopback.isTunnel && !loopback.movedAway)
        #expect(loopback.counters == LinkCounters(index: 1, receivedBytes: 6816, transmittedBytes: 6816))

        let veth = try #require(try link(Captures.veth))
        #expect(veth.index == 3 && veth.name == Array("veth0".utf8) && veth.alias == Array("to \"the\" modem".utf8))
        #expect(veth.hardwareType == 1 && veth.driverKind == "veth" && veth.kind == "veth" && veth.flags == 69699)
        #expect(veth.operationalState == 6 && veth.isUp && !veth.isTunnel)
        #expect(veth.counters == LinkCounters(index: 3, receivedBytes: 430, transmittedBytes: 306))

        let bridge = try #require(try link(Captures.bridge))
        #expect(bridge.index == 4 && bridge.name == Array("br0".utf8) && bridge.kind == "bridge" && bridge.isUp)
    }

    @Test func theLastMessageOfALinkTellsWhetherItMovedAway() throws {
        let moved = try #require(try link(Captures.movedAway))
        #expect(moved.movedAway && moved.index == 3 && !moved.isUp)
        #expect(moved.counters == LinkCounters(index: 3, receivedBytes: 430, transmittedBytes: 306))
        let deleted = try #require(try link(Captures.deleted))
        #expect(!deleted.movedAway && deleted.name == Array("veth1".utf8))
        // Its peer is gone, and with it the receive side; the rules of counting know.
        #expect(deleted.counters == LinkCounters(index: 2, receivedBytes: 0, transmittedBytes: 430))
    }

    @Test func aPortThatLeavesItsBridgeIsNoLinkThatIsGone() throws {
        #expect(try decode(Captures.portRemoved) { $0.type } == 17, "RTM_DELLINK, of the family AF_BRIDGE")
        #expect(try link(Captures.portRemoved) == nil)
    }

    @Test func addressesComeAsText() throws {
        let v4 = try #require(try address(Captures.address4))
        #expect(v4.index == 3 && v4.family == .ipv4 && v4.text == "192.0.2.7" && v4.prefixLength == 24)
        let v6 = try #require(try address(Captures.address6))
        #expect(v6.index == 3 && v6.family == .ipv6 && v6.text == "2001:db8::7" && v6.prefixLength == 64)
        let pointToPoint = try #require(try address(Captures.addressPointToPoint))
        #expect(pointToPoint.text == "198.51.100.1", "its own, not its peer's")
        #expect(pointToPoint.peer == [198, 51, 100, 2])
    }

    @Test func defaultRoutesTellTheirLinksMetricAndTable() throws {
        #expect(try route(Captures.route4) == DefaultRoute(family: .ipv4, links: [3], metric: 100))
        #expect(try route(Captures.route6) == DefaultRoute(family: .ipv6, links: [3], metric: 1024))
        #expect(
            try route(Captures.routeMultipath) == DefaultRoute(family: .ipv4, links: [3, 4], metric: 50), "every hop's")
        #expect(try route(Captures.routeElsewhere) == nil)
        #expect(try route(Captures.routeOfAnotherTable)?.table == 100)
    }

    @Test func aDeadRouteIsNone() throws {
        for flag: UInt8 in [1, 16] {
            var capture = Captures.route4
            capture[16 + 8] |= flag
            #expect(try route(capture) == nil, "RTNH_F_DEAD or RTNH_F_LINKDOWN")
        }
        var local = Captures.route4
        local[16 + 7] = 2
        #expect(try route(local) == nil)
        var forOneService = Captures.route4
        forOneService[16 + 3] = 0x10
        #expect(try route(forOneService) == nil, "ordinary packets don't take it")
    }

    @Test func aRouteWhoseNexthopObjectIsUnknownIsMarked() throws {
        // struct rtmsg of a default route of IPv4 in the main table, of type unicast; RTA_NH_ID and RTA_PRIORITY.
        let payload: [UInt8] = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 8, 0, 30, 0, 7, 0, 0, 0, 8, 0, 6, 0, 5, 0, 0, 0]
        let message = try #require(payload.withUnsafeBytes { RouteMessage(payload: $0) })
        #expect(message.needsNexthops)
        let lost = message.resolved([:]).route
        #expect(lost.lostNexthop == 7 && lost.links.isEmpty && lost.metric == 5)
        // struct nhmsg; NHA_ID and NHA_OIF.
        let object: [UInt8] = [2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 0, 7, 0, 0, 0, 8, 0, 5, 0, 3, 0, 0, 0]
        let nexthop = try #require(object.withUnsafeBytes { Nexthop(payload: $0) })
        #expect(message.resolved([7: nexthop]).route == DefaultRoute(family: .ipv4, links: [3], metric: 5))
    }

    @Test(arguments: [6, 7, 8] as [UInt8])
    func aRouteThatRefusesPacketsHasNoLinks(type: UInt8) throws {  // Blackhole, unreachable, prohibit.
        var capture = Captures.route4
        capture[16 + 7] = type
        #expect(try route(capture) == DefaultRoute(family: .ipv4, links: [], metric: 100))
    }

    @Test func aDeadHopIsPassedOver() throws {
        // In `RTA_MULTIPATH` stand two `struct rtnexthop` of 16 bytes; the flags are the third byte of each.
        let start =
            try #require(
                Captures.routeMultipath.indices.first {
                    Array(Captures.routeMultipath[$0...].prefix(4)) == [36, 0, 9, 0]
                }) + 4
        for (dead, expected) in [([1], [3]), ([0], [4]), ([0, 1], nil)] as [([Int], [UInt32]?)] {
            var capture = Captures.routeMultipath
            for hop in dead { capture[start + hop * 16 + 2] |= 1 }
            #expect(try route(capture)?.links == expected)
        }
    }

    @Test func aHopThatLeadsOutsideEndsTheWalk() throws {
        let start = try #require(
            Captures.routeMultipath.indices.first { Captures.routeMultipath[$0...].starts(with: [36, 0, 9, 0]) })
        for length: UInt8 in [0, 7, 17, 255] {
            var capture = Captures.routeMultipath
            capture[start + 4 + 16] = length
            #expect(try route(capture)?.links == [3], "the second hop says it has \(length) bytes; it has 16")
        }
    }

    @Test func severalMessagesOfADatagramComeInOrder() throws {
        let datagram = Captures.all.flatMap { $0 }
        let lengths = try datagram.withUnsafeBytes { bytes in
            var reader = MessageReader(bytes)
            var lengths: [Int] = []
            while let message = try reader.next() { lengths.append(message.payload.count + 16) }
            return lengths
        }
        #expect(lengths == Captures.all.map(\.count))
    }

    @Test func kindsThatCarryOtherLinksTrafficAreTunnels() {
        func link(_ kind: String?, _ hardwareType: UInt16 = 1) -> Link {
            Link(index: 1, name: [97], driverKind: kind, hardwareType: hardwareType)
        }
        for kind in ["wireguard", "tun", "sit", "gre", "vxlan", "ip6tnl"] { #expect(link(kind).isTunnel) }
        for kind in ["veth", "bridge", "bond", "vlan", "ppp", "macvlan", "dummy"] { #expect(!link(kind).isTunnel) }
        let kinds: [(UInt16, String)] = [
            (1, "physical"), (772, "loopback"), (512, "ppp"), (768, "ipip"), (769, "ip6tnl"), (776, "sit"),
            (778, "gre"),
        ]
        for (hardwareType, kind) in kinds {
            #expect(link(nil, hardwareType).kind == kind && link("", hardwareType).kind == kind)
        }
    }

    // MARK: - What may come

    /// Everything that reads messages, whatever their type; each place that it reads is within the bytes.
    @discardableResult
    private func readEverything(_ bytes: UnsafeRawBufferPointer) -> (messages: Int, isMalformed: Bool) {
        var reader = MessageReader(bytes)
        var count = 0
        do throws(NetlinkError) {
            while let message = try reader.next() {
                count += 1
                readPayload(message.payload)
            }
            return (count, false)
        } catch {
            #expect(error.code == .malformed)
            return (count, true)
        }
    }

    private func readPayload(_ payload: UnsafeRawBufferPointer) {
        _ = LinkCounters(statsPayload: payload)
        if let link = Link(payload: payload) { #expect(!link.name.isEmpty && link.index != 0 && !link.kind.isEmpty) }
        if let address = InterfaceAddress(payload: payload) { #expect((2...45).contains(address.text.utf8.count)) }
        if let message = RouteMessage(payload: payload) { #expect(!message.route.links.contains(0)) }
        if let nexthop = Nexthop(payload: payload) { _ = Nexthop.links(of: nexthop.id, among: [nexthop.id: nexthop]) }
    }

    /// A block of exactly these bytes, so that the address sanitizer sees a read behind them.
    private func withBlock<Value>(_ bytes: some Collection<UInt8>, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { block.deallocate() }
        block.copyBytes(from: bytes)
        return body(UnsafeRawBufferPointer(block))
    }

    @Test func everyPrefixOfAMessageIsMalformedOrDecoded() {
        for capture in Captures.all {
            for length in 0..<capture.count {
                let result = withBlock(capture.prefix(length)) { readEverything($0) }
                #expect(result.messages == 0 && result.isMalformed == (length > 0))
                if length >= 16 { withBlock(capture[16..<length]) { readPayload($0) } }
            }
            #expect(withBlock(capture) { readEverything($0) } == (1, false))
        }
    }

    @Test(arguments: 0..<20)
    func anyMutationOfMessagesIsMalformedOrDecoded(part: UInt64) {
        var random = SeededGenerator(seed: part)
        var malformed = 0
        for _ in 0..<5000 {
            var bytes = Captures.all.randomElement(using: &random) ?? []
            if Int.random(in: 0..<8, using: &random) == 0 { bytes += Captures.all.randomElement(using: &random) ?? [] }
            for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&bytes, using: &random) }
            let result = withBlock(bytes) { readEverything($0) }
            #expect(result.messages * 16 <= bytes.count, "seed \(part)")
            if result.isMalformed { malformed += 1 }
        }
        #expect((500..<4500).contains(malformed), "some are malformed and some aren't, seed \(part)")
    }

    private func mutate(_ bytes: inout [UInt8], using random: inout SeededGenerator) {
        guard let place = bytes.indices.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<3: bytes[place] = .random(in: 0 ... .max, using: &random)
        // Most attributes are 8 bytes long: lengths that are 0, odd, or lead outside.
        case 3..<7: bytes[place & ~3] = [0, 1, 2, 3, 4, 5, 255].randomElement(using: &random) ?? 0
        case 7: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 8: if Int.random(in: 0..<4, using: &random) == 0 { bytes.removeLast(bytes.count - place) }
        default: bytes.insert(contentsOf: [UInt8](repeating: 0, count: 4), at: place & ~3)
        }
    }
}

/// Tuples have no `==` between an optional pair of results and a literal, so this says what is meant.
private func == (result: (messages: Int, isMalformed: Bool), expected: (Int, Bool)) -> Bool {
    result.messages == expected.0 && result.isMalformed == expected.1
}

@Suite("The route that traffic takes")
struct BestRouteTests {
    private static func route(
        _ links: [UInt32], _ metric: UInt32, _ family: InterfaceAddress.Family = .ipv4, table: UInt32 = 254,
        preference: Int = 0
    ) -> DefaultRoute {
        DefaultRoute(family: family, links: links, metric: metric, table: table, preference: preference)
    }

    private static func lost(_ nexthop: UInt32, _ metric: UInt32) -> DefaultRoute {
        var route = route([], metric)
        route.lostNexthop = nexthop
        return route
    }

    private static let cases: [(routes: [DefaultRoute], tunnels: Set<UInt32>, best: [UInt32]?, why: Comment)] = [
        ([], [], nil, "there is none"),
        ([route([1], 0)], [], [1], "the only one"),
        ([route([1], 100), route([2], 50)], [], [2], "the lowest metric"),
        ([route([1], 100), route([2], 100, .ipv6)], [], [1], "IPv4 before IPv6"),
        ([route([1], 100, .ipv6), route([2], 100)], [], [2], "in any order"),
        ([route([1], 101), route([2], 100, .ipv6)], [], [2], "the metric goes before the family"),
        ([route([1], 0), route([2], 1000)], [1], [2], "a tunnel's bytes are carried once more by its carrier"),
        ([route([1], 0), route([2], 1000, .ipv6)], [1], [2], "a carrier of the other family is one, too"),
        ([route([1], 10), route([2], 5)], [1, 2], [2], "a tunnel only if there is no other"),
        ([route([1], .max)], [], [1], "the highest metric there is"),
        ([route([7], 10), route([3], 10)], [], [7], "the one that the kernel lists first"),
        ([route([4, 5], 10), route([3], 20)], [], [4, 5], "all links of a route over several"),
        ([route([], 50), route([3], 100)], [], nil, "what refuses packets hides what comes behind it"),
        ([route([], 500), route([3], 100)], [], [3], "but not what goes before it"),
        ([route([], 50), route([3], 100, .ipv6)], [], [3], "nor the other family's"),
        ([route([3], 0, table: 100), route([4], 900)], [], [4], "the main table goes first"),
        ([route([3], 0, table: 100)], [], [3], "another table, if only that leads out"),
        ([route([1], 1024, .ipv6), route([2], 1024, .ipv6, preference: 1)], [], [2], "the router's preference"),
        ([route([2], 1024, .ipv6), route([1], 1024, .ipv6, preference: -1)], [], [2], "a low one goes last"),
        ([lost(7, 1)], [], nil, "its nexthop object leads nowhere"),
        ([lost(7, 1), route([2], 5)], [], [2], "and it hides nothing"),
        ([route([9], 1)], [], nil, "a loopback device leads nowhere"),
        ([route([9], 1), route([2], 5)], [], [2], "and hides nothing"),
        ([route([1, 2], 5)], [1], [2], "of several links, a tunnel is carried by another"),
        ([route([1, 2], 5)], [1, 2], [1, 2], "unless they are all tunnels"),
        ([route([21, 2], 5)], [], [2], "a VLAN and its parent carry the same bytes"),
        ([route([31, 2, 4], 5)], [], [2, 4], "and so does what stands on the VLAN"),
    ]

    @Test(arguments: cases.indices)
    func theBestRouteIsChosen(number: Int) {
        let (routes, tunnels, best, why) = Self.cases[number]
        let roles = DefaultRoute.LinkRoles(
            tunnels: tunnels, loopbacks: [9], carriers: [21: [2], 31: [21]])
        #expect(DefaultRoute.best(of: routes, roles)?.links == best, why)
    }
}
