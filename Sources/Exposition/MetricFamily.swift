/// What a family of series measures: its name, type and help, rendered once for both formats.
///
/// A class: to hand it on counts one reference instead of six.
package final class MetricFamily: Sendable {
    package enum Kind: Sendable {
        case counter
        case gauge
        case info
    }

    /// The name that series carry: a counter's ends in `_total`, an info's in `_info`.
    package let name: String
    package let kind: Kind
    /// The unit in the name, if there is one.
    package let unit: String?

    /// More than any name has.
    static let maximumNameBytes = 128

    let nameBytes: [UInt8]
    let createdNameBytes: [UInt8]
    private let textHeader: [UInt8]
    private let openMetricsHeader: [UInt8]

    /// - Parameter help: A sentence.
    /// - Precondition: The name fits the kind: `_total` for counters only, `_info` for infos only.
    package init(_ name: String, _ kind: Kind, help: String) {
        precondition(
            name.hasSuffix("_total") == (kind == .counter), "\(name): _total is for counters, and for them only")
        precondition(name.utf8.count <= Self.maximumNameBytes, "\(name): it is too long")
        precondition(name.hasSuffix("_info") == (kind == .info), "\(name): _info is for infos, and for them only")
        self.name = name
        self.kind = kind
        // In OpenMetrics the family's name has no suffix.
        let family =
            switch kind {
            case .counter: String(name.dropLast("_total".count))
            case .info: String(name.dropLast("_info".count))
            case .gauge: name
            }
        unit = ["bytes_per_second", "bytes", "seconds"].first { family.hasSuffix("_" + $0) }
        nameBytes = Array(name.utf8)
        createdNameBytes = Array("\(family)_created".utf8)
        let type = kind == .counter ? "counter" : "gauge"
        textHeader = Array("# HELP \(name) \(Self.escaped(help))\n# TYPE \(name) \(type)\n".utf8)
        var header = "# HELP \(family) \(Self.escaped(help, quotes: true))\n"
        header += "# TYPE \(family) \(kind == .info ? "info" : type)\n"
        if let unit { header += "# UNIT \(family) \(unit)\n" }
        openMetricsHeader = Array(header.utf8)
    }

    func header(_ format: ExpositionFormat) -> [UInt8] {
        switch format {
        case .prometheusText: textHeader
        case .openMetrics: openMetricsHeader
        }
    }

    private static func escaped(_ help: String, quotes: Bool = false) -> String {
        String(decoding: LabelSet.escaped(Array(help.utf8), quotes: quotes), as: UTF8.self)
    }
}
