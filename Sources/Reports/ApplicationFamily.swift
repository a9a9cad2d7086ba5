import Accounting
import Exposition

/// A metric family of what applications carried in a period, by application and scope. `/metrics` shows its value now, an
/// export shows its past.
package struct ApplicationFamily: Sendable {
    package let family: MetricFamily
    /// The bytes of one application in one scope.
    package let value: @Sendable (PeriodTotals) -> UInt64

    /// To add one, add it here.
    package static let all: [ApplicationFamily] =
        period("day", "since local midnight") { $0.day }
        + period("month", "since the first of the local month") { $0.month }
        + period("previous_month", "in the local month before") { $0.previousMonth }

    private static func period(
        _ name: String, _ when: String, _ total: @escaping @Sendable (PeriodTotals) -> Total
    ) -> [ApplicationFamily] {
        func family(
            _ direction: String, _ verb: String, _ value: @escaping @Sendable (Total) -> UInt64
        ) -> ApplicationFamily {
            ApplicationFamily(
                family: MetricFamily(
                    "netusage_application_\(name)_\(direction)_bytes", .gauge,
                    help: "Bytes \(verb) by the application \(when).")
            ) { value(total($0)) }
        }
        return [family("receive", "received") { $0.received }, family("transmit", "sent") { $0.transmitted }]
    }

    private init(family: MetricFamily, value: @escaping @Sendable (PeriodTotals) -> UInt64) {
        self.family = family
        self.value = value
    }

    /// The labels of a series.
    package static func labels(_ application: String, _ scope: TrafficScope?) -> [(String, String)] {
        [("application", application), ("scope", scope?.rawValue ?? "")]
    }
}
