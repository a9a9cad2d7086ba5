import CivilTime

@testable import Accounting
@testable import Reports

/// Answers as a household's daemon would, with names that a test chooses.
struct FakeQuestions: LiveQuestions {
    var device = "eth0"
    var alias = "192.0.2.7"
    var isLedgerUp = true
    var isKernelReadable = true
    var isConfigurationGood = true
    var isOnline = true
    var hasHistory = true
    /// Seconds later than noon of 2026-11-21.
    var later: Int64 = 0

    private static let noon = Timestamp(secondsSinceEpoch: 1_795_262_400)
    private static let calendar = LocalCalendar(zone: .utc, weekStart: .monday)

    private var now: Timestamp { Self.noon.adding(seconds: later) }
    private var today: CivilDate { Self.calendar.day(containing: now) }
    private var moment: LocalMoment { Self.calendar.local(now) }
    private var keys: [AccountKey] {
        [.uplink, .device(DeviceName(device))] + [.internet, .lan].map { .application(ApplicationName(device), $0) }
    }

    func status() -> StatusReport {
        StatusReport(
            version: "1.2.3", revision: "abc", asOf: moment, startedAt: moment, online: isOnline,
            uplinkDevice: device, uplinkDevices: [device], dayStart: moment, weekStart: moment, monthStart: moment,
            ledger: .init(up: isLedgerUp, sizeBytes: 4096, lastCommit: nil, commitFailures: 0),
            kernel: .init(readSuccess: isKernelReadable, netlinkOverruns: 0, clockSteps: 0),
            configuration: .init(lastReloadSuccessful: isConfigurationGood, lastReloadSuccess: moment))
    }

    func live(by subject: UsageQuery.Subject) -> LiveReport {
        func account(_ name: String, _ kind: String) -> LiveReport.Account {
            LiveReport.Account(
                name: name, kind: kind, link: "physical", up: true, uplink: isOnline, addresses: [alias],
                receiveBytesPerSecond: 1000, transmitBytesPerSecond: 100, receivePeakBytesPerSecond: 2000,
                transmitPeakBytesPerSecond: 200, today: .init(receivedBytes: 10, transmittedBytes: 1, totalBytes: 11))
        }
        return LiveReport(
            asOf: moment, online: isOnline, accounts: [account("uplink", "uplink"), account(device, "device")])
    }

    func plans() -> PlansReport {
        let quota = Quota(
            name: device, count: .devices([DevicePattern(device)].compactMap { $0 }), direction: .total,
            limitBytes: 1000, cycle: Cycle(CycleRule(.day)))
        var book = PlanBook(
            Plans(quotas: [quota], rateLimits: [], committedRates: []), calendars: [.local: Self.calendar],
            records: .none, meteredFrom: .earliest, at: now)
        book.complete(at: now)
        return PlansReport(book, calendars: [.local: Self.calendar], at: now)
    }

    func openPeriods() -> (DayHistory, ReportBasis) {
        (days(from: today.firstOfPreviousMonth, everybody: false), basis())
    }

    func basis() -> ReportBasis { ReportBasis(now: now, asOf: now, calendar: Self.calendar, collapse: []) }

    func days(from first: CivilDate, everybody: Bool) -> DayHistory {
        let total = Total(received: 10, transmitted: 1)
        let entries = keys.map {
            DayHistory.Entry(key: $0, isLive: true, lifetime: total, first: today, days: [(today, total)])
        }
        return DayHistory(entries: hasHistory ? entries : [], meteredFrom: Self.noon.adding(seconds: -3600))
    }

    func buckets(from start: Timestamp, before end: Timestamp, only: AccountKey?) -> BucketPage {
        let rows = keys.filter { only == nil || $0 == only }.map {
            BucketRow(
                start: Self.noon.adding(seconds: -3600), key: $0, total: Total(received: 10, transmitted: 1))
        }
        return BucketPage(
            rows: rows.filter { $0.start >= start && $0.start < end }, until: end, keptFrom: .earliest,
            first: Self.noon.adding(seconds: -3600))
    }
}
