import Accounting
import CivilTime

/// What to export for other programs.
package struct ExportQuery: Hashable, Sendable {
    package enum Format: String, CaseIterable, Sendable {
        /// RFC 4180.
        case csv
        case json
        /// OpenMetrics 1.0 with timestamps, for `promtool tsdb create-blocks-from openmetrics`.
        case openmetrics

        package var contentType: String {
            switch self {
            case .csv: "text/csv; charset=utf-8; header=present"
            case .json: "application/json"
            case .openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }
    }

    package struct Label: Hashable, Sendable {
        package var name: String
        package var value: String

        private static let ownNames = ["device", "application", "scope"]

        /// `name=value`; `nil` if the name isn't a label's, or is taken: `device`, `application`, `scope`, and names that
        /// begin with `__`.
        package init?(_ text: String) {
            // By bytes: a combining mark may follow the sign.
            let parts = text.utf8.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            let name = Array(parts[0])
            func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A || byte == 0x5F }
            guard parts.count == 2, let first = name.first, isLetter(first), !name.starts(with: "__".utf8),
                !Self.ownNames.contains(String(decoding: name, as: UTF8.self)),
                name.allSatisfy({ isLetter($0) || (0x30...0x39).contains($0) })
            else { return nil }
            self.name = String(decoding: name, as: UTF8.self)
            value = String(decoding: parts[1], as: UTF8.self)
        }

        /// The labels of the scrape configuration in the README, so that scraped series continue the exported ones.
        package static let standard = ["instance=localhost:10073", "job=netusage"].compactMap { Label($0) }
    }

    package var format: Format
    /// Which time, how finely divided, which devices.
    package var usage: UsageQuery
    /// The labels of each series.
    package var labels = Label.standard

    /// Sets a label, and removes one of the same name.
    package mutating func set(_ label: Label) {
        labels.removeAll { $0.name == label.name }
        labels.append(label)
    }

    package init(_ format: Format, grain: UsageQuery.Grain) {
        self.format = format
        usage = UsageQuery(grain: grain)
    }

    /// The grain of a format unless another one is asked for.
    package static func standardGrain(of format: Format) -> UsageQuery.Grain {
        format == .openmetrics ? .fiveMinutes : .day
    }

    package static let grains: [UsageQuery.Grain] = [.fiveMinutes, .hour, .day]

    /// The query as parameters of the API.
    package var parameters: [(name: String, value: String)] {
        usage.parameters + [("format", format.rawValue)] + labels.map { ("label", "\($0.name)=\($0.value)") }
    }
}
