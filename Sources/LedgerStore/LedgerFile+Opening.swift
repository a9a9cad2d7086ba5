import Accounting
import CLinux
import CivilTime
import Glibc
import Machine
import SQLite

/// How the file is found, checked, connected and moved aside.
extension LedgerFile {
    /// Renames a damaged ledger and its log, so that a new one can be created.
    ///
    /// - Returns: The ledger's new name.
    package static func moveAside(path: String, at time: Timestamp) throws(StoreError) -> String {
        let path = LedgerPlace.resolved(path)
        let stamp = time.description.filter { $0 != "-" && $0 != ":" }
        let suffixes = ["", "-wal", "-shm"]
        func name(_ number: Int) -> String { "\(path).damaged-\(stamp)" + (number == 1 ? "" : "-\(number)") }
        var number = 1
        while suffixes.contains(where: { access(name(number) + $0, F_OK) == 0 }) { number += 1 }
        let aside = name(number)
        var moved: [String] = []
        for suffix in suffixes where access(path + suffix, F_OK) == 0 {
            if netusage_rename_new(path + suffix, aside + suffix) != 0 {
                let reason = errorText()
                // A ledger and its log stay together.
                for suffix in moved { _ = netusage_rename_new(aside + suffix, path + suffix) }
                throw StoreError(.unavailable, path: path + suffix, "can't be moved aside: \(reason)")
            }
            moved.append(suffix)
        }
        return aside
    }

    static func createDirectory(of path: String) throws(StoreError) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), slash != path.startIndex else { return }
        let directory = String(path[..<slash])
        if access(directory, F_OK) == 0 { return }
        try createDirectory(of: directory)
        let code = PlainFile.makeDirectory(directory, mode: 0o750)
        if code != 0 {
            throw StoreError(.unavailable, path: directory, "can't be created: \(errorText(code))")
        }
    }

    /// Checks a file before SQLite opens it: a file that isn't our database must not be touched.
    static func checkHeader(path: String, wasUsedBefore: Bool) throws(StoreError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        if descriptor < 0 {
            if errno == ENOENT { return }
            if errno == ELOOP {
                let reason =
                    FileIdentity(path: path) == nil
                    ? "that leads nowhere" : "that isn't followed: it is another user's, or its target isn't UTF-8"
                throw StoreError(.foreign, path: path, "it is a symbolic link \(reason)")
            }
            throw StoreError(.unavailable, path: path, "can't be opened: \(errorText())")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw StoreError(.foreign, path: path, "it isn't a plain file")
        }
        var header = [UInt8](repeating: 0, count: 100)
        let count = read(descriptor, &header, header.count)
        if count < 0 {
            throw StoreError(.unavailable, path: path, "can't be read: \(errorText())")
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
    static func checkName(path: String, wasUsedBefore: Bool) throws(StoreError) {
        var status = stat()
        guard stat(path, &status) == 0, status.st_nlink > 1, !wasUsedBefore, access(path + "-wal", F_OK) != 0 else {
            return
        }
        throw StoreError(
            .foreign, path: path,
            "it is a hard link, and the ledger's last bookings may be in a log beside its original name")
    }

    /// Opens the database, checks that it is a ledger, and updates its schema.
    ///
    /// - Returns: Also the ledger's identity; `nil` before the first commit.
    static func connect(path: String, vfs: String?) throws(StoreError) -> (Connection, identity: Int64?) {
        try translatingErrors(path: path) { opened in
            var isExclusive = true
            while true {
                do {
                    let connection = try Connection(path: path, vfs: vfs)
                    opened = connection
                    try prepare(connection, path: path, isExclusive: isExclusive)
                    return try (connection, connection.value(storedIdentity))
                } catch let error as SQLiteError where isExclusive && error.isBusy {
                    // Another process reads it, so both need the log's index in a file.
                    opened = nil
                    isExclusive = false
                }
            }
        }
    }

    /// The same in memory, for a file that is only read.
    static func connect(reading path: String) throws(StoreError) -> (Connection, identity: Int64?) {
        try translatingErrors(path: path) { opened in
            let connection = try DatabaseImage(path: path).connect()
            opened = connection
            try connection.execute("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")
            try migrate(connection, from: checkVersion(of: connection, path: path))
            return try (connection, connection.value(storedIdentity))
        }
    }

    private static let storedIdentity = "SELECT ledger_id FROM ledger"

    static func prepare(_ connection: Connection, path: String, isExclusive: Bool) throws {
        // With an exclusive lock the log's index is in memory. In a file it would be written back with every commit,
        // twice as much as the commit itself (33 kB against 11 kB, measured on ext4).
        if isExclusive { try connection.execute("PRAGMA locking_mode = EXCLUSIVE") }
        // How many milliseconds a statement waits while another connection locks the file.
        try connection.execute("PRAGMA busy_timeout = \(isExclusive ? 100 : 5000)")
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
        try migrate(connection, from: version)
    }

    /// The schema's version; 0 for a file without tables.
    ///
    /// - Throws: `StoreError` when the file is another program's, a newer version's or damaged; `SQLiteError`.
    static func checkVersion(of connection: Connection, path: String) throws -> Int64 {
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

    /// Runs `body`, and turns SQLite's errors into errors for people.
    ///
    /// - Parameter body: Hands its connection back: if a sound file would not cause the error, the file is checked.
    static func translatingErrors<Value>(
        path: String, _ body: (inout Connection?) throws -> Value
    ) throws(StoreError) -> Value {
        var connection: Connection?
        do {
            return try body(&connection)
        } catch let error as SQLiteError {
            // All links that can be resolved were resolved before SQLite got the path.
            if error.isSymbolicLink {
                throw StoreError(.foreign, path: path, "the target of a symbolic link in its path isn't UTF-8")
            }
            let isDamaged = error.isDamage || error.isSuspicious && connection.map(Self.isDamaged) == true
            throw StoreError(
                isDamaged ? .damaged : error.isFull ? .full : error.isBusy ? .busy : .unavailable, path: path,
                "SQLite says: \(error.message) (\(error.code))")
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(.unavailable, path: path, "\(error)")
        }
    }

    /// Checks the whole file. A file that can't be read at the moment may be sound.
    static func isDamaged(_ connection: Connection) -> Bool {
        let names = Schema.tables.map { "'\($0)'" }.joined(separator: ", ")
        do throws(SQLiteError) {
            let count: Int? = try connection.value("SELECT count(*) FROM sqlite_master WHERE name IN (\(names))")
            if count != Schema.tables.count { return true }
            return try connection.value("PRAGMA integrity_check(1)") != "ok"
        } catch {
            return error.isDamage
        }
    }

    static func migrate(_ connection: Connection, from version: Int64) throws {
        for step in Int(version)..<Schema.migrations.count {
            try connection.transaction {
                try connection.execute(Schema.migrations[step])
                try connection.execute("PRAGMA application_id = \(Schema.applicationID)")
                try connection.execute("PRAGMA user_version = \(step + 1)")
            }
        }
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
    package static func isLocked(at path: String) -> Bool {
        let descriptor = open(path + ".lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        if descriptor < 0 { return false }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }
}
