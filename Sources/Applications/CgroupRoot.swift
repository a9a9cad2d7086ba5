import CLinux
import Glibc
import Machine

/// Where the root of the cgroups of version 2 is mounted.
enum CgroupRoot {
    /// Opens it.
    ///
    /// - Throws: `AttachmentError`.
    static func open() throws(AttachmentError) -> CInt {
        guard let (_, descriptor) = opened() else {
            throw AttachmentError(
                .noCgroups, "there is no cgroup2 file system here: mount one (mount -t cgroup2 none /sys/fs/cgroup)")
        }
        return descriptor
    }

    private static func opened() -> (path: String, descriptor: CInt)? {
        let mounts = (try? WholeFile.read("/proc/self/mountinfo", limit: 4 << 20)) ?? []  // As if there were none.
        for path in mountPoints(inMountInfo: mounts) {
            let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            // Another file system may be mounted over it.
            if descriptor >= 0, isCgroup2(descriptor) { return (path, descriptor) }
            if descriptor >= 0 { close(descriptor) }
        }
        return nil
    }

    /// More cgroups than this aren't searched.
    private static let searchLimit = 4096

    /// Where it is mounted; `nil` if it isn't.
    static var path: String? {
        guard let (path, descriptor) = opened() else { return nil }
        close(descriptor)
        return path
    }

    struct Tree {
        /// The paths of cgroups by their numbers.
        var paths: [UInt64: String] = [:]
        /// Whether these are all.
        var isWhole = false
    }

    /// All cgroups. If there are too many, then at least those of the system's services.
    static func tree(at root: String?) -> Tree {
        guard let root else { return Tree() }
        var paths: [UInt64: String] = [:]
        var waiting = [""]
        while paths.count < searchLimit, let path = waiting.popLast() {
            guard let number = number(ofDirectory: root + path), number != 0 else { continue }
            paths[number] = path
            for name in directoryNames(root + path, isOfDirectories: true) where name != "." && name != ".." {
                waiting.append(path + "/" + name)
            }
            if path.isEmpty, let place = waiting.firstIndex(of: "/system.slice") {
                waiting.append(waiting.remove(at: place))
            }
        }
        return Tree(paths: paths, isWhole: waiting.isEmpty)
    }

    /// A cgroup's number is that of its directory (`cgroup_id` of linux/cgroup.h).
    ///
    /// - Returns: 0 if there is no such directory; `nil` if that can't be said.
    static func number(ofDirectory path: String) -> UInt64? {
        var status = stat()
        if lstat(path, &status) != 0 { return errno == ENOENT ? 0 : nil }
        return status.st_mode & S_IFMT == S_IFDIR ? UInt64(status.st_ino) : 0
    }

    /// The mount points of all cgroup2 file systems that show the root; see proc_pid_mountinfo(5).
    static func mountPoints(inMountInfo text: [UInt8]) -> [String] {
        text.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let fields = line.split(separator: UInt8(ascii: " "))
            guard let dash = fields.firstIndex(where: { $0.elementsEqual("-".utf8) }), dash + 1 < fields.count,
                fields.count > 5, fields[dash + 1].elementsEqual("cgroup2".utf8), fields[3].elementsEqual("/".utf8)
            else { return nil }
            return String(decoding: unescaped(fields[4]), as: UTF8.self)
        }
    }

    /// Spaces and the like stand as three octal digits after a backslash.
    private static func unescaped(_ field: ArraySlice<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = field
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }

    /// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
    private static func isCgroup2(_ descriptor: CInt) -> Bool {
        var status = statfs()
        return fstatfs(descriptor, &status) == 0 && status.f_type == 0x6367_7270
    }
}
