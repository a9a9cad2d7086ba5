import Accounting
import Configuration
import TestSupport
import Testing

/// Files made to break the reader: it may refuse them, but must not trap, hang or overflow the stack.
@Suite struct HostileFileTests {
    @Test func everyPrefixOfAGoodFileIsReadOrRefused() {
        for file in [example, everySetting, awkward, "week_starts: monday # \u{FFFD}é"] {
            let bytes = Array(file.utf8)
            for count in 0...bytes.count {
                expectNamedErrors(Array(bytes.prefix(count)))
            }
        }
    }

    /// Ten thousand files for each seed, in parallel.
    @Test(arguments: [1, 20_261_120, 0xDEAD_BEEF, 31_415_926_535] as [UInt64])
    func mutationsOfGoodFilesAreReadOrRefused(seed: UInt64) {
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        let files = [example, everySetting, awkward].map { Array($0.utf8) }
        var goodCount = 0
        for round in 0..<tries(10_000) {
            let mutation = mutated(files[round % files.count], with: &random)
            if expectNamedErrors(mutation) { goodCount += 1 }
        }
        #expect(goodCount > tries(100), "too few mutations were good files: the reader may refuse everything")
        #expect(goodCount < tries(9_600), "too few mutations were bad files: the mutations may not mutate")
    }

    @Test(arguments: ["[", "{", "{a: ", "- ", "? ", "[\n", "{? ", "{a: [", "- ? "])
    func aNestingBombIsRefused(_ opening: String) {
        let bomb = String(repeating: opening, count: (1 << 20) / opening.utf8.count)
        #expect(errors(in: bomb).contains("more than 32 lists and mappings are nested here"))
    }

    @Test func aNestingBombByIndentationIsRefused() {
        let bomb = (0..<1000).map { String(repeating: " ", count: $0) + "a:\n" }.joined()
        let expected = "more than 32 lists and mappings are nested here; remove brackets or indentation"
        #expect(errors(in: bomb) == "netusage.yaml:33:33: \(expected)")
    }

    @Test func thirtyTwoLevelsAreRead() {
        let nested = String(repeating: "[", count: 31) + String(repeating: "]", count: 31)
        #expect(errors(in: "devices: \(nested)").contains("devices: this is a list, not a mapping"))
        #expect(errors(in: "devices: [\(nested)]").contains("more than 32 lists"))
    }

    @Test func aHundredThousandNodesAreReadAndNoMore() {
        // The mapping, its key and the list are three.
        let most = String(repeating: "a,", count: 100_000 - 3)
        #expect(errors(in: "timezone: [\(most)]").contains("timezone: this is a list"))
        let message = "the file has more than 100000 keys and values; is it the right file?"
        #expect(errors(in: "timezone: [\(most)a]") == "netusage.yaml:1:200006: \(message)")
    }

    @Test func aMebibyteIsReadAndNoMore() {
        let comment = "#" + String(repeating: "x", count: (1 << 20) - 1)
        #expect(errors(in: comment) == "")
        let message = "the file has 1048577 bytes, more than the 1048576 allowed; is it the right file?"
        #expect(errors(in: comment + "x") == "netusage.yaml:1:1: \(message)")
    }

    @Test func aMebibyteOfAnythingIsReadOrRefusedSoon() {
        let pieces = [
            "a", "'", "\"", "\\", "#", ":", "a:\n", "? a\n", "- a\n", "\n", "\r", " ", "&a ", "*a ", "!a ",
            "%TAG !a! b\n",
            "|\n", ">\n", "---\n", "...\n", "a: b\n", "a: |\n x\n", ",", "]", "}", "é", "\u{10FFFF}", "a: 'b'\n",
            "<<: a\n", "0", "1h", "a: [", "[a, ", "{a, ", "\" ", "\\\n", "\"a\": ", "@", "`", "a b ", "a\n ",
        ]
        let starts = [
            "", "timezone: ", "timezone: \"", "devices: { exclude: [", "storage: { flush_interval: '", "a: |\n ",
        ]
        for piece in pieces {
            for start in starts {
                let size = 1 << 14
                let text = start + String(repeating: piece, count: size / piece.utf8.count)
                expectNamedErrors(Array(text.utf8))
            }
        }
    }

