import Foundation
import Testing

/// Rules of style that the compiler doesn't know.
@Suite("Tidy")
struct TidyTests {
    private static let banned: [(pattern: String, instead: String)] = [
        (
            #"^\s*((internal|package|public|private)\s+)?import Foundation\b"#,
            "FoundationEssentials at most: see the README"
        ),
        (#"\bfatalError\("#, "precondition for a programmer's error, an Error for everything else"),
        (#"\btry!"#, "try"), (#"\bas!"#, "as?"), (#"@unchecked Sendable"#, "an actor or a value"),
        (#"\bTask\.detached\b"#, "a task group"), (#"\b(TODO|FIXME|XXX)\b"#, "doing it"),
        (#"\b(class|struct|enum|actor) \w*(Manager|Helper|Util|Base|Impl)\b"#, "a name that says what it is"),
    ]

    /// `ServiceManager` is what systemd calls itself.
    private static let exceptions = ["struct ServiceManager"]

    @Test func nothingBannedStandsInTheSources() throws {
        let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Sources").standardized
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        var count = 0
        for case let file as URL in files where file.pathExtension == "swift" {
            count += 1
            let lines = try String(contentsOf: file, encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            for (number, line) in lines.enumerated() where !Self.exceptions.contains(where: { line.contains($0) }) {
                for (pattern, instead) in Self.banned where line.range(of: pattern, options: .regularExpression) != nil
                {
                    Issue.record("\(file.lastPathComponent):\(number + 1): \(line) is banned; use \(instead)")
                }
            }
        }
        #expect(count > 50)
    }
}
