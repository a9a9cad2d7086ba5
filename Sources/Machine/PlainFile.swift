import CLinux
import Glibc

/// Files that are made beside others, in a directory that may belong to another user than the one who runs this: what root
/// makes there is that user's, and root follows no link that this user laid.
package enum PlainFile {
    /// Why a file can't be opened, as the end of a sentence.
    package enum Failure: Error, CustomStringConvertible {
        case link
        case notPlain
        /// An `errno`.
        case system(CInt)

        package var description: String {
            switch self {
            case .link: "it is a symbolic link, which isn't followed here"
            case .notPlain: "it isn't a plain file"
            case .system(let code): "can't be opened: \(String(cString: strerror(code)))"
            }
        }
    }

    /// Opens a plain file to write to, and makes it if it isn't there: for its owner and group alone, and as that of whom
    /// the place belongs to.
    ///
    /// - Parameters:
    ///   - neighbour: A file whose owner gets what root makes; where there is none, the owner of its directory does.
    ///   - directory: An open directory, where both paths begin unless they are whole.
    ///   - flags: More of open(2), such as `O_APPEND`.
    /// - Returns: The descriptor, and whether the file is new.
    /// - Throws: `Failure`.
    package static func open(
        _ path: String, beside neighbour: String, in directory: CInt = AT_FDCWD, flags: CInt = 0
    ) throws(Failure) -> (descriptor: CInt, isNew: Bool) {
        let flags = flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        for _ in 0..<2 {
            let made = openat(directory, path, flags | O_CREAT | O_EXCL, 0o640)
            if made >= 0 {
                giveToOwner(made, of: neighbour, in: directory)
                return (made, true)
            }
            if errno != EEXIST { throw failure() }
            let found = openat(directory, path, flags)
            if found < 0 {
                if errno == ENOENT { continue }  // It went a moment ago.
                throw failure()
            }
            var status = stat()
            if fstat(found, &status) == 0, status.st_mode & S_IFMT == S_IFREG { return (found, false) }
            close(found)
            throw .notPlain
        }
        throw failure()
    }

    private static func failure() -> Failure {
        switch errno {
        case ELOOP: .link
        case ENXIO: .notPlain
        default: .system(errno)
        }
    }

    /// Where the links in a path's last place lead; the path itself where there is none. Links in directories above it
    /// aren't looked at.
    ///
    /// - Returns: `nil` for a link that leads nowhere or isn't UTF-8, and as root for another user's that leads to what
    ///   isn't that user's.
    package static func target(of path: String) -> String? {
        var path = path
        var owners: Set<uid_t> = []
        // The kernel follows as many, path_resolution(7).
        for _ in 0...40 {
            // Behind a slash the kernel would follow a link.
            while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
            let descriptor = netusage_open_entry(path)
            if descriptor < 0 { return owners.isEmpty ? path : nil }
            defer { close(descriptor) }
            var status = stat()
            if fstat(descriptor, &status) != 0 { return nil }
            guard status.st_mode & S_IFMT == S_IFLNK else {
                let isTrusted = geteuid() != 0 || owners.isSubset(of: [0, status.st_uid])
                return isTrusted ? path : nil
            }
            owners.insert(status.st_uid)
            // Of this very link, whatever takes its place meanwhile.
            var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlinkat(descriptor, "", &bytes, bytes.count)
            guard count > 0, let target = String(validating: bytes[..<count], as: UTF8.self) else { return nil }
            path = target.utf8.first == UInt8(ascii: "/") ? target : directory(of: path) + target
        }
        return nil
    }

    /// Makes a directory unless something of that name is there; root's becomes that of the owner of the one above.
    ///
    /// - Returns: 0, or why it can't be made (`errno`).
    package static func makeDirectory(_ path: String, mode: mode_t) -> CInt {
        if mkdir(path, mode) != 0 { return errno == EEXIST ? 0 : errno }
        if geteuid() != 0 { return 0 }
        let made = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if made < 0 { return errno }
        defer { close(made) }
        var status = stat()
        if fstatat(made, "..", &status, 0) == 0 { _ = fchown(made, status.st_uid, status.st_gid) }
        return 0
    }

    /// Opens a directory to make files in, and makes it if it isn't there.
    ///
    /// - Throws: `Failure`.
    package static func openDirectory(_ path: String, mode: mode_t) throws(Failure) -> CInt {
        guard let path = target(of: path) else { throw .link }
        let code = makeDirectory(path, mode: mode)
        if code != 0 { throw .system(code) }
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if descriptor < 0 { throw failure() }
        return descriptor
    }

    /// Root's file becomes that of the neighbour's owner or, where that isn't a plain file, its directory's.
    private static func giveToOwner(_ descriptor: CInt, of neighbour: String, in place: CInt) {
        if geteuid() != 0 { return }
        var made = stat()
        var status = stat()
        guard fstat(descriptor, &made) == 0 else { return }
        // The new file may be its own neighbour: the first one in the directory.
        let isNeighbour =
            fstatat(place, neighbour, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mode & S_IFMT == S_IFREG
            && status.st_ino != made.st_ino
        if !isNeighbour, fstatat(place, directory(of: neighbour), &status, 0) != 0 { return }
        // Where it can't be given away, the owner is told by the error that it gets.
        _ = fchown(descriptor, status.st_uid, status.st_gid)
    }

    /// With the slash behind it.
    private static func directory(of path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? "./"
    }
}
