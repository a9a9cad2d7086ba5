import TestSupport
import Testing

@testable import Exposition

@Suite("Which format a client gets")
struct ExpositionFormatTests {
    private static let prometheus2 =
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
        + "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    private static let prometheus3 =
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        + "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
        + "text/plain;version=0.0.4;q=0.2,/;q=0.1"
    private static let protobufFirst =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
        + prometheus2
    private static let classicOnly = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0"

    private static let clients: [(accept: String?, format: ExpositionFormat)] = [
        (nil, .prometheusText), ("", .prometheusText), (prometheus2, .openMetrics), (prometheus3, .openMetrics),
        (protobufFirst, .openMetrics), (classicOnly, .prometheusText),
        // Browsers and curl.
        ("*/*", .prometheusText), ("text/*", .prometheusText),
        ("text/html,application/xhtml+xml,*/*;q=0.8", .prometheusText),
        ("application/openmetrics-text", .openMetrics), ("APPLICATION/OpenMetrics-Text; Version=1.0.0", .openMetrics),
        ("application/openmetrics-text ; version=\"1.0.0\"\t; q=0.1", .openMetrics),
        // Versions that aren't ours.
        ("application/openmetrics-text;version=0.0.1", .prometheusText),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", .prometheusText),
        ("text/plain;version=1.0.0,application/openmetrics-text;q=0.1", .openMetrics),
        // Qualities.
        ("application/openmetrics-text;q=0.2,text/plain;q=0.3", .prometheusText),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.2", .openMetrics),
        ("text/plain,application/openmetrics-text", .prometheusText),
        ("application/openmetrics-text,text/plain", .openMetrics),
        ("text/plain;q=0.569,application/openmetrics-text;q=0.57", .openMetrics),
        ("application/openmetrics-text;q=0", .prometheusText),
        ("application/openmetrics-text;q=0.000", .prometheusText),
        ("application/openmetrics-text;q=1.000", .openMetrics),
        ("application/openmetrics-text;q=1.1,text/plain;q=0.001", .prometheusText),
        ("application/openmetrics-text;q=nan,text/plain;q=0.001", .prometheusText),
        ("application/openmetrics-text;q=-1,text/plain;q=0.001", .prometheusText),
        ("application/openmetrics-text;q=,text/plain;q=0.001", .prometheusText),
        ("application/openmetrics-text;q=1e999,text/plain;q=0.001", .prometheusText),
        // What is said of a format goes before what is said of all.
        ("*/*;q=0.9,text/plain;q=0.1,application/openmetrics-text;q=0.5", .openMetrics),
        ("*/*;q=0.9,text/plain;q=0,application/openmetrics-text;q=0.5", .openMetrics),
        ("*/*;q=0.9,application/openmetrics-text;q=0.5", .prometheusText),
        // Rubbish.
        (",,,;;;===,q=1", .prometheusText), (";q=0.5", .prometheusText), ("\u{0}\r\n", .prometheusText),
        ("application/openmetrics-text;;;", .openMetrics), ("e\u{301}/*,application/openmetrics-text", .openMetrics),
        ("application/openmetrics-textt", .prometheusText), ("application/openmetrics-text/1", .prometheusText),
    ]

    @Test(arguments: clients.indices)
    func aClientGetsWhatItLikesBest(number: Int) {
        let client = Self.clients[number]
        #expect(ExpositionFormat(accept: client.accept) == client.format, "\(client.accept ?? "no header")")
    }

    @Test func hugeHeadersAreRead() {
        let filler = String(repeating: "text/html;level=1;q=0.5,", count: 20_000)
        #expect(ExpositionFormat(accept: filler + "application/openmetrics-text;q=0.1") == .openMetrics)
        #expect(ExpositionFormat(accept: String(repeating: ",", count: 1_000_000)) == .prometheusText)
        #expect(ExpositionFormat(accept: "text/plain" + String(repeating: ";a=b", count: 100_000)) == .prometheusText)
        #expect(acceptsGzip(String(repeating: "br,", count: 100_000) + "gzip"))
    }

    @Test(arguments: 0..<50)
    func anyBytesAreRead(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let pieces = [
            "text/plain", "application/openmetrics-text", ";q=", "0.", "9", ";version=", "1.0.0", ",", "*/*", "\"", " ",
        ]
        for _ in 0..<200 {
            let text = (0..<Int.random(in: 0..<12, using: &random)).map { _ in
                pieces.randomElement(using: &random) ?? ""
            }
            let accept = text.joined()
            let format = ExpositionFormat(accept: accept)
            if !accept.contains("application/openmetrics-text") {
                #expect(format == .prometheusText, "seed \(seed): \(accept)")
            }
            _ = acceptsGzip(accept)
        }
    }

    private static let encodings: [(header: String?, accepts: Bool)] = [
        (nil, false), ("", false), ("gzip", true), ("GZip", true), ("x-gzip", true), ("gzip, deflate, br", true),
        ("deflate,gzip;q=1.0, *;q=0.5", true), ("gzip;q=0", false), ("gzip;q=0.0", false), ("gzip;q=0.001", true),
        ("gzip ; q=0.5", true), ("identity", false), ("br", false), ("*", true), ("*;q=0", false),
        ("gzip;q=0,*", false),
        ("*,gzip;q=0", false), ("gzip,*;q=0", true), ("identity;q=0,gzip", true), ("gzipp", false),
        ("gzip;q=abc", false),
        (";;;,,", false),
    ]

    @Test(arguments: encodings.indices)
    func gzipIsForThoseWhoTakeIt(number: Int) {
        let encoding = Self.encodings[number]
        #expect(acceptsGzip(encoding.header) == encoding.accepts, "\(encoding.header ?? "no header")")
    }

    @Test func theContentTypeNamesTheVersion() {
        #expect(ExpositionFormat.prometheusText.contentType == "text/plain; version=0.0.4; charset=utf-8")
        #expect(
            ExpositionFormat.openMetrics.contentType == "application/openmetrics-text; version=1.0.0; charset=utf-8")
    }
}
