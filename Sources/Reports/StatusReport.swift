import CivilTime

/// The state of the program.
package struct StatusReport: Codable, Sendable {
    package struct Ledger: Codable, Sendable {
        package var up: Bool
        package var sizeBytes: Int64
        package var lastCommit: LocalMoment?
        package var commitFailures: UInt64
    }

    package struct Kernel: Codable, Sendable {
        package var readSuccess: Bool
        package var netlinkOverruns: UInt64
        package var clockSteps: UInt64
    }

    package struct Configuration: Codable, Sendable {
        package var lastReloadSuccessful: Bool
        package var lastReloadSuccess: LocalMoment
    }

    package var version: String
    package var revision: String
    package var asOf: LocalMoment
    package var startedAt: LocalMoment
    /// Whether there is a usable default route.
    package var online: Bool
    /// The device that carries the default route; the first of several.
    package var uplinkDevice: String?
    /// All devices that carry the default route: several if it leads over several links (ECMP).
    package var uplinkDevices: [String]
    package var dayStart: LocalMoment
    package var weekStart: LocalMoment
    package var monthStart: LocalMoment
    package var ledger: Ledger
    package var kernel: Kernel
    package var configuration: Configuration
    package var applications: Applications?
}

extension StatusReport {
    package init(
        version: String, revision: String, asOf: LocalMoment, startedAt: LocalMoment, online: Bool,
        uplinkDevices: [String],
        dayStart: LocalMoment, weekStart: LocalMoment, monthStart: LocalMoment,
        ledger: (up: Bool, sizeBytes: Int64, lastCommit: LocalMoment?, commitFailures: UInt64),
        kernel: (readSuccess: Bool, netlinkOverruns: UInt64, clockSteps: UInt64),
        configuration: (lastReloadSuccessful: Bool, lastReloadSuccess: LocalMoment), applications: Applications
    ) {
        self.init(
            version: version, revision: revision, asOf: asOf, startedAt: startedAt, online: online,
            uplinkDevice: uplinkDevices.first, uplinkDevices: uplinkDevices,
            dayStart: dayStart, weekStart: weekStart, monthStart: monthStart,
            ledger: Ledger(
                up: ledger.up, sizeBytes: ledger.sizeBytes, lastCommit: ledger.lastCommit,
                commitFailures: ledger.commitFailures),
            kernel: Kernel(
                readSuccess: kernel.readSuccess, netlinkOverruns: kernel.netlinkOverruns,
                clockSteps: kernel.clockSteps),
            configuration: Configuration(
                lastReloadSuccessful: configuration.lastReloadSuccessful,
                lastReloadSuccess: configuration.lastReloadSuccess),
            applications: applications)
    }
}
