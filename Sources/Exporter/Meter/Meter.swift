import Accounting
import Applications
import CivilTime
import Exposition
import LedgerStore
import Logging
import Machine
import NIOCore
import Netlink
import Synchronization

/// Reads the kernel and owns the ledger.
///
/// A shell around pure values: ``LinkTracker``, `Ledger` and ``StoreQueue``. Kernel and clock are passed in.
///
/// It lives on the event loop that serves HTTP: a scrape reads the kernel, books, and renders without changing threads.
/// A reading takes microseconds (0.4 ms at 1,000 devices), far less than handing the work to another thread and back.
/// Inside it nothing awaits between reading and booking.
actor Meter {
    nonisolated let unownedExecutor: UnownedSerialExecutor

    private let kernel: any Kernel
    /// The wall clock and the clock since boot.
    let clock: @Sendable () -> Moment
    let logger: Logger
    let wakeStore: AsyncStream<Void>.Continuation
    var settings: MeterSettings
    var ledger: Ledger
    private(set) var links: LinkTracker
    private(set) var uplink = Uplink()
    private var counters: [LinkCounters] = []
    private(set) var applications = MeteredApplications()
    private(set) var health: KernelHealth
    var queue: StoreQueue
    var announcements: HeldAnnouncements
    private(set) var configurationStatus: ConfigurationStatus
    private(set) var process: ProcessStatus
    var shown = ShownSeries()
    /// The time of the last scrape, in nanoseconds since boot.
    private let scrapedAt = Atomic(-Meter.attention.nanoseconds)
    /// The moment of the last reading, to notice that the clock was set.
    private var previousMoment: Moment?
    /// Links that went away while the first lists were read; `nil` once anything was shown or booked.
    private var departed: [Link]?

    /// Takes stock of the kernel's links. It books nothing before ``begin()``, or before the store is read.
    ///
    /// - Throws: `NetlinkError` when the kernel doesn't answer.
    init(
        on loop: any EventLoop, kernel: any Kernel, clock: @escaping @Sendable () -> Moment = { SystemClock.now() },
        bootID: String, process: ProcessStatus = .now(), settings: MeterSettings, logger: Logger,
        wakeStore: AsyncStream<Void>.Continuation, announce: @escaping @Sendable (Announcement) -> Void
    ) throws(NetlinkError) {
        unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.kernel = kernel
        self.clock = clock
        self.settings = settings
        self.logger = logger
        self.wakeStore = wakeStore
        self.process = process
        announcements = HeldAnnouncements(announce: announce)
        health = KernelHealth(logger: logger)
        // Nobody waits for anything yet.
        kernel.patienceMilliseconds = Self.startPatienceMilliseconds
        let stock = try KernelStock(kernel)
        kernel.patienceMilliseconds = Self.patienceMilliseconds
        let now = clock()
        links = LinkTracker(stock, at: now.sinceBoot)
        departed = stock.departed
        queue = StoreQueue(at: now.sinceBoot)
        configurationStatus = settings.status(readAt: now)
        ledger = .awaitingStore(
            devices: stock.presences(kernel), planBook: settings.newPlanBook(at: now.timestamp), rules: settings.rules,
            calendar: settings.calendar,
            epoch: Epoch(bootID: bootID, networkNamespace: kernel.networkNamespace), now: now)
    }

    /// How long a reading waits for the kernel before it takes counters from `/proc/net/dev`, where nothing holds it up.
    private static let patienceMilliseconds = 100
    private static let startPatienceMilliseconds = 600_000

    /// Meters from here on, if it doesn't yet, whether or not the store can be read.
    func begin() {
        guard let departed else { return }
        self.departed = nil
        previousMoment = ledger.lastReading
        for link in departed {
            ledger.depart(link.deviceIndex, final: nil, movedAway: link.movedAway, at: ledger.lastReading)
        }
        // What was carried since the lists were read, a moment ago, goes to the device that holds the route now.
        refreshUplink()
        queue.note(isUrgent: true)
        read(endsInterval: false)
    }

    /// Whether anything was shown or booked yet.
    var hasBegun: Bool { departed == nil }

    // MARK: - Reading

    /// Books everything up to now: events first, then counters, then what the routes say.
    ///
    /// - Returns: The moment of the reading.
    @discardableResult
    func read(endsInterval: Bool) -> Moment {
        takeEvents()
        links.beginCounters()
        var now: Moment
        do {
            try kernel.readCounters(into: &counters)
            health.note(.counters, nil)
            health.note(isBusy: kernel.isBusy)
            // What happened while the counters were read has been in the queue since: a number may have changed hands.
            takeEvents()
            now = clock()
            book(at: now, endsInterval: endsInterval)
            // What a quota leaves out must be as new as what it counts.
            if endsInterval || settings.plansNeedApplications {
                readApplications(at: now, isWithDevices: true, endsInterval: endsInterval)
            }
        } catch {
            health.note(.counters, error)
            now = clock()
            ledger.advance(to: now.timestamp)
        }
        if links.wantsList(at: now.sinceBoot) { refreshLinks() }
        let wait = endsInterval ? settings.samplingInterval : .zero
        if uplink.isDue(at: now.sinceBoot, untilNextReading: wait) { refreshUplink() }
        health.status.overruns = kernel.overruns
        // A scrape doesn't wait for forecasts.
        queue.note(isUrgent: ledger.notePlanEvents(at: now.timestamp, makesForecasts: endsInterval))
        if !ledger.isPersistent { announceNews() }
        logRateLimits()
        if queue.isUrgent || ledger.needsHistory || ledger.isPlanBookOutdated { wakeStore.yield() }
        return now
    }

    private func book(at now: Moment, endsInterval: Bool) {
        if let previous = previousMoment, now.isStepped(since: previous) {
            health.status.clockSteps += 1
            queue.note(isUrgent: true)  // After a crash nobody could say what was carried before the step.
            logger.warning("the wall clock was set", metadata: ["step_seconds": "\(now.step(since: previous))"])
        }
        previousMoment = now
        let readings = links.sure(counters, at: now.sinceBoot)
        queue.note(isUrgent: ledger.record(readings, at: now, endsInterval: endsInterval))
    }

    /// Meters applications, too, from here on.
    ///
    /// - Parameters:
    ///   - programs: At least one attachment; the later ones come last.
    ///   - drop: Called with each attachment that isn't needed; `nil` if nobody keeps them but this process.
    func take(_ programs: [KernelPrograms], drop: (@Sendable (UInt64) -> Void)? = nil) {
        // The configuration may have changed since they were asked for.
        if settings.applications.mode == .off || metersApplications {
            for programs in programs { drop?(programs.attachment) }
            return
        }
        let sources = programs.map { KernelCounts($0) }
        applications.reader = ApplicationReader(sources, machine: machineName(), logger: logger, drop: drop)
        applications.problem = nil
        logger.notice("applications are metered")
        if hasBegun { readApplications(at: read(endsInterval: false), isWithDevices: true) }
    }

    var metersApplications: Bool { applications.reader != nil }

    /// Meters applications no more, if it does: books what was counted until now, and has the programs removed.
    func stopApplications(_ reason: String) {
        readApplications(at: read(endsInterval: false), isWithDevices: true, isLast: true)
        applications.reader?.stop()
        applications = MeteredApplications(reader: nil, problem: reason)
        ledger.stopApplicationRates()
        queue.note(isUrgent: true)
    }

    /// - Parameter isWithDevices: Whether the counters of devices were read at the same moment.
    func readApplications(at now: Moment, isWithDevices: Bool = false, endsInterval: Bool = false, isLast: Bool = false)
    {
        let isUrgent = applications.reader?.read(
            into: &ledger, settings.applications, links.table, uplinks: Set(ledger.currentUplink.map(\.rawValue)),
            at: now, isWithDevices: isWithDevices, endsInterval: endsInterval, isLast: isLast)
        queue.note(isUrgent: isUrgent == true)
    }

    private func takeEvents() {
        var events: [KernelNetwork.Event] = []
        do {
            try kernel.drainEvents { events.append($0) }
            health.note(.events, nil)
        } catch {
            health.note(.events, error)
            links.eventsFailed()
        }
        for event in events { carryOut(links.take(event)) }
    }

    private func carryOut(_ changes: [LinkTracker.Change]) {
        for change in changes {
            switch change {
            case .appeared(let link): queue.note(isUrgent: ledger.appear(kernel.device(for: link)))
            case .showed(let counters): queue.note(isUrgent: ledger.record(counters.reading, at: clock()))
            case .named(let names): queue.note(isUrgent: ledger.rename(names))
            case .hardwareAddress(let address, let index): ledger.setHardwareAddress(address, of: index)
            case .speed(let link): ledger.setLinkSpeed(kernel.bytesPerSecond(of: link), of: link.deviceIndex)
            case .departed(let index, let final, let movedAway):
                ledger.depart(index, final: final, movedAway: movedAway, at: clock())
                queue.note(isUrgent: true)
            case .routes: uplink.outdate()
            case .lost: logger.warning("kernel events were lost; the lists are read again")
            }
        }
    }

    private func refreshLinks() {
        links.beginList(at: clock().sinceBoot)
        do {
            let list = try kernel.links()
            takeEvents()
            carryOut(links.take(list: list))
            links.take(addresses: try kernel.addresses())
            health.note(.links, nil)
        } catch {
            health.note(.links, error)
            links.listFailed()
        }
    }

    // MARK: - Uplink

    /// Everything up to now is booked: from here on bytes go to the device that holds the default route now.
    private func refreshUplink() {
        let started = clock().sinceBoot
        do {
            let route = try kernel.defaultRoute(DefaultRoute.LinkRoles(links.table.links.values))
            if uplink.take(route) {
                logUplink()
                shown.outdate()  // A plan may count something now, or nothing any more.
            }
            let isNew = ledger.setUplink(Set(uplink.links.map { DeviceIndex(rawValue: $0) }))
            queue.note(isUrgent: isNew)
            if isNew { readApplications(at: clock()) }  // The kernel programs follow the ledger.
            health.note(.routes, nil)
        } catch {
            health.note(.routes, error)
        }
        uplink.asked(from: started, to: clock().sinceBoot)
    }

    /// Asks for the default route between readings that are far apart.
    ///
    /// - Returns: When to look again.
    func lookAtRoutes() -> Plan {
        let started = clock().sinceBoot
        let links = try? kernel.defaultRoute(DefaultRoute.LinkRoles(links.table.links.values))?.links ?? []
        uplink.asked(from: started, to: clock().sinceBoot)
        if links != uplink.links {
            read(endsInterval: false)  // Everything until now goes to the previous uplink.
            refreshUplink()
            if queue.isUrgent { wakeStore.yield() }
        }
        return plan
    }

    private func logUplink() {
        let devices = uplink.links.compactMap { links.table[$0] }
        if devices.isEmpty {
            logger.info("there is no uplink now")
            return
        }
        func names(_ links: [Link]) -> String {
            links.map { $0.deviceName.label { _ in false } }.joined(separator: ", ")
        }
        let unmetered = devices.filter { ledger.rules.account(for: $0.deviceName) == nil }
        if unmetered.isEmpty {
            logger.info("the uplink is this device now", metadata: ["device": "\(names(devices))"])
        } else if unmetered.count == devices.count {
            logger.warning(
                "the uplink isn't metered, so nothing is counted for it: take it out of devices.exclude",
                metadata: ["device": "\(names(devices))"])
        } else {
            logger.warning(
                "a part of the uplink isn't metered, so its bytes aren't counted: take it out of devices.exclude",
                metadata: ["device": "\(names(unmetered))", "uplink": "\(names(devices))"])
        }
    }

    // MARK: - Scrapes

    /// Reads the kernel and shows everything that there is to see.
    func scrape() -> Snapshot {
        let now = read(endsInterval: false)
        shown.refresh(ledger, links.table) { quotasCountingNothing }
        scrapedAt.store(now.sinceBoot.nanoseconds, ordering: .relaxed)
        return Snapshot(
            series: shown.devices, devices: shown.devices.snapshots(of: ledger), uplink: ledger.uplinkView,
            applicationLabels: shown.applications?.labels ?? LabelColumn([]),
            applications: shown.applications?.snapshots(of: ledger) ?? [],
            uplinkScopes: applications.reader?.status.countsLanes == true ? ledger.uplinkScopes : [],
            applicationCounters: applications.reader?.status,
            plans: shown.plans.snapshot(
                of: ledger.planBook, countingNothing: shown.countingNothing, at: now.timestamp),
            isOnline: uplink.route != nil, window: ledger.window, store: queue.status, kernel: health.status,
            configuration: configurationStatus, process: process)
    }

    /// How long after a scrape the next one is expected.
    private static let attention = Span(seconds: 60)

    /// Whether somebody scrapes. Then the use of the process is read once a second on another thread: even `/proc` may be
    /// slow.
    nonisolated var wantsProcessStatistics: Bool {
        let scrapedAt = BootTime(nanoseconds: scrapedAt.load(ordering: .relaxed))
        return clock().sinceBoot.elapsed(since: scrapedAt) < Self.attention
    }

    func take(_ statistics: ProcessStatistics) { process.statistics = statistics }

    // MARK: - Time

    /// What the watch has to wait for next.
    struct Plan: Sendable {
        /// Until the next reading that ends a sampling interval, closes a bucket or a day, or wakes the store.
        var untilNextReading: Span
        /// Until the routes are due, where that is before the next reading.
        var untilRoutes: Span?
        /// The next local midnight.
        var nextDay: Timestamp
    }

    /// A sampling interval ends, or a bucket, or the clock was set.
    func tick(onBattery: Bool) -> Plan {
        settings.isOnBattery = onBattery
        if ledger.rules != settings.rules { ledger.apply(settings.rules) }
        let now = read(endsInterval: true)
        if queue.isDue(settings, at: now.sinceBoot) { wakeStore.yield() }
        return plan
    }

    /// Takes events as they come.
    ///
    /// - Returns: Whether the kernel could be read.
    func readEvents() -> Bool {
        let now = read(endsInterval: false)
        if queue.isDue(settings, at: now.sinceBoot) { wakeStore.yield() }
        return health.status.readSuccess
    }

    /// The next reading falls on a multiple of the interval by the wall clock, and so on every bucket's and day's end.
    var plan: Plan {
        let now = clock()
        func untilMultiple(of length: Int64) -> Int64 {
            let remainder = now.wallNanoseconds % length
            return length - (remainder < 0 ? remainder + length : remainder)
        }
        var wait = min(
            untilMultiple(of: settings.samplingInterval.nanoseconds), untilMultiple(of: Bucket.seconds * 1_000_000_000))
        for moment in [ledger.window.daySpan.upperBound, ledger.nextCut(after: now.timestamp)] {
            guard let moment else { continue }
            let (nanoseconds, overflow) = moment.secondsSinceEpoch.multipliedReportingOverflow(by: 1_000_000_000)
            let (until, isFar) = nanoseconds.subtractingReportingOverflow(now.wallNanoseconds)
            if !overflow, !isFar, until > 0 { wait = min(wait, until) }
        }
        if ledger.isPersistent { wait = min(wait, queue.untilDue(settings, at: now.sinceBoot).nanoseconds) }
        return Plan(
            untilNextReading: Span(nanoseconds: wait),
            untilRoutes: uplink.untilDue(at: now.sinceBoot, untilNextReading: Span(nanoseconds: wait)),
            nextDay: ledger.window.daySpan.upperBound)
    }

    // MARK: - Configuration

    /// Other settings hold from now on. Another calendar holds once the store has booked its days again.
    func apply(_ settings: MeterSettings) {
        read(endsInterval: false)
        let isOnBattery = self.settings.isOnBattery
        self.settings = settings
        self.settings.isOnBattery = isOnBattery
        ledger.apply(self.settings.rules)
        uplink.outdate()
        configurationStatus = settings.status(readAt: clock())
        shown.outdate()
        queue.note(isUrgent: true)
        // The baselines of devices that are metered from here on, and the uplink.
        read(endsInterval: false)
        queue.hurry()
        wakeStore.yield()
    }

    /// Local time, and that of plans, goes by these settings' calendars from now on.
    func useCalendars(of settings: MeterSettings) {
        self.settings.calendar = settings.calendar
        self.settings.calendars = settings.calendars
        queue.hurry()
        wakeStore.yield()
    }

    func reloadFailed() { configurationStatus.lastReloadSuccessful = false }
}
