import Glibc

/// A socket's path that is short enough for the kernel, whatever the directory's name: through a descriptor of it.
struct ShortSocketPath: ~Copyable {
    let text: String
    private let directory: CInt

    /// `nil` when there is no such directory.
    init?(_ path: String) {
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory < 0 { return nil }
        text = "/proc/self/fd/\(directory)/" + (slash.map { String(path[path.index(after: $0)...]) } ?? path)
    }

    deinit {
        close(directory)
    }
}
