import Accounting
import Applications
import CLinux
import Configuration
import Glibc
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Netlink
import Web

/// The parts of a daemon, joined. It reads the kernel from here on.
struct RunningDaemon: Sendable {
    private let options: Daemon.Options
    private let logger: Logger
    /// The event loop of the meter and the server.
    private let loop: any EventLoop
    private let children = Children()
    private let manager = SystemdNotifier(storedPrefix: Handover.storedPrefix)
    private let meter: Meter
    private let servers: ServerFactory
    private let control: ControlServer
    private let writer: LedgerWriter
    private let reloader: Reloader
    private let watch: Watch
    private let csvLog: CSVLog
    private let applications: ApplicationSwitch
    private let applicationMode: ApplicationSwitch.Mode
    private let statisticsSeconds = PeriodicWakeup()
    private let storeWakeups: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)
    private let announcements: (stream: AsyncStream<Announcement>, continuation: AsyncStream<Announcement>.Continuation)

    /// How many programs of quotas may wait to be started.
    private static let maximumAnnouncements = 4096

    /// - Throws: `NetlinkError` when the kernel doesn't answer.
    init(
        _ options: Daemon.Options, _ configuration: Configuration, _ zones: Zones,
        on threads: MultiThreadedEventLoopGroup, logger: Logger
    ) throws {
        self.options = options
        self.logger = logger
        loop = threads.next()
        storeWakeups = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        announcements = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.maximumAnnouncements))
        let bootID = SystemClock.bootID()
        if bootID == Epoch.unknownBoot { logger.warning("\(Daemon.unknownBootProblem)") }
        let kernel = try KernelNetwork()
        let eventDescriptors = kernel.eventDescriptors
        let meter = try Meter(
            on: loop, kernel: kernel, bootID: bootID, settings: MeterSettings(configuration, zones), logger: logger,
            wakeStore: storeWakeups.continuation,
            announce: { [announcement = announcements.continuation] in
                if case .dropped = announcement.yield($0) {
                    logger.error(
                        "too many programs of quotas wait; this one waits for the next start of netusage",
                        metadata: ["quota": "\($0.event.quota)"])
                }
            })
        // Signals are caught only now: until here one ends a start that waits for the kernel, and nothing is lost.
        let signals = netusage_signal_pipe()
        let store = Store(on: threads.next(), path: options.storagePath, logger: logger)
        let ledger = LiveLedger(meter: meter, store: store)
        applications = ApplicationSwitch(meter: meter, manager: manager, logger: logger)
        let reloader = Reloader(
            path: options.configurationPath, isRequired: options.isConfigurationRequired, configuration: configuration,
            zones: zones, meter: meter, applications: applications, manager: manager, logger: logger)
        let servers = ServerFactory(
            options: options, meter: meter, ledger: ledger, reloader: reloader, loop: loop, logger: logger)
        let control = ControlServer(
            path: DaemonClient.socketPath(ofLedger: options.storagePath), on: loop, logger: logger,
            makeServer: { try await servers.commandServer() })
        writer = LedgerWriter(store: store, meter: meter, logger: logger, opened: { await control.start() })
        watch = Watch(
            on: threads.next(), signals: signals, eventDescriptors: eventDescriptors,
            longestWaitMicroseconds: manager.watchdogMicroseconds.map { $0 / 2 })
        applicationMode = configuration.applications.mode
        csvLog = CSVLog(meter: meter, logger: logger)
        self.meter = meter
        self.reloader = reloader
        self.servers = servers
        self.control = control
    }

    /// Serves until SIGTERM or SIGINT, and writes the last commit.
    func run(_ web: WebSecurity.Start) async throws {
        let (openings, opening) = AsyncStream.makeStream(of: StoreError?.self)
        let remainder = await applications.takeKept(applicationMode)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            defer {
                storeWakeups.continuation.finish()
                announcements.continuation.finish()
                tasks.cancelAll()
            }
            tasks.addTask {
                await Announcer(logger: logger, children: children, willStart: { await meter.willStart(for: $0) }).run(
                    announcements.stream)
            }
            tasks.addTask { await writer.run(storeWakeups.stream) { opening.yield($0) } }
            tasks.addTask { await csvLog.run() }
            tasks.addTask { await control.run() }
            tasks.addTask { await reloader.run() }
            tasks.addTask {
                for await _ in statisticsSeconds.wakeups { await meter.take(ProcessStatistics.now()) }
            }
            tasks.addTask {
                // If the disk takes longer than this, the ledger waits for it; the metrics don't.
                try? await Task.sleep(for: .seconds(1))  // Cancelled when the daemon ends before.
                opening.finish()
            }
            if let error = await openings.first(where: { _ in true }) ?? nil, error.code == .locked { throw error }
            await meter.begin()
            tasks.addTask { await applications.finishStart(applicationMode, remainder) }
            let server = try await startServer(web)
            manager.ready()
            await meter.startAnnouncing()
            await meter.logPlanProblems()
            netusage_release_startup_code()
            await watch.run(meter, tick: { tick() }, reload: { reloader.requestReload() })
            try await stop(server)
        }
        do {
            try await writer.finish()
        } catch {
            await control.finish()
            throw error
        }
        await control.finish()
    }

    private func tick() {
        manager.alive()
        children.takeEnded()
        reloader.tick()
        csvLog.tick()
        control.tick()
        if meter.wantsProcessStatistics { statisticsSeconds.tick(SystemClock.now().timestamp.secondsSinceEpoch) }
    }

    private func stop(_ server: NIOLoopBound<HTTPServer>) async throws {
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
        await meter.refuseWaiting(.ending)
        try await loop.submit { server.value.close() }.get()
    }

    /// How long the exit may take. A service manager kills after 90 s (`TimeoutStopSec=` of systemd.service(5)), and
    /// then the log has no reason.
    private static let longestStop = TimeAmount.seconds(60)

    private func startServer(_ web: WebSecurity.Start) async throws -> NIOLoopBound<HTTPServer> {
        let server = try await servers.server(web)
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
}
