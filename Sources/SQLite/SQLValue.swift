/// A value in a statement or in a row, of any storage class but REAL (<https://sqlite.org/datatype3.html>).
package enum SQLValue {
    case null
    case integer(Int64)
    case text(String)
    case blob([UInt8])
}

/// A type whose values can be bound to a statement.
package protocol SQLBindable {
    var sqlValue: SQLValue { get }
}

/// A type whose values can be read from a row.
///
/// SQLite converts a value to the requested type (<https://sqlite.org/c3ref/column_blob.html>), so a damaged file gives
/// wrong values, not errors. Check values that could do harm.
package protocol SQLReadable {
    /// - Parameter column: Counted from 0.
    init(_ row: Row, column: Int)
}

package typealias SQLConvertible = SQLBindable & SQLReadable

extension Int64: SQLConvertible {
    package var sqlValue: SQLValue { .integer(self) }
    package init(_ row: Row, column: Int) { self = row.integer(column) }
}

extension Int: SQLConvertible {
    package var sqlValue: SQLValue { .integer(Int64(self)) }
    package init(_ row: Row, column: Int) { self.init(row.integer(column)) }
}

/// SQLite's integers end at 2^63 − 1: larger values are stored as that. Negative values are read as 0.
extension UInt64: SQLConvertible {
    package var sqlValue: SQLValue { .integer(Int64(clamping: self)) }
    package init(_ row: Row, column: Int) { self.init(Swift.max(0, row.integer(column))) }
}

/// Stored as 1 and 0.
extension Bool: SQLConvertible {
    package var sqlValue: SQLValue { .integer(self ? 1 : 0) }
    package init(_ row: Row, column: Int) { self = row.integer(column) == 1 }
}

/// Bytes that aren't UTF-8 become U+FFFD when read.
extension String: SQLConvertible {
    package var sqlValue: SQLValue { .text(self) }
    package init(_ row: Row, column: Int) { self.init(decoding: row.bytes(column), as: UTF8.self) }
}

/// Stored as a BLOB. A text is read as its bytes.
extension [UInt8]: SQLConvertible {
    package var sqlValue: SQLValue { .blob(self) }
    package init(_ row: Row, column: Int) { self = row.bytes(column) }
}
