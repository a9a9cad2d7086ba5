import CLinux
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
        let (descriptor, isNew) = try LedgerPlace.open(lockPath, besideLedger: path)
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
        wasUsedBefore = !isNew
        self.path = lockPath
        self.descriptor = descriptor
    }

    /// Whether another process holds the lock, as far as this one can tell.
    static func isHeld(forLedgerAt path: String) -> Bool {
        let descriptor = open(path + ".lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
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

/// Holds the file itself, for one that has two names: hard links, or a directory that is mounted twice.
struct LedgerInodeLock: ~Copyable {
    private let descriptor: CInt
    /// Far behind all that SQLite locks (<https://sqlite.org/lockingv3.html>) and writes.
    private static let lockedByte: Int64 = 1 << 62

    /// Makes the file if it isn't there.
    ///
    /// - Throws: `StoreError` with `.locked` when another process holds it, `.foreign` when it isn't a plain file,
    ///   `.unavailable` when it can't be opened.
    init(ofLedgerAt path: String) throws(StoreError) {
        let descriptor = try LedgerPlace.open(path, besideLedger: path).descriptor
        // Of the open file, not of the process: SQLite opens and closes the same file.
        if netusage_lock_byte(descriptor, Self.lockedByte) != 0, errno == EAGAIN || errno == EACCES {
            close(descriptor)
            throw StoreError(.locked, path: path, "another netusage writes this ledger by another name")
        }
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }
}
