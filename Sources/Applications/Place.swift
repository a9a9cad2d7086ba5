import Accounting

/// Where the socket of an application was made, as the kernel programs saw it.
package struct Place: Hashable, Sendable {
    /// The node name of the process's UTS namespace: a container's host name.
    package var host: [UInt8]
    /// The names of the cgroup and of those above it, the leaf first. The root's name is empty; it is the last one, unless
    /// there are more levels than are kept.
    package var levels: [[UInt8]]

    /// Where a cgroup lies, as far as it is known.
    package enum Answer: Sendable {
        case found(Place)
        /// The kernel programs are about to write it.
        case beingWritten
        case unknown
    }

    package init(host: [UInt8], levels: [[UInt8]]) {
        self.host = host
        self.levels = levels
    }

    package init(host: String, path: String) {
        self.init(
            host: Array(host.utf8),
            levels: path.split(separator: "/").reversed().map { Array($0.utf8) } + [[]])
    }

    /// The path below the root, as far as all its names are known whole.
    var path: String? {
        // The kernel programs cut longer names.
        guard levels.last?.isEmpty == true, levels.allSatisfy({ $0.count < Self.maximumNameBytes }) else { return nil }
        return String(
            validating: levels.dropLast().reversed().flatMap { [UInt8(ascii: "/")] + $0 }, as: UTF8.self)
    }

    /// As in the programs' source, without the zero behind it.
    private static let maximumNameBytes = 95
}
