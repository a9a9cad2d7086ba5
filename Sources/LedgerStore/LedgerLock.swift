import CLinux
import Glibc
import Machine

/// Locks the ledger for this process, so that at most one process writes it: a file beside it, and the ledger itself.
///
/// SQLite before 3.51.3 can corrupt a write-ahead log when two processes write and checkpoint
/// (<https://sqlite.org/wal.html#walresetbug>), so being the only writer isn't left to SQLite's own locks.
struct LedgerLock: ~Copyable {
    /// Whether the lock's file existed before: then the path was a ledger's before.
    let wasUsedBefore: Bool
    private let path: String
    private let descriptor: CInt
    /// The ledger's own file; -1 before it is locked.
    private var ledger: CInt = -1
    /// Far beyond all bytes that SQLite locks (<https://sqlite.org/lockingv3.html>) or writes.
    private static let lockedByte: Int64 = 1 << 62

    /// How often the lock is tried, for half a second in all.
    private static let attempts = 10

    /// - Throws: `StoreError` with `.locked` when another process has the lock, `.unavailable` when locking fails.
    init(forLedgerAt path: String) throws(StoreError) {
        let lockPath = path + ".lock"
        let (descriptor, isNew) = try LedgerPlace.open(lockPath, besideLedger: path)
        var code = flock(descriptor, LOCK_EX | LOCK_NB)
        // A command that checks the lock holds it for some milliseconds.
        for _ in 0..<Self.attempts where code != 0 && errno == EWOULDBLOCK {
            usleep(50_000)
            code = flock(descriptor, LOCK_EX | LOCK_NB)
        }
        if code != 0 {
            let reason = errno
            close(descriptor)
            if reason == EWOULDBLOCK { throw StoreError(.locked, path: path, "another netusage writes this ledger") }
            throw StoreError(.unavailable, path: lockPath, "can't be locked: \(errorText(reason))")
        }
        wasUsedBefore = !isNew
        self.path = lockPath
        self.descriptor = descriptor
    }

    /// Removes the lock's file if it is new, when the file beside it isn't ours: with a lock beside it, that file would
    /// pass for a damaged ledger at the next try.
    func removeIfNew() {
        if !wasUsedBefore { unlink(path) }
    }

    /// Locks the ledger itself, because a file may have two names: hard links, or a directory that is mounted twice.
    /// Creates the file if it doesn't exist.
    ///
    /// - Throws: `StoreError` with `.locked` when another process locks it, `.foreign` when it isn't a plain file,
    ///   `.unavailable` when it can't be opened.
    mutating func lockLedger(at path: String) throws(StoreError) {
        ledger = try LedgerPlace.open(path, besideLedger: path).descriptor
        // This locks the open file, not the process's files: SQLite opens and closes the same file.
        if netusage_lock_byte(ledger, Self.lockedByte) != 0, errno == EAGAIN || errno == EACCES {
            throw StoreError(.locked, path: path, "another netusage writes this ledger by another name")
        }
    }

    deinit {
        close(descriptor)
        if ledger >= 0 { close(ledger) }
    }
}
