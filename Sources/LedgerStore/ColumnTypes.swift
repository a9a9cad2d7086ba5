import Accounting
import CivilTime
import SQLite

// The ledger's types as values of columns and rows.

extension Timestamp: SQLConvertible {
    package var sqlValue: SQLValue { .integer(secondsSinceEpoch) }
    package init(_ row: Row, column: Int) { self.init(secondsSinceEpoch: row.integer(column)) }
}

extension AccountID: SQLConvertible {
    package var sqlValue: SQLValue { .integer(rawValue) }
    package init(_ row: Row, column: Int) { self.init(rawValue: row.integer(column)) }
}

extension DeviceIndex: SQLBindable {
    package var sqlValue: SQLValue { .integer(Int64(rawValue)) }
}

extension CivilDate: SQLBindable {
    package var sqlValue: SQLValue { .integer(Int64(daysSinceEpoch)) }
}

/// Stored as text if it is valid UTF-8, so that the `sqlite3` shell shows it well; otherwise as bytes.
extension DeviceName: SQLConvertible {
    package var sqlValue: SQLValue { String(validating: bytes, as: UTF8.self).map { .text($0) } ?? .blob(bytes) }
    package init(_ row: Row, column: Int) { self.init(bytes: row[column] as [UInt8]) }
}

extension AccountKey {
    /// The columns `kind`, `name` and `scope` of the table `account`.
    var columns: (kind: String, name: any SQLBindable, scope: String) {
        switch self {
        case .device(let name): ("device", name, "")
        case .collapsed(let pattern): ("collapsed", pattern, "")
        case .uplink: ("uplink", "", "")
        case .application(let name, let scope): ("application", name, scope.rawValue)
        case .elsewhere(let name, let scope): ("application_elsewhere", name, scope.rawValue)
        case .uplinkScope(let scope): ("uplink_scope", "", scope.rawValue)
        }
    }

    /// - Parameter column: The column of `kind`; `name` and `scope` follow.
    /// - Returns: `nil` for an unknown kind or scope.
    init?(_ row: Row, from column: Int) {
        switch row[column] as String {
        case "device": self = .device(row[column + 1])
        case "collapsed": self = .collapsed(row[column + 1])
        case "uplink": self = .uplink
        case "application":
            guard let scope = TrafficScope(rawValue: row[column + 2]) else { return nil }
            self = .application(row[column + 1], scope)
        case "application_elsewhere":
            guard let scope = TrafficScope(rawValue: row[column + 2]) else { return nil }
            self = .elsewhere(row[column + 1], scope)
        case "uplink_scope":
            guard let scope = UplinkScope(rawValue: row[column + 2]) else { return nil }
            self = .uplinkScope(scope)
        default: return nil
        }
    }
}

extension ApplicationName: SQLConvertible {
    package var sqlValue: SQLValue { .text(text) }
    package init(_ row: Row, column: Int) { self.init(row[column] as String) }
}

extension ProcessName: SQLConvertible {
    package var sqlValue: SQLValue { .blob(bytes) }
    package init(_ row: Row, column: Int) { self.init(bytes: row[column] as [UInt8]) }
}

extension Row {
    /// `received` and `transmitted`, from this column on. Millions of rows are read at a start: no generic calls here.
    func total(from column: Int) -> Total {
        Total(
            received: UInt64(max(0, integer(column))), transmitted: UInt64(max(0, integer(column + 1))))
    }

    /// The same for counters of the kernel, which may be above 2^63.
    func counters(from column: Int) -> Counters {
        Counters(received: UInt64(bitPattern: self[column]), transmitted: UInt64(bitPattern: self[column + 1]))
    }

    /// `resets`, `gap_bytes` and `suspect_bytes`, from this column on.
    func events(from column: Int) -> AccountEvents {
        AccountEvents(resets: self[column], gapBytes: self[column + 1], suspectBytes: self[column + 2])
    }

    /// A start and an end, from this column on. The span is empty if the end is before the start.
    func span(from column: Int) -> Range<Timestamp> {
        let start: Timestamp = self[column]
        return start..<max(start, self[column + 1])
    }
}
