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

    /// The paths of all cgroups by their numbers, which are those of their directories (`cgroup_id` of linux/cgroup.h).
    ///
    /// - Returns: Also whether these are all: they may be unreadable, or too many.
    static func paths() -> (paths: [UInt64: String], isWhole: Bool) {
        guard let (root, descriptor) = opened() else { return ([:], false) }
        close(descriptor)
        var paths: [UInt64: String] = [:]
        var waiting = [""]
        while let path = waiting.popLast() {
            if paths.count == searchLimit { return (paths, false) }
            var status = stat()
            guard lstat(root + path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { continue }
            paths[UInt64(status.st_ino)] = path
            for name in directoryNames(root + path, isOfDirectories: true) where name != "." && name != ".." {
                waiting.append(path + "/" + name)
            }
        }
        return (paths, true)
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
