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

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized

    private func files(in folder: String) throws -> [URL] {
        let folder = Self.root.appendingPathComponent(folder)
        let files = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
        return files.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }
    }

    @Test func nothingBannedStandsInTheSources() throws {
        let files = try files(in: "Sources")
        for file in files {
            let lines = try String(contentsOf: file, encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            for (number, line) in lines.enumerated() {
                for (pattern, instead) in Self.banned where line.range(of: pattern, options: .regularExpression) != nil
                {
                    Issue.record("\(file.lastPathComponent):\(number + 1): \(line) is banned; use \(instead)")
                }
            }
        }
        #expect(files.count > 50)
    }

    /// A target that may import another one does. What isn't used hides what the target needs.
    @Test func everyArrowOfThePackageIsUsed() throws {
        let package = try String(contentsOf: Self.root.appendingPathComponent("Package.swift"), encoding: .utf8)
        let targets =
            package.matches(of: /target\(\s*"(\w+)",\s*\[([^\]]*)\]/)
            + package.matches(of: /executableTarget\(\s*name: "(\w+)",\s*dependencies: \[([^\]]*)\]/)
        #expect(targets.count > 8)
        for target in targets where FileManager.default.fileExists(atPath: "\(Self.root.path)/Sources/\(target.1)") {
            let sources = try files(in: "Sources/\(target.1)").map { try String(contentsOf: $0, encoding: .utf8) }
            let wanted = target.2.matches(of: /(?:name: )?"(\w+)"(?!\))/).map { String($0.1) }
            for name in wanted {
                let isUsed = sources.contains { $0.contains("import \(name)\n") }
                #expect(isUsed, "\(target.1) may import \(name), and doesn't")
            }
        }
    }
}
