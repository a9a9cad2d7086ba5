import Accounting
import Foundation
import Reports
import Testing

@Suite("JSON text")
struct JSONTextTests {
    /// Scalars that a terminal shows nothing for, or acts on, and some that it shows.
    private static let scalars: [Unicode.Scalar] =
        (0..<0x3000).compactMap { Unicode.Scalar($0) }
        + ["\u{FEFF}", "\u{FFF9}", "\u{E000}", "\u{1D173}", "\u{E0001}", "\u{10FFFF}", "\u{1F600}", "日"]

    @Test func aStringKeepsItsValueAndHasNothingInvisible() throws {
        let text = String(String.UnicodeScalarView(Self.scalars))
        let quoted = jsonString(text)
        #expect(!quoted.unicodeScalars.contains { $0.isInvisible })
        #expect(
            try JSONDecoder().decode(String.self, from: Data(quoted.utf8)).unicodeScalars.elementsEqual(Self.scalars))
    }

    @Test(arguments: [false, true]) func aReportKeepsItsValuesAndHasNothingInvisible(isPretty: Bool) throws {
        let report = ["name": Self.scalars.map(String.init).joined(), "other": "plain"]
        let bytes = json(report, isPretty: isPretty)
        let shown = String(decoding: bytes, as: UTF8.self).unicodeScalars
        #expect(!shown.contains { $0.isInvisible && $0 != "\n" })
        #expect(try JSONDecoder().decode([String: String].self, from: Data(bytes)) == report)
    }

    @Test func aScalarBeyondSixteenBitsIsTwoEscapes() {
        #expect(jsonString("\u{E0001}\u{9B}\u{7F}") == #""\udb40\udc01\u009b\u007f""#)
    }
}
