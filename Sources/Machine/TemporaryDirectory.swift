import FoundationEssentials
import Glibc

/// A directory of one's own that goes when this does.
package struct TemporaryDirectory: ~Copyable {
    package let path: String

    /// `nil` when there can't be one.
    package init?() {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        // mkdtemp(3) puts other letters in the place of the six.
        var name = Array("\(parent)/netusage-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { return nil }
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A new file in it.
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