    @Test func manyDifferentKeysTakeNoQuadraticTime() {
        let keys = (0..<5_000).map { "key\($0): 1\n" }.joined()
        #expect(errors(in: keys).utf8.filter { $0 == UInt8(ascii: "\n") }.count == 4_999)
    }

    @Test func aLongTextIsCutInAMessage() {
        let text = String(repeating: "x", count: 1_000_000)
        let shown = String(repeating: "x", count: 60) + "…"
        #expect(
            errors(in: "week_starts: \(text)").hasPrefix(
                "netusage.yaml:1:14: week_starts: \"\(shown)\" is not a day of the week; "))
        #expect(errors(in: "? \(text)\n: 1").hasPrefix("netusage.yaml:1:3: \"\(shown)\": is not a known key; "))
    }

    @Test func anInvisibleCharacterIsWrittenOutInAMessage() {
        #expect(
            errors(in: "timezone: \"a\u{202E}\\nb\u{E0001}\"").contains(#""a\u{202E}\nb\u{E0001}" can't be the name"#))
    }

    /// A file with nearly every kind of error but syntax errors.
    private var awkward: String {
        """
        timezone: &zone "\\x41\\u0042\\n"
        week_starts: *zone
        sampling: !!map { interval: [1s], <<: *zone, "on_battery": 99999999999999999999w, ? [a] : b }
        storage: |
          flush_interval: 1s
        devices:
          exclude: [lo, lo, "[", '', ~, {a: b}, é, "a b"]
          collapse: >-
            veth*
        metrics: { rates: yes, rates: no, ratse: on, addresses: !x false }
        ---
        a: b

        """
    }
}

/// Whether the bytes are a good file; errors of a bad one must all have a place in it and name problem and remedy.
@discardableResult
private func expectNamedErrors(_ bytes: [UInt8]) -> Bool {
    do throws(ConfigurationErrors) {
        _ = try read(bytes: bytes)
        return true
    } catch {
        let places = error.entries.compactMap(\.place)
        let areNamed = error.entries.allSatisfy {
            !$0.problem.isEmpty && !$0.remedy.isEmpty && !$0.problem.contains("not YAML (")
        }
        let linesInFile = bytes.filter { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }.count + 1
        let areInFile = places.allSatisfy {
            (1...linesInFile).contains($0.line) && (1...(bytes.count + 1)).contains($0.column)
        }
        if !areNamed || !areInFile || places.isEmpty || places.count != error.entries.count || places != places.sorted()
        {
            Issue.record("\(error) in \(bytes)")
        }
        return false
    }
}

/// One to four random changes: bytes replaced, removed, doubled, or pieces of YAML put in.
private func mutated(_ bytes: [UInt8], with random: inout SeededGenerator) -> [UInt8] {
    let pieces = [
        "[", "]", "{", "}", ": ", "- ", "? ", "&a ", "*a ", "!!str ", "\"", "'", "\n", "\n  ", "\t", "\\", "#", "|",
        ">",
        "---\n", "...\n", "%YAML 1.1\n", "<<: ", "~", "99999999999999999999", "\u{FEFF}", "é", "\u{2028}", "\0", ",",
        "1h",
    ]
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: index)
        case 2: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 20)], at: index)
        case 3: bytes.removeSubrange(index..<min(bytes.count - 1, index + 10))
        case 4: bytes[index] = UInt8.random(in: 0x20...0x7E, using: &random)
        default: bytes.insert(contentsOf: Array((pieces.randomElement(using: &random) ?? "").utf8), at: index)
        }
    }
    return bytes
}
