import Glibc

/// Holds the ledger for this process: at most one writes it.
///
/// SQLite before 3.51.3 can corrupt a write-ahead log when two processes write and checkpoint
/// (<https://sqlite.org/wal.html#walresetbug>), so being the only writer isn't left to SQLite's own locks.
struct LedgerLock: ~Copyable {
    /// Whether the lock's file was there before: then the path has been a ledger's for some time.
    let wasUsedBefore: Bool
    private let path: String
    private let descriptor: CInt

    /// How often the lock is tried, for half a second in all.
    private static let attempts = 10

    /// - Throws: `StoreError` with `.locked` when another process holds it, `.unavailable` when it can't be made.
    init(forLedgerAt path: String) throws(StoreError) {
        let lockPath = path + ".lock"
        wasUsedBefore = access(lockPath, F_OK) == 0
        let descriptor = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        if descriptor < 0 {
            throw StoreError(.unavailable, path: lockPath, "can't be opened: \(String(cString: strerror(errno)))")
        }
        var code = flock(descriptor, LOCK_EX | LOCK_NB)
        // A command that looks at the ledger has it for some milliseconds.
        for _ in 0..<Self.attempts where code != 0 && errno == EWOULDBLOCK {
            usleep(50_000)
            code = flock(descriptor, LOCK_EX | LOCK_NB)
        }
        if code != 0 {
            let reason = errno
            close(descriptor)
            if reason == EWOULDBLOCK { throw StoreError(.locked, path: path, "another netusage writes this ledger") }
            throw StoreError(.unavailable, path: lockPath, "can't be locked: \(String(cString: strerror(reason)))")
        }
        self.path = lockPath
        self.descriptor = descriptor
    }

    /// Whether another process holds the lock, as far as this one can tell.
    static func isHeld(forLedgerAt path: String) -> Bool {
        let descriptor = open(path + ".lock", O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }

    /// Takes the lock's file away if it wasn't there before: the file beside it isn't ours, and must not pass for a
    /// damaged ledger when it is tried again.
    func removeIfNew() {
        if !wasUsedBefore { unlink(path) }
    }

    deinit {
        close(descriptor)
    }
}
