import Accounting
import CivilTime
import SQLite

/// Reads the database of vnStat 2.x. It may be poisoned, so nothing in it is trusted.
package enum VnStatFile {
    private static let tables = VnStatInterface.Table.allCases.filter { $0 != .total }
    /// A database of a hundred devices has some 3 MB.
    private static let maximumBytes = 256 << 20
    /// How long reading may take. It usually takes milliseconds.
    private static let maximumSeconds: Int64 = 20

    /// - Throws: `StoreError` when it isn't such a database, or can't be read.
    package static func interfaces(at path: String) throws(StoreError) -> [VnStatInterface] {
        // The log and the journal are beside the file that a link leads to.
        let image = try DatabaseImage(path: LedgerPlace.resolved(path), maximumBytes: maximumBytes)
        do {
            let connection = try image.connect()
            try connection.distrust(forSeconds: maximumSeconds)
            for table in ["interface"] + tables.map({ "\($0)" }) {
                if let problem = try problem(with: table, connection) {
                    throw StoreError(.unavailable, path: path, "not a database of vnStat 2: \(problem)")
                }
            }
            return try readInterfaces(connection)
        } catch let error as SQLiteError {
            let reason = error.isInterrupted ? "it takes longer than \(maximumSeconds) s" : error.message
            throw StoreError(
                .unavailable, path: path,
                error.isNoDatabase ? "not a database of vnStat 2: \(reason)" : "can't be read: \(reason)")
        } catch let error as StoreError {
            throw error
        } catch {
            throw StoreError(.unavailable, path: path, "\(error)")
        }
    }

    /// Why a table isn't vnStat's; `nil` if it may be. Reading a view, a virtual table or a computed column could do
    /// anything.
    private static func problem(with table: String, _ connection: Connection) throws -> String? {
        let kind: String? = try connection.value(
            "SELECT type FROM pragma_table_list(?1) WHERE schema = 'main'", table)
        guard let kind else { return "there is no table \(table)" }
        if kind != "table" { return "\(table) is no ordinary table" }
        let hidden: Int? = try connection.value(
            "SELECT count(*) FROM pragma_table_xinfo(?1) WHERE hidden <> 0", table)
        return hidden == 0 ? nil : "the table \(table) has columns that are computed or hidden"
    }

    private static func readInterfaces(_ connection: Connection) throws -> [VnStatInterface] {
        var interfaces: [VnStatInterface] = []
        var places: [Int64: Int] = [:]
        try connection.forEach(
            """
            SELECT id, name, created, updated, rxtotal, txtotal, typeof(rxtotal), typeof(txtotal) FROM interface
            ORDER BY name
            """
        ) { row in
            var interface = VnStatInterface(name: row[1], created: row[2], updated: row[3])
            interface.total = total(in: row, from: 4, .total, interface.created, of: &interface)
            places[row[0]] = interfaces.count
            interfaces.append(interface)
        }
        // Each table is read once, whatever indices it has.
        for table in tables {
            try connection.forEach(
                "SELECT interface, date, rx, tx, typeof(rx), typeof(tx) FROM \(table) ORDER BY interface, date"
            ) { row in
                guard let place = places[row[0]] else { return }
                let date: String = row[1]
                guard let total = total(in: row, from: 2, table, date, of: &interfaces[place]) else { return }
                interfaces[place].rows[table, default: []].append((date, total))
            }
        }
        return interfaces
    }

    /// Reads two numbers, and their types from the columns after them. Leaves the row out if they are poisoned.
    private static func total(
        in row: Row, from column: Int, _ table: VnStatInterface.Table, _ date: String, of owner: inout VnStatInterface
    ) -> Total? {
        let types: [String] = [row[column + 2], row[column + 3]]
        let numbers: [Int64] = [row[column], row[column + 1]]
        let poison: String
        if let wrong = types.first(where: { $0 != "integer" }) {
            poison = "a number of type \(wrong), as an overflow leaves it"
        } else if numbers.contains(where: { $0 < 0 }) {
            poison = "a negative number"
        } else if numbers.contains(.max) {
            poison = "the largest number there is, as an overflow leaves it"
        } else {
            return Total(received: UInt64(numbers[0]), transmitted: UInt64(numbers[1]))
        }
        owner.leaveOut(table, date, because: poison)
        return nil
    }
}
