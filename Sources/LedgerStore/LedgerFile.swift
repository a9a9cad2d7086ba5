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
    // Closed before the locks are released, because closing may write.
    private var openConnection: Connection?
    /// Both are `nil` when the file is only read.
    private let lock: LedgerLock?
    private let inodeLock: LedgerInodeLock?
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
        let hasLock = access(path + ".lock", F_OK) == 0
        try Self.checkHeader(path: path, wasUsedBefore: hasLock)
        let lock = try LedgerLock(forLedgerAt: path)
        var inodeLock: LedgerInodeLock? = nil
        do {
            try Self.checkHeader(path: path, wasUsedBefore: lock.wasUsedBefore)
            inodeLock = try LedgerInodeLock(ofLedgerAt: path)
            try Self.checkName(path: path, wasUsedBefore: lock.wasUsedBefore)
            try LedgerPlace.adoptLog(ofLedger: path)
            let connection = try Self.connect(path: path, vfs: vfs)
            openConnection = connection
            let stored = try Self.storedIdentity(connection, path: path)
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
        self.inodeLock = consume inodeLock
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
        inodeLock = nil
        guard let inode = FileIdentity(path: path) else {
            throw StoreError(.unavailable, path: path, "there is no ledger yet")
        }
        self.inode = inode
        try Self.checkHeader(path: path, wasUsedBefore: false)
        try Self.checkName(path: path, wasUsedBefore: access(path + ".lock", F_OK) == 0)
        let connection = try Self.connect(reading: path)
        openConnection = connection
        let stored = try Self.storedIdentity(connection, path: path)
        isInUse = stored != nil
        identity = stored ?? 0
    }

    private static func connect(reading path: String) throws(StoreError) -> Connection {
        let image = try DatabaseImage(path: path)
        var connection: Connection?
        do {
            let opened = try image.connect()
            connection = opened
            let version = try checkVersion(of: opened, path: path)
            for step in Int(version)..<Schema.migrations.count { try migrate(opened, from: step) }
            return opened
        } catch let error as StoreError {
            throw error
        } catch let error as SQLiteError {
            throw storeError(error, on: connection, path: path)
        } catch {
            throw StoreError(.unavailable, path: path, "\(error)")
        }
    }

    /// How many commits the file has; 0 before the first.
    ///
    /// - Throws: `StoreError`.
    package func sequence() throws(StoreError) -> Int64 {
        try translatingErrors { try loadHeader()?.sequence ?? 0 }
    }

    /// The last reading of the counters that the file holds; `nil` before the first commit.
    ///
    /// - Throws: `StoreError`.
    package func lastReading() throws(StoreError) -> Timestamp? {
        try translatingErrors { try loadHeader()?.lastReading.timestamp }
    }

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
            let connection = try Self.connect(path: path, vfs: vfs)
            switch try Self.storedIdentity(connection, path: path) {
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
        var size = Int(Self.size(path + "-wal"))
        while size < Self.usualLogBytes, write(descriptor, page, page.count) == page.count { size += page.count }
    }

    /// The size of the file with its write-ahead log, in bytes.
    package var sizeBytes: Int64 { Self.size(path) + Self.size(path + "-wal") }

    /// - Throws: `StoreError` with `.replaced` when the file at the path isn't this one any more: writes would be lost.
    package func checkIsInPlace() throws(StoreError) {
        // An image in memory doesn't change with the file.
        if lock == nil { return }
        if FileIdentity(path: path) != inode {
            throw StoreError(.replaced, path: path, "the ledger's file was deleted or replaced")
        }
    }

    var past: FilePast { FilePast(of: self) }

    /// Runs `body`, and turns SQLite's errors into errors for people.
    func translatingErrors<Value>(_ body: () throws -> Value) throws(StoreError) -> Value {
        do {
            return try body()
        } catch let error as SQLiteError {
            throw Self.storeError(error, on: openConnection, path: path)
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(.unavailable, path: path, "\(error)")
        }
    }

    func damaged(_ message: String) -> StoreError { StoreError(.damaged, path: path, message) }

    // MARK: - Opening

    /// Renames a damaged ledger and its log, so that a new one can be created.
    ///
    /// - Returns: The ledger's new name.
    package static func moveAside(path: String, at time: Timestamp) throws(StoreError) -> String {
        let path = LedgerPlace.resolved(path)
        let stamp = time.description.filter { $0 != "-" && $0 != ":" }
        let suffixes = ["", "-wal", "-shm"]
        for number in 1... {
            let aside = "\(path).damaged-\(stamp)" + (number == 1 ? "" : "-\(number)")
            if suffixes.contains(where: { access(aside + $0, F_OK) == 0 }) { continue }
            var moved: [String] = []
            for suffix in suffixes where access(path + suffix, F_OK) == 0 {
                if netusage_rename_new(path + suffix, aside + suffix) != 0 {
                    let reason = String(cString: strerror(errno))
                    // A ledger and its log stay together.
                    for suffix in moved { _ = netusage_rename_new(aside + suffix, path + suffix) }
                    throw StoreError(.unavailable, path: path + suffix, "can't be moved aside: \(reason)")
                }
                moved.append(suffix)
            }
            return aside
        }
        return path
    }

    private static func createDirectory(of path: String) throws(StoreError) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), slash != path.startIndex else { return }
        let directory = String(path[..<slash])
        if access(directory, F_OK) == 0 { return }
        try createDirectory(of: directory)
        let code = PlainFile.makeDirectory(directory, mode: 0o750)
        if code != 0 {
            throw StoreError(.unavailable, path: directory, "can't be created: \(String(cString: strerror(code)))")
        }
    }

    /// Checks a file before SQLite opens it: a file that isn't our database must not be touched.
    private static func checkHeader(path: String, wasUsedBefore: Bool) throws(StoreError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        if descriptor < 0 {
            if errno == ENOENT { return }
            if errno == ELOOP {
                let reason =
                    FileIdentity(path: path) == nil
                    ? "that leads nowhere" : "that isn't followed: it is another user's, or its target isn't UTF-8"
                throw StoreError(.foreign, path: path, "it is a symbolic link \(reason)")
            }
            throw StoreError(.unavailable, path: path, "can't be opened: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw StoreError(.foreign, path: path, "it isn't a plain file")
        }
        var header = [UInt8](repeating: 0, count: 100)
        let count = read(descriptor, &header, header.count)
        if count < 0 {
            throw StoreError(.unavailable, path: path, "can't be read: \(String(cString: strerror(errno)))")
        }
        if count == 0 { return }
        // https://sqlite.org/fileformat2.html#the_database_header: the magic, and the application ID at 68.
        let isSQLite = count == header.count && header.starts(with: Array("SQLite format 3\0".utf8))
        let application = header[68..<72].reduce(Int64(0)) { $0 << 8 | Int64($1) }
        if isSQLite, application == Schema.applicationID || application == 0 { return }
        if wasUsedBefore { throw StoreError(.damaged, path: path, "its header isn't a ledger's") }
        throw StoreError(.foreign, path: path, isSQLite ? "another program's database" : "not a ledger of netusage")
    }

    /// Refuses a hard link without a lock and a log: beside its other name there may be a log with newer commits.
    private static func checkName(path: String, wasUsedBefore: Bool) throws(StoreError) {
        var status = stat()
        guard stat(path, &status) == 0, status.st_nlink > 1, !wasUsedBefore, access(path + "-wal", F_OK) != 0 else {
            return
        }
        throw StoreError(
            .foreign, path: path,
            "it is a hard link, and the ledger's last bookings may be in a log beside its original name")
    }

    /// Opens the database, checks that it is a ledger, and updates its schema.
    private static func connect(path: String, vfs: String?) throws(StoreError) -> Connection {
        do {
            do {
                return try connect(path: path, vfs: vfs, isExclusive: true)
            } catch let error as SQLiteError where error.isBusy {
                // Another process reads it, so both need the log's index in a file.
                return try connect(path: path, vfs: vfs, isExclusive: false)
            }
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(.unavailable, path: path, "\(error)")
        }
    }

    private static func connect(path: String, vfs: String?, isExclusive: Bool) throws -> Connection {
        var connection: Connection?
        do {
            let opened = try Connection(path: path, vfs: vfs)
            connection = opened
            try prepare(opened, path: path, isExclusive: isExclusive)
            return opened
        } catch let error as SQLiteError where !isExclusive || !error.isBusy {
            throw storeError(error, on: connection, path: path)
        }
    }

    private static func prepare(_ connection: Connection, path: String, isExclusive: Bool) throws {
        // With an exclusive lock the log's index is in memory. In a file it would be written back with every commit,
        // twice as much as the commit itself (33 kB against 11 kB, measured on ext4).
        if isExclusive { try connection.execute("PRAGMA locking_mode = EXCLUSIVE") }
        connection.setPatience(milliseconds: isExclusive ? 100 : 5000)
        let version = try checkVersion(of: connection, path: path)
        // Small pages: a flush of a few devices changes one row in each of four tables, and SQLite writes whole pages.
        if version == 0 { try connection.execute("PRAGMA page_size = 1024") }
        // Write-ahead log: a commit is one append. Only copyLongLog() copies the log into the file: after a rest, a new
        // connection doesn't know which part was copied, and would copy all of it again.
        try connection.execute("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
        // FULL: the log is on the disk when a commit returns. With NORMAL a power cut would undo everything since the
        // last checkpoint, about half an hour; at most one flush interval may be lost. FULL costs one fsync a minute.
        try connection.execute("PRAGMA synchronous = FULL")
        try connection.execute("PRAGMA cache_size = -256; PRAGMA trusted_schema = OFF")
        try connection.execute("PRAGMA journal_size_limit = 1048576")
        for step in Int(version)..<Schema.migrations.count { try migrate(connection, from: step) }
    }

    /// The schema's version; 0 for a file without tables.
    ///
    /// - Throws: `StoreError` when the file is another program's, a newer version's or damaged; `SQLiteError`.
    private static func checkVersion(of connection: Connection, path: String) throws -> Int64 {
        let application: Int64 = try connection.value("PRAGMA application_id") ?? 0
        let version: Int64 = try connection.value("PRAGMA user_version") ?? 0
        let tables: Int64 = try connection.value("SELECT count(*) FROM sqlite_master") ?? 0
        if application != Schema.applicationID && tables > 0 {
            throw StoreError(.foreign, path: path, "another program's database")
        }
        if version > Schema.version {
            throw StoreError(
                .newer, path: path, "written by a newer netusage (schema \(version), known: \(Schema.version))")
        }
        if tables > 0, version <= 0 { throw StoreError(.damaged, path: path, "it has tables but no schema version") }
        return max(0, version)
    }

    /// SQLite's error as an error for people. If a sound file wouldn't cause the error, this checks the whole file.
    private static func storeError(_ error: SQLiteError, on connection: Connection?, path: String) -> StoreError {
        let isDamaged = error.isDamage || error.isSuspicious && connection.map(isDamaged) == true
        return error.storeError(path: path, isDamaged: isDamaged)
    }

    /// Checks the whole file. A file that can't be read at the moment may be sound.
    private static func isDamaged(_ connection: Connection) -> Bool {
        let names = Schema.tables.map { "'\($0)'" }.joined(separator: ", ")
        do throws(SQLiteError) {
            let count: Int? = try connection.value("SELECT count(*) FROM sqlite_master WHERE name IN (\(names))")
            if count != Schema.tables.count { return true }
            return try connection.value("PRAGMA integrity_check(1)") != "ok"
        } catch {
            return error.isDamage
        }
    }

    private static func migrate(_ connection: Connection, from version: Int) throws {
        try connection.transaction {
            try connection.execute(Schema.migrations[version])
            try connection.execute("PRAGMA application_id = \(Schema.applicationID)")
            try connection.execute("PRAGMA user_version = \(version + 1)")
        }
    }

    /// - Returns: `nil` before the first commit.
    private static func storedIdentity(_ connection: Connection, path: String) throws(StoreError) -> Int64? {
        do {
            return try connection.value("SELECT ledger_id FROM ledger")
        } catch {
            throw storeError(error, on: connection, path: path)
        }
    }

    private static func size(_ path: String) -> Int64 {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_size) : 0
    }
}

extension LedgerFile {
    package static func exists(at path: String) -> Bool { FileIdentity(path: path) != nil }

    /// Whether there is a directory at a path: it can't become a ledger.
    package static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Whether another process writes the ledger at a path now, as far as this process can see.
    package static func isLocked(at path: String) -> Bool { LedgerLock.isHeld(forLedgerAt: path) }
}
