/// A value in a statement or in a row: one of SQLite's storage classes (<https://sqlite.org/datatype3.html>) but REAL.
package enum SQLValue {
    case null
    case integer(Int64)
    case text(String)
    case blob([UInt8])
}

/// A type whose values a statement takes.
package protocol SQLBindable {
    var sqlValue: SQLValue { get }
}

/// A type whose values a row has.
///
/// SQLite converts what a column holds to what is asked for (<https://sqlite.org/c3ref/column_blob.html>), so a damaged
/// file gives wrong values, not errors: check what would do harm.
package protocol SQLReadable {
    /// - Parameter column: Counted from 0.
    init(_ row: Row, column: Int)
}

package typealias SQLConvertible = SQLBindable & SQLReadable

extension SQLValue: SQLBindable {
    package var sqlValue: SQLValue { self }
}

extension Int64: SQLConvertible {
    package var sqlValue: SQLValue { .integer(self) }
    package init(_ row: Row, column: Int) { self = row.integer(column) }
}

extension Int: SQLConvertible {
    package var sqlValue: SQLValue { .integer(Int64(self)) }
    package init(_ row: Row, column: Int) { self.init(row.integer(column)) }
}

/// SQLite's integers end at 2^63 − 1: what is more is stored as that, and what is negative is read as 0.
extension UInt64: SQLConvertible {
    package var sqlValue: SQLValue { .integer(Int64(clamping: self)) }
    package init(_ row: Row, column: Int) { self.init(Swift.max(0, row.integer(column))) }
}

/// Stored as 1 and 0.
extension Bool: SQLConvertible {
    package var sqlValue: SQLValue { .integer(self ? 1 : 0) }
    package init(_ row: Row, column: Int) { self = row.integer(column) == 1 }
}

/// Bytes that aren't UTF-8 are read as U+FFFD.
extension String: SQLConvertible {
    package var sqlValue: SQLValue { .text(self) }
    package init(_ row: Row, column: Int) { self.init(decoding: row.bytes(column), as: UTF8.self) }
}

/// A BLOB; the bytes of a text are read, too.
extension [UInt8]: SQLConvertible {
    package var sqlValue: SQLValue { .blob(self) }
    package init(_ row: Row, column: Int) { self = row.bytes(column) }
}
