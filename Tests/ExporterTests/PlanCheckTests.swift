import Accounting
import Testing

@testable import Exporter
@testable import Netlink

@Suite("Plans that don't count what is meant")
struct PlanCheckTests {
    private static func link(
        _ index: UInt32, _ name: String, kind: String? = nil, master: UInt32? = nil, carrier: UInt32? = nil
    ) -> Link {
        Link(index: index, name: Array(name.utf8), driverKind: kind, master: master, carrier: carrier)
    }

    private static let links = [
        link(1, "lo"), link(2, "eth0"), link(3, "br0", kind: "bridge"), link(4, "port0", master: 3),
        link(5, "eth0.7", kind: "vlan", carrier: 2), link(6, "mac0", kind: "macvlan", carrier: 2),
        link(7, "veth1", kind: "veth"), link(8, "wg0", kind: "wireguard"), link(9, "mac1", kind: "macvlan", carrier: 5),
    ]

    private func check(exclude: [String] = ["lo"], uplink: [UInt32] = [2], accounts: Set<AccountKey>? = []) -> PlanCheck
    {
        let rules = AccountingRules(
            exclude: exclude.compactMap { DevicePattern($0) }, collapse: ["veth*"].compactMap { DevicePattern($0) },
            samplingInterval: Span(seconds: 1))
        return PlanCheck(links: Self.links, uplink: uplink, rules: rules, accounts: accounts)
    }

    private func devices(_ texts: String...) -> Selection { .devices(texts.compactMap { DevicePattern($0) }) }

    private func doubles(_ count: Selection) -> Int {
        let quota = Quota(
            name: "q", count: count, direction: .total, limitBytes: 1,
            cycle: Cycle(.init(.month(day: 1)), timezone: .local), warnAt: [], free: FreeTime([]),
            rolloverMaximumBytes: nil)
        let plans = Plans(quotas: [quota], rateLimits: [], committedRates: [])
        return check().findings(plans, csvLog: nil).filter { $0.contains("twice") }.count
    }

    @Test func aPlanOfAnExcludedUplinkCountsNothing() {
        #expect(check().problem(with: .uplink) == nil)
        #expect(check(exclude: ["lo", "eth*"]).problem(with: .uplink)?.contains("eth0") == true)
        #expect(check(exclude: ["eth0"], uplink: [2, 3]).problem(with: .uplink) == nil, "it counts the other one")
        #expect(check(exclude: ["*"], uplink: []).problem(with: .uplink) == nil, "there may be one later")
    }

    @Test func aPlanOfADeviceThatNeverWasCountsNothing() {
        #expect(check().problem(with: devices("eth9"))?.contains("no device eth9") == true)
        #expect(check().problem(with: devices("eth9", "br0")) == nil)
        #expect(check().problem(with: devices("veth*")) == nil, "a class of devices")
        let gone = AccountKey.device(DeviceName("eth9"))
        #expect(check(accounts: [gone]).problem(with: devices("eth9")) == nil, "it has been there")
        #expect(check(accounts: nil).problem(with: devices("eth9")) == nil, "who knows, while the ledger isn't read")
        #expect(check(exclude: ["br0"]).problem(with: devices("br0"))?.contains("devices.exclude") == true)
        let longest = check(accounts: [.device(DeviceName("abcdefghijklmno"))])
        #expect(longest.problem(with: devices("abcdefghijklmno")) == nil)
        #expect(longest.problem(with: devices("abcdefghijklmnop")) != nil, "no device has such a long name")
    }

    @Test func aLogOfADeviceThatNeverWasIsNotWritten() {
        #expect(check().problem(withCSVDevice: "uplink") == nil && check().problem(withCSVDevice: "eth0") == nil)
        #expect(check().problem(withCSVDevice: "veth*") == nil)
        #expect(check().problem(withCSVDevice: "eth9") != nil)
    }

    @Test func stackedDevicesOfEveryKindCountTwice() {
        #expect(doubles(devices("eth0", "eth0.7")) == 1, "a VLAN")
        #expect(doubles(devices("eth0", "mac0")) == 1, "a macvlan")
        #expect(doubles(devices("br0", "port0")) == 1, "a bridge and its port")
        #expect(doubles(devices("eth0", "mac1")) == 1, "on a VLAN that isn't counted itself")
        #expect(doubles(devices("eth0", "wg0")) == 1, "a tunnel and the uplink")
        #expect(doubles(devices("br0", "wg0")) == 0)
        #expect(doubles(devices("*")) == 5)
        #expect(doubles(devices("br0", "eth0*")) == 1, "a name and a pattern")
        #expect(doubles(devices("eth0.7", "mac0", "br0")) == 0)
        #expect(doubles(.uplink) == 0)
    }
}
