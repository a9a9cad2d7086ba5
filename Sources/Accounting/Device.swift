/// What tells one device of the kernel from another.
package struct Device: Hashable, Sendable {
    package var index: DeviceIndex
    package var name: DeviceName
    /// What the link can carry in one direction, in bytes per second, where the kernel knows.
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

    /// Nothing for an address of zeros, as devices have that need none.
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
        /// The device may be one that went away with these counters: if the next reading goes on from them it is a
        /// baseline, otherwise the device is new and all of it is booked.
        ///
        /// Each direction is judged by itself where its number or its hardware address says that it is the same device. The
        /// entry of the one that left, with its number then, stays until that is clear.
        case perhapsReturned(with: Counters, from: DeviceIndex, isSame: Bool)
    }

    var name: DeviceName
    /// The account's place in the ledger's list.
    var account: Int
    var last: Counters
    var linkBytesPerSecond: UInt64?
    var hardwareAddress: [UInt8] = []
    var phase = Phase.counting
    /// Whether it came while the program runs and has carried nothing yet. Devices get their names soon after they come: the
    /// past of the first name isn't theirs.
    var isNewcomer = false

    /// Whether it has carried nothing since it was read last.
    func shows(_ counters: Counters) -> Bool { last == counters && phase == .counting }

    /// More than this in one direction within `elapsed` is impossible.
    ///
    /// Where the speed isn't known it is 1 Tbit/s, above every link there is (IEEE 802.3df ends at 800 Gbit/s). Two
    /// seconds are allowed for, as drivers refresh their counters that seldom.
    func plausibleBytes(within elapsed: Span) -> Double {
        Double(linkBytesPerSecond ?? 125_000_000_000) * (elapsed.seconds + 2)
    }

    /// The bytes of `delta` in the directions that carried more than is possible.
    func suspectBytes(in delta: Delta, within elapsed: Span) -> UInt64 {
        let limit = plausibleBytes(within: elapsed)
        let received = Double(delta.received) > limit ? delta.received : 0
        let transmitted = Double(delta.transmitted) > limit ? delta.transmitted : 0
        return saturatingSum(received, transmitted)
    }
}

/// Devices that aren't metered, with what they had carried when they were last: those that left, so that they are known
/// when they come back, and those that are there but excluded.
struct AwayDevices {
    /// A host that hands a device to every container would fill the memory: the oldest of those that left are forgotten.
    static let maximumCount = 256

    struct Entry: Equatable {
        var name: DeviceName
        var counters: Counters
        var hardwareAddress: [UInt8] = []
        /// Whether it may as well have been deleted: it went while nobody looked. Then its number must come back, which
        /// the kernel gives to no new device; and it isn't remembered for longer than this run.
        var isMissing = false
        /// Whether it is there, but excluded. There are no more of these than the kernel has devices.
        var isHere = false

        /// Whether `device` is this one, by the hardware address of both.
        func isSame(as device: Device) -> Bool {
            !hardwareAddress.isEmpty && hardwareAddress == device.hardwareAddress
        }

        /// Whether `device`, which has the same number, is another one nevertheless. A name or an address alone may change
        /// elsewhere.
        func isReplaced(by device: Device) -> Bool { isOther(than: device) && name != device.name }

        /// Whether `device` is another one: both have a hardware address, and not the same.
        func isOther(than device: Device) -> Bool {
            !hardwareAddress.isEmpty && !device.hardwareAddress.isEmpty && hardwareAddress != device.hardwareAddress
        }
    }

    private(set) var entries: [DeviceIndex: Entry] = [:]
    /// Those that left, the one that left first at the beginning.
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

    /// The device that may be back as `device`: it has the number that it left with, its hardware address, or its name.
    ///
    /// - Parameters:
    ///   - isAddressShared: Whether another device has the address, as VLANs have that of what they are on: then it says
    ///     nothing.
    ///   - isNameKnown: Whether its name has a past: then it is rather the next device of that name than another one that
    ///     came back under it.
    /// - Returns: Its number then; and whether it is surely the same device, if it isn't just another of that name.
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
