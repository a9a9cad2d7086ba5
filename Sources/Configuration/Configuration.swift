import Accounting
import CivilTime

/// What the owner can set, checked: every value in here is possible.
package struct Configuration: Hashable, Sendable {
    package struct Sampling: Hashable, Sendable {
        /// How often readings are taken.
        package var interval: Span
        /// The same on battery.
        package var onBattery: Span
    }

    package struct Storage: Hashable, Sendable {
        /// How often what was booked is written to disk.
        package var flushInterval: Span
        /// How long 5-minute buckets are kept.
        package var keepBuckets: Span
    }

    package struct Devices: Hashable, Sendable {
        /// Devices that aren't metered.
        package var exclude: [DevicePattern]
        /// Classes of devices that are one series each.
        package var collapse: [DevicePattern]
    }

    package struct Metrics: Hashable, Sendable {
        /// Whether rates and peaks are shown.
        package var rates: Bool
        /// Whether addresses are shown.
        package var addresses: Bool
    }

    /// A file a day that says once a minute what the day has come to.
    package struct CSVLog: Hashable, Sendable {
        /// Where the files are; absolute.
        package var directory: String
        /// What is written down: `uplink`, or what `/metrics` shows as `device`.
        package var device: String
    }

    package var timezone: TimeZoneSetting
    package var weekStarts: Weekday
    package var sampling: Sampling
    package var storage: Storage
    package var devices: Devices
    package var metrics: Metrics
    package var csvLog: CSVLog?
    package var plans: Plans
    /// What isn't wrong but may not be meant, each with its place.
    package var notes: [ConfigurationErrors.Entry]

    /// What holds without a file.
    package static let defaults = Configuration(
        timezone: .local,
        weekStarts: .monday,
        sampling: Sampling(interval: Span(seconds: 1), onBattery: Span(seconds: 5)),
        storage: Storage(flushInterval: Span(seconds: 60), keepBuckets: Span(seconds: 62 * 86400)),
        devices: Devices(
            exclude: ["lo"].compactMap { DevicePattern($0) },
            collapse: ["veth*", "cali*", "tap*", "vnet*"].compactMap { DevicePattern($0) }),
        metrics: Metrics(rates: true, addresses: true),
        csvLog: nil,
        plans: .none,
        notes: [])
}
