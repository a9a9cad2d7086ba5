import Accounting
import CivilTime
import Glibc

extension Configuration.Applications {
    private static let listLimit = 1000
    /// More series than this would burden any Prometheus.
    private static let seriesLimit = 1000

    init(_ file: inout MappingReader, defaults: Self) {
        self = defaults
        if !file.isMapping("applications") {
            mode = file.value("applications", Self.mode, default: defaults.mode)
            return
        }
        let keep = Span(seconds: 86_400)...Span(seconds: 3650 * 86_400)
        self = file.mapping("applications") { reader in
            var settings = defaults
            settings.series = reader.value("series", Self.seriesCount, default: defaults.series)
            settings.lan = reader.list("lan", addressPrefix, limit: Self.listLimit, default: [])
            settings.names = reader.names("names", namePattern) { node throws(Complaint) in
                try node.parsed("a name", remedy: "write a short name, such as web") { text in
                    let isShort = !text.isEmpty && text.utf8.count <= 64
                    return isShort && !text.unicodeScalars.contains(where: \.isInvisible) ? text : nil
                }
            }.map { Name(pattern: $0.name, name: $0.value) }
            settings.keepBuckets = reader.value("keep_buckets", duration(in: keep), default: defaults.keepBuckets)
            return settings
        }
    }

    private static func mode(_ node: YAMLNode) throws(Complaint) -> Mode {
        try node.parsed("auto, on or off", remedy: "write auto, on or off, or a mapping such as { series: 20 }") {
            Mode(rawValue: $0)
        }
    }

    private static func seriesCount(_ node: YAMLNode) throws(Complaint) -> Int {
        try node.parsed("a number from 1 to \(seriesLimit)", remedy: "write one such as 50") { text in
            Int(text).flatMap { (1...seriesLimit).contains($0) ? $0 : nil }
        }
    }
}

/// Decodes the pattern of names that a name of the configuration is shown instead of.
private func namePattern(_ text: String) throws(Complaint) -> DevicePattern {
    guard let pattern = DevicePattern(text) else {
        throw Complaint(
            problem: "is not a pattern",
            remedy: "write a name that netusage apps shows, or a pattern such as \"docker-*\"")
    }
    return pattern
}

/// Decodes an IPv4 or IPv6 prefix: an address, a slash and the number of bits.
private func addressPrefix(_ node: YAMLNode) throws(Complaint) -> AddressPrefix {
    try node.parsed("a prefix", remedy: "write one such as 198.51.100.0/24 or \"2001:db8::/32\"") { text in
        AddressPrefix(text)
    }
}

extension AddressPrefix {
    fileprivate init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let bits = Int(parts[1]) else { return nil }
        let address = String(parts[0])
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, address, &bytes) == 1 {
            self.init(Array(bytes[..<4]), bits: bits)
        } else if inet_pton(AF_INET6, address, &bytes) == 1 {
            self.init(bytes, bits: bits)
        } else {
            return nil
        }
    }
}
