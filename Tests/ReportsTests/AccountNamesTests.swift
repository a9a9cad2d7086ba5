import Testing

@testable import Accounting
@testable import Reports

@Suite("Names of accounts")
struct AccountNamesTests {
    /// Two accounts never have one name, whatever a device is called.
    @Test func namesOfAccountsAreDifferent() {
        let devices = ["uplink", "(other)", "veth*", "eth0", "raw:x"].map { AccountKey.device(DeviceName($0)) }
        let keys = devices + [.uplink, .collapsed("veth*"), .collapsed("eth0*")]
        let names = AccountNames(keys, collapse: [])
        #expect(Set(keys.map { names.name(of: $0) }).count == keys.count)
        let labels = devices.map { key in
            if case .device(let name) = key { names.label(of: name) } else { "" }
        }
        #expect(Set(labels + ["veth*", "eth0*", AccountNames.otherLabel]).count == devices.count + 3)
        #expect(names.name(of: .uplink) == "uplink" && names.name(of: .device(DeviceName("eth0"))) == "eth0")
    }
}
