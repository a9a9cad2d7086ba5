import Accounting
import Exposition
import Machine

/// Everything that a scrape shows, at one moment.
struct Snapshot {
    /// All devices, sorted by their label; gone ones with their periods only.
    var devices: [DeviceSnapshot]
    var uplink: AccountView
    var plans: PlansSnapshot
    var isOnline: Bool
    var window: PeriodWindow
    var store: StoreStatus
    var kernel: KernelStatus
    var configuration: ConfigurationStatus
    var process: ProcessStatistics
    /// When the program started, and the machine; seconds since 1970.
    var startTime: Double
    var bootTime: Double
}

/// One series of each per-device family.
struct DeviceSnapshot {
    var labels: LabelSet
    var view: AccountView
    var isUp: Bool
    var isUplink: Bool
    /// `device`, `kind` and `alias`.
    var infoLabels: LabelSet
    /// `device`, `family` and `address`, one for each address.
    var addressLabels: [LabelSet]
}

/// How the store is.
struct StoreStatus: Sendable {
    var isUp = false
    /// Seconds since 1970; `nil` before the first commit.
    var lastCommitSeconds: Double?
    var commitFailures: UInt64 = 0
    var sizeBytes: Int64 = 0
}

/// How reading the kernel goes.
struct KernelStatus: Sendable {
    var readSuccess = false
    var overruns: UInt64 = 0
    var clockSteps: UInt64 = 0
}

/// How the configuration is.
struct ConfigurationStatus: Sendable {
    var lastReloadSuccessful = true
    /// Seconds since 1970.
    var lastReloadSuccessSeconds = 0.0
    var showsRates = true
    var showsAddresses = true
}
