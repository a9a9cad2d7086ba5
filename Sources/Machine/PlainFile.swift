import CLinux
import Glibc

/// Creates files in a directory that may belong to another user. Root gives the new files to that user, and follows no
/// link of that user but one to a directory of the user's own.
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
            case .system(let code): "can't be opened: \(errorText(code))"
            }
        }
    }

    /// Opens a plain file to write to, or creates it: only its owner and group have access.
    ///
    /// - Parameters:
    ///   - neighbour: Its owner gets a file that root creates. Without a neighbour, the owner of its directory gets it.
    ///   - directory: An open directory: the start of relative paths.
    ///   - flags: More flags of open(2), such as `O_APPEND`.
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
                if errno == ENOENT { continue }  // It was removed a moment ago.
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

    /// The file that a path's last part links to; the path itself if it is no link. Links in the directories before it
    /// aren't checked.
    ///
    /// - Returns: `nil` for a link that leads nowhere or isn't UTF-8. As root, also for another user's link to a file
    ///   that isn't that user's.
    package static func target(of path: String) -> String? {
        var path = path
        var owners: Set<uid_t> = []
        // The kernel follows 40 links too, path_resolution(7).
        for _ in 0...40 {
            // With a slash at its end the kernel would follow a link.
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
            // Reads the link that is open, even if another file takes its place.
            var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlinkat(descriptor, "", &bytes, bytes.count)
            guard count > 0, let target = String(validating: bytes[..<count], as: UTF8.self) else { return nil }
            path = target.utf8.first == UInt8(ascii: "/") ? target : directory(of: path) + target
        }
        return nil
    }

    /// Creates a directory unless its name exists. If root runs this, the directory belongs to the owner of its parent.
    ///
    /// - Returns: 0, or why it can't be created (`errno`).
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

    /// Opens a directory to create files in. Creates the directory if it doesn't exist.
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

    /// Root gives its file to the neighbour's owner or, if that isn't a plain file, to the owner of its directory.
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
        // If this fails, the owner gets an error when it opens the file.
        _ = fchown(descriptor, status.st_uid, status.st_gid)
    }

    /// With the slash at its end.
    private static func directory(of path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? "./"
    }
}
