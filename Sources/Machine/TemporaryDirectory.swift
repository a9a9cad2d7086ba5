import FoundationEssentials
import Glibc

/// A private directory that is removed, if possible, together with this value.
package struct TemporaryDirectory: ~Copyable {
    package let path: String

    /// `nil` when it can't be created.
    package init?() {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        // mkdtemp(3) replaces the six letters X.
        var name = Array("\(parent)/netusage-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { return nil }
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Writes a new file in it.
    ///
    /// - Throws: When it can't be written.
    /// - Returns: Its path.
    package func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(filePath: path + "/" + name))
        return path + "/" + name
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}
