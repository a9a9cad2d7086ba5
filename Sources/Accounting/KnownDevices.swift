/// The kernel's devices and what is booked of them.
struct KnownDevices {
    /// Devices that are booked now.
    var metered: [DeviceIndex: MeteredDevice] = [:]
    /// Devices that are there, but not ours.
    var excluded: [DeviceIndex: Device] = [:]
    var away = AwayDevices()
    /// The devices that carry the default route; several if it leads over several links.
    var uplink: Set<DeviceIndex> = []
    /// Counters that show less than before.
    var falls: [DeviceIndex: CounterFalls] = [:]

    subscript(index: DeviceIndex) -> MeteredDevice? {
        _read { yield metered[index] }
        _modify { yield &metered[index] }
    }
}
