import CSQLite

/// A row of a result. Use it only inside the closure that got it: afterwards its statement is at another row.
///
/// Columns are counted from 0.
package struct Row {
    let statement: OpaquePointer

    package subscript<Value: SQLReadable>(_ column: Int) -> Value { Value(self, column: column) }

    /// `nil` for NULL.
    package subscript<Value: SQLReadable>(_ column: Int) -> Value? {
        sqlite3_column_type(statement, CInt(column)) == SQLITE_NULL ? nil : Value(self, column: column)
    }

    /// The same as the subscript, for values that are read millions of times.
    package func integer(_ column: Int) -> Int64 { sqlite3_column_int64(statement, CInt(column)) }

    func bytes(_ column: Int) -> [UInt8] {
        guard let start = sqlite3_column_blob(statement, CInt(column)) else { return [] }
        return Array(UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, CInt(column)))))
    }
}
