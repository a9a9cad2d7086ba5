/// What the kernel programs show at one moment.
package struct ApplicationReading: Sendable {
    /// Which attachment of the programs it is from.
    package var attachment: UInt64
    /// Since then the counters have counted.
    package var attachedAt = BootTime(nanoseconds: 0)
    /// All counters of applications.
    package var counters: [ApplicationCounterKey: PacketCounter] = [:]
    /// All that passed uplinks while the programs were attached to them; `nil` if that can't be read.
    package var lanes: [LaneKey: PacketCounter]? = [:]
    /// Whether the programs are attached to the uplink now; older kernels can't.
    package var countsLanes = false
    /// Whether the ledger has the devices' counters of the same moment.
    package var isWithDevices = true

    package init(attachment: UInt64) {
        self.attachment = attachment
    }
}

/// What passes an uplink, by where the other end is.
package enum UplinkScope: String, CaseIterable, Codable, Sendable, BitwiseCopyable {
    case internet
    case lan
    /// Frames that aren't IP, such as ARP.
    case other
}

/// What the kernel programs count the bytes of an uplink by.
package struct LaneKey: Hashable, Sendable {
    package var device: DeviceIndex
    package var scope: UplinkScope

    package init(device: DeviceIndex, scope: UplinkScope) {
        self.device = device
        self.scope = scope
    }
}
