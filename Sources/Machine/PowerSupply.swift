/// Whether the machine runs on battery, from `/sys/class/power_supply` (Documentation/ABI/testing/sysfs-class-power).
package enum PowerSupply {
    /// True when a battery of the machine itself discharges and no other supply is online.
    ///
    /// - Parameter directory: The directory that lists the supplies.
    package static func isOnBattery(in directory: String = "/sys/class/power_supply") -> Bool {
        var isDischarging = false
        for name in directoryNames(directory).prefix(64) where !name.hasPrefix(".") {
            let supply = directory + "/" + name
            switch WholeFile.text(supply + "/type") {
            case "Mains", "USB", "Wireless":
                if WholeFile.text(supply + "/online") == "1" { return false }
            case "Battery":
                // A mouse or a headset has a battery too: its scope is "Device".
                if WholeFile.text(supply + "/scope") == "Device" { continue }
                if WholeFile.text(supply + "/status") == "Discharging" { isDischarging = true }
            default: break  // The state of a UPS doesn't show whether the machine's own battery is in use.
            }
        }
        return isDischarging
    }
}
