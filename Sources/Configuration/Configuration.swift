import Accounting
import CivilTime

/// The settings of the configuration file. All values are checked.
package struct Configuration: Hashable, Sendable {
    package struct Sampling: Hashable, Sendable {
        /// How often readings are taken.
        package var interval: Span
        /// The same on battery.
        package var onBattery: Span
    }

    package struct Storage: Hashable, Sendable {
        /// How often booked bytes are written to disk.
        package var flushInterval: Span
        /// How long 5-minute buckets are kept.
        package var keepBuckets: Span
    }

    package struct Devices: Hashable, Sendable {
        /// Devices that aren't metered.
        package var exclude: [DevicePattern]
        /// Classes of devices. Each class has one series.
        package var collapse: [DevicePattern]
    }

    package struct Metrics: Hashable, Sendable {
        /// Whether rates and peaks are shown.
        package var rates: Bool
        /// Whether addresses are shown.
        package var addresses: Bool
    }

    /// A file for each day, with the day's bytes so far once a minute.
    package struct CSVLog: Hashable, Sendable {
        /// The absolute path of the files' directory.
        package var directory: String
        /// The account in the files: `uplink`, or a label `device` of `/metrics`.
        package var device: String
    }

    /// How applications are metered.
    package struct Applications: Hashable, Sendable {
        package enum Mode: String, CaseIterable, Sendable {
            /// Where that is possible.
            case auto
            /// The same, and the log warns where it isn't.
            case on
            case off
        }

        /// The owner's own name for what runs in some cgroups.
        package struct Name: Hashable, Sendable {
            package var pattern: DevicePattern
            package var name: String
        }

        package var mode: Mode
        /// How many `/metrics` shows by name.
        package var series: Int
        /// Prefixes that count as the local network, too.
        package var lan: [AddressPrefix]
        package var names: [Name]
        /// How long the 5-minute buckets of applications are kept.
        package var keepBuckets: Span
    }

    package var timezone: TimeZoneSetting
    package var weekStarts: Weekday
    package var sampling: Sampling
    package var storage: Storage
    package var devices: Devices
    package var metrics: Metrics
    package var csvLog: CSVLog?
    package var applications: Applications
    package var plans: Plans
    /// Settings that are allowed but may be mistakes, each with its place.
    package var notes: [ConfigurationErrors.Entry]

    /// The configuration without a file.
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
        applications: Applications(
            mode: .auto, series: 50, lan: [], names: [], keepBuckets: Span(seconds: 14 * 86400)),
        plans: .none,
        notes: [])
}
