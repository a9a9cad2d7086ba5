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
    ///   - flags: More of open(2), such as `O_APPEND`.
    /// - Returns: The descriptor, and whether the file is new.
    /// - Throws: `Failure`.
    package static func open(_ path: String, beside neighbour: String, flags: CInt = 0) throws(Failure) -> (
        descriptor: CInt, isNew: Bool
    ) {
        let flags = flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        for _ in 0..<2 {
            let made = Glibc.open(path, flags | O_CREAT | O_EXCL, 0o640)
            if made >= 0 {
                giveToOwner(made, of: neighbour)
                return (made, true)
            }
            if errno != EEXIST { throw failure() }
            let found = Glibc.open(path, flags)
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

    /// Makes a directory unless something of that name is there; root's becomes that of the owner of the one above.
    package static func makeDirectory(_ path: String, mode: mode_t) {
        guard mkdir(path, mode) == 0, geteuid() == 0 else { return }
        let made = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if made < 0 { return }  // Whoever opens a file in it gets the error.
        defer { close(made) }
        var status = stat()
        if fstatat(made, "..", &status, 0) == 0 { _ = fchown(made, status.st_uid, status.st_gid) }
    }

    /// Root's file becomes that of the neighbour's owner or, where that isn't a plain file, its directory's.
    private static func giveToOwner(_ descriptor: CInt, of neighbour: String) {
        if geteuid() != 0 { return }
        var made = stat()
        var status = stat()
        guard fstat(descriptor, &made) == 0 else { return }
        // The new file may be its own neighbour: the first one in the directory.
        let isNeighbour =
            lstat(neighbour, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
            && status.st_ino != made.st_ino
        if !isNeighbour, stat(directory(of: neighbour), &status) != 0 { return }
        // Where it can't be given away, the owner is told by the error that it gets.
        _ = fchown(descriptor, status.st_uid, status.st_gid)
    }

    private static func directory(of path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[...$0]) } ?? "."
    }
}
