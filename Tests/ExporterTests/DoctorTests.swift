import Accounting
import Testing

@testable import Exporter
@testable import Netlink

@Suite("What the doctor says of the uplink")
struct DoctorTests {
    private static let links = [
        Link(index: 2, name: Array("wan0".utf8), driverKind: nil, master: nil, carrier: nil),
        Link(index: 3, name: Array("wan1".utf8), driverKind: nil, master: nil, carrier: nil),
    ]

    private func said(of routes: [DefaultRoute], exclude: [String] = ["lo"]) -> [String] {
        let rules = AccountingRules(
            exclude: exclude.compactMap { DevicePattern($0) }, collapse: [], samplingInterval: Span(seconds: 1))
        return Doctor.uplink(Self.links, routes, DefaultRoute.best(of: routes, .init()), rules).map(\.text)
    }

    private func lost(_ nexthop: UInt32, metric: UInt32) -> DefaultRoute {
        var route = DefaultRoute(family: .ipv4, links: [], metric: metric)
        route.lostNexthop = nexthop
        return route
    }

    @Test func aRouteThatLeadsNowhereIsNamed() {
        let alone = said(of: [lost(7, metric: 5)])
        #expect(alone.count == 2 && alone[0].contains("metric 5") && alone[0].contains("nexthop object 7"))
        #expect(alone[1].contains("offline") && !alone.joined().contains("there is no default route"))
        let behind = said(of: [lost(7, metric: 5), DefaultRoute(family: .ipv4, links: [2], metric: 9)])
        #expect(behind.count == 2 && behind[0].hasPrefix("wan0 is the uplink") && behind[1] == alone[0])
        #expect(said(of: [DefaultRoute(family: .ipv4, links: [], metric: 5)]).joined().contains("refuses packets"))
        #expect(said(of: []) == ["there is no default route, so this machine is offline and nothing is the uplink"])
    }

    @Test func ofSeveralLinksTheOneThatIsLeftOutIsNamed() {
        let route = DefaultRoute(family: .ipv4, links: [2, 3], metric: 0)
        let part = said(of: [route], exclude: ["wan1"])
        #expect(part.count == 2 && part[1].hasPrefix("the uplink wan1 isn't metered"))
        #expect(part[1].contains("only wan0 is counted") && !part[1].contains("nothing is counted"))
        let all = said(of: [route], exclude: ["wan*"])
        #expect(all.count == 3 && all[1...].allSatisfy { $0.contains("nothing is counted for the uplink") })
        #expect(said(of: [route]).count == 1)
    }
}
