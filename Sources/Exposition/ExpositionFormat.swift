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

    /// The format that a client likes best, by its `Accept` header (RFC 9110 §12.5.1).
    ///
    /// A client that wants neither gets the classic text: that is what every exporter gives.
    package init(accept: String?) {
        var best: (format: ExpositionFormat, quality: Int)?
        for range in (accept ?? "").utf8.split(separator: UInt8(ascii: ",")) {
            let range = MediaRange(range)
            guard let format = range.format else { continue }
            // Of two that are liked the same, the one that is named first.
            if range.quality > best?.quality ?? 0 { best = (format, range.quality) }
        }
        self = best?.format ?? .prometheusText
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
            case "q": quality = Self.thousandths(value)
            case "version": version = value
            default: break  // The escaping and character set don't matter: all names are plain ASCII.
            }
        }
    }

    var format: ExpositionFormat? {
        switch name {
        case "application/openmetrics-text": version == nil || version == "1.0.0" ? .openMetrics : nil
        case "text/plain": version == nil || version == "0.0.4" ? .prometheusText : nil
        case "text/*", "*/*": .prometheusText
        default: nil
        }
    }

    /// A quality value such as `0.75`; what isn't one counts as 0 (not wanted).
    private static func thousandths(_ text: String) -> Int {
        guard let quality = Double(text), quality >= 0, quality <= 1 else { return 0 }
        return Int(quality * 1000)
    }

    private static func trimmed(_ text: Substring.UTF8View) -> String {
        func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        let bytes = text.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        return String(decoding: Array(bytes), as: UTF8.self)
    }
}
