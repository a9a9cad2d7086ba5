import Accounting
import CivilTime

/// What devices or applications carry now. Rates are those of the last sampling interval.
package struct LiveReport: Codable, Sendable {
    package struct Today: Codable, Sendable {
        package var receivedBytes: UInt64
        package var transmittedBytes: UInt64
        package var totalBytes: UInt64
    }

    package struct Account: Codable, Sendable {
        /// What `/metrics` shows as `device`; `uplink` for the uplink.
        package var name: String
        /// `uplink`, `device`, `collapsed` for a class of devices, or `application`.
        package var kind: String
        /// The kind of link by the kernel: `physical`, `bridge`, `wireguard` …; absent if the account isn't one link.
        package var link: String?
        /// Of an application: whether it carried anything in the last minute.
        package var up: Bool
        /// Whether it carries the default route now.
        package var uplink: Bool
        /// Empty if the configuration switches them off.
        package var addresses: [String]
        package var receiveBytesPerSecond: Double
        package var transmitBytesPerSecond: Double
        /// The highest of the last minute.
        package var receivePeakBytesPerSecond: Double
        package var transmitPeakBytesPerSecond: Double
        package var today: Today
        /// Where an application's bytes came from or went to: `internet`, `lan` or `tunnel`.
        package var scope: String?

        /// Whether a name or a pattern of a command line means it.
        package func isMeant(by text: String) -> Bool {
            if kind == "application" { return UsageQuery.isMeant(name, by: text) }
            guard kind == "device", let device = DeviceName(label: name) else { return text == name }
            return AccountKey.device(device).isMeant(by: text, name: name)
        }
    }

    package var asOf: LocalMoment
    /// Whether there is a usable default route.
    package var online: Bool
    /// The uplink, then devices by name, only those that are there; or applications that carried anything today, the busiest
    /// first.
    package var accounts: [Account]
    /// Why the figures aren't from a daemon, or why there are no applications.
    package var note: String?

    package init(asOf: LocalMoment, online: Bool, accounts: [Account]) {
        self.asOf = asOf
        self.online = online
        self.accounts = accounts
    }
}

extension LiveReport.Account {
    package init(
        _ view: AccountView, name: String, kind: String, link: String?, up: Bool, uplink: Bool, addresses: [String],
        scope: String? = nil
    ) {
        self.init(
            name: name, kind: kind, link: link, up: up, uplink: uplink, addresses: addresses,
            receiveBytesPerSecond: view.rate.received, transmitBytesPerSecond: view.rate.transmitted,
            receivePeakBytesPerSecond: view.peak.received, transmitPeakBytesPerSecond: view.peak.transmitted,
            today: LiveReport.Today(
                receivedBytes: view.periods.day.received, transmittedBytes: view.periods.day.transmitted,
                totalBytes: view.periods.day.bytes), scope: scope)
    }
}
