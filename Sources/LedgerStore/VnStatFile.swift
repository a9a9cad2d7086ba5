import Accounting
import CSQLite
import CivilTime

/// Reads the database of vnStat 2.x. Everything in it is taken as it may be: poisoned.
package enum VnStatFile {
    private static let tables = ["fiveminute", "hour", "day", "month", "year"]

    /// - Throws: `StoreError` when it isn't such a database, or can't be read.
    package static func interfaces(at path: String) throws(StoreError) -> [VnStatInterface] {
        let connection: Connection
        do throws(SQLiteError) {
            connection = try Connection(reading: path)
            connection.setPatience(milliseconds: 5000)
            let names = tables.map { "'\($0)'" }.joined(separator: ", ")
            let found = try connection.integer(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('interface', \(names))")
            if found != Int64(tables.count + 1) {
                throw SQLiteError(code: SQLITE_NOTADB, message: "it has none of vnStat's tables")
            }
        } catch {
            throw StoreError(.unavailable, path: path, "not a database of vnStat 2: \(error.message)")
        }
        do {
            return try connection.transaction { try readInterfaces(connection) }
        } catch let error as SQLiteError {
            throw StoreError(.unavailable, path: path, "can't be read: \(error.message)")
        } catch {
            throw StoreError(.unavailable, path: path, "\(error)")
        }
    }

    private static func readInterfaces(_ connection: Connection) throws -> [VnStatInterface] {
        let rows = try connection.prepare(
            """
            SELECT id, name, created, updated, rxtotal, txtotal, typeof(rxtotal), typeof(txtotal) FROM interface
            ORDER BY name
            """)
        var interfaces: [VnStatInterface] = []
        while try rows.step() {
            var interface = VnStatInterface(name: rows.bytes(1), created: rows.text(2), updated: rows.text(3))
            let id = rows.integer(0)
            interface.fiveMinutes = try records("fiveminute", id, connection, of: &interface)
            interface.hours = try records("hour", id, connection, of: &interface)
            interface.days = try records("day", id, connection, of: &interface)
            interface.months = try records("month", id, connection, of: &interface)
            interface.years = try records("year", id, connection, of: &interface)
            switch total(in: rows, from: 4) {
            case .success(let total): interface.total = total
            case .failure(let poison): interface.leaveOut("total", interface.created, because: poison.reason)
            }
            interfaces.append(interface)
        }
        return interfaces
    }

    private static func records(
        _ table: String, _ interface: Int64, _ connection: Connection, of owner: inout VnStatInterface
    ) throws -> [VnStatInterface.Record] {
        let rows = try connection.prepare(
            "SELECT date, rx, tx, typeof(rx), typeof(tx) FROM \(table) WHERE interface = ?1 ORDER BY date")
        try rows.bind([.integer(interface)])
        var records: [VnStatInterface.Record] = []
        while try rows.step() {
            switch total(in: rows, from: 1) {
            case .success(let total): records.append(.init(date: rows.text(0), total: total))
            case .failure(let poison): owner.leaveOut(table, rows.text(0), because: poison.reason)
            }
        }
        return records
    }

    private struct Poison: Error {
        var reason: String
    }

    /// Reads two numbers and, behind them, their types.
    private static func total(in rows: Statement, from column: CInt) -> Result<Total, Poison> {
        let types = [rows.text(column + 2), rows.text(column + 3)]
        if let wrong = types.first(where: { $0 != "integer" }) {
            return .failure(Poison(reason: "a number of type \(wrong), as an overflow leaves it"))
        }
        let numbers = [rows.integer(column), rows.integer(column + 1)]
        if numbers.contains(where: { $0 < 0 }) { return .failure(Poison(reason: "a negative number")) }
        if numbers.contains(.max) {
            return .failure(Poison(reason: "the largest number there is, as an overflow leaves it"))
        }
        return .success(Total(received: UInt64(numbers[0]), transmitted: UInt64(numbers[1])))
    }
}
