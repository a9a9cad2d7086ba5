import CBPF
import CLinux
import Glibc
import Machine

/// Passes the attached programs from the process that attached them to the one that reads them.
package enum Handover {
    /// Why there are no programs.
    package struct Failure: Error, CustomStringConvertible, Sendable {
        package let description: String

        package init(_ description: String) { self.description = description }
    }

    /// What the names of all descriptors in a service manager's store begin with.
    package static let storedPrefix = "applications-"

    /// What comes before the number of the attachment: another layout of the maps has another number.
    private static let prefix = "\(storedPrefix)\(NETUSAGE_LAYOUT)-"

    // MARK: - Over a socket

    /// Sends the programs, or why there are none, as one message of a `SOCK_SEQPACKET` socket.
    ///
    /// - Throws: `Failure` when the socket doesn't take it.
    package static func send(_ result: Result<KernelPrograms, AttachmentError>, over socket: CInt) throws(Failure) {
        let text: String
        var descriptors: [CInt] = []
        switch result {
        case .success(let programs):
            text = "\(prefix)\(String(programs.attachment, radix: 16))"
            descriptors = KernelPart.allCases.map { programs[$0] }
        case .failure(let error): text = "error \(error.message)"
        }
        let bytes = Array(text.utf8)
        let code = netusage_send_descriptors(socket, bytes, bytes.count, descriptors, CInt(descriptors.count))
        if code != 0 { throw Failure("the programs can't be handed over: \(errorText(code))") }
    }

    /// Receives what ``send(_:over:)`` sent. Waits for it.
    ///
    /// - Throws: `Failure` with the reason why there are no programs.
    package static func receive(from socket: CInt) throws(Failure) -> KernelPrograms {
        var bytes = [UInt8](repeating: 0, count: 4096)
        var descriptors = [CInt](repeating: -1, count: 32)
        var count: CInt = 0
        let length = netusage_receive_descriptors(socket, &bytes, bytes.count, &descriptors, &count)
        let received = Array(descriptors[..<Int(count)])
        do throws(Failure) {
            if length < 0 { throw Failure("the programs can't be received: \(errorText(CInt(-length)))") }
            if length == 0 { throw Failure("netusage applications attach ended without a word") }
            let text = String(decoding: bytes[..<length], as: UTF8.self)
            if text.hasPrefix("error ") { throw Failure(String(text.dropFirst("error ".count))) }
            guard text.hasPrefix(prefix), let attachment = UInt64(text.dropFirst(prefix.count), radix: 16),
                received.count == KernelPart.allCases.count
            else { throw Failure("another version of netusage attached the programs") }
            let parts = Dictionary(uniqueKeysWithValues: zip(KernelPart.allCases, received))
            return try programs(parts, attachment)
        } catch {
            for descriptor in received { close(descriptor) }
            throw error
        }
    }

    /// The programs, if their maps are what this program reads.
    private static func programs(
        _ parts: [KernelPart: CInt], _ attachment: UInt64
    ) throws(Failure) -> KernelPrograms {
        let wanted: [(part: KernelPart, keyBytes: Int, valueBytes: Int)] = [
            (.counts, MemoryLayout<netusage_count_key>.size, MemoryLayout<netusage_count>.size),
            (.places, MemoryLayout<UInt64>.size, MemoryLayout<netusage_place>.size),
            (.devices, MemoryLayout<UInt32>.size, MemoryLayout<netusage_device>.size),
            (.prefixes, MemoryLayout<netusage_prefix>.size, MemoryLayout<UInt8>.size),
            (.lanes, MemoryLayout<netusage_lane_key>.size, MemoryLayout<netusage_lane>.size),
            (.state, MemoryLayout<UInt32>.size, MemoryLayout<netusage_state>.size),
            (.version, MemoryLayout<UInt32>.size, MemoryLayout<UInt64>.size),
        ]
        for (part, keyBytes, valueBytes) in wanted {
            var shape = netusage_map_shape()
            guard let map = parts[part], netusage_map_shape(map, &shape) == 0, Int(shape.key_bytes) == keyBytes,
                Int(shape.value_bytes) == valueBytes
            else { throw Failure("the map \(part.rawValue) of the programs isn't what this version reads") }
        }
        var zero: UInt32 = 0
        var state = netusage_state()
        guard let map = parts[.state], bpf_map_lookup_elem(map, &zero, &state) == 0, state.attachment == attachment
        else {
            throw Failure(
                "the programs' maps can't be read: a process without privilege needs Linux 5.19 or later for that")
        }
        return KernelPrograms(
            attachment: attachment, attachedAt: state.attached_at, object: state.object, parts)
    }

    /// Attaches the programs, and sends them. Keeps only the privilege that this needs.
    ///
    /// - Throws: `Failure` when the socket doesn't take them. The receiver gets any other reason.
    package static func attach(for socket: CInt) throws(Failure) {
        let code = netusage_keep_capabilities(0, 0, Capability.bits)
        if code != 0 { throw Failure("privileges can't be dropped: \(errorText(code))") }
        try send(Result { () throws(AttachmentError) in try Attaching.attach() }, over: socket)
    }

    // MARK: - Over a service manager

    /// Attaches the programs, and gives them to the service manager, which keeps them while the daemon restarts. As root it
    /// becomes the user of the service first. Keeps only the privilege that this needs.
    ///
    /// - Throws: `AttachmentError`, `Failure`.
    package static func attach(for manager: SystemdNotifier) throws {
        let user = geteuid() == 0 ? getpwnam("netusage") : nil
        let code = netusage_keep_capabilities(user?.pointee.pw_uid ?? 0, user?.pointee.pw_gid ?? 0, Capability.bits)
        if code != 0 { throw Failure("privileges can't be dropped: \(errorText(code))") }
        let programs = try Attaching.attach()
        for part in KernelPart.allCases where !manager.store(programs[part], as: name(of: part, programs.attachment)) {
            throw Failure(
                "the service manager doesn't take the programs: set FileDescriptorStoreMax=32 and NotifyAccess=exec")
        }
        // The programs would be gone with this process, if the manager hadn't got them by then.
        if !manager.waitForManager() { throw Failure("the service manager doesn't answer") }
    }

    private static func name(of part: KernelPart, _ attachment: UInt64) -> String {
        "\(prefix)\(String(attachment, radix: 16))-\(part.rawValue)"
    }

    /// The programs that the manager has kept, by the time at which they were attached: those that were there before, and
    /// those of this start.
    ///
    /// Incomplete sets, and those of other layouts, are left out and forgotten.
    ///
    /// - Returns: Also why a set can't be used.
    package static func kept(by manager: SystemdNotifier) -> (sets: [KernelPrograms], problem: Failure?) {
        var sets: [UInt64: [KernelPart: CInt]] = [:]
        for stored in manager.stored {
            let words = stored.name.dropFirst(prefix.count).split(separator: "-")
            guard stored.name.hasPrefix(prefix), words.count == 2, let attachment = UInt64(words[0], radix: 16),
                let part = KernelPart(rawValue: String(words[1])), sets[attachment]?[part] == nil
            else {
                close(stored.descriptor)
                manager.forget(stored.name)
                continue
            }
            sets[attachment, default: [:]][part] = stored.descriptor
        }
        var usable: [KernelPrograms] = []
        var problem: Failure?
        for (attachment, parts) in sets {
            do throws(Failure) {
                if parts.count < KernelPart.allCases.count {
                    throw Failure("the service manager kept only some of them")
                }
                usable.append(try programs(parts, attachment))
            } catch {
                problem = error
                for (part, descriptor) in parts {
                    close(descriptor)
                    manager.forget(name(of: part, attachment))
                }
            }
        }
        return (usable.sorted { $0.attachedAt < $1.attachedAt }, problem)
    }

    /// Has the manager drop programs.
    package static func forget(_ attachment: UInt64, keptBy manager: SystemdNotifier) {
        for part in KernelPart.allCases { manager.forget(name(of: part, attachment)) }
    }

    // MARK: - From a child

    /// Has a process of its own attach the programs: loading them takes some megabytes for a moment. Waits for it.
    ///
    /// - Parameter arguments: `applications attach` and its flag, for this program's own file.
    /// - Throws: `Failure` with the reason why there are no programs.
    package static func attachInChild(_ arguments: [String]) throws(Failure) -> KernelPrograms {
        var ends: [CInt] = [-1, -1]
        let kind = CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        if socketpair(AF_UNIX, kind, 0, &ends) != 0 {
            throw Failure("there are no sockets left: \(errorText())")
        }
        defer { close(ends[0]) }
        // The file that runs, even if another has taken its place.
        var arguments = (["/proc/self/exe"] + arguments).map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        let child = netusage_spawn_with(&arguments, environ, ends[1])
        close(ends[1])
        if child < 0 { throw Failure("a child process can't be started: \(errorText(-child))") }
        defer {
            var status: CInt = 0
            while waitpid(child, &status, 0) < 0, errno == EINTR {}
        }
        return try receive(from: ends[0])
    }

    /// The descriptor at which a child finds the socket of ``attachInChild(_:)``.
    package static let childSocket: CInt = 3
}
