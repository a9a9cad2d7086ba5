import Accounting
import Machine

/// Everything that a scrape shows, at one moment.
struct Snapshot {
    /// The labels of the devices.
    var series: Series
    /// The devices that are shown, in the order of their labels. Of gone ones the periods and the lifetime are shown;
    /// those beyond the fifty largest are one row.
    var devices: [DeviceSnapshot]
    var uplink: AccountView
    var plans: PlansSnapshot
    var isOnline: Bool
    var window: PeriodWindow
    var store: StoreStatus
    var kernel: KernelStatus
    var configuration: ConfigurationStatus
    var process: ProcessStatus
}

/// What a device shows at one moment.
struct DeviceSnapshot: BitwiseCopyable {
    /// Its row in the labels of the series.
    var row: Int
    var isUp: Bool
    var isUplink: Bool
    var view: AccountView
}

/// The process and the machine that it runs on.
struct ProcessStatus: Sendable {
    var statistics: ProcessStatistics
    /// When the program started, in seconds since 1970.
    var startTime: Double
    /// When the machine started, in seconds since 1970.
    var bootTime: Double

    static func now() -> ProcessStatus {
        ProcessStatus(
            statistics: .now(), startTime: ProcessStatistics.startTime(), bootTime: ProcessStatistics.bootTime())
    }
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
