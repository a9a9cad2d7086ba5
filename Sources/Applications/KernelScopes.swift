import Accounting
import CBPF
import Glibc
import Machine

/// Keeps the kernel programs' maps of devices and prefixes up to date. Used by one thread at a time.
package struct KernelScopes {
    private let programs: KernelPrograms
    private var written = ScopeTable()
    private var isWritten = false

    package init(_ programs: KernelPrograms) {
        self.programs = programs
    }

    /// Writes what has changed. Sockets look their scope up again after it.
    ///
    /// What has no room is left out, and is written when there is room: until then the device counts as an ordinary one, and
    /// the prefix as what is around it.
    ///
    /// - Throws: `KernelCounts.Failure`; call it again then.
    package mutating func update(to table: ScopeTable) throws(KernelCounts.Failure) {
        if isWritten, table == written { return }
        // An earlier daemon may have written what holds no more.
        if !isWritten { removeAll() }
        let previous = isWritten ? written : ScopeTable.nothing
        isWritten = false
        var rest = table
        // First make room.
        for index in previous.devices.keys where table.devices[index] == nil {
            var key = index
            bpf_map_delete_elem(programs[.devices], &key)
        }
        for prefix in previous.prefixes.keys where table.prefixes[prefix] == nil {
            var key = netusage_prefix(prefix)
            bpf_map_delete_elem(programs[.prefixes], &key)
        }
        for (index, device) in table.devices where previous.devices[index] != device {
            var key = index
            var value = netusage_device()
            value.kind = UInt8(
                (device.kind == .tunnel ? NETUSAGE_DEVICE_TUNNEL : NETUSAGE_DEVICE_NORMAL).rawValue)
            value.link_header = device.linkHeaderBytes
            value.uplink = device.isUplink ? 1 : 0
            if try !write(.devices, &key, &value) { rest.devices[index] = nil }
        }
        for (prefix, nearness) in table.prefixes where previous.prefixes[prefix] != nearness {
            var key = netusage_prefix(prefix)
            var value = nearness.kernelValue
            if try !write(.prefixes, &key, &value) { rest.prefixes[prefix] = nil }
        }
        try raiseVersion()
        (written, isWritten) = (rest, true)
    }

    /// Removes all but the prefixes of ``ScopeTable/init()``: without these, the LAN would be the internet for a moment.
    private func removeAll() {
        let kept = Set(ScopeTable().prefixes.keys.map { AddressPrefixKey(netusage_prefix($0)) })
        var device: UInt32 = 0
        while bpf_map_get_next_key(programs[.devices], nil, &device) == 0 {
            if bpf_map_delete_elem(programs[.devices], &device) != 0 { return }
        }
        var all: [netusage_prefix] = []
        var key = netusage_prefix()
        var next = netusage_prefix()
        var code = bpf_map_get_next_key(programs[.prefixes], nil, &next)
        while code == 0, all.count <= ScopeTable.maximumEntries {
            all.append(next)
            key = next
            code = bpf_map_get_next_key(programs[.prefixes], &key, &next)
        }
        for var prefix in all where !kept.contains(AddressPrefixKey(prefix)) {
            bpf_map_delete_elem(programs[.prefixes], &prefix)
        }
    }

    /// The bytes of a key of the map of prefixes.
    private struct AddressPrefixKey: Hashable {
        let bytes: [UInt8]

        init(_ prefix: netusage_prefix) { bytes = withUnsafeBytes(of: prefix) { Array($0) } }
    }

    private func raiseVersion() throws(KernelCounts.Failure) {
        var zero: UInt32 = 0
        var version: UInt64 = 0
        bpf_map_lookup_elem(programs[.version], &zero, &version)
        version &+= 1
        _ = try write(.version, &zero, &version)
    }

    /// - Returns: Whether there was room.
    private func write(
        _ part: KernelPart, _ key: UnsafeRawPointer, _ value: UnsafeRawPointer
    ) throws(KernelCounts.Failure) -> Bool {
        let code = bpf_map_update_elem(programs[part], key, value, UInt64(BPF_ANY))
        if code == -E2BIG || code == -ENOSPC { return false }
        if code != 0 {
            throw KernelCounts.Failure(
                description: "the kernel programs' map \(part.rawValue) can't be written: \(errorText(-code))")
        }
        return true
    }
}

extension ScopeTable.Nearness {
    /// As a value of the map of prefixes.
    var kernelValue: UInt8 { UInt8((self == .lan ? NETUSAGE_LAN : NETUSAGE_INSIDE).rawValue) }
}

extension netusage_prefix {
    init(_ prefix: AddressPrefix) {
        self.init()
        bits = UInt32(prefix.bits)
        withUnsafeMutableBytes(of: &address) { bytes in
            for place in 0..<16 {
                bytes[place] = UInt8(truncatingIfNeeded: prefix.address >> UInt128(8 * (15 - place)))
            }
        }
    }
}
