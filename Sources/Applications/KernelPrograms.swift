import Glibc

/// A part of the kernel programs that is handed over as a descriptor.
package enum KernelPart: String, CaseIterable, Sendable {
    // Maps.
    case counts, places, devices, prefixes, lanes, state
    /// The programs' own variable: the version of `devices` and `prefixes`.
    case version
    // Links, which keep the programs attached.
    case create, conn4, conn6, send, recv
    // Programs for uplinks.
    case leave, arrive
}

/// The kernel's programs that count by application, attached: they count as long as any process holds the links.
package final class KernelPrograms: Sendable {  // A class: the last one who drops it closes the descriptors.
    /// Which attachment this is: a random number. Its counts began at 0.
    package let attachment: UInt64
    /// When it was made, in nanoseconds since boot.
    package let attachedAt: UInt64
    /// Of which programs this is; ``Attaching/object`` are those of this version.
    let object: UInt64
    private let descriptors: [KernelPart: CInt]

    /// - Parameter descriptors: One for each part; they are closed with this.
    init(attachment: UInt64, attachedAt: UInt64, object: UInt64, _ descriptors: [KernelPart: CInt]) {
        precondition(descriptors.count == KernelPart.allCases.count, "each part has a descriptor")
        self.attachment = attachment
        self.attachedAt = attachedAt
        self.object = object
        self.descriptors = descriptors
    }

    deinit {
        for descriptor in descriptors.values { close(descriptor) }
    }

    /// Whether these are the programs of this version, not of one before.
    var isCurrent: Bool { object == Attaching.object }

    subscript(part: KernelPart) -> CInt {
        guard let descriptor = descriptors[part] else { preconditionFailure("each part has a descriptor") }
        return descriptor
    }
}
