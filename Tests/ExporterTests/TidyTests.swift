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
        (#"\b(let|var|func|in|\() ?\(?(told|former)\b"#, "the plain word, as stated or previous"),
        (#"HTML\(stringLiteral:"#, "an interpolation, which escapes"),
        (#"\btry!"#, "try"), (#"\bas!"#, "as?"), (#"@unchecked Sendable"#, "an actor or a value"),
        (#"\bTask\.detached\b"#, "a task group"), (#"\b(TODO|FIXME|XXX)\b"#, "doing it"),
        (#"\b(class|struct|enum|actor) \w*(Manager|Helper|Util|Base|Impl)\b"#, "a name that says what it is"),
    ]

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardized

    private func files(in folder: String) throws -> [URL] {
        let folder = Self.root.appendingPathComponent(folder)
        let files = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
        // What only the build runs may be heavy.
        return files.compactMap { $0 as? URL }.filter {
            $0.pathExtension == "swift" && !$0.path.contains("/Sources/KernelPrograms/")
        }
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

    /// Words that make a sentence need a second reading, and the plain ones.
    private static let hardWords: [(pattern: String, instead: String)] = [
        (#"(?i)\bformer(ly)?\b"#, "previous"), (#"(?i)\banew\b"#, "again"),
        (#"(?i)\bas of\b"#, "up to, until, or from … on"),
        (#"(?i)\b(tell|tells|told|telling)\b"#, "log, report, notify, show or say"),
    ]

    /// Comments, texts for users in the sources, and the manual.
    @Test func thePlainWordsAreUsed() throws {
        // Most lines have none of the words, and Swift's own patterns are slow.
        let any = try NSRegularExpression(pattern: Self.hardWords.map(\.pattern).joined(separator: "|"))
        func hasAny(_ text: String) -> Bool {
            any.firstMatch(in: text, range: NSRange(location: 0, length: text.utf16.count)) != nil
        }
        func check(_ text: some StringProtocol, _ place: String) {
            for (pattern, instead) in Self.hardWords where text.range(of: pattern, options: .regularExpression) != nil {
                Issue.record("\(place): \(text): use \(instead)")
            }
        }
        var lineCount = 0
        func forEachSuspect(in file: URL, _ body: (String, _ place: String) -> Void) throws {
            let text = try String(contentsOf: file, encoding: .utf8)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            lineCount += lines.count
            if !hasAny(text) { return }
            for (number, line) in lines.enumerated() where hasAny(String(line)) {
                body(String(line), "\(file.lastPathComponent):\(number + 1)")
            }
        }
        for file in try files(in: "Sources") {
            try forEachSuspect(in: file) { line, place in
                if let comment = line.firstMatch(of: /\/\/ .*|\/\/\/.*/) { check(comment.0, place) }
                // Swift's own words in an interpolation are no text.
                let code = line.replacing(/\\\([^()]*(\([^()]*\)[^()]*)*\)/, with: "")
                for literal in code.matches(of: /"([^"\\]|\\.)*"/) { check(literal.0, place) }
            }
        }
        let pages = ["deploy", "grafana", "Sources"].flatMap { folder in
            FileManager.default.enumerator(
                at: Self.root.appendingPathComponent(folder), includingPropertiesForKeys: nil)?
                .compactMap { $0 as? URL }.filter { ["md", "yml"].contains($0.pathExtension) } ?? []
        }
        for page in pages + ["README.md", "CHANGELOG.md"].map({ Self.root.appendingPathComponent($0) }) {
            try forEachSuspect(in: page) { check($0, $1) }
        }
        #expect(lineCount > 30_000)
    }

    /// A file, a function and a type each fit in a head.
    @Test func nothingIsTooLarge() throws {
        for file in try files(in: "Sources") {
            let lines = try String(contentsOf: file, encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            #expect(lines.count <= 401, "\(file.lastPathComponent) has \(lines.count - 1) lines; 400 are the most")
            for piece in Self.pieces(lines) {
                let place = "\(file.lastPathComponent): \(piece.header)"
                if piece.isFunction {
                    #expect(piece.lineCount <= 70, "\(place) has \(piece.lineCount) lines; 70 are the most")
                } else {
                    #expect(piece.propertyCount <= 20, "\(place) stores \(piece.propertyCount); 20 are the most")
                }
            }
        }
    }

    private struct Piece {
        let header: String
        let indent: Int
        let firstLine: Int
        let isFunction: Bool
        var lineCount = 0
        var propertyCount = 0
    }

    /// What a declaration may begin with.
    private static let declarationWords: Set = [
        "@", "actor", "borrowing", "class", "consuming", "convenience", "enum", "extension", "fileprivate", "final",
        "func",
        "indirect", "init", "isolated", "let", "mutating", "nonisolated", "open", "override", "package", "private",
        "protocol",
        "public", "required", "static", "struct", "subscript", "unowned", "var", "weak",
    ]

    /// The functions and types of a file, by its indentation, which the formatter keeps.
    private static func pieces(_ lines: [Substring]) -> [Piece] {
        var open: [Piece] = []
        var done: [Piece] = []
        for (number, line) in lines.enumerated() {
            let indent = line.prefix { $0 == " " }.count
            let text = line.dropFirst(indent)
            if text.hasPrefix("}"), var piece = open.last, piece.indent == indent {
                open.removeLast()
                piece.lineCount = number - piece.firstLine + 1
                done.append(piece)
            }
            // Most lines are in bodies, and patterns are slow.
            guard Self.declarationWords.contains(text.hasPrefix("@") ? "@" : String(text.prefix(while: \.isLetter)))
            else { continue }
            let words = text.prefix { $0 != "{" }
            let isType = words.contains(/^([@\w()]+ )*(struct|class|actor|enum|extension|protocol) \w/)
            let isFunction = words.contains(/^([@\w()]+ )*(func |init[(?<]|subscript)/)
            if isType || isFunction, !text.hasSuffix("}") {
                open.append(
                    Piece(header: String(words), indent: indent, firstLine: number, isFunction: isFunction))
            } else if let owner = open.last, !owner.isFunction, indent == owner.indent + 4,
                text.contains(/^((package|private|fileprivate|nonisolated|unowned|weak)(\(\w+\))? )*(let|var) \w/),
                !text.hasSuffix("{"), !text.contains(/: [^=]*\{.*\}$/)
            {
                open[open.count - 1].propertyCount += 1
            }
        }
        return done
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
