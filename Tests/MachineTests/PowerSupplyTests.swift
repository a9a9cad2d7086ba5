import Foundation
import Machine
import Testing

@Suite("Battery")
struct PowerSupplyTests {
    /// A directory like /sys/class/power_supply, with these files for each supply.
    private func isOnBattery(_ supplies: [String: [String: String]]) throws -> Bool {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: directory) }
        for (name, files) in supplies {
            let supply = directory.appendingPathComponent(name)
            try FileManager.default.createDirectory(at: supply, withIntermediateDirectories: true)
            for (file, text) in files {
                try (text + "\n").write(to: supply.appendingPathComponent(file), atomically: true, encoding: .utf8)
            }
        }
        return PowerSupply.isOnBattery(in: directory.path)
    }

    @Test func aMachineWithoutSuppliesIsNotOnBattery() throws {
        #expect(try !isOnBattery([:]))
    }

    @Test func aDischargingBatteryWithoutMainsIsBattery() throws {
        let battery = ["type": "Battery", "status": "Discharging"]
        #expect(try isOnBattery(["BAT0": battery]))
        #expect(try isOnBattery(["BAT0": battery, "AC": ["type": "Mains", "online": "0"]]))
        #expect(try !isOnBattery(["BAT0": battery, "AC": ["type": "Mains", "online": "1"]]))
        #expect(try !isOnBattery(["BAT0": ["type": "Battery", "status": "Charging"]]))
    }

    @Test func aMouseOnBatteryIsNoMachineOnBattery() throws {
        #expect(try !isOnBattery(["hid": ["type": "Battery", "scope": "Device", "status": "Discharging"]]))
    }
}
