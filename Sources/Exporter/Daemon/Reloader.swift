import Accounting
import CivilTime
import Configuration
import Logging
import Machine
import Synchronization

/// Reads the configuration again on request, and zone files when they change.
///
/// It reads one after the other, on its own thread, so a file system that doesn't answer holds up nothing else.
actor Reloader {
    private let path: String
    private let isRequired: Bool
    private let meter: Meter
    private let applications: ApplicationSwitch
    private let manager: SystemdNotifier
    private let logger: Logger
    private var configuration: Configuration
    private var zones: Zones
    private var zoneProblem: ZoneError?
    private let looks = PeriodicWakeup(after: Reloader.period())
    private let isReloadWanted = Atomic(false)
    /// Callers that wait for a reload that hasn't begun yet.
    private var waiting: [CheckedContinuation<String?, Never>] = []
    /// Callers that wait for the reload under way.
    private var served: [CheckedContinuation<String?, Never>] = []
    private var isReloading = false
    /// Whether the file system hasn't answered for long.
    private var isLate = false
    private var hasEnded = false

    init(
        path: String, isRequired: Bool, configuration: Configuration, zones: Zones, meter: Meter,
        applications: ApplicationSwitch, manager: SystemdNotifier, logger: Logger
    ) {
        self.path = path
        self.isRequired = isRequired
        self.configuration = configuration
        self.zones = zones
        self.meter = meter
        self.applications = applications
        self.manager = manager
        self.logger = logger
    }

    /// How often zone files are checked for changes: each check costs a thread.
    private static let zoneInterval = Span(seconds: 5)

    private static let lateProblem =
        "the file system of the configuration or of a zone file doesn't answer; the files are read when it does\n"
    private static let endProblem = "netusage ends\n"

    /// Reads files whenever it is woken, until the task is cancelled.
    func run() async {
        do throws(CancellationError) {
            for await _ in looks.wakeups {
                while isReloadWanted.exchange(false, ordering: .acquiringAndReleasing) {
                    try await takeUpConfiguration()
                }
                try await followZoneFiles()
            }
        } catch {}  // The daemon ends.
        hasEnded = true
        answerAll(Self.endProblem)
    }

    /// Has the zone files checked now and then. Never waits.
    nonisolated func tick() { looks.tick(Self.period()) }

    private static func period() -> Int64 { SystemClock.now().sinceBoot.nanoseconds / zoneInterval.nanoseconds }

    /// Has the configuration read again. Never waits.
    nonisolated func requestReload() {
        isReloadWanted.store(true, ordering: .releasing)
        looks.wake()
    }

    /// Reloads the configuration; if the file has an error, nothing changes.
    ///
    /// - Returns: What is wrong with the file, for people, or `nil`.
    func reload() async -> String? {
        if hasEnded { return Self.endProblem }
        if isLate {
            requestReload()
            return Self.lateProblem
        }
        return await withCheckedContinuation {
            waiting.append($0)
            requestReload()
        }
    }

    private func takeUpConfiguration() async throws(CancellationError) {
        (served, waiting) = (waiting, [])
        isReloading = true
        manager.reloading()
        let result = try await look(at: path) { [path, isRequired] in
            Result {
                let configuration = try ConfigurationFile.load(path, isRequired: isRequired)
                return (configuration, try Zones.load(configuration))
            }
        }
        var problem: String?
        let previousMode = configuration.applications.mode
        do {
            (configuration, zones) = try result.get()
            await meter.apply(MeterSettings(configuration, zones))
            let mode = configuration.applications.mode
            if mode != previousMode { await applications.change(to: mode) }
            logger.notice("the configuration was read again", metadata: ["file": "\(path)"])
            logger.note(configuration.notes)
            await meter.logPlanProblems()
        } catch {
            await meter.reloadFailed()
            logger.tell("the configuration has errors; the previous one stays in use", error)
            problem = "\(error)\n"
        }
        manager.ready()
        isReloading = false
        for asker in served { asker.resume(returning: problem) }
        served = []
    }

    /// Uses the zone files if they have changed. If one is missing or makes no sense, the last good ones stay in use.
    private func followZoneFiles() async throws(CancellationError) {
        let result = try await look(at: zones.paths.joined(separator: ", ")) { [zones, configuration] in
            Result { () throws(ZoneError) in try zones.changed(configuration) }
        }
        do throws(ZoneError) {
            if let changed = try result.get() {
                zones = changed
                logger.notice("the time zone has changed; days are booked by the new one")
                await meter.useCalendars(of: MeterSettings(configuration, zones))
            }
            zoneProblem = nil
        } catch {
            if error == zoneProblem { return }
            zoneProblem = error
            logger.warning(
                "the time zone's file can't be used; the previous zone stays in use", metadata: ["error": "\(error)"])
        }
    }

    private func look<Value: Sendable>(
        at files: String, _ work: @escaping @Sendable () -> Value
    ) async throws(CancellationError) -> Value {
        let value = try await onOwnThread(work, late: { await self.noteLateness(of: files) })
        if isLate { logger.notice("the file system answers again", metadata: ["file": "\(files)"]) }
        isLate = false
        return value
    }

    private func noteLateness(of files: String) async {
        isLate = true
        logger.error(
            "a file can't be read, as its file system doesn't answer; its previous contents stay in use",
            metadata: ["file": "\(files)"])
        answerAll(Self.lateProblem)
        guard isReloading else { return }
        manager.ready()
        await meter.reloadFailed()
    }

    private func answerAll(_ problem: String) {
        for asker in served + waiting { asker.resume(returning: problem) }
        (served, waiting) = ([], [])
    }
}
