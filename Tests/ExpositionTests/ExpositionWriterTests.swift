import TestSupport
import Testing

@testable import Exposition

@Suite("The bytes of a body")
struct ExpositionWriterTests {
    private static let bytesTotal = MetricFamily(
        "test_receive_bytes_total", .counter, help: "Bytes of a \"test\".\nAll \\ of them.")
    private static let rate = MetricFamily("test_bytes_per_second", .gauge, help: "A rate.")
    private static let online = MetricFamily("test_online", .gauge, help: "Whether it is.")
    private static let build = MetricFamily("test_build_info", .info, help: "What this is.")

    private func body(
        _ format: ExpositionFormat, _ write: (inout ExpositionWriter) -> Void
    ) -> String {
        var writer = ExpositionWriter()
        writer.begin(format)
        write(&writer)
        writer.end()
        return writer.withBytes { String(decoding: $0, as: UTF8.self) }
    }

    /// What a value reads like behind the family's name.
    private func value(_ write: (inout ExpositionWriter) -> Void) -> String {
        let lines = body(.prometheusText) { writer in
            writer.begin(Self.online)
            write(&writer)
        }.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count == 4 && lines[2].hasPrefix("test_online ") && lines[3].isEmpty)
        return String(lines[2].dropFirst("test_online ".count))
    }

    // MARK: - Families

    @Test func theClassicTextHasHelpAndType() {
        let text = body(.prometheusText) { writer in
            writer.begin(Self.bytesTotal, created: 1.5)
            writer.sample(LabelSet([("device", "eth0")]), 5 as UInt64)
            writer.sample(LabelSet([("device", "eth1")]), 6 as UInt64)
            writer.begin(Self.rate)
            writer.sample(.none, 1.5)
            writer.begin(Self.build)
            writer.sample(LabelSet([("version", "1"), ("revision", "r")]), 1 as UInt64)
        }
        #expect(
            text == #"""
                # HELP test_receive_bytes_total Bytes of a "test".\nAll \\ of them.
                # TYPE test_receive_bytes_total counter
                test_receive_bytes_total{device="eth0"} 5
                test_receive_bytes_total{device="eth1"} 6
                # HELP test_bytes_per_second A rate.
                # TYPE test_bytes_per_second gauge
                test_bytes_per_second 1.5
                # HELP test_build_info What this is.
                # TYPE test_build_info gauge
                test_build_info{version="1",revision="r"} 1

                """#)
    }

    @Test func openMetricsHasUnitsAndBeginningsAndAnEnd() {
        let text = body(.openMetrics) { writer in
            writer.begin(Self.bytesTotal, created: 1_795_219_200.25)
            writer.sample(LabelSet([("device", "eth0")]), 5 as UInt64)
            writer.sample(LabelSet([("device", "eth1")]), 0.5)
            writer.begin(Self.rate)
            writer.sample(.none, 1.5)
            writer.begin(Self.build)
            writer.sample(LabelSet([("version", "1")]), 1 as UInt64)
        }
        #expect(
            text == #"""
                # HELP test_receive_bytes Bytes of a \"test\".\nAll \\ of them.
                # TYPE test_receive_bytes counter
                # UNIT test_receive_bytes bytes
                test_receive_bytes_total{device="eth0"} 5
                test_receive_bytes_created{device="eth0"} 1795219200.25
                test_receive_bytes_total{device="eth1"} 0.5
                test_receive_bytes_created{device="eth1"} 1795219200.25
                # HELP test_bytes_per_second A rate.
                # TYPE test_bytes_per_second gauge
                # UNIT test_bytes_per_second bytes_per_second
                test_bytes_per_second 1.5
                # HELP test_build What this is.
                # TYPE test_build info
                test_build_info{version="1"} 1
                # EOF

                """#)
    }

    @Test func withoutABeginningThereIsNone() {
        let text = body(.openMetrics) { writer in
            writer.begin(Self.bytesTotal)
            writer.sample(.none, 5 as UInt64)
        }
        #expect(!text.contains("_created") && text.hasSuffix("test_receive_bytes_total 5\n# EOF\n"))
    }

    @Test func aUnitIsWhatTheNameEndsIn() {
        func unit(_ name: String, _ kind: MetricFamily.Kind) -> String? { MetricFamily(name, kind, help: "").unit }
        #expect(unit("a_bytes_total", .counter) == "bytes")
        #expect(unit("a_bytes", .gauge) == "bytes")
        #expect(unit("a_bytes_per_second", .gauge) == "bytes_per_second")
        #expect(unit("a_timestamp_seconds", .gauge) == "seconds")
        #expect(unit("a_seconds_total", .counter) == "seconds")
        #expect(unit("a_megabytes", .gauge) == nil)
        #expect(unit("a_resets_total", .counter) == nil)
        #expect(unit("a_info", .info) == nil)
    }

    @Test func aFamilyWithoutSeriesLeavesNoTrace() {
        for format in ExpositionFormat.allCases {
            let end = format == .openMetrics ? "# EOF\n" : ""
            let alone = body(format) { writer in
                writer.begin(Self.rate)
                writer.begin(Self.online)
            }
            #expect(alone == end)
            let beside = body(format) { writer in
                writer.begin(Self.rate)
                writer.begin(Self.online)
                writer.sample(.none, 1 as UInt64)
                writer.begin(Self.rate)
            }
            #expect(beside == "# HELP test_online Whether it is.\n# TYPE test_online gauge\ntest_online 1\n" + end)
        }
    }

    // MARK: - Labels

    @Test func aColumnOfLabelsGivesTheSameBytesAsEachSetOfLabels() {
        var random = SeededGenerator(seed: testSeed)
        let values = (0..<200).map { _ in
            String(repeating: "é\"x", count: .random(in: 0...20, using: &random))
                + "\(UInt64.random(in: 0...99, using: &random))"
        }
        let labelSets = [LabelSet.none] + values.map { LabelSet([("device", $0)]) }
        let column = LabelColumn(labelSets)
        for format in ExpositionFormat.allCases {
            let one = body(format) { writer in
                writer.begin(Self.bytesTotal, created: 1.5)
                for (row, labels) in labelSets.enumerated() {
                    writer.sample(labels, UInt64(row) << 40)
                    writer.sample(labels, Double(row) / 3)
                }
            }
            let other = body(format) { writer in
                writer.begin(Self.bytesTotal, created: 1.5)
                for row in 0..<column.count {
                    writer.sample(column, row, UInt64(row) << 40)
                    writer.sample(column, row, Double(row) / 3)
                }
            }
            #expect(one == other && column.count == 201, "seed \(testSeed)")
        }
    }

    @Test(arguments: [
        ("plain", #"plain"#), ("a\"b", #"a\"b"#), (#"a\b"#, #"a\\b"#), ("a\nb", #"a\nb"#), ("a\r\nb", "a\r\\nb"),
        ("\"\u{301}", "\\\"\u{301}"), ("\\\u{301}", "\\\\\u{301}"), ("\n\u{301}", "\\n\u{301}"),
        (#"\""#, #"\\\""#), ("\u{1F1E9}\u{1F1EA}", "\u{1F1E9}\u{1F1EA}"), ("", ""), ("{},=", "{},="),
    ])
    func labelValuesAreEscapedByteByByte(value: String, escaped: String) {
        let labels = LabelSet([("device", value)])
        #expect(labels.bytes == Array("{device=\"\(escaped)\"}".utf8))
    }

    /// Undoes the escaping as a scraper does.
    private func unescaped(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var plain: [UInt8] = []
        var isEscaped = false
        for byte in bytes {
            if isEscaped {
                plain.append(byte == UInt8(ascii: "n") ? UInt8(ascii: "\n") : byte)
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else {
                plain.append(byte)
            }
        }
        return plain
    }

    @Test(arguments: 0..<100)
    func aScraperReadsEveryLabelValueAsItWas(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let scalars: [Unicode.Scalar] = [
            "\"", "\\", "\n", "\r", "\u{301}", "a", "\u{0}", "{", "}", "\u{200D}", "\u{10FFFF}",
        ]
        var value = ""
        for _ in 0..<20 { value.unicodeScalars.append(scalars.randomElement(using: &random) ?? "a") }
        let bytes = LabelSet([("a", value)]).bytes
        #expect(!bytes.contains(UInt8(ascii: "\n")), "seed \(seed)")
        let inside = bytes.dropFirst("{a=\"".utf8.count).dropLast("\"}".utf8.count)
        #expect(unescaped(inside) == Array(value.utf8), "seed \(seed)")
        // The only quotes that aren't escaped are the two around the value.
        var quotes = 0
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "\"") {
            let backslashes = bytes[..<index].reversed().prefix { $0 == UInt8(ascii: "\\") }.count
            if backslashes % 2 == 0 { quotes += 1 }
        }
        #expect(quotes == 2, "seed \(seed)")
    }

    @Test func seriesAreOrderedByTheirBytes() {
        let a = LabelSet([("device", "eth0")])
        let b = LabelSet([("device", "eth1")])
        #expect(a.precedes(b) && !b.precedes(a) && !a.precedes(a))
        #expect(LabelSet.none.precedes(a) && LabelSet([]).bytes.isEmpty)
    }

    // MARK: - Numbers

    @Test func wholeNumbersAreExactWithAnyCountOfDigits() {
        var numbers: [UInt64] = [0, .max, .max - 1, UInt64(Int64.max), UInt64(Int64.max) + 1, 1 << 53, 1 << 53 + 1]
        var power: UInt64 = 1
        for _ in 0..<20 {
            for number in [power &- 1, power, power &+ 1, power &* 9, power &* 5] { numbers.append(number) }
            power = power.multipliedReportingOverflow(by: 10).partialValue
        }
        var random = SeededGenerator(seed: 1)
        for shift in 0..<64 { numbers.append(UInt64.random(in: 0 ... .max, using: &random) >> UInt64(shift)) }
        #expect(Set(numbers.map { String($0).count }) == Set(1...20))
        for number in numbers { #expect(value { $0.sample(.none, number) } == String(number)) }
    }

    @Test(arguments: [
        (0.0, "0"), (-0.0, "0"), (1, "1"), (1.5, "1.5"), (0.1, "0.1"), (-1, "-1.0"), (-2.25, "-2.25"),
        (1e300, "1e+300"),
        (.leastNonzeroMagnitude, "5e-324"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"), (-.nan, "NaN"),
        (9_007_199_254_740_991, "9007199254740991"), (0.30000000000000004, "0.30000000000000004"),
    ])
    func fractionsAreAsShortAsCanBeAndExact(number: Double, text: String) {
        #expect(value { $0.sample(.none, number) } == text)
    }

    @Test(arguments: 0..<20)
    func everyDoubleReadsBackAsItWas(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let number = Double(bitPattern: .random(in: 0 ... .max, using: &random))
            if !number.isFinite { continue }
            #expect(Double(value { $0.sample(.none, number) }) == number, "seed \(seed)")
        }
    }

    // MARK: - Memory

    /// Bodies around the first buffer's 16 KiB, cut anywhere, and one far beyond.
    @Test(arguments: [16_300, 16_350, 16_384, 16_400, 40_000, 1_000_000])
    func aBodyLargerThanTheBufferIsComplete(size: Int) {
        for shift in 0..<16 {
            var expected = "# HELP test_online Whether it is.\n# TYPE test_online gauge\n"
            let text = body(.prometheusText) { writer in
                writer.begin(Self.online)
                var number = 0
                while expected.utf8.count < size {
                    let device = String(repeating: "d", count: shift + number % 7)
                    writer.sample(LabelSet([("device", device)]), UInt64.max - UInt64(number))
                    expected += "test_online{device=\"\(device)\"} \(UInt64.max - UInt64(number))\n"
                    number += 1
                }
            }
            #expect(text == expected)
            if size > 100_000 { return }
        }
    }

    @Test func oneLabelLargerThanTwoBuffersFits() {
        let device = String(repeating: "d", count: 70_000)
        let text = body(.prometheusText) { writer in
            writer.begin(Self.online)
            writer.sample(LabelSet([("device", device)]), 1 as UInt64)
            writer.sample(LabelSet([("device", device)]), 0.5)
        }
        #expect(text.hasSuffix("test_online{device=\"\(device)\"} 1\ntest_online{device=\"\(device)\"} 0.5\n"))
    }

    @Test func aWriterThatIsUsedAgainKeepsNothing() {
        var writer = ExpositionWriter()
        writer.begin(.openMetrics)
        writer.begin(Self.bytesTotal, created: 1)
        for number in 0..<5000 { writer.sample(LabelSet([("device", "eth\(number)")]), UInt64(number)) }
        writer.begin(Self.rate)
        for _ in 0..<2 {
            writer.begin(.prometheusText)
            writer.begin(Self.bytesTotal)
            writer.sample(.none, 7 as UInt64)
            writer.end()
            let text = writer.withBytes { String(decoding: $0, as: UTF8.self) }
            #expect(text.hasSuffix("counter\ntest_receive_bytes_total 7\n") && text.utf8.count < 200)
        }
    }
}
