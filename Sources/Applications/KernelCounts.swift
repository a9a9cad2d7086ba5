import Accounting
import CBPF
import CLinux
import Glibc
import Machine

/// Reads what the kernel programs have counted. Used by one thread at a time.
package final class KernelCounts {  // A class: its buffers are used again for each reading.
    private let programs: KernelPrograms
    private var scopes: KernelScopes
    private let processorCount: Int
    /// What passes the uplinks.
    package let lanes: UplinkLanes
    private var keys: [netusage_count_key]
    private var values: [netusage_count]
    /// The paths of cgroups, for those that the kernel's programs have no place of, and when they were read.
    private var tree: (whole: CgroupRoot.Tree, at: UInt64)?
    /// Cgroups that weren't in it, and those that weren't in the one before.
    private var missing: Set<UInt64> = []
    private var sought: Set<UInt64> = []
    /// Where the root of the cgroups is mounted.
    private let root = CgroupRoot.path
    /// Reading the tree takes some milliseconds.
    private static let treeNanoseconds: UInt64 = 60_000_000_000
    /// How many keys the last reading found.
    package private(set) var keyCount = 0

    /// Why the maps can't be read.
    package struct Failure: Error, CustomStringConvertible, Sendable {
        package let description: String
    }

    package init(_ programs: KernelPrograms) {
        self.programs = programs
        scopes = KernelScopes(programs)
        processorCount = Int(libbpf_num_possible_cpus())
        lanes = UplinkLanes(programs, processorCount: processorCount)
        keys = []
        values = []
        resize(to: 512)
    }

    package func update(_ table: ScopeTable) throws(Failure) { try scopes.update(to: table) }

    package var attachment: UInt64 { programs.attachment }

    /// Whether the programs are those of this version.
    package var isCurrent: Bool { programs.isCurrent }

    package var attachedAt: BootTime { BootTime(nanoseconds: Int64(clamping: programs.attachedAt)) }

    /// As in the programs' source.
    package static let maximumKeys = 16_384

    private func resize(to count: Int) {
        keys = [netusage_count_key](repeating: netusage_count_key(), count: count)
        values = [netusage_count](repeating: netusage_count(), count: count * max(0, processorCount))
    }

    /// All counters with bytes, by key.
    ///
    /// - Throws: `Failure`.
    package func read(into counters: inout [ApplicationCounterKey: PacketCounter]) throws(Failure) {
        // The kernel writes a value for each processor that there may be.
        if processorCount <= 0 { throw Failure(description: "the number of processors can't be read from /sys") }
        counters.removeAll(keepingCapacity: true)
        forgetTree()
        var found = 0
        var place: UInt32 = 0
        var isFirst = true
        while true {
            var count = UInt32(keys.count)
            var next: UInt32 = 0
            let code =
                isFirst
                ? bpf_map_lookup_batch(programs[.counts], nil, &next, &keys, &values, &count, nil)
                : bpf_map_lookup_batch(programs[.counts], &place, &next, &keys, &values, &count, nil)
            if code == -ENOSPC {
                // More keys fall together than there is room for.
                resize(to: keys.count * 2)
                continue
            }
            guard code == 0 || code == -ENOENT else {
                throw Failure(description: "the counts of applications can't be read: \(errorText(-code))")
            }
            for index in 0..<Int(count) { add(at: index, to: &counters) }
            found += Int(count)
            if code == -ENOENT {
                keyCount = found
                return
            }
            (place, isFirst) = (next, false)
        }
    }

    private func add(at index: Int, to counters: inout [ApplicationCounterKey: PacketCounter]) {
        let counter = sum(at: index, transmitted: keys[index].transmitted)
        if counter == PacketCounter() { return }
        counters[ApplicationCounterKey(keys[index]), default: PacketCounter()].add(counter)
    }

    /// The values of all processors together.
    private func sum(at index: Int, transmitted: UInt8) -> PacketCounter {
        var (bytes, saved): (UInt64, UInt64) = (0, 0)
        for value in values[(index * processorCount)..<((index + 1) * processorCount)] {
            bytes &+= value.bytes
            saved &+= value.saved
        }
        return transmitted == 0
            ? PacketCounter(
                wire: Counters(received: bytes, transmitted: 0), saved: Counters(received: saved, transmitted: 0))
            : PacketCounter(
                wire: Counters(received: 0, transmitted: bytes), saved: Counters(received: 0, transmitted: saved))
    }

    /// Removes a counter.
    ///
    /// - Returns: What it showed last, in both directions.
    /// - Throws: `Failure`.
    package func remove(_ key: ApplicationCounterKey) throws(Failure) -> PacketCounter {
        var counter = PacketCounter()
        for transmitted in [0, 1] as [UInt8] {
            var kernelKey = netusage_count_key(key, transmitted: transmitted)
            let code = bpf_map_lookup_and_delete_elem(programs[.counts], &kernelKey, &values)
            if code == -ENOENT { continue }
            if code != 0 { throw Failure(description: "a counter can't be removed: \(errorText(-code))") }
            counter.add(sum(at: 0, transmitted: transmitted))
        }
        return counter
    }

    package func forgetPlace(ofCgroup cgroup: UInt64) {
        var key = cgroup
        bpf_map_delete_elem(programs[.places], &key)
    }

    /// Whether a cgroup certainly isn't there any more: its place is known, and there is none, or another one.
    package func isGone(_ cgroup: UInt64) -> Bool {
        guard let root, case .found(let place)? = keptPlace(ofCgroup: cgroup) else { return false }
        if let path = place.path { return CgroupRoot.number(ofDirectory: root + path).map { $0 != cgroup } ?? false }
        let tree = readTree()
        return tree.isWhole && tree.paths[cgroup] == nil
    }

    /// The cgroups whose places the programs have kept.
    package func placedCgroups() -> Set<UInt64> {
        var cgroups: Set<UInt64> = []
        var cgroup: UInt64 = 0
        var code = bpf_map_get_next_key(programs[.places], nil, &cgroup)
        while code == 0, cgroups.count < Self.maximumPlaces {
            cgroups.insert(cgroup)
            var previous = cgroup
            code = bpf_map_get_next_key(programs[.places], &previous, &cgroup)
        }
        return cgroups
    }

    /// As in the programs' source.
    private static let maximumPlaces = 4096

    /// How many packets had no room for a counter of their own.
    package var overflows: UInt64 {
        var zero: UInt32 = 0
        var state = netusage_state()
        return bpf_map_lookup_elem(programs[.state], &zero, &state) == 0 ? state.overflowed : 0
    }

    /// Where a cgroup lies. If the programs had no room for it, the answer may take a minute.
    package func place(ofCgroup cgroup: UInt64) -> Place.Answer {
        if let kept = keptPlace(ofCgroup: cgroup) { return kept }
        // A socket of the kernel's own, or there was no room.
        let isNew = tree == nil
        if let path = readTree().paths[cgroup] { return .found(Place(host: "", path: path)) }
        if isNew || sought.contains(cgroup) { return .unknown }
        // It may be newer than the tree.
        missing.insert(cgroup)
        return .beingWritten
    }

    private func readTree() -> CgroupRoot.Tree {
        if let tree { return tree.whole }
        let read = CgroupRoot.tree(at: root)
        tree = (read, UInt64(netusage_boot_nanoseconds()))
        return read
    }

    /// Forgets the tree after a while.
    private func forgetTree() {
        guard let tree, UInt64(netusage_boot_nanoseconds()) - tree.at >= Self.treeNanoseconds else { return }
        (self.tree, sought, missing) = (nil, missing, [])
    }

    private func keptPlace(ofCgroup cgroup: UInt64) -> Place.Answer? {
        var key = cgroup
        var place = netusage_place()
        if bpf_map_lookup_elem(programs[.places], &key, &place) != 0 { return nil }
        return place.complete == 0 ? .beingWritten : .found(Place(place))
    }
}

