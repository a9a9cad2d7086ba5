/// What the uplinks' byte counters make of merged packets, as far as it is learnt.
struct UplinkBasis {
    /// By what the counters of each uplink go whose lanes are counted.
    private var learners: [DeviceIndex: BasisLearner] = [:]
    /// By what those of the uplink as a whole go. It is learnt from the applications, if there are no lanes.
    private var ofUplink = BasisLearner(nil)
    /// The last one that there was.
    private var uplink: Set<DeviceIndex> = []
    /// What is known of each uplink, and of the uplink as a whole under ``wholeUplink``.
    private(set) var learnt: [DeviceIndex: LinkBasis]
    /// Whether the store lacks some of it.
    var hasNews = false
    private static let wholeUplink = DeviceIndex(rawValue: 0)

    /// Whether the basis certainly holds for each byte of applications: it is learnt of all uplinks, and the same.
    private(set) var isCertain = false
    /// The basis of the uplink's counters, as far as it is learnt.
    private(set) var basis = LinkBasis()

    /// - Parameter learnt: What is known from before.
    init(_ learnt: [DeviceIndex: LinkBasis] = [:]) { self.learnt = learnt }

    /// Other programs count from 0, so nothing of what was measured with those before can be compared any more.
    mutating func restart() { (learners, ofUplink, uplink) = ([:], BasisLearner(learnt[Self.wholeUplink]), []) }

    /// - Parameter uplink: What the counters of its devices show.
    mutating func learn(_ reading: ApplicationReading, _ uplink: [DeviceIndex: Counters]) {
        // A window with a time that lanes don't have would teach the wrong thing.
        if !reading.countsLanes { learners = [:] }
        let devices = Set(uplink.keys)
        if !reading.countsLanes || devices != self.uplink { isCertain = false }
        if basis == LinkBasis() { basis = known(of: devices) }
        if !reading.isWithDevices { return }
        if devices != self.uplink, !devices.isEmpty {
            ofUplink = BasisLearner(self.uplink.isEmpty ? learnt[Self.wholeUplink] : nil)
            self.uplink = devices
        }
        var lanes: [DeviceIndex: PacketCounter] = [:]
        for (key, counter) in reading.lanes ?? [:] { lanes[key.device, default: PacketCounter()].add(counter) }
        learners = learners.filter { devices.contains($0.key) }
        for (device, counters) in uplink where reading.countsLanes {
            // What hasn't carried anything has no lane yet.
            learners[device, default: BasisLearner(learnt[device])].take(
                counters, lanes[device] ?? PacketCounter(), isComplete: true)
        }
        if learners.isEmpty, !uplink.isEmpty {
            var (device, packets) = (Counters.zero, PacketCounter())
            for counters in uplink.values { device.add(counters) }
            for (key, counter) in reading.counters where key.passage == .uplink { packets.add(counter) }
            ofUplink.take(device, packets, isComplete: false)
            basis = ofUplink.basis
            note(basis, of: Self.wholeUplink)
        } else {
            // Of several uplinks those of which something is known speak for all.
            basis = LinkBasis()
            for (device, learner) in learners.sorted(by: { $0.key < $1.key }) {
                basis.received = basis.received ?? learner.basis.received
                basis.transmitted = basis.transmitted ?? learner.basis.transmitted
                note(learner.basis, of: device)
            }
            isCertain =
                basis.received != nil && basis.transmitted != nil && !learners.isEmpty
                && learners.values.allSatisfy { $0.basis == basis }
        }
    }

    /// What was learnt earlier.
    private func known(of devices: Set<DeviceIndex>) -> LinkBasis {
        var basis = LinkBasis()
        for one in devices.sorted().map({ learnt[$0] }) + [learnt[Self.wholeUplink]] {
            basis.received = basis.received ?? one?.received
            basis.transmitted = basis.transmitted ?? one?.transmitted
        }
        return basis
    }

    private mutating func note(_ basis: LinkBasis, of device: DeviceIndex) {
        if learnt[device] == basis || basis == LinkBasis() { return }
        learnt[device] = basis
        hasNews = true
    }

    /// By what a counter of applications is booked: as the uplink counts or, of what doesn't pass it, every header. Nothing
    /// waits of what may not pass it: perhaps nobody will ever learn more.
    func basis(for key: ApplicationCounterKey) -> LinkBasis {
        if key.scope == .tunnel || key.passage == .otherDevice { return LinkBasis().orWire }
        return key.passage == .uplink
            ? basis : LinkBasis(received: basis.received ?? .merged, transmitted: basis.transmitted ?? .merged)
    }

    /// The basis of one uplink's counters, as far as it is learnt.
    func basis(of device: DeviceIndex) -> LinkBasis { learners[device]?.basis ?? basis }
}
