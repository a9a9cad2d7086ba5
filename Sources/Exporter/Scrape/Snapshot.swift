import Accounting
import Exposition
import Machine

/// Everything that a scrape shows, at one moment.
struct Snapshot {
    /// The labels of the devices.
    var series: Series
    /// The devices that are shown, in the order of their labels. Of gone ones the periods and the lifetime are shown;
    /// those beyond the fifty largest are one row.
    var devices: [DeviceSnapshot]
    var uplink: AccountView
    /// `application` and `scope` of each row.
    var applicationLabels = LabelColumn([])
    /// One for each row; none if no application was ever metered.
    var applications: [ApplicationSnapshot] = []
    /// What passed the uplink by scope; empty where that isn't counted.
    var uplinkScopes: [(scope: UplinkScope, view: AccountView)] = []
    /// `nil` while the kernel's programs aren't attached.
    var applicationCounters: ApplicationCounterStatus?
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

/// How full the kernel programs' map of counters is.
struct ApplicationCounterStatus: Sendable {
    var keys: UInt64 = 0
    /// Packets that had no room for a counter of their own.
    var overflows: UInt64 = 0
    /// Whether it is counted what passes the uplink, by scope.
    var countsLanes = false
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
