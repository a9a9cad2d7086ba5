import Accounting
import CivilTime
import Configuration
import Glibc
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Netlink
import Reports

/// How commands get at the ledger: through the daemon when one runs, by themselves when none does. Either way one
/// process writes it.
package struct LedgerAccess: Sendable {
    let configurationPath: String
    private let isConfigurationRequired: Bool
    let storagePath: String

    package init(configurationPath: String, isConfigurationRequired: Bool, storagePath: String) {
        self.configurationPath = configurationPath
        self.isConfigurationRequired = isConfigurationRequired
        self.storagePath = LedgerPlace.resolved(storagePath)
    }

    /// Why a command can't do its work.
    package enum Failure: Error, CustomStringConvertible {
        case configuration(ConfigurationErrors)
        case zone(ZoneError)
        case store(StoreError)
        case order(OrderError)
        /// A daemon has the ledger but can't be asked.
        case daemon(String)
        /// There is no answer to what was asked.
        case refused(String)

        package var description: String {
            switch self {
            case .configuration(let errors): errors.description
            case .zone(let error): error.description
            case .store(let error): error.description
            case .order(let error): error.description
            case .daemon(let problem), .refused(let problem): problem
            }
        }
    }

    /// The plans as they are now: live when the daemon runs, otherwise as of the ledger's last commit.
    ///
    /// - Throws: `Failure`.
    package func plans() throws(Failure) -> PlansReport {
        try checkDirectory()
        do throws(Failure) {
            if let answer = try askDaemon(.plans) {
                guard let report = answer.plans else { throw .daemon(answer.error ?? "the daemon gave no answer") }
                return report
            }
        } catch {
            // Who may not ask the daemon may be allowed to look at the ledger: it shows the last commit.
            guard case .daemon(let problem) = error, var report = try? storedPlans() else { throw error }
            report.note = problem
            return report
        }
        return try storedPlans()
    }

    /// What was carried: live when the daemon runs, otherwise as of the ledger's last commit.
    ///
    /// - Throws: `Failure`.
    package func usage(_ query: UsageQuery) async throws(Failure) -> UsageReport {
        try checkDirectory()
        do throws(Failure) {
            if let answer = try askDaemon(.usage(query)) {
                guard let report = answer.usage else { throw .refused(answer.error ?? "the daemon gave no answer") }
                return report
            }
        } catch {
            guard case .daemon(let problem) = error, var report = try? await storedUsage(query) else { throw error }
            report.note = problem
            return report
        }
        return try await storedUsage(query)
    }

    private func storedUsage(_ query: UsageQuery) async throws(Failure) -> UsageReport {
        let setup = try setup()
        do {
            let reader = StoredLedgerReader(
                file: try openedForReading(), now: setup.now, calendar: setup.localCalendar, collapse: setup.collapse)
            var report = try await reader.usage(query)
            let age = try reader.basis().asOf.map { setup.now.secondsSinceEpoch - $0.secondsSinceEpoch }
            report.isStale = age.map { $0 > setup.freshSeconds } ?? true
            let notes = ["no netusage serve runs on this ledger", report.note].compactMap { $0 }
            report.note = notes.joined(separator: "; ")
            return report
        } catch let error as Failure {
            throw error
        } catch let error as StoreError {
            throw .store(error)
        } catch {
            throw .refused("\(error)")
        }
    }

    /// Writes out what was carried: live when the daemon runs, otherwise as of the ledger's last commit.
    ///
    /// - Parameter sink: Takes a piece of it, and how much is written by then, from 0 to 1.
    /// - Throws: `Failure`, or what `sink` throws.
    package func export(
        _ query: ExportQuery, to sink: @escaping (_ bytes: [UInt8], _ share: Double) async throws -> Void
    )
        async throws
    {
        try checkDirectory()
        if try isDaemonThere() {
            let client = ControlClient(path: Control.path(ofLedger: storagePath))
            do {
                return try await client.export(query, to: sink)
            } catch let error as ControlClient.Failure {
                switch error {
                case .refused(let problem): throw Failure.refused(problem)
                case .unusable(let problem): throw Failure.refused("the daemon stopped in the midst: \(problem)")
                case .nobody: throw Failure.refused("the daemon has ended; try again")
                }
            }
        }
        let setup = try setup()
        do {
            let reader = StoredLedgerReader(
                file: try openedForReading(), now: setup.now, calendar: setup.localCalendar, collapse: setup.collapse)
            try await Export(query, of: reader).write(to: sink)
        } catch let error as StoreError {
            throw Failure.store(error)
        } catch let error as UsageError {
            throw Failure.refused("\(error)")
        }
    }

    /// So many slots are imported at a time: some 400 kB for the daemon.
    private static let slotsAtATime = 5000

    /// Imports what another meter has counted, piece by piece. If it is broken off, it can be done again.
    ///
    /// - Parameters:
    ///   - source: Its times are by the ledger's zone where they have none.
    ///   - uplink: A device whose bytes are booked to the uplink, too.
    ///   - replaces: Whether earlier imports of the same devices are forgotten first.
    ///   - isTrial: Whether everything stays as it was.
    ///   - progress: Is told how much is done, from 0 to 1.
    /// - Throws: `Failure`.
    package func importHistory(
        _ source: ImportSource, uplink: String?, replaces: Bool, isTrial: Bool, progress: (Double) -> Void
    ) async throws(Failure) -> ImportReport {
        try checkDirectory()
        let setup = try setup()
        // As the daemon books, should it go by another configuration.
        let basis =
            try askDaemon(.basis)?.basis ?? Control.BookingBasis(calendar: setup.localCalendar, rules: setup.rules)
        var contents: ImportFile.Contents
        do throws(ImportFile.Problem) {
            contents = try source.contents(by: basis.calendar, at: setup.now)
        } catch {
            throw .refused(error.description)
        }
        contents.leaveOutImpossible()
        if let uplink {
            if contents.accounts.contains(where: { $0.key == .uplink }) {
                throw .refused("--uplink \(uplink): the file has the uplink itself; leave it out")
            }
            let devices = contents.accounts.filter { $0.key.kind == "device" }
            guard let device = devices.first(where: { $0.source == uplink }) else {
                let known = devices.map(\.source).sorted().prefix(20).joined(separator: ", ")
                throw .refused(
                    "--uplink \(uplink): there is no such device in the file"
                        + (known.isEmpty ? "" : "; it has \(known)"))
            }
            contents.accounts.append(
                ImportedAccount(.uplink, from: device.source, slots: device.slots, clock: device.clock))
        }
        contents.book(by: basis.rules)
        var pieces = ImportedAccount.pieces(of: contents.accounts, ofSlots: Self.slotsAtATime, by: basis.calendar)
        if replaces {
            // All is forgotten before anything is taken; nothing of that stays where everything is a trial.
            let booked = contents.accounts.filter { $0.key != .uplink }
            let toUplink = booked.count < contents.accounts.count ? [""] : booked.map(\.source).filter { !$0.isEmpty }
            let all =
                booked.map { ImportedAccount($0.key, from: $0.source, slots: [], replaces: true) }
                + toUplink.map { ImportedAccount(.uplink, from: $0, slots: [], replaces: true) }
            pieces = isTrial ? pieces.map { all + $0 } : [all] + pieces
        }
        let isNew = !LedgerFile.exists(at: storagePath)
        if !isNew {
            try checkClocks(of: contents.accounts, forgetting: replaces ? pieces[0].filter(\.replaces) : [], setup)
        }
        // What root makes in the service's place, the service's user can't write.
        if isNew, storagePath == LedgerPlace.resolved(StoragePath.system) { throw noLedger }
        if isNew, !isTrial { try await beginLedger() }
        var outcomes: [AccountKey: ImportOutcome] = [:]
        let ofFile = Set(contents.accounts.map(\.key))
        for (number, piece) in pieces.enumerated() {
            let done =
                isNew && isTrial
                ? try importIntoNothing(piece, setup) : try importPiece(piece, setup, isTrial: isTrial)
            for var outcome in done {
                let isOfFile = ofFile.contains(outcome.key)
                // Each piece of a trial forgets all.
                if isTrial, number > 0 { outcome.forgotten = .init(.zero) }
                if isOfFile || !outcome.forgotten.total.isZero {
                    outcomes[outcome.key, default: .init(outcome.key)].add(outcome)
                }
            }
            progress(Double(number + 1) / Double(pieces.count))
        }
        var report = ImportReport(Array(outcomes.values), contents.problems, basis.calendar, isTrial: isTrial)
        report.begunLedger = isNew ? storagePath : nil
        return report
    }

    /// By another clock the same bytes have other times: that is seen before anything is taken.
    private func checkClocks(
        of accounts: [ImportedAccount], forgetting forgotten: [ImportedAccount], _ setup: Setup
    ) throws(Failure) {
        let told = accounts.filter { $0.clock != nil }
        let nothing = told.map { ImportedAccount($0.key, from: $0.source, slots: [], clock: $0.clock) }
        guard let clock = told.first?.clock,
            let other = try importPiece(forgotten + nothing, setup, isTrial: true).lazy.compactMap(\.otherClock).first
        else { return }
        throw .refused(
            "the last import went by a clock with \(other), and this one goes by a clock with \(clock): name the last one's zone with --timezone, or begin again with --replace"
        )
    }

    private func importPiece(_ piece: [ImportedAccount], _ setup: Setup, isTrial: Bool) throws(Failure)
        -> [ImportOutcome]
    {
        if let answer = try askDaemon(.importPiece(piece, isTrial: isTrial)) {
            guard let done = answer.imported else { throw .refused(answer.error ?? "the daemon gave no answer") }
            return done
        }
        return try reportingFailures { () throws(StoreError) in
            let file = try LedgerFile(path: storagePath)
            let outcomes = try file.importPiece(
                piece, calendar: setup.localCalendar, at: setup.now, horizon: setup.horizon, isTrial: isTrial)
            try? file.tidy()  // It is kept, in the log if not in the file.
            return outcomes
        }
    }

    /// What would become of it in a ledger that is begun now.
    private func importIntoNothing(_ piece: [ImportedAccount], _ setup: Setup) throws(Failure) -> [ImportOutcome] {
        guard let directory = TemporaryDirectory() else { throw .refused("no temporary directory can be made") }
        return try reportingFailures { () throws(StoreError) in
            try LedgerFile(path: directory.path + "/ledger.db").importPiece(
                piece, calendar: setup.localCalendar, at: setup.now, horizon: setup.horizon, isTrial: false)
        }
    }

    /// Whether a daemon runs that can be asked; one that can't doesn't keep from reading the ledger.
    private func isDaemonThere() throws(Failure) -> Bool {
        do throws(Failure) {
            return try askDaemon(.live) != nil
        } catch {
            guard case .daemon = error, (try? LedgerFile(reading: storagePath)) != nil else { throw error }
            return false
        }
    }

    /// What devices carry at this moment, again and again: as the daemon says, or by reading the kernel from here.
    ///
    /// - Throws: `Failure`.
    package func live() async throws(Failure) -> LiveSource {
        try checkDirectory()
        let note: String
        do throws(Failure) {
            if let answer = try askDaemon(.live) {
                guard answer.live != nil else { throw .refused(answer.error ?? "the daemon gave no answer") }
                return LiveSource(next: { () throws(Failure) in
                    guard let report = try askDaemon(.live)?.live else { throw .refused("the daemon has ended") }
                    return report
                })
            }
            note = "no netusage serve runs on this ledger; rates are read from here, and nothing is kept"
        } catch {
            guard case .daemon(let problem) = error else { throw error }
            note = problem
        }
        let meter = try await ownMeter()
        return LiveSource(next: {
            _ = await meter.tick(onBattery: false)
            var report = await meter.liveReport()
            report.note = note
            return report
        })
    }

    /// A meter that goes on from what the ledger has, if it can be read, and writes nothing.
    private func ownMeter() async throws(Failure) -> Meter {
        let setup = try setup()
        let meter = try newMeter(setup, on: MultiThreadedEventLoopGroup(numberOfThreads: 1).next())
        let window = PeriodWindow(setup.localCalendar, at: setup.now)
        // Without it there is only what is carried from now on.
        let file = try? openedForReading()
        let names = await meter.namesWanted
        await meter.lookOn(from: try? file?.contents(from: window.previousMonthStart, names: names))
        return meter
    }

    /// Begins a ledger as `netusage serve` does: what the counters show now are its baselines.
    private func beginLedger() async throws(Failure) {
        let threads = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let meter = try newMeter(try setup(), on: threads.next())
        let store = Store(on: threads.next(), path: storagePath, logger: Self.silence)
        do {
            try await LedgerWriter(store: store, meter: meter, logger: Self.silence, opened: {}).finish()
        } catch let error as StoreError {
            throw .store(error)
        } catch {
            throw .refused("\(storagePath): \(error)")
        }
    }

    private static let silence = Logger(label: "netusage") { _ in SwiftLogNoOpLogHandler() }

    /// - Parameter loop: Its thread ends with the process.
    private func newMeter(_ setup: Setup, on loop: any EventLoop) throws(Failure) -> Meter {
        var setup = setup
        setup.configuration.plans = .none
        do {
            return try Meter(
                on: loop, kernel: try KernelNetwork(),
                bootID: SystemClock.bootID(),
                settings: MeterSettings(setup.configuration, setup.zones), logger: Self.silence,
                wakeStore: AsyncStream.makeStream(of: Void.self).continuation, announce: { _ in })
        } catch {
            throw .refused("the kernel can't be read: \(error)")
        }
    }

    /// The ledger as of its last commit.
    ///
    /// - Throws: `Failure`.
    private func openedForReading() throws(Failure) -> LedgerFile {
        guard LedgerFile.exists(at: storagePath) else { throw noLedger }
        return try reportingFailures { () throws(StoreError) in try LedgerFile(reading: storagePath) }
    }

    /// Whose bytes the ledger has; `nil` if it can't be read.
    func storedAccounts() -> Set<AccountKey>? {
        if !LedgerFile.exists(at: storagePath) { return [] }
        guard let file = try? LedgerFile(reading: storagePath), let days = try? file.days(from: .latest) else {
            return nil
        }
        return Set(days.accounts.values)
    }

    /// What is wrong with the plans of a configuration on this machine, a sentence each; nothing if the kernel can't be
    /// read.
    package func planFindings(_ configuration: Configuration) -> [String] {
        guard let zones = try? Zones.load(configuration),
            let check = try? PlanCheck(rules: MeterSettings(configuration, zones).rules, accounts: storedAccounts())
        else { return [] }
        return check.findings(configuration.plans, csvLog: configuration.csvLog)
    }

    private func storedPlans() throws(Failure) -> PlansReport {
        let setup = try setup()
        var (book, lastReading) = (setup.emptyBook, Timestamp?.none)
        if LedgerFile.exists(at: storagePath) {
            let file = try openedForReading()
            (book, lastReading) = try reportingFailures { () throws(StoreError) in try setup.book(of: file) }
        }
        book.advance(to: setup.now)
        var report = PlansReport(book, calendars: setup.calendars, at: setup.now)
        report.rateLimits = []  // They are of the moment: only the daemon knows.
        report.configuration = configurationName
        if let check = try? PlanCheck(rules: setup.rules, accounts: storedAccounts()) {
            report.noteProblems(of: setup.plans, check.problem(with:))
        }
        report.note =
            "no netusage serve runs on this ledger"
            + (setup.plans.rateLimits.isEmpty ? "" : ", and only that knows of rate limits")
        report.meteredUntil = lastReading.map(setup.localCalendar.rfc3339)
        let age = lastReading.map { setup.now.secondsSinceEpoch - $0.secondsSinceEpoch }
        report.isStale = age.map { $0 > setup.freshSeconds } ?? true
        return report
    }

    /// Tells the ledger something about a quota.
    ///
    /// - Throws: `Failure`; then nothing was kept, unless it says that nobody knows.
    package func carryOut(_ request: QuotaRequest) throws(Failure) -> AdjustmentReport {
        try checkDirectory()
        if let answer = try askDaemon(.order(request)) {
            guard let adjustment = answer.adjustment else { throw .daemon(answer.error ?? "the daemon gave no answer") }
            return adjustment
        }
        // A new one would be nobody's: who may not see the daemon's has named none, and means that.
        guard LedgerFile.exists(at: storagePath) else { throw noLedger }
        let setup = try setup()
        let order: QuotaOrder
        do throws(OrderError) {
            order = try request.order(
                plans: setup.plans, of: configurationName, calendars: setup.calendars, at: setup.now)
        } catch {
            throw .order(error)
        }
        let file = try reportingFailures { () throws(StoreError) in try LedgerFile(path: storagePath) }
        let adjustment: Adjustment?
        do throws(OrderError) {
            adjustment = try order.carryOut(in: file, at: setup.now)
        } catch {
            throw .order(error)
        }
        try? file.tidy()  // It is kept, in the log if not in the file.
        guard let adjustment else { throw .order(.nothingToUndo(order)) }
        return AdjustmentReport(adjustment, calendar: setup.calendar(ofQuota: adjustment.quota))
    }

    private var noLedger: Failure {
        .refused(
            "\(storagePath): there is no ledger; netusage serve begins one, and --storage.path names another (the service's is \(StoragePath.system))"
        )
    }

    private func reportingFailures<Value>(_ body: () throws(StoreError) -> Value) throws(Failure) -> Value {
        do throws(StoreError) {
            return try body()
        } catch {
            throw .store(error)
        }
    }

    /// The configuration that holds where no daemon runs, for people.
    private var configurationName: String {
        ConfigurationFile.exists(configurationPath)
            ? configurationPath : "\(configurationPath) isn't there, and the default"
    }

    /// - Throws: `Failure` when this user may not even see whether there is a ledger.
    func checkDirectory() throws(Failure) {
        if access(storagePath, F_OK) == 0 || errno != EACCES { return }
        throw .daemon("this user may not enter the directory of \(storagePath); use the daemon's user, or sudo")
    }

    // MARK: - One of the two ways

    /// What a command needs where no daemon runs.
    struct Setup {
        var configuration: Configuration
        let zones: Zones
        let calendars: [TimeZoneSetting: LocalCalendar]
        let now: Timestamp

        var plans: Plans { configuration.plans }
        /// Under `devices` in the configuration.
        var collapse: [DevicePattern] { configuration.devices.collapse }
        var rules: AccountingRules { MeterSettings(configuration, zones).rules }

        /// What is older than this isn't as it is now.
        let freshSeconds: Int64

        var emptyBook: PlanBook {
            var book = PlanBook(plans, calendars: calendars, records: .none, meteredFrom: .latest, at: now)
            book.takePastAsKnown()
            book.complete(at: now)
            return book
        }

        var localCalendar: LocalCalendar { calendars[.local] ?? .utc }

        /// Buckets that end before it aren't kept.
        var horizon: Timestamp {
            min(
                now.adding(seconds: -Int64(configuration.storage.keepBuckets.seconds)),
                emptyBook.bucketsNeededFrom(at: now))
        }

        /// All that the ledger has about the plans, and when it was metered last.
        func book(of file: LedgerFile) throws(StoreError) -> (PlanBook, lastReading: Timestamp?) {
            var book = try file.planBook(plans, calendars: calendars, at: now)
            var scan = HistoryScan(book, at: now)
            while !scan.isDone { scan = try file.continueScan(scan) }
            book.adopt(scan)
            return (book, try file.lastReading())
        }

        func calendar(ofQuota name: String) -> LocalCalendar {
            plans.calendar(ofQuota: name, among: calendars) ?? .utc
        }
    }

    /// How often it is looked for a daemon that has the ledger but doesn't listen: it starts, or stops.
    private static let attempts = 30

    /// - Returns: The daemon's answer, or `nil` when none runs.
    func askDaemon(_ request: Control.Request) throws(Failure) -> Control.Answer? {
        let client = ControlClient(path: Control.path(ofLedger: storagePath))
        for _ in 0..<Self.attempts {
            do throws(ControlClient.Failure) {
                return try client.ask(request)
            } catch {
                switch error {
                case .unusable(let problem):
                    throw .daemon("the daemon that has \(storagePath) can't be asked: \(problem)")
                case .refused(let problem): throw .refused(problem)
                case .nobody: if !LedgerFile.isLocked(at: storagePath) { return nil }
                }
            }
            usleep(100_000)
        }
        let socket = Control.path(ofLedger: storagePath)
        throw .daemon(
            "the daemon that has \(storagePath) doesn't listen at \(socket), as while it starts or ends; a socket that was deleted is made again within half a minute, so try again then"
        )
    }

    func setup() throws(Failure) -> Setup {
        do {
            let configuration = try ConfigurationFile.load(configurationPath, isRequired: isConfigurationRequired)
            let zones = try Zones.load(configuration)
            return Setup(
                configuration: configuration, zones: zones,
                calendars: zones.calendars(weekStart: configuration.weekStarts), now: SystemClock.now().timestamp,
                freshSeconds: max(900, Int64(configuration.storage.flushInterval.seconds) * 3))
        } catch let error as ConfigurationErrors {
            throw .configuration(error)
        } catch let error as ZoneError {
            throw .zone(error)
        } catch {
            throw .daemon("\(error)")
        }
    }
}

/// What devices carry, each time it is asked.
package struct LiveSource: Sendable {
    fileprivate let next: @Sendable () async throws(LedgerAccess.Failure) -> LiveReport

    /// - Parameters:
    ///   - devices: Names or patterns; all if there are none.
    ///   - isFirst: Whether nothing was told yet; later a device may come and go.
    /// - Throws: `LedgerAccess.Failure` when the daemon has ended, or there is no such device at first.
    package func report(of devices: [String], isFirst: Bool) async throws(LedgerAccess.Failure) -> LiveReport {
        var report = try await next()
        if !devices.isEmpty {
            let known = report.accounts.map(\.name)
            report.accounts.removeAll { account in
                !devices.contains { $0 == account.name || DevicePattern($0)?.matches(DeviceName(account.name)) == true }
            }
            if report.accounts.isEmpty, isFirst {
                let names = devices.joined(separator: ", ")
                throw .refused("there is no \(names) now; there is \(known.prefix(20).joined(separator: ", "))")
            }
        }
        return report
    }
}
