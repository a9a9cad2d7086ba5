import Accounting
import CivilTime
import Configuration

/// What the meter needs of the configuration.
struct MeterSettings: Sendable {
    var calendar: LocalCalendar
    let plans: Plans
    /// What the plans name, gathered once.
    private let counted: [DevicePattern]
    /// For the zones of the plans' cycles.
    var calendars: [TimeZoneSetting: LocalCalendar]
    var interval: Span
    var intervalOnBattery: Span
    var flushInterval: Span
    var keepBuckets: Span
    var exclude: [DevicePattern]
    var collapse: [DevicePattern]
    var showsRates: Bool
    var showsAddresses: Bool
    let csvLog: Configuration.CSVLog?
    let applications: Configuration.Applications
    /// Whether a quota needs what applications carried at every reading.
    let plansNeedApplications: Bool
    var isOnBattery = false

    init(_ configuration: Configuration, _ zones: Zones) {
        calendar = LocalCalendar(zone: zones.local.zone, weekStart: configuration.weekStarts)
        plans = configuration.plans
        counted = configuration.plans.patterns
        calendars = zones.calendars(weekStart: configuration.weekStarts)
        interval = configuration.sampling.interval
        intervalOnBattery = configuration.sampling.onBattery
        flushInterval = configuration.storage.flushInterval
        keepBuckets = configuration.storage.keepBuckets
        exclude = configuration.devices.exclude
        collapse = configuration.devices.collapse
        csvLog = configuration.csvLog
        applications = configuration.applications
        plansNeedApplications = configuration.plans.quotas.contains(where: \.count.needsApplications)
        showsRates = configuration.metrics.rates
        showsAddresses = configuration.metrics.addresses
    }

    var samplingInterval: Span { isOnBattery ? intervalOnBattery : interval }

    var rules: AccountingRules {
        AccountingRules(
            exclude: exclude, collapse: collapse, counted: counted, samplingInterval: samplingInterval,
            shownApplications: applications.series)
    }

    /// The calendar that a quota's cycles go by; local time for one that the configuration has no more.
    func calendar(ofQuota name: String) -> LocalCalendar { plans.calendar(ofQuota: name, among: calendars) ?? calendar }

    /// An empty book of the plans.
    ///
    /// - Parameter records: What is known about them, where no store does.
    func newPlanBook(records: PlanRecords = .none, at now: Timestamp) -> PlanBook {
        PlanBook(plans, calendars: calendars, records: records, meteredFrom: .latest, at: now)
    }

    /// Whether the ledger's days or plans go by other settings.
    func differ(from ledger: Ledger) -> Bool {
        calendar != ledger.calendar || !ledger.planBook.isOf(plans, calendars)
    }

    func planRequest(at now: Moment) -> PlanRequest {
        PlanRequest(plans: plans, calendars: calendars, now: now.timestamp)
    }

    /// Buckets that end before it may be deleted.
    func horizon(for ledger: Ledger, at now: Moment) -> Timestamp {
        min(now.timestamp(before: keepBuckets), ledger.planBook.bucketsNeededFrom(at: now.timestamp))
    }

    /// The same for buckets of applications.
    func applicationHorizon(for ledger: Ledger, at now: Moment) -> Timestamp {
        min(
            now.timestamp(before: applications.keepBuckets),
            ledger.planBook.applicationBucketsNeededFrom(at: now.timestamp))
    }

    func status(readAt now: Moment) -> ConfigurationStatus {
        ConfigurationStatus(
            lastReloadSuccessful: true,
            lastReloadSuccessSeconds: Double(now.timestamp.secondsSinceEpoch), showsRates: showsRates,
            showsAddresses: showsAddresses)
    }
}
