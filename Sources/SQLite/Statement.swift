import CSQLite

/// A prepared statement that is used again and again. Only its connection steps and resets it.
final class Statement {
    private let handle: OpaquePointer
    /// True between ``begin(_:)`` and ``end()``. A second use during that time needs a statement of its own.
    private(set) var isInUse = false

    init(_ sql: String, on database: OpaquePointer) throws(SQLiteError) {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(database, sql, -1, CUnsignedInt(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw SQLiteError(code, of: database) }
        handle = statement
    }

    deinit {
        sqlite3_finalize(handle)
    }

    /// The row that ``step()`` has fetched.
    var row: Row { Row(statement: handle) }

    /// Binds the values. If that fails, the statement is ended.
    func begin(_ values: [(any SQLBindable)?]) throws(SQLiteError) {
        isInUse = true
        // SQLITE_TRANSIENT: SQLite copies the bytes before the call returns.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        for (value, index) in zip(values, CInt(1)...) {
            let code =
                switch value?.sqlValue ?? .null {
                case .null: sqlite3_bind_null(handle, index)
                case .integer(let value): sqlite3_bind_int64(handle, index, value)
                case .text(let text): sqlite3_bind_text(handle, index, text, CInt(text.utf8.count), transient)
                case .blob(let bytes): sqlite3_bind_blob(handle, index, bytes, CInt(bytes.count), transient)
                }
            if code == SQLITE_OK { continue }
            let error = SQLiteError(code, of: sqlite3_db_handle(handle))
            end()
            throw error
        }
    }

    /// Fetches the next row; false when there is none.
    func step() throws(SQLiteError) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: true
        case SQLITE_DONE: false
        case let code: throw SQLiteError(code, of: sqlite3_db_handle(handle))
        }
    }

    /// Ends the statement's read of the file, and clears its values.
    func end() {
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
        isInUse = false
    }
}

extension SQLiteError {
    /// The database's last error.
    init(_ code: CInt, of database: OpaquePointer) {
        self.init(code: code, message: String(cString: sqlite3_errmsg(database)))
    }
}
