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
    /// - Throws: `KernelCounts.Failure`; call it again then.
    package mutating func update(to table: ScopeTable) throws(KernelCounts.Failure) {
        if isWritten, table == written { return }
        let previous = isWritten ? written : nil
        isWritten = false
        // An earlier daemon may have written what holds no more.
        if previous == nil { removeAll() }
        for (index, device) in table.devices where previous?.devices[index] != device {
            var key = index
            var value = netusage_device()
            value.kind = UInt8(
                (device.kind == .tunnel ? NETUSAGE_DEVICE_TUNNEL : NETUSAGE_DEVICE_NORMAL).rawValue)
            value.link_header = device.linkHeaderBytes
            value.uplink = device.isUplink ? 1 : 0
            try write(.devices, &key, &value)
        }
        for index in previous?.devices.keys ?? [:].keys where table.devices[index] == nil {
            var key = index
            bpf_map_delete_elem(programs[.devices], &key)
        }
        for (prefix, nearness) in table.prefixes where previous?.prefixes[prefix] != nearness {
            var key = netusage_prefix(prefix)
            var value = nearness.kernelValue
            try write(.prefixes, &key, &value)
        }
        for prefix in previous?.prefixes.keys ?? [:].keys where table.prefixes[prefix] == nil {
            var key = netusage_prefix(prefix)
            bpf_map_delete_elem(programs[.prefixes], &key)
        }
        try raiseVersion()
        (written, isWritten) = (table, true)
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
        try write(.version, &zero, &version)
    }

    private func write(
        _ part: KernelPart, _ key: UnsafeRawPointer, _ value: UnsafeRawPointer
    ) throws(KernelCounts.Failure) {
        let code = bpf_map_update_elem(programs[part], key, value, UInt64(BPF_ANY))
        // A machine with more devices than there is room for: the rest counts as ordinary.
        if code == -E2BIG || code == -ENOSPC { return }
        if code != 0 {
            throw KernelCounts.Failure(
                description: "the kernel programs' map \(part.rawValue) can't be written: \(errorText(-code))")
        }
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
