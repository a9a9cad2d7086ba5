import Accounting
import CivilTime
import Configuration

/// What the meter needs of the configuration.
struct MeterSettings: Sendable {
    var calendar: LocalCalendar
    var interval: Span
    var intervalOnBattery: Span
    var flushInterval: Span
    var keepBuckets: Span
    var exclude: [DevicePattern]
    var collapse: [DevicePattern]
    var showsRates: Bool
    var showsAddresses: Bool
    var isOnBattery = false

    init(_ configuration: Configuration, zone: Zone) {
        calendar = LocalCalendar(zone: zone, weekStart: configuration.weekStarts)
        interval = configuration.sampling.interval
        intervalOnBattery = configuration.sampling.onBattery
        flushInterval = configuration.storage.flushInterval
        keepBuckets = configuration.storage.keepBuckets
        exclude = configuration.devices.exclude
        collapse = configuration.devices.collapse
        showsRates = configuration.metrics.rates
        showsAddresses = configuration.metrics.addresses
    }

    var samplingInterval: Span { isOnBattery ? intervalOnBattery : interval }

    var rules: AccountingRules {
        AccountingRules(exclude: exclude, collapse: collapse, samplingInterval: samplingInterval)
    }

    func status(readAt now: Moment) -> ConfigurationStatus {
        ConfigurationStatus(
            lastReloadSuccessful: true,
            lastReloadSuccessSeconds: Double(now.timestamp.secondsSinceEpoch), showsRates: showsRates,
            showsAddresses: showsAddresses)
    }
}
