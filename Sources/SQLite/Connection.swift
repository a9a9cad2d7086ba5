import CSQLite
import Glibc

/// One connection to an SQLite database. Used by one thread at a time.
///
/// Statements are prepared once and kept. Each method runs its statement to the end or resets it: no read stays open.
/// A closure may run other statements on the connection, and even the same one.
package final class Connection {
    private let handle: OpaquePointer
    private var statements: [String: Statement] = [:]
    /// Statements beyond this number are prepared again for each use.
    private static let maximumStatements = 200
    /// The second of the monotonic clock at which running statements end; see ``distrust(forSeconds:)``.
    private var deadline: UnsafeMutablePointer<Int64>?

    /// Opens a database in memory. Changes are written to no file.
    ///
    /// - Throws: `SQLiteError` when SQLite can't use the memory.
    package init(memory: consuming DatabaseMemory) throws(SQLiteError) {
        handle = try Self.open(":memory:", SQLITE_OPEN_READWRITE, vfs: nil)
        let (start, size) = memory.release()
        guard let start else { return }
        let flags = CUnsignedInt(SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE)
        let code = sqlite3_deserialize(
            handle, "main", start.assumingMemoryBound(to: UInt8.self), Int64(size), Int64(size), flags)
        if code != SQLITE_OK { throw SQLiteError(code, of: handle) }
    }

    /// Opens a file, or creates it. Closing it leaves the write-ahead log as it is; see ``copyLogOnClose()``.
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
        // SQLite keeps a connection open as long as it has statements.
        statements = [:]
        sqlite3_progress_handler(handle, 0, nil, nil)
        deadline?.deallocate()
        sqlite3_close_v2(handle)
    }

    /// From now on, closing the last connection copies the write-ahead log into the file and removes the log.
    package func copyLogOnClose() { netusage_keep_log_on_close(handle, 0) }

    /// For a database that anybody may have made: its schema can do no harm, and statements end at a deadline.
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

    // MARK: - Statements

    /// Runs statements without values, and ignores their rows.
    ///
    /// - Throws: `SQLiteError`.
    package func execute(_ sql: String) throws(SQLiteError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        if code != SQLITE_OK { throw SQLiteError(code, of: handle) }
    }

    /// Runs one statement with these values, and ignores its rows.
    ///
    /// - Throws: `SQLiteError`.
    package func run(_ sql: String, _ values: (any SQLBindable)?...) throws(SQLiteError) {
        let statement = try begin(sql, values)
        defer { statement.end() }
        while try statement.step() {}
    }

    /// The first column of the first row; `nil` when there is no row, or NULL in it.
    ///
    /// - Throws: `SQLiteError`.
    package func value<Value: SQLReadable>(_ sql: String, _ values: (any SQLBindable)?...) throws(SQLiteError) -> Value?
    {
        let statement = try begin(sql, values)
        defer { statement.end() }
        return try statement.step() ? statement.row[0] : nil
    }

    /// All rows, decoded.
    ///
    /// - Throws: `SQLiteError`, and any error of `decode`.
    package func rows<Value>(
        _ sql: String, _ values: (any SQLBindable)?..., decode: (Row) throws -> Value
    ) throws -> [Value] {
        let statement = try begin(sql, values)
        defer { statement.end() }
        var found: [Value] = []
        while try statement.step() { found.append(try decode(statement.row)) }
        return found
    }

    /// Calls `body` with each row.
    ///
    /// - Throws: `SQLiteError`, and any error of `body`.
    package func forEach(
        _ sql: String, _ values: (any SQLBindable)?..., body: (Row) throws -> Void
    ) throws {
        let statement = try begin(sql, values)
        defer { statement.end() }
        while try statement.step() { try body(statement.row) }
    }

    /// Calls `body` with each row until it returns false.
    ///
    /// - Throws: `SQLiteError`, and any error of `body`.
    package func scan(
        _ sql: String, _ values: (any SQLBindable)?..., while body: (Row) throws -> Bool
    ) throws {
        let statement = try begin(sql, values)
        defer { statement.end() }
        while try statement.step(), try body(statement.row) {}
    }

    private func begin(_ sql: String, _ values: [(any SQLBindable)?]) throws(SQLiteError) -> Statement {
        let known = statements[sql]
        let statement = if let known, !known.isInUse { known } else { try Statement(sql, on: handle) }
        if known == nil, statements.count < Self.maximumStatements { statements[sql] = statement }
        try statement.begin(values)
        return statement
    }

    /// Runs `body` in one transaction: the file gets all of its changes or none.
    ///
    /// - Throws: `SQLiteError`, and any error of `body`.
    package func transaction<Value>(_ body: () throws -> Value) throws -> Value {
        try execute("BEGIN IMMEDIATE")
        do {
            let value = try body()
            try execute("COMMIT")
            return value
        } catch {
            // After some errors SQLite has already rolled back. Then this fails, and nothing is lost.
            try? execute("ROLLBACK")
            throw error
        }
    }
}