extension ApplicationCounterKey {
    init(_ key: netusage_count_key) {
        let scope: TrafficScope =
            switch netusage_scope(UInt32(key.scope)) {
            case NETUSAGE_LAN: .lan
            case NETUSAGE_TUNNEL: .tunnel
            default: .internet
            }
        self.init(
            cgroup: key.cgroup, process: withUnsafeBytes(of: key.comm) { ProcessName(padded: $0) }, scope: scope,
            passage: key.foreign != 0 ? .otherNamespace : key.uplink != 0 ? .uplink : .otherDevice)
    }
}

extension netusage_count_key {
    fileprivate init(_ key: ApplicationCounterKey, transmitted: UInt8) {
        self.init()
        cgroup = key.cgroup
        withUnsafeMutableBytes(of: &comm) { $0.copyBytes(from: key.process.bytes) }
        self.transmitted = transmitted
        let scope: netusage_scope =
            switch key.scope {
            case .internet: NETUSAGE_INTERNET
            case .lan: NETUSAGE_LAN
            case .tunnel: NETUSAGE_TUNNEL
            }
        self.scope = UInt8(scope.rawValue)
        foreign = key.passage == .otherNamespace ? 1 : 0
        uplink = key.passage == .uplink ? 1 : 0
    }
}

extension Place {
    init(_ place: netusage_place) {
        func text(_ bytes: UnsafeRawBufferPointer) -> [UInt8] { Array(bytes.prefix { $0 != 0 }) }
        let length = MemoryLayout.size(ofValue: place.names.0)
        self.init(
            host: withUnsafeBytes(of: place.host, text),
            levels: withUnsafeBytes(of: place.names) { names in
                (0..<Int(place.levels)).map { level in
                    text(UnsafeRawBufferPointer(rebasing: names[(level * length)..<((level + 1) * length)]))
                }
            })
    }
}
