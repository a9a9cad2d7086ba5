import Foundation
import Testing

/// Rules of style that the compiler doesn't know.
@Suite("Tidy")
struct TidyTests {
    private static let banned: [(pattern: String, instead: String)] = [
        (
            #"^\s*((internal|package|public|private)\s+)?import Foundation\b"#,
            "FoundationEssentials at most: full Foundation weighs 40 to 60 MB"
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

    /// Links between the pages of the manual, and to files, lead somewhere.
    @Test func everyLinkOfTheManualLeadsSomewhere() throws {
        let manual = Self.root.appendingPathComponent("deploy/manual")
        let pages =
            try FileManager.default.contentsOfDirectory(at: manual, includingPropertiesForKeys: nil)
            + ["README.md", "deploy/INSTALL.md", "deploy/RUNBOOK.md", "Sources/README.md"].map {
                Self.root.appendingPathComponent($0)
            }
        for page in pages {
            let text = try String(contentsOf: page, encoding: .utf8)
            for match in text.matches(of: /\]\(([^()#\s]*)(?:#([^()\s]+))?\)/) where !match.1.hasPrefix("http") {
                let target =
                    match.1.isEmpty
                    ? page : page.deletingLastPathComponent().appendingPathComponent(String(match.1)).standardized
                #expect(FileManager.default.fileExists(atPath: target.path), "\(page.lastPathComponent): \(match.0)")
                guard let anchor = match.2, target.pathExtension == "md" else { continue }
                let headings = try String(contentsOf: target, encoding: .utf8).split(separator: "\n")
                    .filter { $0.hasPrefix("#") }.map { Self.anchor(of: $0) }
                #expect(headings.contains(String(anchor)), "\(page.lastPathComponent): \(match.0)")
            }
        }
        #expect(pages.count > 10)
    }

    /// As forges make it: small letters and digits, with a dash for each blank.
    private static func anchor(of heading: Substring) -> String {
        String(
            heading.drop { $0 == "#" || $0 == " " }.lowercased().compactMap { character in
                character == " " ? "-" : character.isLetter || character.isNumber || character == "-" ? character : nil
            })
    }
}
