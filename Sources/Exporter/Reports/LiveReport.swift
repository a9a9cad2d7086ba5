import Accounting
import CivilTime
import FoundationEssentials

/// What devices carry at this moment. Rates are those of the last sampling interval.
package struct LiveReport: Codable, Sendable {
    package struct Today: Codable, Sendable {
        package var receivedBytes: UInt64
        package var transmittedBytes: UInt64
        package var totalBytes: UInt64
    }

    package struct Account: Codable, Sendable {
        /// What `/metrics` shows as `device`; `uplink` for the uplink.
        package var name: String
        /// `uplink`, `device`, or `collapsed` for a class of devices.
        package var kind: String
        /// What the kernel says the link is: `physical`, `bridge`, `wireguard` …; absent for what isn't one link.
        package var link: String?
        package var up: Bool
        /// Whether it carries the default route now.
        package var uplink: Bool
        /// Empty where the configuration switches them off.
        package var addresses: [String]
        package var receiveBytesPerSecond: Double
        package var transmitBytesPerSecond: Double
        /// The highest of the last minute.
        package var receivePeakBytesPerSecond: Double
        package var transmitPeakBytesPerSecond: Double
        package var today: Today
    }

    package var asOf: String
    /// Whether there is a usable default route.
    package var online: Bool
    /// The uplink, then devices by name; only those that are there.
    package var accounts: [Account]
    /// Why it isn't what a daemon says, if so.
    package var note: String?

    init(
        _ ledger: Ledger, _ links: LinkTable, isOnline: Bool, showsAddresses: Bool, collapse: [DevicePattern],
        at now: Timestamp
    ) {
        asOf = ledger.calendar.rfc3339(now)
        online = isOnline
        let views = (0..<ledger.accountCount).compactMap { place in ledger.view(at: place).map { (place, $0) } }
        let names = AccountNames(views.lazy.map(\.1.key), collapse: collapse)
        let members = ledger.membersByPlace
        let addresses = showsAddresses ? Dictionary(grouping: links.addresses) { DeviceIndex(rawValue: $0.index) } : [:]
        accounts = views.filter { $0.1.isLive }.map { place, view in
            // The uplink is where the default route is.
            let devices = view.key == .uplink ? ledger.currentUplink.sorted() : members[place] ?? []
            let link = view.key.isOneLink ? devices.first.flatMap { links[$0.rawValue] } : nil
            return Account(
                name: names.name(of: view.key), kind: view.key.kind, link: link?.kind,
                up: devices.contains { links[$0.rawValue]?.isUp == true },
                uplink: devices.contains(where: ledger.currentUplink.contains),
                addresses: view.key.isOneLink
                    ? Set(devices.flatMap { addresses[$0] ?? [] }.map(\.text)).sorted() : [],
                receiveBytesPerSecond: view.rate.received, transmitBytesPerSecond: view.rate.transmitted,
                receivePeakBytesPerSecond: view.peak.received, transmitPeakBytesPerSecond: view.peak.transmitted,
                today: Today(
                    receivedBytes: view.periods.day.received, transmittedBytes: view.periods.day.transmitted,
                    totalBytes: view.periods.day.bytes))
        }.sorted { ($0.kind == "uplink" ? 0 : 1, $0.name) < ($1.kind == "uplink" ? 0 : 1, $1.name) }
    }
}

extension AccountKey {
    /// Whether it stands for one link at a time.
    fileprivate var isOneLink: Bool {
        switch self {
        case .device, .uplink: true
        case .collapsed: false
        }
    }
}

/// How the program is.
package struct StatusReport: Codable, Sendable {
    package struct Ledger: Codable, Sendable {
        package var up: Bool
        package var sizeBytes: Int64
        package var lastCommit: String?
        package var commitFailures: UInt64
    }

    package struct Kernel: Codable, Sendable {
        package var readSuccess: Bool
        package var netlinkOverruns: UInt64
        package var clockSteps: UInt64
    }

    package struct Configuration: Codable, Sendable {
        package var lastReloadSuccessful: Bool
        package var lastReloadSuccess: String
    }

    package var version: String
    package var revision: String
    package var asOf: String
    package var startedAt: String
    /// Whether there is a usable default route.
    package var online: Bool
    /// The device that carries it; the first of several.
    package var uplinkDevice: String?
    /// All devices that carry it: more than one where it leads over several links (ECMP).
    package var uplinkDevices: [String]
    package var dayStart: String
    package var weekStart: String
    package var monthStart: String
    package var ledger: Ledger
    package var kernel: Kernel
    package var configuration: Configuration
}
