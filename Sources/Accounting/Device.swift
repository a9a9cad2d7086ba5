/// What distinguishes one device of the kernel from another.
package struct Device: Hashable, Sendable {
    package var index: DeviceIndex
    package var name: DeviceName
    /// What the link can carry in one direction, in bytes per second, if the kernel knows.
    package var linkBytesPerSecond: UInt64?
    /// Its hardware address; empty if it has none. Most keep it in other namespaces.
    package var hardwareAddress: [UInt8]

    package init(
        index: DeviceIndex, name: DeviceName, linkBytesPerSecond: UInt64? = nil, hardwareAddress: [UInt8] = []
    ) {
        self.index = index
        self.name = name
        self.linkBytesPerSecond = linkBytesPerSecond
        self.hardwareAddress = Self.known(hardwareAddress)
    }

    /// Empty for an address of zeros, which devices have that need none.
    static func known(_ hardwareAddress: [UInt8]) -> [UInt8] {
        hardwareAddress.allSatisfy { $0 == 0 } ? [] : hardwareAddress
    }
}

/// One device's counters at one moment.
package struct Reading: Hashable, Sendable {
    package var device: DeviceIndex
    package var counters: Counters

    package init(device: DeviceIndex, counters: Counters) {
        self.device = device
        self.counters = counters
    }
}

/// A device that is booked now.
struct MeteredDevice {
    enum Phase: Equatable {
        /// Readings are booked.
        case counting
        /// The next reading is the baseline; nothing of it is booked.
        case awaitingBaseline
        /// The device may be one that left with these counters. If the next reading continues them, it is a baseline;
        /// otherwise the device is new, and all of it is booked.
        ///
        /// `isSame`: its index or its hardware address says that it is the same device, so each direction is judged by
        /// itself. The entry of the device that left, at its index then, stays until this is clear.
        case perhapsReturned(with: Counters, from: DeviceIndex, isSame: Bool)
    }

    var name: DeviceName
    /// The account's place in the ledger's list.
    var account: Int
    var last: Counters
    var linkBytesPerSecond: UInt64?
    var hardwareAddress: [UInt8] = []
    var phase = Phase.counting
    /// Whether it came while the program runs and has carried nothing yet. Devices get their names soon after they
    /// come, so the past of the first name isn't theirs.
    var isNewcomer = false

    /// Whether it has carried nothing since it was read last.
    func shows(_ counters: Counters) -> Bool { last == counters && phase == .counting }

    /// The bytes of `delta` in directions that carried more than is possible.
    ///
    /// An unknown speed counts as 1 Tbit/s, above every link there is (IEEE 802.3df ends at 800 Gbit/s). Two more
    /// seconds are allowed for, because some drivers refresh their counters that rarely.
    func suspectBytes(in delta: Delta, within elapsed: Span) -> UInt64 {
        let limit = Double(linkBytesPerSecond ?? 125_000_000_000) * (elapsed.seconds + 2)
        let received = Double(delta.received) > limit ? delta.received : 0
        let transmitted = Double(delta.transmitted) > limit ? delta.transmitted : 0
        return saturatingSum(received, transmitted)
    }
}

/// Devices that aren't metered, with their last metered counters: those that left, so that they are known when they
/// come back, and those that are there but excluded.
struct AwayDevices {
    /// How many devices that left are remembered: a host that gives a device to each container would fill the memory.
    static let maximumCount = 256

    struct Entry: Equatable {
        var name: DeviceName
        var counters: Counters
        var hardwareAddress: [UInt8] = []
        /// Whether it left unseen and may have been deleted. Then only its index identifies it, as the kernel gives
        /// that to no new device. It isn't remembered beyond this run.
        var isMissing = false
        /// Whether it is there, but excluded. The kernel's devices limit the number of these.
        var isHere = false

        /// Whether `device` is this one, by the hardware address of both.
        func isSame(as device: Device) -> Bool {
            !hardwareAddress.isEmpty && hardwareAddress == device.hardwareAddress
        }

        /// Whether `device` is another one with the same index. A name or an address alone may change elsewhere.
        func isReplaced(by device: Device) -> Bool { isOther(than: device) && name != device.name }

        /// Whether `device` is another one: both have hardware addresses, and they differ.
        func isOther(than device: Device) -> Bool {
            !hardwareAddress.isEmpty && !device.hardwareAddress.isEmpty && hardwareAddress != device.hardwareAddress
        }
    }

    private(set) var entries: [DeviceIndex: Entry] = [:]
    /// Devices that left, in the order in which they left.
    private var order: [DeviceIndex] = []

    mutating func insert(_ entry: Entry, at index: DeviceIndex) {
        remove(at: index)
        entries[index] = entry
        if entry.isHere { return }
        order.append(index)
        if order.count > Self.maximumCount { entries[order.removeFirst()] = nil }
    }

    mutating func remove(at index: DeviceIndex) {
        guard let entry = entries.removeValue(forKey: index) else { return }
        if !entry.isHere { order.removeAll { $0 == index } }
    }

    /// The device that may be back as `device`: it had the same index, hardware address or name.
    ///
    /// - Parameters:
    ///   - isAddressShared: Whether another device has the address, as a VLAN has its parent's. Then it proves nothing.
    ///   - isNameKnown: Whether its name has a past. Then a new device of that name is more likely than a return.
    /// - Returns: Its index then, and whether it is certainly the same device, not just one with the same name.
    func candidate(
        for device: Device, isAddressShared: Bool, isNameKnown: Bool
    ) -> (index: DeviceIndex, isSame: Bool)? {
        if let entry = entries[device.index], !entry.isReplaced(by: device) { return (device.index, true) }
        let left = order.filter { index in
            entries[index].map { $0.counters != .zero && !$0.isMissing } ?? false
        }
        let ofAddress = left.filter { entries[$0]?.isSame(as: device) == true }
        if !isAddressShared, ofAddress.count == 1, let index = ofAddress.first,
            !isNameKnown || entries[index]?.name == device.name
        {
            return (index, true)
        }
        return left.last { entries[$0].map { $0.name == device.name && !$0.isOther(than: device) } ?? false }
            .map { ($0, false) }
    }
}
