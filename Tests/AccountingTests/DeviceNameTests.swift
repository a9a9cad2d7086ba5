import TestSupport
import Testing

@testable import Accounting

@Suite("Labels of devices")
struct DeviceNameTests {
    @Test func aLabelStandsForOneName() throws {
        var random = SeededGenerator(seed: 1)
        let bytes = Array("aé\\x(".utf8) + [0x7F, 0xFF, 0x21]
        for _ in 0..<2000 {
            let name = DeviceName(
                bytes: (0..<Int.random(in: 1...15, using: &random)).map { _ in bytes.randomElement(using: &random) ?? 0
                })
            for isReserved in [false, true] {
                #expect(DeviceName(label: name.label { _ in isReserved }) == name)
            }
        }
    }

    @Test(arguments: ["raw:\\", "raw:\\xg0", "raw:\\y", "a-name-of-sixteen", "raw:a-name-of-sixteen"])
    func whatNoDeviceGaveIsNoName(label: String) {
        #expect(DeviceName(label: label) == nil)
    }
}
