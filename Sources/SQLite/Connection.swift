import CSQLite
import Glibc

/// One connection to an SQLite database. Used by one thread at a time.
///
/// Statements are prepared once and kept. Each method runs its statement to the end or resets it, so no read stays open.
/// A closure may use the connection for other statements, and for the same one.
package final class Connection {
    private let handle: OpaquePointer
    private var statements: [String: Statement] = [:]
    /// More statements than these are prepared again for each use.
    private static let maximumStatements = 200
    /// When statements end; see ``distrust(forSeconds:)``.
    private var deadline: UnsafeMutablePointer<Int64>?

    /// Opens a database in memory. What is changed there is in no file.
    ///
    /// - Throws: `SQLiteError` when it makes no sense.
    package init(memory: consuming DatabaseMemory) throws(SQLiteError) {
        handle = try Self.open(":memory:", SQLITE_OPEN_READWRITE, vfs: nil)
        let (start, size) = memory.release()
        guard let start else { return }
        let flags = CUnsignedInt(SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE)
        let code = sqlite3_deserialize(
            handle, "main", start.assumingMemoryBound(to: UInt8.self), Int64(size), Int64(size), flags)
        if code != SQLITE_OK { throw SQLiteError(code, of: handle) }
    }

    /// Opens a file, or makes one. Closing it leaves the write-ahead log as it is; see ``copyLogOnClose()``.
    ///
    /// - Parameter vfs: The name of another layer between SQLite and the disk, for tests.
    /// - Throws: `SQLiteError` when the file can't be opened.
    package init(path: String, vfs: String? = nil) throws(SQLiteError) {
        handle = try Self.open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, vfs: vfs)
        netusage_keep_log_on_close(handle, 1)
    }

    private static func open(_ path: String, _ access: CInt, vfs: String?) throws(SQLiteError) -> OpaquePointer {
        var handle: OpaquePointer?
        let code = sqlite3_open_v2(path, &handle, access | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs)
        guard code == SQLITE_OK, let handle else {
            let message = handle.map { String(cString: sqlite3_errmsg($0)) } ?? String(cString: sqlite3_errstr(code))
            sqlite3_close(handle)
            throw SQLiteError(code: code, message: message)
        }
        return handle
    }

    deinit {
        // Only a connection without statements is closed at once.
        statements = [:]
        sqlite3_progress_handler(handle, 0, nil, nil)
        deadline?.deallocate()
        sqlite3_close_v2(handle)
    }

    /// From here on closing the connection copies the log into the file and removes it, unless others have it open.
    package func copyLogOnClose() { netusage_keep_log_on_close(handle, 0) }

    /// From here on anybody may have made the database: its schema can do no harm, and statements end after some time.
    ///
    /// - Throws: `SQLiteError`.
    package func distrust(forSeconds seconds: Int64) throws(SQLiteError) {
        netusage_distrust(handle)
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let deadline = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
        deadline.initialize(to: Int64(now.tv_sec) + seconds)
        self.deadline?.deallocate()
        self.deadline = deadline
        netusage_limit_time(handle, deadline)
        try execute("PRAGMA cell_size_check = ON")
    }

    /// How long a statement waits for others who hold the file.
    package func setPatience(milliseconds: CInt) { sqlite3_busy_timeout(handle, milliseconds) }

    // MARK: - Statements

    /// Runs statements that take no values, and passes over their rows.
    ///
    /// - Throws: `SQLiteError`.
    package func execute(_ sql: String) throws(SQLiteError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        if code != SQLITE_OK { throw SQLiteError(code, of: handle) }
    }

    /// Runs one statement with these values, and passes over its rows.
    ///
    /// - Throws: `SQLiteError`.
    package func run(_ sql: String, _ values: (any SQLBindable)?...) throws(SQLiteError) {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.begin(values)
        while try statement.step() {}
    }

    /// The first column of the first row; `nil` when there is no row, or NULL in it.
    ///
    /// - Throws: `SQLiteError`.
    package func value<Value: SQLReadable>(_ sql: String, _ values: (any SQLBindable)?...) throws(SQLiteError) -> Value?
    {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.begin(values)
        return try statement.step() ? statement.row[0] : nil
    }

    /// What `decode` makes of the first row; `nil` when there is none.
    ///
    /// - Throws: `SQLiteError`, and what `decode` throws.
    package func first<Value>(
        _ sql: String, _ values: (any SQLBindable)?..., decode: (Row) throws -> Value
    ) throws -> Value? {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.begin(values)
        return try statement.step() ? decode(statement.row) : nil
    }

    /// What `decode` makes of each row.
    ///
    /// - Throws: `SQLiteError`, and what `decode` throws.
    package func rows<Value>(
        _ sql: String, _ values: (any SQLBindable)?..., decode: (Row) throws -> Value
    ) throws -> [Value] {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.begin(values)
        var found: [Value] = []
        while try statement.step() { found.append(try decode(statement.row)) }
        return found
    }

    /// Calls `body` with each row.
    ///
    /// - Throws: `SQLiteError`, and what `body` throws.
    package func forEach(
        _ sql: String, _ values: (any SQLBindable)?..., body: (Row) throws -> Void
    ) throws {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.begin(values)
        while try statement.step() { try body(statement.row) }
    }

    /// Calls `body` with each row until it returns false.
    ///
    /// - Throws: `SQLiteError`, and what `body` throws.
    package func scan(
        _ sql: String, _ values: (any SQLBindable)?..., while body: (Row) throws -> Bool
    ) throws {
        let statement = try statement(sql)
        defer { statement.end() }
        try statement.begin(values)
        while try statement.step(), try body(statement.row) {}
    }

    private func statement(_ sql: String) throws(SQLiteError) -> Statement {
        if let known = statements[sql], !known.isInUse { return known }
        let new = try Statement(sql, on: handle)
        if statements[sql] == nil, statements.count < Self.maximumStatements { statements[sql] = new }
        return new
    }

    /// Runs `body` in one transaction: all of it is in the file afterwards, or nothing.
    ///
    /// - Throws: `SQLiteError`, and what `body` throws.
    package func transaction<Value>(_ body: () throws -> Value) throws -> Value {
        try execute("BEGIN IMMEDIATE")
        do {
            let value = try body()
            try execute("COMMIT")
            return value
        } catch {
            // SQLite has rolled back by itself after some errors; then this one has nothing to do and says so.
            try? execute("ROLLBACK")
            throw error
        }
    }
}
