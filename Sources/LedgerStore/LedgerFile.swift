import Accounting
import CLinux
import CivilTime
import Glibc
import Machine
import SQLite

/// The ledger on disk. Used by one thread at a time; every call blocks for as long as the disk takes.
package final class LedgerFile {
    package let path: String
    private let vfs: String?
    // Closed before the lock is released, because closing may write.
    private var openConnection: Connection?
    /// `nil` when the file is only read.
    private let lock: LedgerLock?
    package let identity: Int64
    /// Whether the file has a commit.
    package var isInUse: Bool
    /// The histories that the last commit found. A retry of that commit returns them again.
    var lastAdoption: (sequence: Int64, histories: [AdoptedHistory])?
    private let inode: FileIdentity
    /// The log is copied into the file after so many commits, about twice an hour at a commit a minute.
    var commitsPerLog = 30
    /// The log's size after 30 commits of six pages, <https://sqlite.org/fileformat2.html#wal_file_format>.
    static let usualLogBytes = 32 + 30 * 6 * (24 + 1024)
    private var commitsInLog = Int.max

    /// Opens the ledger at `path`, or creates one. Updates the schema of an older one.
    ///
    /// - Throws: `StoreError`. `.locked`, `.newer` and `.foreign` leave the file as it is. After `.damaged`,
    ///   ``moveAside(path:at:)`` makes room for a new ledger. `.full` and `.unavailable` may be temporary.
    package init(path: String, vfs: String? = nil) throws(StoreError) {
        try Self.createDirectory(of: path)
        let path = LedgerPlace.resolved(path)
        self.path = path
        self.vfs = vfs
        if Self.isDirectory(path) { throw StoreError(.foreign, path: path, "it is a directory, not a ledger") }
        // Create nothing beside a file that isn't ours, not even a lock.
        try Self.checkHeader(path: path, wasUsedBefore: access(path + ".lock", F_OK) == 0)
        var lock = try LedgerLock(forLedgerAt: path)
        do {
            try Self.checkHeader(path: path, wasUsedBefore: lock.wasUsedBefore)
            try lock.lockLedger(at: path)
            try Self.checkName(path: path, wasUsedBefore: lock.wasUsedBefore)
            try LedgerPlace.adoptLog(ofLedger: path)
            let (connection, stored) = try Self.connect(path: path, vfs: vfs)
            openConnection = connection
            isInUse = stored != nil
            identity = stored ?? Int64.random(in: 1 ... .max)
        } catch {
            if [.foreign, .newer, .locked].contains(error.code) { lock.removeIfNew() }
            throw error
        }
        guard let inode = FileIdentity(path: path) else {
            throw StoreError(.unavailable, path: path, "the file vanished while it was opened")
        }
        self.inode = inode
        self.lock = consume lock
    }

    /// Reads the ledger at `path` with its last commit, even while another process writes it. Updates the schema of an
    /// older one in memory.
    ///
    /// Nothing is written, locked or left behind: see ``DatabaseImage``.
    ///
    /// - Throws: `StoreError`.
    package init(reading path: String) throws(StoreError) {
        let path = LedgerPlace.resolved(path)
        self.path = path
        vfs = nil
        lock = nil
        guard let inode = FileIdentity(path: path) else {
            throw StoreError(.unavailable, path: path, "there is no ledger yet")
        }
        self.inode = inode
        try Self.checkHeader(path: path, wasUsedBefore: false)
        try Self.checkName(path: path, wasUsedBefore: access(path + ".lock", F_OK) == 0)
        let (connection, stored) = try Self.connect(reading: path)
        openConnection = connection
        isInUse = stored != nil
        identity = stored ?? 0
    }

    /// The state after the last commit; `nil` before the first.
    ///
    /// - Throws: `StoreError`.
    package func header() throws(StoreError) -> LedgerHeader? { try translatingErrors { try loadHeader() } }

    /// Closes the database until it is needed again, so that others can read it. It stays locked against writers.
    package func rest() {
        if lock == nil { return }
        openConnection = nil
    }

    /// Copies the log into the file, so that only one file is left.
    ///
    /// - Throws: `StoreError`. Then nothing is lost: the log stays.
    package func tidy() throws(StoreError) {
        try checkIsInPlace()
        try translatingErrors { try connection.copyLogOnClose() }
        rest()
    }

    /// The connection. It is opened again after ``rest()``.
    var connection: Connection {
        get throws {
            if let openConnection { return openConnection }
            try checkIsInPlace()
            let (connection, stored) = try Self.connect(path: path, vfs: vfs)
            switch stored {
            case identity: break
            case nil: if isInUse { throw damaged("it was emptied") }
            case _?: throw StoreError(.replaced, path: path, "another ledger was written over it")
            }
            openConnection = connection
            return connection
        }
    }

    /// Copies the log into the file if the log has become long. The next commit on this connection then starts the log
    /// again, in place. A reader that uses the log delays this.
    func copyLongLog() {
        if commitsInLog >= commitsPerLog {
            // A failure loses nothing: the log stays, and the next commit reports the cause.
            try? connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            extendLog()
            commitsInLog = 0
        }
        commitsInLog += 1
    }

    /// Makes the log as long as the commits of a few devices need. Growing a file costs more than its new bytes: a
    /// commit of 4 kB writes 20 kB, but only 8 kB in place (measured on ext4). Zeros at a log's end aren't part of it
    /// (<https://sqlite.org/fileformat2.html#wal_file_format>). Without room for them, the log just grows.
    private func extendLog() {
        let descriptor = open(path + "-wal", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW)
        if descriptor < 0 { return }
        defer { close(descriptor) }
        // Page by page: Linux keeps the bytes of one write in one piece, and later writes back the whole piece.
        let page = [UInt8](repeating: 0, count: 4096)
        var size = LedgerPlace.size(of: path + "-wal")
        while size < Self.usualLogBytes, write(descriptor, page, page.count) == page.count { size += page.count }
    }

    /// The size of the file with its write-ahead log, in bytes.
    package var sizeBytes: Int64 { Int64(LedgerPlace.size(of: path) + LedgerPlace.size(of: path + "-wal")) }

    /// - Throws: `StoreError` with `.replaced` when the file at the path isn't this one any more: writes would be lost.
    func checkIsInPlace() throws(StoreError) {
        // An image in memory doesn't change with the file.
        if lock == nil { return }
        if FileIdentity(path: path) != inode {
            throw StoreError(.replaced, path: path, "the ledger's file was deleted or replaced")
        }
    }

    var past: FilePast { FilePast(file: self) }

    /// Runs `body`, and turns SQLite's errors into errors for people.
    func translatingErrors<Value>(_ body: () throws -> Value) throws(StoreError) -> Value {
        try Self.translatingErrors(path: path) { opened in
            defer { opened = openConnection }
            return try body()
        }
    }

    /// Runs `body` in one transaction, unless the file isn't in its place any more.
    func inTransaction<Value>(_ body: () throws -> Value) throws(StoreError) -> Value {
        try checkIsInPlace()
        return try translatingErrors { try connection.transaction(body) }
    }

    func damaged(_ message: String) -> StoreError { StoreError(.damaged, path: path, message) }
}
