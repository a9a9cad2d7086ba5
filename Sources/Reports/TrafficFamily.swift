import Accounting
import CivilTime
import Exposition

/// A metric family of traffic. `/metrics` shows its value now, an export shows its past.
package struct TrafficFamily: Sendable {
    /// Where the value comes from.
    package enum Value: Sendable {
        /// The kernel's counter. Its past isn't known.
        case counter(@Sendable (Counters) -> UInt64)
        /// The mean of the last sampling interval.
        case rate(@Sendable (Rate) -> Double)
        /// The highest rate of the last minute. Its past isn't known.
        case peak(@Sendable (Rate) -> Double)
        /// The bytes of a period, and since metering began.
        case total(@Sendable (_ periods: PeriodTotals, _ lifetime: Total) -> UInt64)
    }

    /// With a series for each device.
    package let ofDevices: MetricFamily
    package let ofUplink: MetricFamily
    package let value: Value

    /// - Parameters:
    ///   - name: What follows `netusage_` and `netusage_uplink_`.
    ///   - help: `%` stands for the subject.
    private init(_ name: String, _ kind: MetricFamily.Kind, _ help: String, _ value: Value) {
        func text(_ subject: String) -> String { help.split(separator: "%", maxSplits: 1).joined(separator: subject) }
        ofDevices = MetricFamily("netusage_" + name, kind, help: text("the device"))
        ofUplink = MetricFamily("netusage_uplink_" + name, kind, help: text("the device that held the default route"))
        self.value = value
    }

    /// To add one, add it here.
    package static let all: [TrafficFamily] =
        [
            TrafficFamily("receive_bytes_total", .counter, "Bytes received by %.", .counter { $0.received }),
            TrafficFamily("transmit_bytes_total", .counter, "Bytes sent by %.", .counter { $0.transmitted }),
            TrafficFamily(
                "receive_bytes_per_second", .gauge, "Mean receive rate of % over the last sampling interval.",
                .rate { $0.received }),
            TrafficFamily(
                "transmit_bytes_per_second", .gauge, "Mean send rate of % over the last sampling interval.",
                .rate { $0.transmitted }),
            TrafficFamily(
                "receive_peak_bytes_per_second", .gauge, "Highest receive rate of % in the last 60 seconds.",
                .peak { $0.received }),
            TrafficFamily(
                "transmit_peak_bytes_per_second", .gauge, "Highest send rate of % in the last 60 seconds.",
                .peak { $0.transmitted }),
        ] + period("day", "since local midnight") { periods, _ in periods.day }
        + period("week", "since the local week began") { periods, _ in periods.week }
        + period("month", "since the first of the local month") { periods, _ in periods.month }
        + period("previous_day", "on the local day before") { periods, _ in periods.previousDay }
        + period("previous_month", "in the local month before") { periods, _ in periods.previousMonth }
        + period("lifetime", "since metering began") { _, lifetime in lifetime }

    private static func period(
        _ name: String, _ when: String, _ total: @escaping @Sendable (PeriodTotals, Total) -> Total
    ) -> [TrafficFamily] {
        [
            TrafficFamily(
                "\(name)_receive_bytes", .gauge, "Bytes received by % \(when).", .total { total($0, $1).received }),
            TrafficFamily(
                "\(name)_transmit_bytes", .gauge, "Bytes sent by % \(when).", .total { total($0, $1).transmitted }),
        ]
    }
}

/// A family that says when an open period began.
package struct PeriodStartFamily: Sendable {
    package let family: MetricFamily
    package let start: @Sendable (PeriodWindow) -> Timestamp

    package static let all = [
        PeriodStartFamily(
            family: MetricFamily("netusage_day_start_timestamp_seconds", .gauge, help: "When the local day began.")
        ) { $0.daySpan.lowerBound },
        PeriodStartFamily(
            family: MetricFamily("netusage_week_start_timestamp_seconds", .gauge, help: "When the local week began.")
        ) { $0.weekStartTime },
        PeriodStartFamily(
            family: MetricFamily("netusage_month_start_timestamp_seconds", .gauge, help: "When the local month began.")
        ) { $0.monthStartTime },
    ]
}
