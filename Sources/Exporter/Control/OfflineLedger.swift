import Accounting
import CivilTime
import Configuration
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Netlink
import Reports

/// The ledger's file where no daemon runs: what it has up to its last commit.
actor OfflineLedger: Questions, LedgerChanges {
    private let access: LedgerAccess
    /// Why the daemon that runs can't be asked.
    private let problem: String?
    /// Reads the kernel for ``live()``.
    private var meter: Meter?

    /// - Parameter problem: Why the daemon that runs can't be asked; `nil` where none runs.
    init(_ access: LedgerAccess, problem: String? = nil) {
        self.access = access
        self.problem = problem
    }

    private static let noDaemon = "no netusage serve runs on this ledger"

    nonisolated func plans() throws -> PlansReport {
        let setup = try access.setup()
        var (book, lastReading) = (setup.emptyBook, Timestamp?.none)
        if LedgerFile.exists(at: access.storagePath) {
            (book, lastReading) = try setup.book(of: try access.openedForReading())
        }
        book.advance(to: setup.now)
        var report = PlansReport(book, calendars: setup.calendars, at: setup.now)
        report.rateLimits = []  // They are of the moment: only the daemon knows.
        report.configuration = access.configurationName
        if let check = try? PlanCheck(rules: setup.rules, accounts: access.storedAccounts()) {
            report.noteProblems(of: setup.plans, check.problem(with:))
        }
        let remark = setup.plans.rateLimits.isEmpty ? "" : ", and only that knows of rate limits"
        report.note = problem ?? Self.noDaemon + remark
        report.meteredUntil = lastReading.map(setup.localCalendar.local)
        report.isStale = setup.isStale(lastReading)
        return report
    }

    nonisolated func usage(_ query: UsageQuery) async throws -> UsageReport {
        let setup = try access.setup()
        let reader = try reader(setup)
        var report = try await reader.usage(query)
        report.isStale = setup.isStale(try reader.basis().asOf)
        report.note = [problem ?? Self.noDaemon, report.note].compactMap { $0 }.joined(separator: "; ")
        return report
    }

    nonisolated func export(_ query: ExportQuery, to sink: @escaping ExportSink) async throws {
        try await reader(try access.setup()).export(query, to: sink)
    }

    private nonisolated func reader(_ setup: LedgerAccess.Setup) throws -> LedgerFileReader {
        LedgerFileReader(
            file: try access.openedForReading(), now: setup.now, calendar: setup.localCalendar,
            collapse: setup.collapse)
    }

    // MARK: - What devices carry

    /// Rates are read from here, and kept nowhere.
    func live(by subject: UsageQuery.Subject) async throws -> LiveReport {
        if subject == .application {
            throw LedgerAccess.Failure.refused(
                "\(problem ?? Self.noDaemon), and only a daemon knows what applications carry now; start it with netusage service start"
            )
        }
        let meter = if let meter { meter } else { try await newMeter() }
        self.meter = meter
        _ = await meter.tick(onBattery: false)
        var report = await meter.liveReport(by: .device)
        report.note = problem ?? "\(Self.noDaemon); rates are read from here, and nothing is kept"
        return report
    }

    /// A meter that goes on from what the ledger has, if it can be read, and writes nothing.
    private nonisolated func newMeter() async throws -> Meter {
        let setup = try access.setup()
        let meter = try Self.newMeter(setup, on: MultiThreadedEventLoopGroup.singleton.next())
        let window = PeriodWindow(setup.localCalendar, at: setup.now)
        let names = await meter.namesWanted
        // Without it there is only what is carried from now on.
        let stored = try? access.openedForReading().load(
            rezonedTo: nil, daysFrom: window.previousMonthStart, names: names)
        await meter.lookOn(from: stored)
        return meter
    }

    private static let silence = Logger(label: "netusage") { _ in SwiftLogNoOpLogHandler() }

    private static func newMeter(_ setup: LedgerAccess.Setup, on loop: any EventLoop) throws -> Meter {
        var setup = setup
        setup.configuration.plans = .none
        do throws(NetlinkError) {
            return try Meter(
                on: loop, kernel: try KernelNetwork(), bootID: SystemClock.bootID(),
                settings: MeterSettings(setup.configuration, setup.zones), logger: silence,
                wakeStore: AsyncStream.makeStream(of: Void.self).continuation, announce: { _ in })
        } catch {
            throw LedgerAccess.Failure.refused("the kernel can't be read: \(error)")
        }
    }

    // MARK: - Changes

    nonisolated func carryOut(_ request: QuotaRequest) throws -> AdjustmentReport {
        // No new ledger is made here: a user who can't see the daemon's, and names no other, means the daemon's.
        guard LedgerFile.exists(at: access.storagePath) else { throw access.noLedger }
        let setup = try access.setup()
        let order = try request.order(
            plans: setup.plans, of: access.configurationName, calendars: setup.calendars, at: setup.now)
        let file = try LedgerFile(path: access.storagePath)
        let adjustment = try order.carryOut(in: file, at: setup.now)
        try? file.tidy()  // It is kept, in the log if not in the file.
        guard let adjustment else { throw OrderError.nothingToUndo(order) }
        return AdjustmentReport(adjustment, calendar: setup.calendar(ofQuota: adjustment.quota))
    }

    nonisolated func carryOut(_ piece: ImportPiece) throws -> [ImportOutcome] {
        let setup = try access.setup()
        let file = try LedgerFile(path: access.storagePath)
        let outcomes = try file.importPiece(
            piece.accounts, calendar: setup.localCalendar, at: setup.now, horizon: setup.horizon,
            isTrial: piece.isTrial)
        try? file.tidy()  // It is kept, in the log if not in the file.
        return outcomes
    }

    nonisolated func bookingBasis() throws -> BookingBasis {
        let setup = try access.setup()
        return BookingBasis(calendar: setup.localCalendar, rules: setup.rules)
    }

    /// Begins a ledger as `netusage serve` does: what the counters show now are its baselines.
    nonisolated func begin() async throws {
        let threads = MultiThreadedEventLoopGroup.singleton
        let meter = try Self.newMeter(try access.setup(), on: threads.next())
        let store = Store(on: threads.next(), path: access.storagePath, logger: Self.silence)
        try await LedgerWriter(store: store, meter: meter, logger: Self.silence, opened: {}).finish()
    }
}

/// Reads the days and buckets of a ledger's file.
private struct LedgerFileReader: LedgerReader {
    let file: LedgerFile
    let now: Timestamp
    let calendar: LocalCalendar
    let collapse: [DevicePattern]

    func basis() throws -> ReportBasis {
        ReportBasis(now: now, asOf: try file.header()?.lastReading.timestamp, calendar: calendar, collapse: collapse)
    }

    func days(from first: CivilDate, everybody: Bool) throws -> DayHistory { DayHistory(try file.days(from: first)) }

    func buckets(from start: Timestamp, before end: Timestamp, only: AccountKey?) throws -> BucketPage {
        let page = try file.buckets(
            from: start, before: end, rowsPerPage: BucketPage.rows, only: only.map { ($0, []) })
        return BucketPage(page, rows: page.named)
    }
}
