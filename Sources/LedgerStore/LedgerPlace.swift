import Glibc
import Machine

/// The path of a ledger, and the files that are created beside it.
///
/// The directory may belong to another user; see `PlainFile`.
package enum LedgerPlace {
    /// The same path for a ledger whatever links lead to it, so that all users of the ledger share its lock and socket.
    ///
    /// If the ledger itself is a link that must not be followed, the path keeps it, and opening the ledger refuses it.
    package static func resolved(_ path: String) -> String {
        let path = PlainFile.target(of: path) ?? path
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else {
            return real(".").map { $0 + "/" + path } ?? path
        }
        let parent = String(path[..<slash])
        // The directory may not exist yet, nor the one above it.
        let directory = slash == path.startIndex ? "/" : real(parent) ?? resolved(parent)
        return (directory == "/" ? "" : directory) + "/" + path[path.index(after: slash)...]
    }

    /// `nil` also for a path that isn't UTF-8: as a `String` it would name another file.
    private static func real(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(validatingCString: resolved)
    }

    /// A file's size in bytes; 0 if there is none.
    static func size(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    /// Opens a plain file for writing, or creates it: only its owner and group have access.
    ///
    /// - Returns: The descriptor, and whether the file is new.
    /// - Throws: `StoreError` when it can't be opened, is a link, or isn't a plain file.
    static func open(_ path: String, besideLedger ledger: String) throws(StoreError) -> (descriptor: CInt, isNew: Bool)
    {
        do throws(PlainFile.Failure) {
            return try PlainFile.open(path, beside: ledger)
        } catch {
            if case .system = error { throw StoreError(.unavailable, path: path, "\(error)") }
            throw StoreError(.foreign, path: path, "\(error)")
        }
    }

    private static func failure(_ path: String) -> StoreError {
        if errno == ELOOP { return StoreError(.foreign, path: path, "\(PlainFile.Failure.link)") }
        if errno == ENXIO { return StoreError(.foreign, path: path, "\(PlainFile.Failure.notPlain)") }
        return StoreError(.unavailable, path: path, "\(PlainFile.Failure.system(errno))")
    }

    /// Replaces files beside the ledger that another user's reader left and this user may not write. The log's index is
    /// removed, because SQLite makes it again. The log is replaced by a copy. The lock must be held.
    static func adoptLog(ofLedger path: String) throws(StoreError) {
        if access(path + "-shm", F_OK) == 0, access(path + "-shm", R_OK | W_OK) != 0, errno == EACCES {
            unlink(path + "-shm")
        }
        let log = path + "-wal"
        guard access(log, F_OK) == 0, access(log, R_OK | W_OK) != 0, errno == EACCES else { return }
        var status = stat()
        if lstat(log, &status) == 0, status.st_size == 0 {
            unlink(log)
            return
        }
        let from = Glibc.open(log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        if from < 0 { throw failure(log) }
        defer { close(from) }
        let copy = log + ".copy"
        unlink(copy)
        let to = try open(copy, besideLedger: path).descriptor
        defer { close(to) }
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(from, &chunk, chunk.count)
            if count == 0 { break }
            let written = count > 0 ? write(to, chunk, count) : -1
            guard written == count else {
                // A disk that takes a part of it is full (write(2)).
                if written >= 0 { errno = ENOSPC }
                let error = failure(count < 0 ? log : copy)
                unlink(copy)
                throw error
            }
        }
        if fsync(to) != 0 || rename(copy, log) != 0 { throw failure(copy) }
    }
}
