/// A text format for metrics.
package enum ExpositionFormat: CaseIterable, Hashable, Sendable {
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.
    case prometheusText
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>, version 1.0.0.
    case openMetrics

    /// The value of `Content-Type`.
    package var contentType: String {
        switch self {
        case .prometheusText: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// The format that a client prefers, by its `Accept` header (RFC 9110 §12.5.1).
    ///
    /// A client that wants neither gets the classic text: that is what every exporter gives.
    package init(accept: String?) {
        let ranges = (accept ?? "").utf8.split(separator: UInt8(ascii: ",")).map { MediaRange($0) }
        var best = (format: ExpositionFormat.prometheusText, quality: 0, place: Int.max)
        for format in Self.allCases {
            // A range that names the format takes precedence over one that covers all.
            let places = ranges.indices.filter { ranges[$0].specificity(for: format) != nil }
            let place = places.max { a, b in
                let (first, second) = (ranges[a].specificity(for: format) ?? 0, ranges[b].specificity(for: format) ?? 0)
                return (first, ranges[a].quality, b) < (second, ranges[b].quality, a)
            }
            guard let place, ranges[place].quality > 0 else { continue }
            // Of two with equal quality, the one named first.
            let quality = ranges[place].quality
            if quality > best.quality || quality == best.quality && place < best.place {
                best = (format, quality, place)
            }
        }
        self = best.format
    }
}

/// Whether a client takes gzip, by its `Accept-Encoding` header (RFC 9110 §12.5.3).
package func acceptsGzip(_ acceptEncoding: String?) -> Bool {
    var named: Bool?
    var any = false
    for coding in (acceptEncoding ?? "").utf8.split(separator: UInt8(ascii: ",")) {
        let coding = MediaRange(coding)
        if coding.name == "gzip" || coding.name == "x-gzip" { named = coding.quality > 0 }
        if coding.name == "*" { any = coding.quality > 0 }
    }
    return named ?? any
}

/// One element of an `Accept…` header: a name with parameters.
private struct MediaRange {
    var name: String
    var version: String?
    /// Thousandths.
    var quality = 1000

    init(_ element: Substring.UTF8View) {
        let parts = element.split(separator: UInt8(ascii: ";"))
        name = parts.first.map { Self.trimmed($0).lowercased() } ?? ""
        for part in parts.dropFirst() {
            let pair = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { continue }
            let value = Self.trimmed(pair[1]).filter { $0 != "\"" }
            switch Self.trimmed(pair[0]).lowercased() {
            // A quality value such as `0.75`; anything else counts as 0 (not wanted).
            case "q": quality = Double(value).map { (0...1).contains($0) ? Int($0 * 1000) : 0 } ?? 0
            case "version": version = value
            default: break  // The escaping and character set don't matter: all names are plain ASCII.
            }
        }
    }

    /// How specifically it describes a format; `nil` if it doesn't.
    func specificity(for format: ExpositionFormat) -> Int? {
        switch (name, format) {
        case ("application/openmetrics-text", .openMetrics): version == nil || version == "1.0.0" ? 2 : nil
        case ("text/plain", .prometheusText): version == nil || version == "0.0.4" ? 2 : nil
        case ("text/*", .prometheusText): 1
        case ("*/*", .prometheusText): 0  // A client that takes anything gets the classic text.
        default: nil
        }
    }

    private static func trimmed(_ text: Substring.UTF8View) -> String {
        func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        let bytes = text.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        return String(decoding: Array(bytes), as: UTF8.self)
    }
}
