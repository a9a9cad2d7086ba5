/// Where the other end of a connection is.
package enum TrafficScope: String, CaseIterable, Codable, Sendable, BitwiseCopyable {
    /// Everything that isn't known to be elsewhere.
    case internet
    /// The local network.
    case lan
    /// Through a tunnel of this machine. The bytes of the tunnel itself are the internet's.
    case tunnel
}

/// The name of a process's main thread, `TASK_COMM_LEN` bytes at most (linux/sched.h). It needn't be valid UTF-8.
package struct ProcessName: Hashable, Sendable, BitwiseCopyable {
    private let words: (UInt64, UInt64)

    /// As the kernel's programs have it: `TASK_COMM_LEN` bytes, with zeros behind the name.
    package init(padded: UnsafeRawBufferPointer) {
        words = (
            UInt64(littleEndian: padded.loadUnaligned(as: UInt64.self)),
            UInt64(littleEndian: padded.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        )
    }

    /// Bytes from the first zero on don't count.
    package init(bytes: [UInt8]) {
        var words: (UInt64, UInt64) = (0, 0)
        for (place, byte) in bytes.prefix(while: { $0 != 0 }).prefix(15).enumerated() {
            let bits = UInt64(byte) << (8 * UInt64(place % 8))
            if place < 8 { words.0 |= bits } else { words.1 |= bits }
        }
        self.words = words
    }

    package var bytes: [UInt8] {
        (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? words.0 : words.1) >> (8 * UInt64($0 % 8))) }
            .prefix { $0 != 0 }.map { $0 }
    }

    package static func == (a: ProcessName, b: ProcessName) -> Bool { a.words == b.words }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
    }
}

/// What the kernel counts the bytes of applications by.
package struct ApplicationCounterKey: Hashable, Sendable, BitwiseCopyable {
    /// The cgroup's number; 0 for what has no counter of its own.
    package var cgroup: UInt64
    package var process: ProcessName
    package var scope: TrafficScope
    package var passage: Passage

    /// Where the bytes leave the machine.
    package enum Passage: String, Sendable, BitwiseCopyable {
        case uplink
        case otherDevice = "other_device"
        /// Nobody knows: the socket is in another network namespace, so the device that it sees is another one.
        case otherNamespace = "other_namespace"
    }

    package init(
        cgroup: UInt64, process: ProcessName, scope: TrafficScope, passage: Passage = .uplink
    ) {
        self.cgroup = cgroup
        self.process = process
        self.scope = scope
        self.passage = passage
    }
}
