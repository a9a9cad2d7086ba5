import CTestLinux
import Foundation
import Testing

@testable import Netlink

/// The real kernel, in a network namespace of the test's own.
@Suite("The kernel's network", .enabled(if: geteuid() == 0, "a network namespace needs root"))
struct KernelNetworkTests {
    /// Runs `body` with its thread in a new namespace, where nothing else happens.
    private func inNewNetwork(_ body: () throws -> Void) throws {
        let home = test_open_network()
        try #require(home >= 0)
        defer { close(home) }
        try #require(test_enter_new_network() == 0)
        defer { precondition(test_enter_network(home) == 0, "the thread can't go back to its namespace") }
        try body()
    }

    /// What `ip` prints; it runs in the namespace of the calling thread.
    @discardableResult
    private func ip(_ arguments: String) throws -> Data {
        let pipe = try #require(popen("ip \(arguments)", "r"))
        var output = Data()
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&buffer, 1, buffer.count, pipe)
            if count == 0 { break }
            output.append(contentsOf: buffer[..<count])
        }
        try #require(pclose(pipe) == 0, "ip \(arguments)")
        return output
    }

    private func ip(batch commands: [String]) throws {
        let pipe = try #require(popen("ip -batch -", "w"))
        fputs(commands.joined(separator: "\n"), pipe)
        try #require(pclose(pipe) == 0)
    }

    private func ip<Value: Decodable>(_ arguments: String, as type: Value.Type) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: try ip("-json \(arguments)"))
    }

    /// A veth pair with a bridge at one end, addresses and routes; no address is made by itself, as that takes time.
    private func build() throws {
        for command in [
            "link set lo up", "link add veth0 type veth peer name veth1", "link add br0 type bridge",
            "link add vxlan0 type vxlan id 7 dstport 4789 dev veth0", "link add dark0 type veth peer name dark1",
        ] { try ip(command) }
        for name in ["veth0", "veth1", "br0", "dark0"] {
            try ip("link set \(name) addrgenmode none")
            try ip("link set \(name) up")
        }
        for command in [
            "link set veth1 master br0", "link set veth0 alias 'to \"the\" modem'", "addr add 192.0.2.7/24 dev veth0",
            "addr add 198.51.100.1 peer 198.51.100.2/32 dev veth0", "addr add 2001:db8::7/64 dev veth0 nodad",
            "addr add 203.0.113.1/24 dev br0", "route add default via 192.0.2.1 dev veth0 metric 100",
            "route add default via 192.0.2.2 dev veth0 table 100",
            "-6 route add default via 2001:db8::1 dev veth0 metric 1024", "addr add 10.9.9.1/24 dev dark0",
            "route add 10.0.0.0/8 via 192.0.2.9", "route add blackhole default metric 9999",
            "route add default metric 50 nexthop via 192.0.2.3 dev veth0 nexthop via 203.0.113.9 dev br0 weight 5",
        ] { try ip(command) }
    }

    // MARK: - Lists

    private struct ListedLink: Decodable {
        struct Info: Decodable { var infoKind: String? }
        var ifindex: UInt32
        var ifname: String
        var ifalias: String?
        var operstate: String
        var linkinfo: Info?
    }

    @Test func linksAreThoseThatIpLists() throws {
        try inNewNetwork {
            try build()
            let listed = try ip("-details link", as: [ListedLink].self).sorted { $0.ifindex < $1.ifindex }
            let links = try KernelNetwork().links().sorted { $0.index < $1.index }
            #expect(listed.count >= 7)
            #expect(links.map(\.index) == listed.map(\.ifindex))
            #expect(links.map { String(decoding: $0.name, as: UTF8.self) } == listed.map(\.ifname))
            #expect(links.map { String(decoding: $0.alias, as: UTF8.self) } == listed.map { $0.ifalias ?? "" })
            #expect(links.map(\.driverKind) == listed.map { $0.linkinfo?.infoKind })
            #expect(links.map { $0.operationalState == 6 } == listed.map { $0.operstate == "UP" })
            #expect(links.allSatisfy { $0.counters == nil })
        }
    }

    private struct ListedAddresses: Decodable {
        struct Address: Decodable {
            var family: String
            var local: String
        }
        var ifindex: UInt32
        var addrInfo: [Address]
    }

    @Test func addressesAreThoseThatIpLists() throws {
        try inNewNetwork {
            try build()
            let listed = try ip("addr", as: [ListedAddresses].self).flatMap { link in
                link.addrInfo.map { "\(link.ifindex) \($0.family == "inet" ? "ipv4" : "ipv6") \($0.local)" }
            }
            let addresses = try KernelNetwork().addresses().map { "\($0.index) \($0.family) \($0.text)" }
            #expect(addresses.count == listed.count && Set(addresses) == Set(listed))
            #expect(addresses.count >= 7)
        }
    }

    private struct ListedRoute: Decodable {
        struct Hop: Decodable { var dev: String }
        var type: String?
        var dev: String?
        var metric: UInt32?
        var nexthops: [Hop]?
        var flags: [String]?
        var table: String?
        var dst: String
    }

    @Test func defaultRoutesAreThoseThatIpLists() throws {
        try inNewNetwork {
            try build()
            // The peer of dark0 is down, so this one leads nowhere.
            try ip("route add default via 10.9.9.2 dev dark0 metric 1")
            let indices = try ip("link", as: [ListedLink].self).reduce(into: [:]) { $0[$1.ifname] = $1.ifindex }
            var listed: Set<DefaultRoute> = []
            var unusable = 0
            for (option, family) in [("-4", .ipv4), ("-6", .ipv6)] as [(String, InterfaceAddress.Family)] {
                for route in try ip("\(option) -details route show default table all", as: [ListedRoute].self) {
                    if route.flags?.contains("linkdown") == true {
                        unusable += 1
                        continue
                    }
                    let refuses = route.type ?? "unicast" != "unicast"
                    let names = refuses ? [] : route.dev.map { [$0] } ?? (route.nexthops ?? []).map(\.dev)
                    listed.insert(
                        DefaultRoute(
                            family: family, links: names.compactMap { indices[$0] }, metric: route.metric ?? 0,
                            table: route.table.flatMap { UInt32($0) } ?? DefaultRoute.mainTable))
                }
            }
            let network = try KernelNetwork()
            let routes = try network.defaultRoutes()
            #expect(routes.count == listed.count && Set(routes) == listed)
            #expect(routes.count == 5 && unusable == 1)
            let both = [indices["veth0"], indices["br0"]]
            #expect(try network.defaultRoute(.init())?.links == both.compactMap { $0 })
        }
    }

    // MARK: - The uplink

    /// Two cables, `up0` and `up1`, each with a network of its own behind it.
    private func layCables() throws {
        try ip("link set lo up")
        for number in 0...1 {
            try ip("link add up\(number) type veth peer name peer\(number)")
            for name in ["up\(number)", "peer\(number)"] {
                try ip("link set \(name) addrgenmode none")
                try ip("link set \(name) up")
            }
            try ip("addr add 10.\(number).0.1/24 dev up\(number)")
            try ip("addr add fd00:\(number)::1/64 dev up\(number) nodad")
        }
    }

    /// The names of the links that lead to the rest of the world, and what `ip route get` says of an address far away.
    private func uplink(_ network: KernelNetwork) throws -> [String] {
        let links = try network.links()
        let route = try network.defaultRoute(.init(links))
        return (route?.links ?? []).map { index in
            links.first { $0.index == index }.map { String(decoding: $0.name, as: UTF8.self) } ?? "?"
        }
    }

    /// What `sysctl` sets in the thread's namespace.
    private func set(_ key: String, _ value: String) throws {
        let file = try #require(
            fopen("/proc/thread-self/net/../../../sys/" + key, "w") ?? fopen("/proc/sys/" + key, "w"))
        fputs(value, file)
        fclose(file)
    }

    private static let cases: [(why: Comment, commands: [String], uplink: [String])] = [
        ("one route", ["route add default via 10.1.0.2"], ["up1"]),
        (
            "of one metric the first", ["route add default via 10.1.0.2", "route append default via 10.0.0.2"], ["up1"]
        ),
        (
            "not for one type of service",
            ["route add default via 10.1.0.2 metric 100", "route add default via 10.0.0.2 tos 0x10"], ["up1"]
        ),
        (
            "a better route refuses",
            ["route add default via 10.1.0.2 metric 100", "route add unreachable default metric 50"], []
        ),
        ("a blackhole alone", ["route add blackhole default"], []),
        ("out of the loopback device", ["route add default dev lo"], []),
        ("the table default", ["route add default via 10.1.0.2 table default"], ["up1"]),
        (
            "a table that a rule names",
            ["route add default via 10.1.0.2 table 100", "rule add lookup 100 pref 1000"], ["up1"]
        ),
        (
            "a table for packets of one address only",
            ["route add default via 10.1.0.2 table 100", "rule add from 10.1.0.1 lookup 100"], ["up1"]
        ),
        (
            "a rule before the main table",
            [
                "route add default via 10.0.0.2", "route add default via 10.1.0.2 table 100",
                "rule add lookup 100 pref 1000",
            ], ["up1"]
        ),
        (
            "over several links",
            ["route add default nexthop via 10.0.0.2 dev up0 nexthop via 10.1.0.2 dev up1"], ["up0", "up1"]
        ),
        (
            "by a nexthop object",
            ["nexthop add id 1 via 10.1.0.2 dev up1", "route add default nhid 1"], ["up1"]
        ),
        (
            "by a group of them",
            [
                "nexthop add id 1 via 10.0.0.2 dev up0", "nexthop add id 2 via 10.1.0.2 dev up1",
                "nexthop add id 10 group 1/2", "route add default nhid 10",
            ], ["up0", "up1"]
        ),
        (
            "an object that refuses", ["nexthop add id 1 blackhole", "route add default nhid 1"], []
        ),
        ("IPv6 alone", ["-6 route add default via fd00:1::2 dev up1"], ["up1"]),
        ("all global addresses of IPv6", ["-6 route add 2000::/3 via fd00:1::2 dev up1"], ["up1"]),
        (
            "IPv6 by a nexthop object",
            ["-6 nexthop add id 7 via fd00:1::2 dev up1", "-6 route add default nhid 7"], ["up1"]
        ),
        (
            "IPv6 over several links",
            ["-6 route add default nexthop via fd00:0::2 dev up0 nexthop via fd00:1::2 dev up1"], ["up0", "up1"]
        ),
        (
            "the carrier of a tunnel",
            [
                "link add tun7 type vxlan id 7 dstport 4789 dev up1", "link set tun7 addrgenmode none",
                "link set tun7 up", "route add default dev tun7", "route add default via 10.1.0.2 metric 700",
            ], ["up1"]
        ),
        (
            "the carrier of a tunnel that takes everything by two halves",
            [
                "link add tun7 type vxlan id 7 dstport 4789 dev up1", "link set tun7 addrgenmode none",
                "link set tun7 up", "route add 0.0.0.0/1 dev tun7", "route add 128.0.0.0/1 dev tun7",
                "route add default via 10.1.0.2 metric 700",
            ], ["up1"]
        ),
        (
            "two halves over two links",
            ["route add 0.0.0.0/1 via 10.0.0.2", "route add 128.0.0.0/1 via 10.1.0.2"], ["up0", "up1"]
        ),
        (
            "two halves, and addresses of documentation that have no route",
            [
                "route add 0.0.0.0/1 via 10.0.0.2", "route add 128.0.0.0/1 via 10.1.0.2",
                "rule add to 192.0.2.0/24 unreachable pref 1000", "route add throw 198.51.100.0/24",
            ], ["up0", "up1"]
        ),
        (
            "half of all addresses over another link",
            ["route add default via 10.0.0.2", "route add 0.0.0.0/1 via 10.1.0.2"], ["up0", "up1"]
        ),
        (
            "a tunnel, if there is no other",
            [
                "link add tun7 type vxlan id 7 dstport 4789 dev up1", "link set tun7 addrgenmode none",
                "link set tun7 up", "route add default dev tun7",
            ], ["tun7"]
        ),
    ]

    @Test(arguments: cases.indices, [false, true])
    func theUplinkIsTheOneThatTheKernelTakes(number: Int, namesOnlyObjects: Bool) throws {
        let (why, commands, expected) = Self.cases[number]
        try inNewNetwork {
            try layCables()
            if namesOnlyObjects { try set("net/ipv4/nexthop_compat_mode", "0") }
            for command in commands { try ip(command) }
            #expect(Set(try uplink(KernelNetwork())) == Set(expected), why)
        }
    }

    @Test func aDeletedNexthopObjectIsAnEvent() throws {
        try inNewNetwork {
            try layCables()
            for command in [
                "nexthop add id 1 via 10.0.0.2 dev up0", "nexthop add id 2 via 10.1.0.2 dev up1",
                "nexthop add id 10 group 1/2", "route add default nhid 10",
            ] { try ip(command) }
            let network = try KernelNetwork()
            try ip("nexthop del id 2")
            #expect(Drained(try drain(network)).routes > 0)
            #expect(try uplink(network) == ["up0"])
            try ip("nexthop del id 1")
            #expect(Drained(try drain(network)).routes > 0)
            #expect(try uplink(network) == [])
            try ip("rule add lookup 100 pref 1000")
            #expect(Drained(try drain(network)).routes > 0)
        }
    }

    // MARK: - A busy kernel

    /// As on a router with the whole internet's routes.
    @Test func aListThatTakesLongerThanTheUsualPatienceIsReadInTheEnd() throws {
        try inNewNetwork {
            try layCables()
            for command in [
                "link add tun7 type vxlan id 7 dstport 4789 dev up1", "link set tun7 up", "route add default dev tun7",
                "route add default via 10.1.0.2 metric 700",
            ] { try ip(command) }
            try ip(
                batch: (0..<30_000).map {
                    "route add 10.\(64 + $0 / 256 / 256).\($0 / 256 % 256).\($0 % 256)/32 dev tun7"
                })
            let network = try KernelNetwork()
            network.patienceMilliseconds = 1
            var attempts = 0
            var uplink: [String]?
            while uplink == nil, attempts < 1000 {
                attempts += 1
                uplink = try? self.uplink(network)
                usleep(10_000)
            }
            #expect(uplink == ["up1"] && attempts > 1)
        }
    }

    @Test func aBusyKernelHoldsUpNobody() throws {
        try inNewNetwork {
            try build()
            let network = try KernelNetwork()
            try carry([1, 100, 1400])
            // The worker waits for what never comes, as it would for the kernel's lock.
            let gate = Pipe()
            let isHeld = network.behindTheLockForTests(gate)
            #expect(isHeld == nil)
            network.patienceMilliseconds = 20
            var counters: [LinkCounters] = []
            try network.readCounters(into: &counters)
            #expect(network.isBusy)
            #expect(throws: NetlinkError.self) { try network.links() }
            gate.fileHandleForWriting.write(Data([1]))
            network.patienceMilliseconds = 10_000
            var later: [LinkCounters] = []
            repeat { try network.readCounters(into: &later) } while network.isBusy
            #expect(counters.sorted { $0.index < $1.index } == later.sorted { $0.index < $1.index })
            #expect(try network.links().count == counters.count)
        }
    }

    @Test func aNetworkWithoutAnythingHasALoopbackOnly() throws {
        try inNewNetwork {
            let network = try KernelNetwork()
            #expect(try network.links().map(\.name) == [Array("lo".utf8)])
            #expect(DeviceTable.names() == [Array("lo".utf8)])
            #expect(try network.defaultRoutes().isEmpty && network.addresses().isEmpty)
        }
    }

    // MARK: - Counters

    /// Datagrams to nobody, over the loopback device.
    private func carry(_ sizes: [Int]) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(9).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let bytes = [UInt8](repeating: 1, count: sizes.max() ?? 0)
        for size in sizes {
            let sent = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(descriptor, bytes, size, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            // The answer to the one before, that nobody is there, may be told instead.
            #expect(sent == size || errno == ECONNREFUSED)
        }
    }

    @Test func bothSourcesGiveTheSameCounters() throws {
        try inNewNetwork {
            try build()
            try carry([1, 100, 1400, 30_000])
            let statistics = try KernelNetwork(counterSource: .statistics)
            let links = try KernelNetwork(counterSource: .links)
            var first: [LinkCounters] = []
            var between: [LinkCounters] = []
            var last: [LinkCounters] = []
            // A bridge greets its neighbours now and then; between two equal readings nothing was carried.
            for _ in 0..<100 {
                try statistics.readCounters(into: &first)
                try links.readCounters(into: &between)
                try statistics.readCounters(into: &last)
                if first == last { break }
            }
            #expect(first == last)
            #expect(between.sorted { $0.index < $1.index } == first.sorted { $0.index < $1.index })
            #expect(first.count == (try statistics.links().count))
            let loopback = try #require(first.first { $0.index == 1 })
            #expect(loopback.receivedBytes >= 31_501 && loopback.receivedBytes == loopback.transmittedBytes)
        }
    }

    private struct ListedCounters: Decodable {
        struct Directions: Decodable {
            struct Direction: Decodable { var bytes: UInt64 }
            var rx: Direction
            var tx: Direction
        }
        var ifindex: UInt32
        var stats64: Directions
    }

    @Test func countersAreThoseThatIpLists() throws {
        try inNewNetwork {
            try ip("link set lo up")
            try carry([7, 1000])
            var counters: [LinkCounters] = []
            try KernelNetwork().readCounters(into: &counters)
            let listed = try ip("-statistics link", as: [ListedCounters].self).map {
                LinkCounters(
                    index: $0.ifindex, receivedBytes: $0.stats64.rx.bytes, transmittedBytes: $0.stats64.tx.bytes)
            }
            #expect(counters == listed && counters[0].receivedBytes >= 1007)
        }
    }

    // MARK: - Events

    private func drain(_ network: KernelNetwork) throws -> [KernelNetwork.Event] {
        var events: [KernelNetwork.Event] = []
        try network.drainEvents { events.append($0) }
        return events
    }

    private func changed(_ events: [KernelNetwork.Event]) -> [Link] {
        events.compactMap { if case .linkChanged(let link) = $0 { link } else { nil } }
    }

    private func removed(_ events: [KernelNetwork.Event]) -> [Link] {
        events.compactMap { if case .linkRemoved(let link) = $0 { link } else { nil } }
    }

    @Test func whatHappensToALinkIsToldInOrder() throws {
        try inNewNetwork {
            let network = try KernelNetwork()
            #expect(try drain(network).isEmpty)
            try ip("link add bridge0 type bridge")
            let created = changed(try drain(network))
            let index = try #require(created.first { $0.name == Array("bridge0".utf8) }?.index)
            try ip("link set bridge0 name modem0")
            #expect(changed(try drain(network)).contains { $0.index == index && $0.name == Array("modem0".utf8) })
            // Of a link that is down the kernel doesn't tell a new alias.
            try ip("link set modem0 up")
            try ip("link set modem0 alias home")
            #expect(changed(try drain(network)).last?.alias == Array("home".utf8))
            try ip("link del modem0")
            let gone = removed(try drain(network))
            #expect(gone.map(\.index) == [index])
            #expect(gone.first?.movedAway == false && gone.first?.counters != nil)
            #expect(try drain(network).isEmpty && network.overruns == 0)
        }
    }

    @Test func theLastCountersOfALinkComeWithItsRemoval() throws {
        try inNewNetwork {
            try ip("link add veth0 type veth peer name veth1")
            for name in ["veth0", "veth1"] { try ip("link set \(name) up") }
            try ip("addr add 192.0.2.1/24 dev veth0")
            try ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev veth0")
            let network = try KernelNetwork()
            let index = try #require(try network.links().first { $0.name == Array("veth0".utf8) }?.index)
            try sendToNeighbour(count: 10, size: 1000)
            var counters: [LinkCounters] = []
            try network.readCounters(into: &counters)
            let carried = try #require(counters.first { $0.index == index })
            // 1000 bytes with the headers of UDP, IPv4 and Ethernet, ten times.
            #expect(carried.transmittedBytes >= 10 * 1042)
            try ip("link del veth0")
            let final = try #require(removed(try drain(network)).first { $0.index == index }?.counters)
            #expect(final.transmittedBytes >= carried.transmittedBytes)
        }
    }

    private func sendToNeighbour(count: Int, size: Int) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(9).bigEndian
        address.sin_addr.s_addr = in_addr_t(0xC000_0202).bigEndian
        let bytes = [UInt8](repeating: 1, count: size)
        for _ in 0..<count {
            let sent = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(descriptor, bytes, size, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            #expect(sent == size)
        }
    }

    @Test func aLinkThatMovesToAnotherNamespaceIsToldSo() throws {
        try inNewNetwork {
            let name = "netusage-test-\(getpid())"
            try ip("netns add \(name)")
            defer { #expect(throws: Never.self) { try ip("netns del \(name)") } }
            try ip("link add veth0 type veth peer name veth1")
            let network = try KernelNetwork()
            let namespace = network.networkNamespace
            try ip("link set veth0 netns \(name)")
            let gone = removed(try drain(network))
            #expect(gone.map(\.movedAway) == [true])
            #expect(gone.first?.name == Array("veth0".utf8) && gone.first?.counters != nil)
            #expect(namespace != 0)
        }
    }

    @Test func namespacesHaveNumbersOfTheirOwn() throws {
        var numbers: Set<UInt64> = []
        for _ in 0..<3 { try inNewNetwork { numbers.insert(try KernelNetwork().networkNamespace) } }
        numbers.insert(try KernelNetwork().networkNamespace)
        numbers.insert(try KernelNetwork().networkNamespace)
        #expect(numbers.count == 4)
    }

    @Test func aPortThatLeavesItsBridgeIsNotRemoved() throws {
        try inNewNetwork {
            try build()
            let network = try KernelNetwork()
            try ip("link set veth1 nomaster")
            #expect(removed(try drain(network)).isEmpty)
        }
    }

    /// What events say about addresses and routes.
    private struct Drained {
        var added: [String] = []
        var removed: [String] = []
        var routes = 0

        init(_ events: [KernelNetwork.Event]) {
            for event in events {
                switch event {
                case .addressAdded(let address): added.append(address.text)
                case .addressRemoved(let address): removed.append(address.text)
                case .defaultRouteChanged: routes += 1
                case .linkChanged, .linkRemoved: break
                case .lost: Issue.record("nothing was lost")
                }
            }
        }
    }

    @Test func addressesAndDefaultRoutesAreToldWhenTheyComeAndGo() throws {
        try inNewNetwork {
            try ip("link add veth0 type veth peer name veth1")
            for name in ["veth0", "veth1"] {
                try ip("link set \(name) addrgenmode none")
                try ip("link set \(name) up")
            }
            let network = try KernelNetwork()
            func drained() throws -> Drained { Drained(try drain(network)) }
            try ip("addr add 192.0.2.7/24 dev veth0")
            try ip("addr add 2001:db8::7/64 dev veth0 nodad")
            var first = try drained()
            // The kernel reports an IPv6 address from a queue of its own.
            var descriptor = pollfd(fd: network.eventDescriptors[0], events: Int16(POLLIN), revents: 0)
            while !first.added.contains("2001:db8::7"), poll(&descriptor, 1, 5000) == 1 {
                first.added += try drained().added
            }
            #expect(first.added.first == "192.0.2.7" && Set(first.added) == ["192.0.2.7", "2001:db8::7"])
            #expect(first.removed.isEmpty && first.routes == 0)
            try ip("route add 10.0.0.0/8 via 192.0.2.1")
            #expect(try drained().routes == 0, "not a default route")
            try ip("route add default via 192.0.2.1")
            #expect(try drained().routes == 1)
            try ip("-6 route add default via 2001:db8::1 dev veth0")
            #expect(try drained().routes == 1)
            try ip("route del default")
            try ip("addr del 192.0.2.7/24 dev veth0")
            let last = try drained()
            #expect(last.removed == ["192.0.2.7"] && last.routes == 1)
        }
    }

    @Test func eventsThatDoNotFitAreToldAsLostAndLaterOnesCome() throws {
        try inNewNetwork {
            try ip("link add bridge0 type bridge")
            try ip("link set bridge0 up")
            let network = try KernelNetwork()
            let path = NSTemporaryDirectory() + "netusage-batch-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: path) }  // A file in the temporary directory may stay.
            let lines = (0..<20_000).map { "link set bridge0 alias \($0)\n" }.joined()
            try Data(lines.utf8).write(to: URL(fileURLWithPath: path))
            try ip("-batch \(path)")
            let events = try drain(network)
            #expect(events.contains { if case .lost = $0 { true } else { false } })
            #expect(network.overruns > 0)
            try ip("link set bridge0 name modem0")
            #expect(changed(try drain(network)).contains { $0.name == Array("modem0".utf8) })
        }
    }
}

extension KernelNetwork {
    /// Has the worker read from a pipe, and waits for that no longer than a moment.
    fileprivate func behindTheLockForTests(_ gate: Pipe) -> Bool? {
        let patience = patienceMilliseconds
        defer { patienceMilliseconds = patience }
        patienceMilliseconds = 1
        let descriptor = gate.fileHandleForReading.fileDescriptor
        return behindTheLock {
            var byte: UInt8 = 0
            return read(descriptor, &byte, 1) == 1
        }
    }
}
