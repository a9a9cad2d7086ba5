/// The state of the program.
package struct StatusReport: Codable, Sendable {
    package struct Ledger: Codable, Sendable {
        package var up: Bool
        package var sizeBytes: Int64
        package var lastCommit: String?
        package var commitFailures: UInt64

        package init(
            up: Bool, sizeBytes: Int64, lastCommit: String? = nil, commitFailures: UInt64
        ) {
            self.up = up
            self.sizeBytes = sizeBytes
            self.lastCommit = lastCommit
            self.commitFailures = commitFailures
        }
    }

    package struct Kernel: Codable, Sendable {
        package var readSuccess: Bool
        package var netlinkOverruns: UInt64
        package var clockSteps: UInt64

        package init(
            readSuccess: Bool, netlinkOverruns: UInt64, clockSteps: UInt64
        ) {
            self.readSuccess = readSuccess
            self.netlinkOverruns = netlinkOverruns
            self.clockSteps = clockSteps
        }
    }

    package struct Configuration: Codable, Sendable {
        package var lastReloadSuccessful: Bool
        package var lastReloadSuccess: String

        package init(
            lastReloadSuccessful: Bool, lastReloadSuccess: String
        ) {
            self.lastReloadSuccessful = lastReloadSuccessful
            self.lastReloadSuccess = lastReloadSuccess
        }
    }

    package var version: String
    package var revision: String
    package var asOf: String
    package var startedAt: String
    /// Whether there is a usable default route.
    package var online: Bool
    /// The device that carries the default route; the first of several.
    package var uplinkDevice: String?
    /// All devices that carry the default route: several if it leads over several links (ECMP).
    package var uplinkDevices: [String]
    package var dayStart: String
    package var weekStart: String
    package var monthStart: String
    package var ledger: Ledger
    package var kernel: Kernel
    package var configuration: Configuration

    package init(
        version: String, revision: String, asOf: String, startedAt: String, online: Bool,
        uplinkDevice: String? = nil, uplinkDevices: [String], dayStart: String, weekStart: String,
        monthStart: String, ledger: Ledger, kernel: Kernel, configuration: Configuration
    ) {
        self.version = version
        self.revision = revision
        self.asOf = asOf
        self.startedAt = startedAt
        self.online = online
        self.uplinkDevice = uplinkDevice
        self.uplinkDevices = uplinkDevices
        self.dayStart = dayStart
        self.weekStart = weekStart
        self.monthStart = monthStart
        self.ledger = ledger
        self.kernel = kernel
        self.configuration = configuration
    }
}
