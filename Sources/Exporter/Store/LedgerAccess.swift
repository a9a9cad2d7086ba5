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
    let isConfigurationRequired: Bool
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

    /// The plans as they are now: from the daemon if one runs, otherwise up to the ledger's last commit.
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

    /// What was carried: from the daemon if one runs, otherwise up to the ledger's last commit.
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

    func storedUsage(_ query: UsageQuery) async throws(Failure) -> UsageReport {
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

    /// Writes out what was carried: from the daemon if one runs, otherwise up to the ledger's last commit.
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

    /// Whether a daemon runs that can be asked; one that can't doesn't keep from reading the ledger.
    func isDaemonThere() throws(Failure) -> Bool {
        do throws(Failure) {
            return try askDaemon(.live) != nil
        } catch {
            guard case .daemon = error, (try? LedgerFile(reading: storagePath)) != nil else { throw error }
            return false
        }
    }

    /// The ledger up to its last commit.
    ///
    /// - Throws: `Failure`.
    func openedForReading() throws(Failure) -> LedgerFile {
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

    /// Keeps a correction or a top-up of a quota, or takes one back.
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

    var noLedger: Failure {
        .refused(
            "\(storagePath): there is no ledger; netusage serve begins one, and --storage.path names another (the service's is \(StoragePath.system))"
        )
    }

    func reportingFailures<Value>(_ body: () throws(StoreError) -> Value) throws(Failure) -> Value {
        do throws(StoreError) {
            return try body()
        } catch {
            throw .store(error)
        }
    }

    /// The configuration that holds where no daemon runs, for people.
    var configurationName: String {
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
