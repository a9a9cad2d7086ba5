import Foundation

/// A directory of its own for one test, removed with what is in it.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "netusage-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)  // The next boot cleans up the rest.
    }

    /// The path of the test's ledger.
    var ledger: String { path + "/ledger.db" }

    /// Copies a ledger from another directory, even if it is open there: as a kill would leave it.
    func copyLedger(from other: TemporaryDirectory) throws {
        for suffix in ["", "-wal", "-journal", ".lock"]
        where FileManager.default.fileExists(atPath: other.ledger + suffix) {
            try FileManager.default.copyItem(atPath: other.ledger + suffix, toPath: ledger + suffix)
        }
    }

    /// The same ledger once more; the one here may be open, and then nobody else can read it.
    func copy() throws -> TemporaryDirectory {
        let copy = try TemporaryDirectory()
        try copy.copyLedger(from: self)
        return copy
    }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
    }

    func bytes(of name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path + "/" + name)))
    }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: path + "/" + name) }
    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path + "/" + name) }
    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}
