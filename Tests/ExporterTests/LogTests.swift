import Accounting
import CivilTime
import Foundation
import Logging
import TestSupport
import Testing

@testable import Exporter

@Suite("Log lines")
struct LogTests {
    private static func line(
        _ format: LogFormat, _ level: Logger.Level, _ message: Logger.Message, _ metadata: Logger.Metadata = [:],
        atNanoseconds wall: Int64 = 1_795_262_400_007_999_999
    ) -> String {
        let event = LogEvent(
            level: level, message: message, metadata: metadata, source: "test", file: "", function: "", line: 0)
        return Log(format: format, logLevel: .debug).line(
            of: event, at: Moment(wallNanoseconds: wall, sinceBoot: BootTime(nanoseconds: 0)))
    }

    @Test func aLineHasTimeLevelMessageAndItsFieldsInOrder() {
        #expect(
            Self.line(.logfmt, .notice, "netusage starts", ["version": "1.2.3", "ledger": "/a b/l.db"])
                == "time=2026-11-21T12:00:00.007Z level=info msg=\"netusage starts\" ledger=\"/a b/l.db\" version=1.2.3"
        )
        #expect(
            Self.line(.json, .warning, "late", ["quota": "a\"b"])
                == #"{"time":"2026-11-21T12:00:00.007Z","level":"warn","msg":"late","quota":"a\"b"}"#)
    }

    @Test(arguments: [
        (Logger.Level.trace, "trace"), (.debug, "debug"), (.info, "info"), (.notice, "info"), (.warning, "warn"),
        (.error, "error"), (.critical, "critical"),
    ])
    func levelsHaveTheNamesThatPrometheusUses(level: Logger.Level, name: String) {
        #expect(Self.line(.logfmt, level, "x").contains(" level=\(name) msg=x"))
    }

    @Test(arguments: [
        (Int64(-1), "1969-12-31T23:59:59.999Z"), (-1_000_000_000, "1969-12-31T23:59:59.000Z"),
        (0, "1970-01-01T00:00:00.000Z"), (999_999, "1970-01-01T00:00:00.000Z"),
    ])
    func aClockThatIsFarOffIsWrittenRight(nanoseconds: Int64, time: String) {
        #expect(Self.line(.logfmt, .info, "x", atNanoseconds: nanoseconds).hasPrefix("time=\(time) "))
    }

    /// Whatever is in a value: a line is a line, its fields can be told apart, and nothing steers a terminal.
    @Test func aValueNeverLeavesItsField() throws {
        var random = SeededGenerator(seed: testSeed)
        let letters: [Unicode.Scalar] = [
            "a", " ", "=", "\"", "\\", "\n", "\r", "\t", "\u{1B}", "\u{7F}", "\u{9B}", "\u{202E}", "\u{2028}", "é", "{",
        ]
        for _ in 0..<500 {
            let text = String(
                String.UnicodeScalarView(
                    (0..<Int.random(in: 0...8, using: &random)).map { _ in letters.randomElement(using: &random) ?? "a"
                    }))
            let json = Self.line(.json, .info, "\(text)", ["key": "\(text)"])
            let read = try JSONDecoder().decode([String: String].self, from: Data(json.utf8))
            #expect(read["msg"]?.unicodeScalars.elementsEqual(text.unicodeScalars) == true && read["key"] == text)
            let logfmt = Self.line(.logfmt, .info, "\(text)", ["key": "\(text)"])
            for line in [json, logfmt] {
                #expect(!line.unicodeScalars.contains { $0.isInvisible }, "\(line)")
            }
            let fields = try #require(logfmt.wholeMatch(of: /time=\S+ level=info msg=(.+) key=(.+)/))
            let isPlain = text.wholeMatch(of: /[a{]+/) != nil
            let written = isPlain ? text : String(fields.1)
            #expect(fields.1 == fields.2 && (isPlain || written.hasPrefix("\"") && written.hasSuffix("\"")))
        }
    }
}
