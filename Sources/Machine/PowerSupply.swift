import Glibc

/// Whether the machine runs on battery, from `/sys/class/power_supply` (Documentation/ABI/testing/sysfs-class-power).
package enum PowerSupply {
    /// True when a battery of the machine itself discharges and no other supply is online.
    ///
    /// - Parameter directory: The directory that lists the supplies.
    package static func isOnBattery(in directory: String = "/sys/class/power_supply") -> Bool {
        var isDischarging = false
        for name in names(in: directory) {
            let supply = directory + "/" + name
            switch SmallFile.text(supply + "/type") {
            case "Mains", "USB", "Wireless":
                if SmallFile.text(supply + "/online") == "1" { return false }
            case "Battery":
                // A mouse or a headset has a battery too: its scope is "Device".
                if SmallFile.text(supply + "/scope") == "Device" { continue }
                if SmallFile.text(supply + "/status") == "Discharging" { isDischarging = true }
            default: break  // The state of a UPS doesn't show whether the machine's own battery is in use.
            }
        }
        return isDischarging
    }

    private static func names(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count < 64, let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }
}
