import CBPF
import CLinux
import Glibc
import Machine

/// Loads the programs into the kernel and attaches them. It needs privilege and some megabytes for a moment, so a process
/// of its own does it: ``KernelPrograms`` is what it hands over.
package enum Attaching {
    /// Whether this process has the privilege; its children have it, too.
    package static var isAllowed: Bool { missingCapabilities.isEmpty }

    /// The names of the capabilities that this process would need, and hasn't.
    package static var missingCapabilities: [String] {
        Capability.allCases.filter { !$0.isInForce }.map(\.rawValue)
    }

    /// Why no process can attach the programs to this kernel; `nil` if nothing is known against it.
    package static var obstacle: AttachmentError? {
        do throws(AttachmentError) {
            try checkTypes()
            close(try CgroupRoot.open())
            return nil
        } catch {
            return error
        }
    }

    /// A number of this version's programs, from their bytes (FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>).
    static let object = KernelObject.bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
        ($0 ^ UInt64($1)) &* 0x100_0000_01B3
    }

    private static func checkTypes() throws(AttachmentError) {
        guard access("/sys/kernel/btf/vmlinux", R_OK) == 0 else {
            throw AttachmentError(
                .noTypes,
                "this kernel doesn't describe its types in /sys/kernel/btf/vmlinux: it needs Linux 5.15 or later, built with CONFIG_DEBUG_INFO_BTF"
            )
        }
    }

    /// Loads, attaches, and looks once for the owners of sockets that are there already.
    ///
    /// Programs and maps vanish when the last descriptor of the result is closed.
    ///
    /// - Throws: `AttachmentError`. Then nothing is left in the kernel.
    package static func attach() throws(AttachmentError) -> KernelPrograms {
        try checkTypes()
        let root = try CgroupRoot.open()
        defer { close(root) }
        netusage_keep_reports()
        let object = try load(underCgroup: root)
        defer { bpf_object__close(object) }
        var parts = Descriptors()
        for part in KernelPart.maps { parts.takeDuplicate(of: try map(part, of: object), as: part) }
        for part in KernelPart.uplinkPrograms {
            parts.takeDuplicate(of: try program(part.rawValue, of: object), as: part)
        }
        // What the links count needs the maps.
        let attachment = UInt64.random(in: 1...UInt64(Int64.max))
        let attachedAt = UInt64(netusage_boot_nanoseconds())
        try begin(attachment, at: attachedAt, parts)
        for (part, type) in KernelPart.links {
            let link = netusage_attach(try program(part.rawValue, of: object), root, CInt(type.rawValue))
            if link < 0 { throw refusal(of: "attaching to the root of the cgroups", errno) }
            parts.take(link, as: part)
        }
        try findOwners(try program("find", of: object))
        return KernelPrograms(
            attachment: attachment, attachedAt: attachedAt, object: Self.object, parts.release())
    }

    private static func load(underCgroup root: CInt) throws(AttachmentError) -> OpaquePointer {
        let opened = KernelObject.bytes.withUnsafeBytes { bpf_object__open_mem($0.baseAddress, $0.count, nil) }
        guard let object = opened else { throw refusal(of: "reading the kernel programs", errno) }
        var status = stat()
        fstat(root, &status)
        var host = netusage_host(network: hostNamespace(), cgroup: UInt64(status.st_ino))
        let map = bpf_object__find_map_by_name(object, ".rodata.host")
        var code = bpf_map__set_initial_value(map, &host, MemoryLayout.size(ofValue: host))
        if code == 0 { code = bpf_object__load(object) }
        if code == 0 { return object }
        bpf_object__close(object)
        throw refusal(of: "loading the kernel programs", -code)
    }

    /// The cookie of this thread's network namespace, whose devices are metered; see socket(7).
    private static func hostNamespace() -> UInt64 {
        let descriptor = socket(AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var cookie: UInt64 = 0
        var length = socklen_t(MemoryLayout<UInt64>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length)
        return cookie
    }

    private static func map(_ part: KernelPart, of object: OpaquePointer) throws(AttachmentError) -> CInt {
        let name = part == .version ? ".data" : "netusage_\(part.rawValue)"
        let descriptor = bpf_object__find_map_fd_by_name(object, name)
        if descriptor < 0 { throw refusal(of: "finding the map \(name)", -descriptor) }
        return descriptor
    }

    private static func program(_ name: String, of object: OpaquePointer) throws(AttachmentError) -> CInt {
        let descriptor = bpf_program__fd(bpf_object__find_program_by_name(object, "netusage_\(name)"))
        if descriptor < 0 { throw refusal(of: "finding the program netusage_\(name)", -descriptor) }
        return descriptor
    }

    /// Numbers the attachment, and makes the keys that count what has no room: they must be there before room is short.
    private static func begin(
        _ attachment: UInt64, at moment: UInt64, _ parts: borrowing Descriptors
    ) throws(AttachmentError) {
        var zero: UInt32 = 0
        var state = netusage_state()
        state.attachment = attachment
        state.layout = UInt64(NETUSAGE_LAYOUT)
        state.attached_at = moment
        state.object = object
        try update(parts[.state], &zero, &state)
        try writePrefixes(parts[.prefixes])
        // One value for each processor that there may be.
        let processorCount = libbpf_num_possible_cpus()
        if processorCount <= 0 { throw refusal(of: "counting the processors", -processorCount) }
        let none = [netusage_count](repeating: netusage_count(), count: Int(processorCount))
        for transmitted: UInt8 in 0...1 {
            for scope in [NETUSAGE_INTERNET, NETUSAGE_LAN, NETUSAGE_TUNNEL] {
                for (foreign, uplink) in [(0, 0), (0, 1), (1, 0)] as [(UInt8, UInt8)] {
                    var key = netusage_count_key()
                    key.transmitted = transmitted
                    key.scope = UInt8(scope.rawValue)
                    (key.foreign, key.uplink) = (foreign, uplink)
                    try update(parts[.counts], &key, none)
                }
            }
        }
    }

    /// Private addresses are known before the daemon says what else is near.
    private static func writePrefixes(_ map: CInt) throws(AttachmentError) {
        for (prefix, nearness) in ScopeTable().prefixes {
            var key = netusage_prefix(prefix)
            var value = nearness.kernelValue
            try update(map, &key, &value)
        }
    }

    private static func update(
        _ map: CInt, _ key: UnsafeRawPointer, _ value: UnsafeRawPointer
    ) throws(AttachmentError) {
        let code = bpf_map_update_elem(map, key, value, UInt64(BPF_ANY))
        if code != 0 { throw refusal(of: "preparing the maps", -code) }
    }

    /// Runs the iterator over all open files once.
    private static func findOwners(_ program: CInt) throws(AttachmentError) {
        let link = netusage_attach(program, 0, CInt(BPF_TRACE_ITER.rawValue))
        if link < 0 { throw refusal(of: "looking for open sockets", errno) }
        defer { close(link) }
        let iteration = bpf_iter_create(link)
        if iteration < 0 { throw refusal(of: "looking for open sockets", -iteration) }
        defer { close(iteration) }
        var buffer = [UInt8](repeating: 0, count: 64)
        while case let count = read(iteration, &buffer, buffer.count), count != 0 {
            if count < 0, errno != EINTR, errno != EAGAIN { throw refusal(of: "looking for open sockets", errno) }
        }
    }

    // MARK: - Errors

    private static func refusal(of step: String, _ code: CInt) -> AttachmentError {
        // The verifier refuses what a privilege would allow with any code.
        let missing = missingCapabilities.joined(separator: ", ")
        if !missing.isEmpty {
            return AttachmentError(
                .notAllowed, "\(step) needs \(missing): run it as root, or as a service with these capabilities")
        }
        if code == EPERM, step.hasPrefix("attaching") {
            return AttachmentError(
                .occupied,
                "another program at the root of the cgroups lets no other one in; bpftool cgroup tree shows which")
        }
        let reports = String(cString: netusage_kept_reports()).split(separator: "\n").suffix(3).joined(separator: "; ")
        return AttachmentError(
            .refused(code),
            "\(step) failed: \(errorText(code))" + (reports.isEmpty ? "" : " (\(reports))"))
    }
}

