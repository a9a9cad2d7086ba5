import CSQLite
import Glibc

/// A failure that SQLite reports.
struct SQLiteError: Error {
    /// The extended result code, <https://sqlite.org/rescode.html>.
    let code: CInt
    let message: String

    /// `SQLITE_CANTOPEN_SYMLINK`. What can be resolved is, before SQLite sees it.
    private static let symbolicLink: CInt = SQLITE_CANTOPEN | 6 << 8

    /// The primary result code.
    var primaryCode: CInt { code & 0xFF }

    /// Whether the file itself is to blame, without a doubt.
    var isDamage: Bool { primaryCode == SQLITE_CORRUPT || primaryCode == SQLITE_NOTADB }

    /// Whether a sound file wouldn't give it, as far as this program is right.
    var isSuspicious: Bool { [SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_MISMATCH].contains(primaryCode) }

    var isBusy: Bool { primaryCode == SQLITE_BUSY }

    /// - Parameter isDamaged: Whether the file makes no sense.
    func storeError(path: String, isDamaged: Bool) -> StoreError {
        if code == Self.symbolicLink {
            return StoreError(.foreign, path: path, "a symbolic link in its path leads to what isn't UTF-8")
        }
        let code: StoreError.Code =
            switch primaryCode {
            case _ where isDamaged: .damaged
            case SQLITE_FULL: .full
            case SQLITE_BUSY: .busy
            default: .unavailable
            }
        return StoreError(code, path: path, "SQLite says: \(message) (\(self.code))")
    }
}

/// One connection to an SQLite file. Used by one thread at a time.
final class Connection {
    private let handle: OpaquePointer
    /// When statements end; see ``distrust(forSeconds:)``.
    private var deadline: UnsafeMutablePointer<Int64>?

    /// Opens a database in memory. What is changed there is in no file.
    ///
    /// - Throws: `SQLiteError` when it makes no sense.
    init(image: consuming DatabaseImage) throws(SQLiteError) {
        handle = try Self.open(":memory:", SQLITE_OPEN_READWRITE, vfs: nil)
        let (start, size) = image.release()
        guard let start else { return }
        let flags = CUnsignedInt(SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE)
        let code = sqlite3_deserialize(
            handle, "main", start.assumingMemoryBound(to: UInt8.self), Int64(size), Int64(size), flags)
        if code != SQLITE_OK { throw lastError(code) }
    }

    /// Opens a file, or makes one. Closing it leaves the write-ahead log as it is; see ``copyLogOnClose()``.
    ///
    /// - Throws: `SQLiteError` when the file can't be opened.
    init(path: String, vfs: String? = nil) throws(SQLiteError) {
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
        sqlite3_progress_handler(handle, 0, nil, nil)
        deadline?.deallocate()
        sqlite3_close_v2(handle)
    }

    /// From here on closing the connection copies the log into the file and removes it, unless others have it open.
    func copyLogOnClose() { netusage_keep_log_on_close(handle, 0) }

    /// From here on the database counts as one that anybody may have made, and its statements end after some time.
    ///
    /// - Throws: `SQLiteError`.
    func distrust(forSeconds seconds: Int64) throws(SQLiteError) {
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
    func setPatience(milliseconds: CInt) { sqlite3_busy_timeout(handle, milliseconds) }

    /// Runs statements that take no values and whose rows nobody wants.
    func execute(_ sql: String) throws(SQLiteError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        if code != SQLITE_OK { throw lastError(code) }
    }

    func prepare(_ sql: String) throws(SQLiteError) -> Statement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, CUnsignedInt(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw lastError(code) }
        return Statement(statement, on: self)
    }

    /// The first column of the first row as an integer.
    func integer(_ sql: String) throws(SQLiteError) -> Int64? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.integer(0) : nil
    }

    /// The first column of the first row as text.
    func text(_ sql: String) throws(SQLiteError) -> String? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.text(0) : nil
    }

    /// Runs `body` in one transaction: all of it is in the file afterwards, or nothing.
    func transaction<Value>(_ body: () throws -> Value) throws -> Value {
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

    fileprivate func lastError(_ code: CInt) -> SQLiteError {
        SQLiteError(code: code, message: String(cString: sqlite3_errmsg(handle)))
    }
}

/// A prepared statement that is used again and again.
final class Statement {
    private let handle: OpaquePointer
    private let connection: Connection

    fileprivate init(_ handle: OpaquePointer, on connection: Connection) {
        self.handle = handle
        self.connection = connection
    }

    deinit {
        sqlite3_finalize(handle)
    }

    /// Runs the statement with these values and passes over its rows.
    func run(_ values: SQLValue...) throws(SQLiteError) {
        try bind(values)
        while try step() {}
        sqlite3_reset(handle)
    }

    /// Starts the statement with these values; ``step()`` fetches the rows.
    func bind(_ values: [SQLValue]) throws(SQLiteError) {
        sqlite3_reset(handle)
        for (offset, value) in values.enumerated() {
            let code = value.bind(to: handle, at: CInt(offset + 1))
            if code != SQLITE_OK { throw connection.lastError(code) }
        }
    }

    /// Fetches the next row; false when there is none.
    func step() throws(SQLiteError) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code:
            let error = connection.lastError(code)
            sqlite3_reset(handle)
            throw error
        }
    }

    func integer(_ column: CInt) -> Int64 { sqlite3_column_int64(handle, column) }

    func isNull(_ column: CInt) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    func bytes(_ column: CInt) -> [UInt8] {
        guard let start = sqlite3_column_blob(handle, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column))))
    }

    func text(_ column: CInt) -> String { String(decoding: bytes(column), as: UTF8.self) }
}

/// A value for a statement.
enum SQLValue {
    case null
    case integer(Int64)
    case text(String)
    case blob([UInt8])

    fileprivate func bind(to statement: OpaquePointer, at index: CInt) -> CInt {
        // SQLITE_TRANSIENT: SQLite copies the bytes before the call returns.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        return switch self {
        case .null: sqlite3_bind_null(statement, index)
        case .integer(let value): sqlite3_bind_int64(statement, index, value)
        case .text(let text): sqlite3_bind_text(statement, index, text, CInt(text.utf8.count), transient)
        case .blob(let bytes): sqlite3_bind_blob(statement, index, bytes, CInt(bytes.count), transient)
        }
    }
}
