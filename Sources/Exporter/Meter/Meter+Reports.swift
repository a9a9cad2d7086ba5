import Accounting
import CivilTime
import Machine
import Reports

/// What reports are made of, as everything is now.
extension Meter {
    func reportBasis() -> ReportBasis {
        let now = clock().timestamp
        return ReportBasis(now: now, asOf: now, calendar: ledger.calendar, collapse: settings.collapse)
    }

    /// The ledger as it is now. What takes long is made of it elsewhere: a scrape doesn't wait for reports.
    func ledgerNow() -> Ledger {
        read(endsInterval: false)
        return ledger
    }

    /// The ledger and the basis of reports, of one moment.
    func openPeriods() -> (Ledger, ReportBasis) { (ledgerNow(), reportBasis()) }

    func bookingBasis() -> BookingBasis { BookingBasis(calendar: ledger.calendar, rules: settings.rules) }

    func liveReport(by subject: UsageQuery.Subject) -> LiveReport {
        read(endsInterval: false)
        var report = LiveReport(
            ledger, links.table, isOnline: uplink.route != nil, showsAddresses: settings.showsAddresses,
            collapse: settings.collapse, at: clock().timestamp, by: subject)
        if subject == .application, applications.reader == nil {
            report.note = "applications aren't metered: \(applications.problem ?? "netusage has just started")"
        }
        return report
    }

    /// The devices whose accounts are wanted of a ledger.
    var namesWanted: Set<DeviceName> { ledger.namesWanted }

    /// Goes on from what a ledger has, for its owner to look at; it is never written.
    func lookOn(from stored: StoredLedger?) {
        if let stored { ledger.takeUp(stored, calendar: settings.calendar, wasShown: false) }
        goWithoutStore()
    }

    /// What the CSV log has to know; `nil` if there is none, or nothing is known of its device.
    func csvSample() -> CSVLog.Sample? {
        guard let setting = settings.csvLog, hasBegun else { return nil }
        // A day that has begun since the last reading is begun here.
        read(endsInterval: false)
        let views = ledger.views
        let names = AccountNames(views.lazy.map(\.key), collapse: settings.collapse)
        let account = views.first {
            names.name(of: $0.key) == setting.device && ($0.key == .uplink) == (setting.device == "uplink")
        }
        guard let view = account?.view else { return nil }
        return CSVLog.Sample(
            setting: setting, now: ledger.lastReading.timestamp, calendar: ledger.calendar, today: ledger.window.today,
            total: view.periods.day, previousDay: ledger.window.previousDay, previousTotal: view.periods.previousDay)
    }

    func statusReport() -> StatusReport {
        read(endsInterval: false)
        func local(_ seconds: Double) -> LocalMoment {
            ledger.calendar.local(Timestamp(secondsSinceEpoch: Int64(seconds)))
        }
        let uplink = ledger.currentUplink.sorted().compactMap {
            links.table[$0.rawValue]?.deviceName.label { _ in false }
        }
        return StatusReport(
            version: Version.number, revision: Version.revision,
            asOf: ledger.calendar.local(clock().timestamp), startedAt: local(process.startTime),
            online: self.uplink.route != nil, uplinkDevices: uplink,
            dayStart: ledger.calendar.local(ledger.window.daySpan.lowerBound),
            weekStart: ledger.calendar.local(ledger.window.weekStartTime),
            monthStart: ledger.calendar.local(ledger.window.monthStartTime),
            ledger: (
                up: queue.status.isUp, sizeBytes: queue.status.sizeBytes,
                lastCommit: queue.status.lastCommitSeconds.map(local), commitFailures: queue.status.commitFailures
            ),
            kernel: (
                readSuccess: health.status.readSuccess, netlinkOverruns: health.status.overruns,
                clockSteps: health.status.clockSteps
            ),
            configuration: (
                lastReloadSuccessful: configurationStatus.lastReloadSuccessful,
                lastReloadSuccess: local(configurationStatus.lastReloadSuccessSeconds)
            ), applications: applicationStatus)
    }

    private var applicationStatus: StatusReport.Applications {
        guard let reader = applications.reader else {
            return .init(attached: false, problem: applications.problem)
        }
        func text(_ basis: CountingBasis?) -> String? { basis.map { $0 == .wire ? "wire" : "merged" } }
        let (basis, headers) = (ledger.uplinkBasis, ledger.mergedHeaders)
        let now = clock()
        let age = now.sinceBoot.elapsed(since: reader.attachedAt)
        return .init(
            attached: true, attachedAt: ledger.calendar.local(now.timestamp(before: age)),
            survivesRestarts: reader.isKept, keys: reader.status.keys, overflows: reader.status.overflows,
            countsUplinkScopes: reader.status.countsLanes, receiveBasis: text(basis.received),
            transmitBasis: text(basis.transmitted), receiveHeaderBytes: headers.received,
            transmitHeaderBytes: headers.transmitted)
    }
}