/// What the step needs, by capabilities(7).
enum Capability: String, CaseIterable {
    case networkAdministration = "CAP_NET_ADMIN"
    case performanceMonitoring = "CAP_PERFMON"
    case bpf = "CAP_BPF"

    /// linux/capability.h.
    private var number: UInt64 {
        switch self {
        case .networkAdministration: 12
        case .performanceMonitoring: 38
        case .bpf: 39
        }
    }

    static var bits: UInt64 { allCases.reduce(0) { $0 | 1 << $1.number } }

    var isInForce: Bool { netusage_effective_capabilities() & (1 << number) != 0 }
}

extension KernelPart {
    fileprivate static let maps: [KernelPart] = [.counts, .places, .devices, .prefixes, .lanes, .state, .version]
    fileprivate static let uplinkPrograms: [KernelPart] = [.leave, .arrive]
    /// In this order, so that a new socket has its owner before it carries anything.
    fileprivate static let links: [(part: KernelPart, type: bpf_attach_type)] = [
        (.create, BPF_CGROUP_INET_SOCK_CREATE), (.conn4, BPF_CGROUP_INET4_CONNECT), (.conn6, BPF_CGROUP_INET6_CONNECT),
        (.send, BPF_CGROUP_INET_EGRESS), (.recv, BPF_CGROUP_INET_INGRESS),
    ]
}

/// Descriptors by part, closed unless they are released.
private struct Descriptors: ~Copyable {
    private var all: [KernelPart: CInt] = [:]

    deinit {
        for descriptor in all.values { close(descriptor) }
    }

    subscript(part: KernelPart) -> CInt { all[part] ?? -1 }

    mutating func take(_ descriptor: CInt, as part: KernelPart) { all[part] = descriptor }

    mutating func takeDuplicate(of descriptor: CInt, as part: KernelPart) {
        all[part] = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
    }

    mutating func release() -> [KernelPart: CInt] {
        defer { all = [:] }
        return all
    }
}
