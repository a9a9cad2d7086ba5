import Accounting
import CLinux
import Configuration
import Glibc
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Netlink

/// The program as a service: meter, store and server, from start to end.
package struct Daemon: Sendable {
    /// The options of the command line.
    package struct Options: Sendable {
        package var configurationPath = ConfigurationFile.defaultPath
        /// Whether the configuration was named, so the file must be there.
        package var isConfigurationRequired = false
        package var storagePath = ""
        package var listenAddresses = [ListenAddress.standard]
        package var telemetryPath = "/metrics"
        package var webConfigurationPath: String?
        package var isLifecycleEnabled = false
        package var maximumRequests = 40
        package var externalURL: ExternalURL?
        package var showsCreated = false
        package var logLevel = Logger.Level.info
        package var logFormat = LogFormat.logfmt

        package init() {}
    }

    private var options: Options
    private let logger: Logger

    package init(_ options: Options) {
        self.options = options
        self.options.storagePath = LedgerPlace.resolved(options.storagePath)
        let log = Log(format: options.logFormat, level: options.logLevel)
        logger = Logger(label: "netusage") { _ in log }
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Returns: The exit code: 0, 1 when it couldn't start or couldn't write the last commit, 78 (`EX_CONFIG` of
    ///   sysexits.h) when the configuration has errors.
    package func run() async -> CInt {
        mallopt(M_ARENA_MAX, 1)  // Three threads that allocate little: one arena keeps the resident memory small.
        let configuration: Configuration
        let zones: Zones
        let web: WebSecurity.Start
        do {
            configuration = try ConfigurationFile.load(
                options.configurationPath, isRequired: options.isConfigurationRequired)
            zones = try Zones.load(configuration)
        } catch {
            logger.tell("the configuration has errors", error)
            return 78
        }
        do {
            // Before signals are caught, so that they end a start that waits for a file system which doesn't answer.
            web = try WebSecurity.Start(path: options.webConfigurationPath)
        } catch {
            logger.tell("the web configuration has errors", error)
            return 78
        }
        guard Self.spareDescriptors() >= Self.neededDescriptors else {
            logger.error(
                "too few file descriptors",
                metadata: [
                    "remedy": "raise the limit (ulimit -n, LimitNOFILE=) to \(2 * Self.neededDescriptors) or more"
                ])
            return 1
        }
        if LedgerFile.isDirectory(options.storagePath) {
            logger.error(
                "the ledger's path is that of a directory",
                metadata: ["path": "\(options.storagePath)", "remedy": "name a file in it with --storage.path"])
            return 1
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 3)
        let code: CInt
        do {
            try await serve(
                configuration, zones, web, serveOn: group.next(), storeOn: group.next(), watchOn: group.next())
            code = 0
        } catch {
            logger.error("netusage ends", metadata: ["error": "\(error)"])
            code = 1
        }
        // An error doesn't matter: the threads end with the process.
        try? await group.shutdownGracefully()
        return code
    }

    private func serve(
        _ configuration: Configuration, _ zones: Zones, _ web: WebSecurity.Start, serveOn loop: any EventLoop,
        storeOn storeLoop: any EventLoop,
        watchOn watchLoop: any EventLoop
    ) async throws {
        logger.notice(
            "netusage starts", metadata: ["version": "\(Version.number)", "ledger": "\(options.storagePath)"])
        let children = Children()
        let manager = SystemdNotifier()
        let (storeWakeups, wakeStore) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let settings = MeterSettings(configuration, zones)
        logger.note(configuration.notes)
        let (announcements, announcement) = AsyncStream.makeStream(
            of: Announcement.self, bufferingPolicy: .bufferingOldest(Self.maximumAnnouncements))
        let bootID = SystemClock.bootID()
        if bootID == Epoch.unknownBoot {
            logger.warning("\(Self.unknownBootProblem)")
        }
        let kernel = try KernelNetwork()
        let eventDescriptors = kernel.eventDescriptors
        let meter = try Meter(
            on: loop, kernel: kernel, bootID: bootID,
            settings: settings, logger: logger, wakeStore: wakeStore,
            announce: { [logger] in
                if case .dropped = announcement.yield($0) {
                    logger.error(
                        "too many programs of quotas wait; this one waits for the next start of netusage",
                        metadata: ["quota": "\($0.event.quota)"])
                }
            })
        // Signals are caught only now: until here one ends a start that waits for the kernel, and nothing is lost.
        let signals = netusage_signal_pipe()
        let store = Store(on: storeLoop, path: options.storagePath, logger: logger)
        let ledger = LiveLedger(meter: meter, store: store)
        let control = ControlServer(
            path: Control.path(ofLedger: options.storagePath), meter: meter, ledger: ledger, logger: logger)
        let writer = LedgerWriter(
            store: store, meter: meter, logger: logger, opened: { await control.start(on: loop) })
        let reloader = Reloader(
            path: options.configurationPath, isRequired: options.isConfigurationRequired, configuration: configuration,
            zones: zones, meter: meter, manager: manager, logger: logger)
        let watch = Watch(
            on: watchLoop, signals: signals, eventDescriptors: eventDescriptors,
            longestWaitMicroseconds: manager.watchdogMicroseconds.map { $0 / 2 })
        let (openings, opening) = AsyncStream.makeStream(of: StoreError?.self)
        let statisticsSeconds = PeriodicWakeup()
        let csvLog = CSVLog(meter: meter, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            defer {
                wakeStore.finish()
                announcement.finish()
                tasks.cancelAll()
            }
            tasks.addTask { [logger] in
                await Announcer(logger: logger, children: children, willStart: { await meter.willStart(for: $0) }).run(
                    announcements)
            }
            tasks.addTask { await writer.run(storeWakeups) { opening.yield($0) } }
            tasks.addTask { await csvLog.run() }
            tasks.addTask { await control.run() }
            tasks.addTask { await reloader.run() }
            tasks.addTask {
                for await _ in statisticsSeconds.wakeups { await meter.take(ProcessStatistics.now()) }
            }
            // If the disk takes longer than this, the ledger waits for it; the metrics don't.
            if let error = await Self.first(of: openings, within: .seconds(1)), error.code == .locked { throw error }
            await meter.begin()
            let server = try await startServer(
                on: loop, web, meter, API(meter: meter, ledger: ledger), manager, reloader)
            manager.ready()
            await meter.startAnnouncing()
            await meter.logPlanProblems()
            netusage_release_startup_code()
            await watch.run(meter) { occurrence in
                switch occurrence {
                case .reloadRequested: reloader.requestReload()
                case .tick:
                    manager.alive()
                    children.takeEnded()
                    reloader.tick()
                    csvLog.tick()
                    control.tick()
                    if meter.wantsProcessStatistics {
                        statisticsSeconds.tick(SystemClock.now().timestamp.secondsSinceEpoch)
                    }
                }
            }
            manager.stopping()
            logger.notice("netusage stops")
            loop.scheduleTask(in: Self.longestStop) { [logger] in
                logger.error(
                    "the disk doesn't answer, so netusage ends without its last commit; bytes since the previous one are booked at the next start"
                )
                _exit(1)
            }
            await meter.refuseStarts()
            await control.stop()
            try await loop.submit { server.value.close() }.get()
        }
        do {
            try await writer.finish()
        } catch {
            await control.finish()
            throw error
        }
        await control.finish()
    }

    /// How long the exit may take. A service manager kills after 90 s (`TimeoutStopSec=` of systemd.service(5)), and
    /// then the log has no reason.
    private static let longestStop = TimeAmount.seconds(60)

    /// The first element of a stream, if it comes in time.
    private static func first<Element: Sendable>(of stream: AsyncStream<Element?>, within time: Duration) async
        -> Element?
    {
        await withTaskGroup(of: Element?.self) { tasks in
            tasks.addTask {
                for await element in stream { return element }
                return nil
            }
            tasks.addTask {
                try? await Task.sleep(for: time)  // Cancelled when the element came first.
                return nil
            }
            defer { tasks.cancelAll() }
            return await tasks.next() ?? nil
        }
    }

    private func startServer(
        on loop: any EventLoop, _ web: WebSecurity.Start, _ meter: Meter, _ api: API, _ manager: SystemdNotifier,
        _ reloader: Reloader
    ) async throws -> NIOLoopBound<HTTPServer> {
        let server = try await loop.submit { [self] in
            let catalogue = Catalogue(version: Version.number, revision: Version.revision)
            let server = HTTPServer(
                on: loop,
                router: HTTPRouter(
                    telemetryPath: options.telemetryPath, isLifecycleEnabled: options.isLifecycleEnabled,
                    externalHost: options.externalURL?.host),
                scraper: Scraper(on: loop, meter: meter, catalogue: catalogue, showsCreated: options.showsCreated),
                api: api, registry: ConnectionRegistry(maximumCount: Self.maximumConnections()),
                maximumRequests: options.maximumRequests,
                security: WebSecurity(web, on: loop, logger: logger), logger: logger,
                requestReload: { await reloader.reload() })
            server.startSweeping()
            return NIOLoopBound(server, eventLoop: loop)
        }.get()
        let endpoints: [HTTPServer.Endpoint] =
            manager.listeners.isEmpty
            ? options.listenAddresses.map { .address($0) } : manager.listeners.map { .descriptor($0) }
        for endpoint in endpoints {
            let address = try await HTTPServer.listen(server, at: endpoint, on: loop)
            logger.notice(
                "listening", metadata: ["metrics": "\(address)\(options.telemetryPath)", "page": "\(address)/"])
        }
        return server
    }

    static let unknownBootProblem =
        "the kernel's boot_id can't be read, so only the clocks distinguish one boot from another: let this program see /proc/sys/kernel/random/boot_id"

    /// How many programs of quotas may wait to be started.
    private static let maximumAnnouncements = 4096

    /// For threads, sockets, timers, the ledger, zone files, and a few connections.
    private static let neededDescriptors: Int64 = 40

    private static func spareDescriptors() -> Int64 {
        Int64(clamping: ProcessStatistics.descriptorLimit()) - Int64(ProcessStatistics.countOpenDescriptors())
    }

    /// As many connections as there are descriptors to spare, within reason: the ledger and the zone need some too.
    private static func maximumConnections() -> Int { Int(min(max(spareDescriptors() - 16, 4), 1024)) }
}
