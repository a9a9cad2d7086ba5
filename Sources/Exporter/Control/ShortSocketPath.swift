import Glibc

/// A socket's path that is short enough for the kernel, whatever the directory's name: through a descriptor of it.
struct ShortSocketPath: ~Copyable {
    let text: String
    private let directory: CInt

    /// `nil` when there is no such directory, or when the name alone is too long; see `errno`.
    init?(_ path: String) {
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let opened = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        let short = "/proc/self/fd/\(opened)/" + (slash.map { String(path[path.index(after: $0)...]) } ?? path)
        guard opened >= 0, short.utf8.count <= Self.maximumBytes else {
            if opened >= 0 { close(opened) }
            errno = opened < 0 ? errno : ENAMETOOLONG
            return nil
        }
        (text, directory) = (short, opened)
    }

    /// As NIO takes them; `sun_path` of unix(7) has 108 bytes.
    private static let maximumBytes = 103

    func withAddress<Value>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Value) -> Value {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: text.utf8) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    deinit {
        close(directory)
    }
}
