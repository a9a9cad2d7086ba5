import Accounting
import CivilTime
import Configuration
import Glibc
import LedgerStore
import Machine
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

        /// The failure that an error is for a command; `nil` for an error that isn't netusage's.
        init?(_ error: any Error) {
            switch error {
            case let error as Failure: self = error
            case let error as ConfigurationErrors: self = .configuration(error)
            case let error as ZoneError: self = .zone(error)
            case let error as StoreError: self = .store(error)
            case let error as OrderError: self = .order(error)
            case let error as UsageError: self = .refused("\(error)")
            default: return nil
            }
        }

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

    // MARK: - One of the two ways

    /// The answer to a question: the daemon's if one runs, otherwise of the ledger's last commit.
    ///
    /// - Parameter question: Put to the file, too, if the daemon that runs can't be asked: a user without access to the
    ///   socket may be able to read the ledger.
    /// - Throws: `Failure`.
    package func answer<Answer>(_ question: (any Questions) async throws -> Answer) async throws(Failure) -> Answer {
        try checkDirectory()
        return try await reportingFailures {
            do {
                return try await question(try await daemon() ?? OfflineLedger(self))
            } catch Failure.daemon(let problem) {
                guard let answer = try? await question(OfflineLedger(self, problem: problem)) else {
                    throw Failure.daemon(problem)
                }
                return answer
            }
        }
    }

    /// Chooses once who answers, for what can't be asked again, such as an export: the daemon if it answers now, otherwise
    /// the ledger's file.
    ///
    /// - Throws: `Failure`.
    package func questions() async throws(Failure) -> any Questions {
        try checkDirectory()
        return try await reportingFailures {
            do {
                guard let daemon = try await daemon() else { return OfflineLedger(self) }
                _ = try await daemon.live(by: .device)
                return daemon
            } catch Failure.daemon(let problem) {
                if (try? openedForReading()) == nil { throw Failure.daemon(problem) }
                return OfflineLedger(self, problem: problem)
            }
        }
    }

    /// Writes out what was carried: from the daemon if one runs, otherwise up to the ledger's last commit.
    ///
    /// - Throws: `Failure`, or what `sink` throws.
    package func export(_ query: ExportQuery, to sink: @escaping ExportSink) async throws {
        let questions = try await questions()
        do {
            try await questions.export(query, to: sink)
        } catch {
            throw Failure(error) ?? error
        }
    }

    /// Keeps a correction or a top-up of a quota, or takes one back.
    ///
    /// - Throws: `Failure`; then nothing was kept, unless it says that nobody knows.
    package func carryOut(_ request: QuotaRequest) async throws(Failure) -> AdjustmentReport {
        try checkDirectory()
        return try await reportingFailures { try await changes().carryOut(request) }
    }

    func changes() async throws -> any LedgerChanges { try await daemon() ?? OfflineLedger(self) }

    /// How often it is looked for a daemon that has the ledger but doesn't listen: it starts, or stops.
    private static let attempts = 30

    /// - Returns: The daemon; `nil` when none runs.
    /// - Throws: `Failure` when it can't be asked.
    func daemon() async throws -> DaemonClient? {
        let client = DaemonClient(ledger: storagePath)
        for _ in 0..<Self.attempts {
            if try await client.isThere() { return client }
            if !LedgerFile.isLocked(at: storagePath) { return nil }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw Failure.daemon(
            "the daemon that has \(storagePath) doesn't listen at \(DaemonClient.socketPath(ofLedger: storagePath)), as while it starts or ends; a socket that was deleted is made again within half a minute, so try again then"
        )
    }

    func reportingFailures<Value>(_ body: () async throws -> Value) async throws(Failure) -> Value {
        do {
            return try await body()
        } catch {
            throw Failure(error) ?? .refused("\(error)")
        }
    }

    // MARK: - The file

    /// The ledger up to its last commit.
    ///
    /// - Throws: `Failure`.
    func openedForReading() throws -> LedgerFile {
        guard LedgerFile.exists(at: storagePath) else { throw noLedger }
        return try LedgerFile(reading: storagePath)
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

    var noLedger: Failure {
        .refused(
            "\(storagePath): there is no ledger; netusage serve begins one, and --storage.path names another (the service's is \(StoragePath.system))"
        )
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
        var freshSeconds: Int64 { max(900, Int64(configuration.storage.flushInterval.seconds) * 3) }

        /// - Parameter lastReading: When the ledger was metered last; `nil` if it never was.
        func isStale(_ lastReading: Timestamp?) -> Bool {
            lastReading.map { now.secondsSinceEpoch - $0.secondsSinceEpoch > freshSeconds } ?? true
        }

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
            return (book, try file.header()?.lastReading.timestamp)
        }

        func calendar(ofQuota name: String) -> LocalCalendar {
            plans.calendar(ofQuota: name, among: calendars) ?? .utc
        }
    }

    func setup() throws(Failure) -> Setup {
        do {
            let configuration = try ConfigurationFile.load(configurationPath, isRequired: isConfigurationRequired)
            let zones = try Zones.load(configuration)
            return Setup(
                configuration: configuration, zones: zones,
                calendars: zones.calendars(weekStart: configuration.weekStarts), now: SystemClock.now().timestamp)
        } catch {
            throw Failure(error) ?? .refused("\(error)")
        }
    }
}
