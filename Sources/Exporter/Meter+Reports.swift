import Accounting
import CivilTime

/// What reports are made of, as everything is now.
extension Meter {
    func reportBasis() -> ReportBasis {
        let now = SystemClock.now().timestamp
        return ReportBasis(now: now, asOf: now, calendar: ledger.calendar, collapse: settings.collapse)
    }

    /// The ledger as it is now. What takes long is made of it elsewhere: a scrape doesn't wait for reports.
    func ledgerNow() -> Ledger {
        read(endsInterval: false)
        return ledger
    }

    func liveReport() -> LiveReport {
        read(endsInterval: false)
        return LiveReport(
            ledger, links, isOnline: route != nil, showsAddresses: settings.showsAddresses, collapse: settings.collapse,
            at: SystemClock.now().timestamp)
    }

    /// The devices whose accounts are wanted of a ledger.
    var namesWanted: Set<DeviceName> { ledger.namesWanted }

    /// Goes on from what a ledger has, for its owner to look at; it is never written.
    func lookOn(from stored: StoredLedger?) {
        if let stored { ledger.takeUp(stored, calendar: settings.calendar, wasShown: false) }
        goWithoutStore()
    }

    func statusReport() -> StatusReport {
        read(endsInterval: false)
        func text(_ seconds: Double) -> String {
            ledger.calendar.rfc3339(Timestamp(secondsSinceEpoch: Int64(seconds)))
        }
        let uplink = ledger.currentUplink.flatMap { links[$0.rawValue] }
        return StatusReport(
            version: Version.number, revision: Version.revision,
            asOf: ledger.calendar.rfc3339(SystemClock.now().timestamp), startedAt: text(startTime),
            online: route != nil, uplinkDevice: uplink?.deviceName.label { _ in false },
            dayStart: ledger.calendar.rfc3339(ledger.window.daySpan.lowerBound),
            weekStart: ledger.calendar.rfc3339(ledger.window.weekStartTime),
            monthStart: ledger.calendar.rfc3339(ledger.window.monthStartTime),
            ledger: .init(
                up: storeStatus.isUp, sizeBytes: storeStatus.sizeBytes,
                lastCommit: storeStatus.lastCommitSeconds.map(text), commitFailures: storeStatus.commitFailures),
            kernel: .init(
                readSuccess: kernelStatus.readSuccess, netlinkOverruns: kernelStatus.overruns,
                clockSteps: kernelStatus.clockSteps),
            configuration: .init(
                lastReloadSuccessful: configurationStatus.lastReloadSuccessful,
                lastReloadSuccess: text(configurationStatus.lastReloadSuccessSeconds)))
    }
}
