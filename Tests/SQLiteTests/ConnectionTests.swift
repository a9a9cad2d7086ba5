import Testing

@testable import SQLite

@Suite("Connection to a database")
struct ConnectionTests {
    private let connection: Connection

    init() throws {
        connection = try Connection(memory: DatabaseMemory())
        try connection.execute("CREATE TABLE number (value INTEGER, name ANY) STRICT")
    }

    private func numbers() throws -> [Int] { try connection.rows("SELECT value FROM number ORDER BY value") { $0[0] } }

    @Test func whatIsStoredIsRead() throws {
        func stored<Value: SQLConvertible>(_ value: Value) throws -> Value? { try connection.value("SELECT ?1", value) }
        for number: Int64 in [.min, -1, 0, 1, .max] { #expect(try stored(number) == number) }
        for number in [Int.min, 0, .max] { #expect(try stored(number) == number) }
        for flag in [false, true] { #expect(try stored(flag) == flag) }
        for text in ["", "a\u{0}b", "ä'\"\r\n", "🚀"] { #expect(try stored(text) == text) }
        for bytes: [UInt8] in [[], [0], [0xFF, 0xFE]] { #expect(try stored(bytes) == bytes) }
        #expect(try stored(UInt64(12)) == 12)
        #expect(try stored(UInt64.max) == UInt64(Int64.max), "SQLite's integers end there")
    }

    @Test func whatIsntThereIsNil() throws {
        #expect(try connection.value("SELECT value FROM number") as Int? == nil, "no row")
        #expect(try connection.value("SELECT NULL") as Int? == nil, "no value")
        #expect(try connection.value("SELECT ?1 IS NULL", nil) == 1)
        #expect(try connection.rows("SELECT 1 WHERE 0") { _ in true } == [])
        #expect(try connection.rows("SELECT NULL, 7") { [$0[0] as Int?, $0[1] as Int?] } == [[nil, 7]])
    }

    @Test func aStatementMayBeUsedWhileItsRowsAreRead() throws {
        for number in 1...3 { try connection.run("INSERT INTO number (value) VALUES (?1)", number) }
        var pairs: [[Int]] = []
        try connection.forEach("SELECT value FROM number ORDER BY value") { outer in
            try connection.forEach("SELECT value FROM number ORDER BY value") { inner in
                pairs.append([outer[0], inner[0]])
            }
        }
        #expect(pairs == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3], [3, 1], [3, 2], [3, 3]])
    }

    @Test func valuesOfAnEarlierUseAreGone() throws {
        try connection.run("INSERT INTO number (value, name) VALUES (?1, ?2)", 1, "one")
        try connection.run("INSERT INTO number (value, name) VALUES (?1, ?2)", 2)
        #expect(try connection.rows("SELECT name FROM number ORDER BY value") { $0[0] as String? } == ["one", nil])
    }

    private struct Stop: Error {}

    @Test func rowsThatNobodyWantsHoldUpNothing() throws {
        for number in 1...3 { try connection.run("INSERT INTO number (value) VALUES (?1)", number) }
        var seen: [Int] = []
        try connection.scan("SELECT value FROM number ORDER BY value") { row in
            seen.append(row[0])
            return seen.count < 2
        }
        #expect(seen == [1, 2])
        #expect(throws: Stop.self) { try connection.forEach("SELECT value FROM number") { _ in throw Stop() } }
        #expect(try connection.value("SELECT value FROM number ORDER BY value") == 1)
        // A table can't be dropped while a statement reads it.
        try connection.execute("DROP TABLE number")
    }

    @Test func aTransactionIsDoneWhollyOrNotAtAll() throws {
        try connection.transaction { try connection.run("INSERT INTO number (value) VALUES (1)") }
        #expect(throws: Stop.self) {
            try connection.transaction {
                try connection.run("INSERT INTO number (value) VALUES (2)")
                try connection.forEach("SELECT value FROM number") { _ in throw Stop() }
            }
        }
        #expect(try numbers() == [1])
        try connection.transaction { try connection.run("INSERT INTO number (value) VALUES (3)") }
        #expect(try numbers() == [1, 3])
    }

    @Test func moreStatementsThanAreKeptWorkToo() throws {
        for number in 0..<1000 { try connection.run("INSERT INTO number (value) VALUES (\(number))") }
        #expect(try numbers() == Array(0..<1000))
    }

    @Test func anErrorSaysWhatSQLiteSays() throws {
        let unknown = try #require(throws: SQLiteError.self) { try connection.run("SELECT * FROM nowhere") }
        #expect(unknown.message == "no such table: nowhere" && unknown.isSuspicious && !unknown.isDamage)
        let type = try #require(throws: SQLiteError.self) {
            try connection.run("INSERT INTO number (value) VALUES (?1)", "one")
        }
        #expect(type.message.contains("number.value"))
        try connection.run("INSERT INTO number (value) VALUES (?1)", 1)
        #expect(try numbers() == [1], "the same statement works after its error")
        #expect(throws: SQLiteError.self) { try connection.run("SELECT ?1", 1, 2) }
    }

    @Test func bytesThatAreNoDatabaseAreSaidToBeNone() throws {
        var memory = DatabaseMemory()
        let isThere = memory.resize(to: 4096)
        #expect(isThere)
        memory.bytes.copyBytes(from: Array(repeating: UInt8(ascii: "x"), count: 4096))
        let other = try Connection(memory: memory)
        let error = try #require(throws: SQLiteError.self) { try other.run("SELECT * FROM sqlite_master") }
        #expect(error.isNoDatabase && error.isDamage)
    }

    @Test func aForeignDatabasesStatementsEnd() throws {
        try connection.distrust(forSeconds: 0)
        let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        let error = try #require(throws: SQLiteError.self) { try connection.value(endless) as Int? }
        #expect(error.isInterrupted)
    }
}
