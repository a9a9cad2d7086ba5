import Accounting
import CBPF
import Glibc
import Machine

/// Counts all that passes the uplinks, by scope, with the programs that are made for devices (tcx, Linux 6.6 or later).
/// Used by one thread at a time.
package final class UplinkLanes {  // A class: its buffers are used again for each reading.
    /// Why a device's packets aren't counted.
    package enum Failure: Error {
        /// The kernel's lock of the network configuration is held. What was asked for may be done later.
        case busy
        /// The kernel refused it.
        ///
        /// - Parameter isForGood: Whether it will do so again.
        case refused(description: String, isForGood: Bool)
    }

    private let programs: KernelPrograms
    /// Attaches the programs. `nil` until they are wanted.
    private var worker: PatientWorker<LaneLinks>?
    /// The devices that they are attached to; `nil` while the worker may still change that.
    private var followed: Set<UInt32>? = []
    /// Devices of lanes that were read since the device was left.
    private var left: Set<UInt32> = []
    private let processorCount: Int
    private var keys = [netusage_lane_key](repeating: netusage_lane_key(), count: UplinkLanes.maximumEntries)
    private var values: [netusage_lane]

    /// As many as the map has.
    private static let maximumEntries = 256
    /// How long a reading waits. Attaching and detaching take some hundredths of a second.
    private static let patienceMilliseconds = 100

    init(_ programs: KernelPrograms, processorCount: Int) {
        self.programs = programs
        self.processorCount = processorCount
        values = [netusage_lane](repeating: netusage_lane(), count: Self.maximumEntries * max(0, processorCount))
    }

    /// Has the programs attached to these devices, and to no others.
    ///
    /// - Throws: `Failure` if a device doesn't have them.
    package func follow(_ uplinks: Set<UInt32>) throws(Failure) {
        if followed == uplinks { return }
        followed = nil
        let answer: (result: Result<Void, Failure>, devices: Set<UInt32>)
        do throws(PatientWorkerFailure) {
            if worker == nil { worker = try PatientWorker(LaneLinks(programs)) }
            guard let worker else { return }
            answer = try worker.ask(within: Self.patienceMilliseconds) { links in
                (Result { () throws(Failure) in try links.follow(uplinks) }, links.devices)
            }
        } catch {
            switch error {
            case .busy: throw .busy
            case .noThread(let code): throw .refused(description: errorText(code), isForGood: false)
            }
        }
        followed = answer.devices
        // Devices come and go, and the map has room for few.
        for device in left where !uplinks.contains(device) { removeLanes(of: device) }
        left = []
        try answer.result.get()
    }

    private func removeLanes(of device: UInt32) {
        for scope in NETUSAGE_INTERNET.rawValue...NETUSAGE_NOT_IP.rawValue {
            for transmitted: UInt8 in 0...1 {
                var key = netusage_lane_key()
                (key.device, key.transmitted, key.scope) = (device, transmitted, UInt8(scope))
                bpf_map_delete_elem(programs[.lanes], &key)
            }
        }
    }

    /// What has passed each device.
    ///
    /// - Throws: `KernelCounts.Failure`.
    package func read() throws(KernelCounts.Failure) -> [LaneKey: PacketCounter] {
        if processorCount <= 0 { return [:] }
        var count = UInt32(Self.maximumEntries)
        var next: UInt32 = 0
        let code = bpf_map_lookup_batch(programs[.lanes], nil, &next, &keys, &values, &count, nil)
        guard code == 0 || code == -ENOENT else {
            throw KernelCounts.Failure(description: "the counts of the uplink can't be read: \(errorText(-code))")
        }
        var lanes: [LaneKey: PacketCounter] = [:]
        for index in 0..<Int(count) {
            var counter = PacketCounter()
            for value in values[(index * processorCount)..<((index + 1) * processorCount)] {
                let saved = value.wire - min(value.merged, value.wire)
                counter.add(
                    keys[index].transmitted == 0
                        ? PacketCounter(
                            wire: Counters(received: value.wire, transmitted: 0),
                            saved: Counters(received: saved, transmitted: 0))
                        : PacketCounter(
                            wire: Counters(received: 0, transmitted: value.wire),
                            saved: Counters(received: 0, transmitted: saved)))
            }
            lanes[LaneKey(keys[index]), default: PacketCounter()].add(counter)
        }
        left = Set(keys[..<Int(count)].lazy.map(\.device)).subtracting(followed ?? [])
        return lanes
    }
}

/// The links that keep the programs attached to devices. One thread uses it.
private final class LaneLinks {  // A class: it closes the links at its end.
    private let programs: KernelPrograms
    private var links: [UInt32: [CInt]] = [:]

    init(_ programs: KernelPrograms) { self.programs = programs }

    deinit {
        for link in links.values.joined() { close(link) }
    }

    var devices: Set<UInt32> { Set(links.keys) }

    /// - Throws: `UplinkLanes.Failure` if a device can't have the programs.
    func follow(_ uplinks: Set<UInt32>) throws(UplinkLanes.Failure) {
        for (device, descriptors) in links where !uplinks.contains(device) {
            for descriptor in descriptors { close(descriptor) }
            links[device] = nil
        }
        for device in uplinks where links[device] == nil {
            var made: [CInt] = []
            for (part, type) in [(KernelPart.arrive, netusage_tcx_ingress), (.leave, netusage_tcx_egress)] {
                let link = netusage_attach(programs[part], CInt(bitPattern: device), CInt(type))
                if link < 0 {
                    let code = errno
                    for descriptor in made { close(descriptor) }
                    throw .refused(description: errorText(code), isForGood: Self.lasting.contains(code))
                }
                made.append(link)
            }
            links[device] = made
        }
    }

    /// What a kernel without tcx answers, or one that doesn't allow it. 524 is its `ENOTSUPP`, which the C library doesn't have.
    private static let lasting: Set<CInt> = [EINVAL, EOPNOTSUPP, EPERM, EACCES, 524]
}

extension LaneKey {
    fileprivate init(_ key: netusage_lane_key) {
        let scope: UplinkScope =
            switch netusage_scope(UInt32(key.scope)) {
            case NETUSAGE_LAN: .lan
            case NETUSAGE_NOT_IP: .other
            default: .internet
            }
        self.init(device: DeviceIndex(rawValue: key.device), scope: scope)
    }
}
