import Accounting
import CivilTime
import LedgerStore
import Logging
import Machine
import NIOCore
import Netlink
import Synchronization

/// Reads the kernel and owns the ledger.
///
/// It lives on the event loop that serves HTTP: a scrape reads the kernel, books, and renders without changing threads.
/// A reading takes microseconds (0.4 ms at 1,000 devices), far less than handing the work to another thread and back.
/// Inside it nothing awaits between reading and booking.
actor Meter {
    nonisolated let unownedExecutor: UnownedSerialExecutor

    private let kernel: KernelNetwork
    let logger: Logger
    var settings: MeterSettings
    var ledger: Ledger
    private(set) var links = LinkTable()
    private var counters: [LinkCounters] = []
    /// Links that an event renamed or deleted after the last dump was asked for. The event had their last counters: what the
    /// dump says of them is older, or of another link that has the number now.
    private var superseded: Set<UInt32> = []
    /// Links that events told of since the list of links was asked for.
    private var touched: Set<UInt32> = []
    /// The route to the rest of the world; without one this machine is offline.
    private(set) var route: DefaultRoute?
    private var routesAreOutdated = true
    private var routesReadAt = BootTime(nanoseconds: 0)
    private var routesTook = Span.zero
    private var linksAreOutdated = false
    private var didLinksFail = false
    private var linksReadAt: BootTime

    private(set) var kernelStatus = KernelStatus()
    private var kernelFailures: [Concern: String] = [:]
    private var wasKernelBusy = false
    var storeStatus = StoreStatus()
    private(set) var configurationStatus: ConfigurationStatus
    private var process = ProcessStatistics.now()
    /// When somebody scraped last, in nanoseconds since boot.
    private let scrapedAt = Atomic(-Meter.attention.nanoseconds)
    let startTime = ProcessStatistics.startTime()
    private let bootTime = ProcessStatistics.bootTime()
    var series: Series?
    private var planSeries = PlanSeries(.none)
    private var countingNothing: Set<String> = []

    private var previousMoment: Moment?
    var flushedAt: BootTime
    var failedAt: BootTime?
    /// Something happened that a crash must not undo.
    var isUrgent = true
    /// Whether nobody else can write the ledger. One that could only be read at first is read again when it can be
    /// written: somebody may have told it something meanwhile.
    var isOwner = true
    /// Whether the store hasn't been called since the settings changed.
    var areSettingsNew = false
    /// Whether an urgent commit went before other work that waits: then that goes first.
    var isOthersTurn = false
    let wakeStore: AsyncStream<Void>.Continuation
    private let announce: @Sendable (Announcement) -> Void
    /// Programs that are to be started once it is certain that this daemon serves.
    private var heldAnnouncements: [Announcement]? = []
    /// What the owner tells, waiting for the store, and what of it the store is at.
    var orders: [WaitingOrder] = []
    var orderUnderWay: WaitingOrder?
    /// A piece of an import that waits for the store, and the one that the store is at.
    var waitingImport: WaitingImport?
    var importUnderWay: WaitingImport?
    /// Programs that wait for the store to know that they are started, and those of them whose commit is under way.
    var starts: [CheckedContinuation<Bool, Never>] = []
    var startsUnderWay: [CheckedContinuation<Bool, Never>] = []
    var isEnding = false
    /// How far the quotas' past has been read.
    var scan: HistoryScan?

    struct WaitingOrder {
        let order: QuotaOrder
        var enteredAt: Timestamp
        let answer: CheckedContinuation<Result<Adjustment, OrderError>, Never>
    }

    /// Whether anything was shown or booked yet.
    var hasBegun = false
    /// Links that went away while the first lists were read.
    private let left: [Link]

    /// Takes stock of the kernel's links; nothing is booked before ``begin()`` or ``takeUp(_:calendar:sizeBytes:)``.
    ///
    /// - Throws: `NetlinkError` when the kernel doesn't answer.
    init(
        on loop: any EventLoop, kernel: KernelNetwork, bootID: String, settings: MeterSettings, logger: Logger,
        wakeStore: AsyncStream<Void>.Continuation, announce: @escaping @Sendable (Announcement) -> Void
    ) throws(NetlinkError) {
        self.announce = announce
        unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.kernel = kernel
        self.settings = settings
        self.logger = logger
        self.wakeStore = wakeStore
        // Nobody waits for anything yet.
        kernel.patienceMilliseconds = Self.startPatienceMilliseconds
        let stock = try Stock(kernel)
        kernel.patienceMilliseconds = Self.patienceMilliseconds
        let now = SystemClock.now()
        for link in stock.links { links.update(link) }
        links.replaceAddresses(stock.addresses)
        left = stock.left
        linksAreOutdated = !stock.isSettled
        linksReadAt = now.sinceBoot
        flushedAt = now.sinceBoot
        configurationStatus = settings.status(readAt: now)
        ledger = .awaitingStore(
            devices: stock.presences, planBook: settings.newPlanBook(at: now.timestamp), rules: settings.rules,
            calendar: settings.calendar,
            epoch: Epoch(bootID: bootID, networkNamespace: kernel.networkNamespace), now: now)
    }

    /// How long a reading waits for the kernel before it takes counters from where nothing holds them up.
    private static let patienceMilliseconds = 100
    private static let startPatienceMilliseconds = 600_000

    // MARK: - Start

    /// Meters from here on, if it doesn't yet, whether or not the store can be read.
    func begin() {
        if hasBegun { return }
        hasBegun = true
        previousMoment = ledger.lastReading
        for link in left {
            ledger.depart(link.deviceIndex, final: nil, movedAway: link.movedAway, at: ledger.lastReading)
        }
        // What was carried since the lists were read, a moment ago, goes to the device that holds the route now.
        refreshRoutes()
        isUrgent = true
        read(endsInterval: false)
    }

    /// Takes up what the store has: it goes before everything that was metered meanwhile.
    ///
    /// - Parameter isOwned: Whether the store can be written, too.
    func takeUp(
        _ stored: StoredLedger, _ book: PlanBook, calendar: LocalCalendar, sizeBytes: Int64, isOwned: Bool = true
    ) {
        isOwner = isOwned
        if hasBegun { read(endsInterval: false) }
        ledger.takeUp(stored, planBook: book, calendar: calendar, wasShown: hasBegun)
        series = nil
        isUrgent = true
        storeStatus.sizeBytes = sizeBytes
        announceWaiting()
        begin()
    }

    /// Meters without a store; what is booked is shown but not kept.
    func goWithoutStore() {
        ledger.giveUpStore()
        begin()
    }

    /// The daemon serves from here on: programs are started.
    func startAnnouncing() {
        let held = heldAnnouncements ?? []
        heldAnnouncements = nil
        for announcement in held { announce(announcement) }
    }

    /// Has a quota's program started.
    func start(_ announcement: Announcement) {
        if heldAnnouncements == nil {
            announce(announcement)
        } else {
            heldAnnouncements?.append(announcement)
        }
    }

    private static func device(for link: Link, _ kernel: KernelNetwork) -> Device {
        Device(
            index: link.deviceIndex, name: link.deviceName, linkBytesPerSecond: speed(of: link, kernel),
            hardwareAddress: link.hardwareAddress)
    }

    private static func speed(of link: Link, _ kernel: KernelNetwork) -> UInt64? {
        // Only hardware has a speed of its own.
        guard link.kind == "physical" else { return nil }
        return kernel.behindTheLock { LinkTable.bytesPerSecond(of: link) } ?? nil
    }

    /// The kernel's lists, all of one moment.
    private struct Stock {
        var links: [Link] = []
        var addresses: [InterfaceAddress] = []
        var counters: [LinkCounters] = []
        /// Links that went away meanwhile, with what their counters showed last.
        var left: [Link] = []
        /// Whether nothing happened while the lists were read.
        var isSettled = false
        private let kernel: KernelNetwork

        /// Reads the lists, and reads them again if a link came or went meanwhile.
        ///
        /// - Throws: `NetlinkError` when the kernel doesn't answer.
        init(_ kernel: KernelNetwork) throws(NetlinkError) {
            self.kernel = kernel
            // A machine on which links come and go all the time has to be taken as it is.
            for _ in 0..<8 where !isSettled {
                links = try kernel.links()
                addresses = try kernel.addresses()
                try kernel.readCounters(into: &counters)
                isSettled = true
                try kernel.drainEvents { event in
                    switch event {
                    case .linkRemoved(let link):
                        left.append(link)
                        isSettled = false
                    case .linkChanged, .addressAdded, .addressRemoved, .lost: isSettled = false
                    case .defaultRouteChanged: break
                    }
                }
            }
            let present = Set(links.map(\.index))
            // A number may have gone twice.
            let last = Dictionary(left.map { ($0.index, $0) }, uniquingKeysWith: { $1 })
            left = last.values.filter { !present.contains($0.index) && $0.counters != nil }
        }

        /// Every device with its counters; what left counts up to its last byte.
        var presences: [Ledger.Presence] {
            let byIndex = Dictionary(links.map { ($0.index, $0) }, uniquingKeysWith: { $1 })
            let present = counters.compactMap { reading in
                byIndex[reading.index].map { (Meter.device(for: $0, kernel), reading.counters) }
            }
            return present
                + left.compactMap { link in link.counters.map { (Meter.device(for: link, kernel), $0.counters) } }
        }
    }

    // MARK: - Reading

    /// Books everything up to now: events first, then counters, then what the routes say.
    func read(endsInterval: Bool) {
        takeEvents()
        superseded.removeAll(keepingCapacity: true)
        do {
            try kernel.readCounters(into: &counters)
            report(.counters, nil)
            noteBusyKernel()
            // What happened while the counters were read has been in the queue since: a number may have changed hands.
            takeEvents()
            book(at: SystemClock.now(), endsInterval: endsInterval)
        } catch {
            report(.counters, error)
            ledger.advance(to: SystemClock.now().timestamp)
        }
        if linksAreOutdated, areLinksReadable { refreshLinks() }
        if routesAreOutdated || routesAreDue { refreshRoutesUnlessJustDone() }
        kernelStatus.overruns = kernel.overruns
        // A scrape doesn't wait for forecasts.
        let now = SystemClock.now().timestamp
        if ledger.notePlanEvents(at: now, makesForecasts: endsInterval) { isUrgent = true }
        if !ledger.isPersistent { tellNews() }
        tellRateLimits()
        if isUrgent || ledger.needsHistory || ledger.isPlanBookOutdated { wakeStore.yield() }
    }

    /// Takes events as they come.
    ///
    /// - Returns: Whether the kernel could be read.
    func readEvents() -> Bool {
        read(endsInterval: false)
        wakeStoreIfDue()
        return kernelStatus.readSuccess
    }

    private func book(at now: Moment, endsInterval: Bool) {
        noticeClockStep(at: now)
        let sure = superseded.isEmpty ? counters : counters.filter { !superseded.contains($0.index) }
        if ledger.record(sure.map { $0.reading }, at: now, endsInterval: endsInterval) { isUrgent = true }
        // A link that no event told of: the event was lost, or is about to come.
        if counters.count != links.links.count, superseded.isEmpty { linksAreOutdated = true }
        // The kernel doesn't tell of everything: nobody hears of a new alias of a link that is down.
        if now.sinceBoot.elapsed(since: linksReadAt) >= Self.linksInterval { linksAreOutdated = true }
    }

    private func noticeClockStep(at now: Moment) {
        defer { previousMoment = now }
        guard let previous = previousMoment, now.isStepped(since: previous) else { return }
        kernelStatus.clockSteps += 1
        isUrgent = true  // After a crash it couldn't be told any more what was carried before the step.
        logger.warning("the wall clock was set", metadata: ["step_seconds": "\(now.step(since: previous))"])
    }

    /// What is read of the kernel, each of which may fail by itself.
    private enum Concern: String {
        case counters, events, links, routes
    }

    /// A failure is told when it begins and when it ends.
    private func report(_ concern: Concern, _ error: NetlinkError?) {
        if concern == .counters { kernelStatus.readSuccess = error == nil }
        // A list that has to wait for a busy kernel, or changed each time that it was read, is late, not lost.
        if error?.code == .busy || error?.code == .interrupted, concern != .counters { return }
        if kernelFailures[concern] == error?.message { return }
        kernelFailures[concern] = error?.message
        if let error {
            logger.error(
                "the kernel's \(concern.rawValue) can't be read; they are tried again, and nothing is lost meanwhile",
                metadata: ["error": "\(error)"])
        } else {
            logger.notice("the kernel's \(concern.rawValue) can be read again")
        }
    }

    private func noteBusyKernel() {
        if kernel.isBusy == wasKernelBusy { return }
        wasKernelBusy = kernel.isBusy
        if kernel.isBusy {
            logger.notice("the kernel is busy with network configuration; counters come from /proc/net/dev meanwhile")
        } else {
            logger.notice("the kernel answers again")
        }
    }

    // MARK: - Events

    private func takeEvents() {
        var events: [KernelNetwork.Event] = []
        do {
            try kernel.drainEvents { events.append($0) }
            report(.events, nil)
        } catch {
            report(.events, error)
            linksAreOutdated = true
        }
        for event in events { take(event) }
    }

    private func take(_ event: KernelNetwork.Event) {
        switch event {
        case .linkChanged(let link):
            touched.insert(link.index)
            linkChanged(link)
        case .linkRemoved(let link):
            touched.insert(link.index)
            linkRemoved(link)
        case .addressAdded(let address): links.insert(address)
        case .addressRemoved(let address):
            links.remove(address)
            routesAreOutdated = true  // IPv4 routes that prefer it as a source go without a word.
        case .defaultRouteChanged: routesAreOutdated = true
        case .lost:
            // The kernel tells of the loss before it hands over what is still queued: that comes first.
            logger.warning("kernel events were lost; the lists are read anew")
            linksAreOutdated = true
        }
    }

    private func linkChanged(_ link: Link) {
        let former = links[link.index]
        links.update(link)
        if former == nil {
            if ledger.appear(Self.device(for: link, kernel)) { isUrgent = true }
            return
        }
        if former?.name != link.name {
            bookLastBytes(of: link)
            if ledger.rename(link.deviceIndex, to: link.deviceName) {
                isUrgent = true
                routesAreOutdated = true  // It may be metered only under one of the two names.
            }
        }
        if former?.hardwareAddress != link.hardwareAddress {
            ledger.setHardwareAddress(link.hardwareAddress, of: link.deviceIndex)
        }
        if former?.flags != link.flags || former?.operationalState != link.operationalState {
            ledger.setLinkSpeed(Self.speed(of: link, kernel), of: link.deviceIndex)
            routesAreOutdated = true  // IPv4 routes out of a link that goes down go without a word.
        }
    }

    /// What a link carried under the name that it had until now.
    private func bookLastBytes(of link: Link) {
        guard let counters = link.counters else { return }
        superseded.insert(link.index)
        if ledger.record(counters.reading, at: SystemClock.now()) { isUrgent = true }
    }

    private func linkRemoved(_ link: Link) {
        superseded.insert(link.index)
        guard let former = links[link.index] else { return }
        if former.hardwareAddress != link.hardwareAddress, !link.hardwareAddress.isEmpty {
            ledger.setHardwareAddress(link.hardwareAddress, of: link.deviceIndex)
        }
        ledger.depart(
            link.deviceIndex, final: link.counters?.counters, movedAway: link.movedAway, at: SystemClock.now())
        links.remove(link.index)
        isUrgent = true
        routesAreOutdated = true
    }

    /// How often the list of links is read without a reason: 4 ms at 1,000 links.
    private static let linksInterval = Span(seconds: 60)

    /// Whether the list can be expected to be read: while links come and go all the time, some attempts a second are enough.
    private var areLinksReadable: Bool {
        !didLinksFail || SystemClock.now().sinceBoot.elapsed(since: linksReadAt) >= Span(seconds: 1)
    }

    /// Reads the list of links and takes every difference as an event.
    private func refreshLinks() {
        linksAreOutdated = false
        linksReadAt = SystemClock.now().sinceBoot
        do {
            touched.removeAll(keepingCapacity: true)
            let former = links.links.keys.sorted()
            var present = try kernel.links()
            // What events tell of is newer than the list, and has the last bytes of what is gone.
            takeEvents()
            let indices = Set(present.map(\.index))
            present.removeAll { touched.contains($0.index) }
            for index in former where !indices.contains(index) && !touched.contains(index) {
                ledger.depart(DeviceIndex(rawValue: index), final: nil, movedAway: false, at: SystemClock.now())
                links.remove(index)
                isUrgent = true
            }
            // All at once: two may have swapped their names.
            var names: [DeviceIndex: DeviceName] = [:]
            for link in present where links[link.index] != nil {
                if links[link.index]?.name != link.name { bookLastBytes(of: link) }
                names[link.deviceIndex] = link.deviceName
            }
            if ledger.rename(names) { isUrgent = true }
            for link in present {
                if links[link.index] == nil, ledger.appear(Self.device(for: link, kernel)) { isUrgent = true }
                ledger.setHardwareAddress(link.hardwareAddress, of: link.deviceIndex)
                links.update(link)
                // The kernel may have been busy when it was asked last.
                ledger.setLinkSpeed(Self.speed(of: link, kernel), of: link.deviceIndex)
            }
            links.replaceAddresses(try kernel.addresses())
            routesAreOutdated = true
            didLinksFail = false
            report(.links, nil)
        } catch {
            report(.links, error)
            linksAreOutdated = true
            didLinksFail = true
        }
    }

    // MARK: - Uplink

    /// How often the kernel is asked for the default route without a reason: it removes some routes without an event, as
    /// those out of a link that goes down, and rule 12 allows two seconds. A question takes some microseconds.
    private static let routesInterval = Span(nanoseconds: 1_900_000_000)

    /// Two seconds, and what a timer may be late.
    private static let latestRoutes = Span(nanoseconds: 2_050_000_000)

    private var routesAreDue: Bool {
        SystemClock.now().sinceBoot.elapsed(since: routesReadAt) >= Self.routesInterval
    }

    /// Where the list of a large router's routes is needed, that takes long; it gets at most a twentieth of the time.
    private var routesPause: Span { max(Self.routesInterval, routesTook.times(20)) }

    private func refreshRoutesUnlessJustDone() {
        let now = SystemClock.now().sinceBoot
        if now.elapsed(since: routesReadAt) >= routesTook.times(20) { refreshRoutes() }
    }

    /// Asks for the default route between readings that are far apart.
    ///
    /// - Returns: When to look again.
    func lookAtRoutes() -> Plan {
        routesReadAt = SystemClock.now().sinceBoot
        let links = try? kernel.defaultRoute(DefaultRoute.LinkRoles(links.links.values))?.links ?? []
        if links != route?.links ?? [] {
            read(endsInterval: false)  // Everything until now goes to the uplink that was.
            refreshRoutes()
            if isUrgent { wakeStore.yield() }
        }
        return plan
    }

    /// Everything up to now is booked: from here on bytes go to the device that holds the default route now.
    private func refreshRoutes() {
        let started = SystemClock.now().sinceBoot
        do {
            let best = try kernel.defaultRoute(DefaultRoute.LinkRoles(links.links.values))
            routesAreOutdated = false
            if best?.links != route?.links {
                noteUplink(best?.links ?? [])
                series = nil  // A plan may count something now, or nothing any more.
            }
            route = best
            if ledger.setUplink(Set((best?.links ?? []).map { DeviceIndex(rawValue: $0) })) { isUrgent = true }
            report(.routes, nil)
        } catch {
            report(.routes, error)
        }
        routesReadAt = SystemClock.now().sinceBoot
        routesTook = routesReadAt.elapsed(since: started)
    }

    private func noteUplink(_ indices: [UInt32]) {
        let devices = indices.compactMap { links[$0] }
        if devices.isEmpty {
            logger.info("there is no uplink now")
            return
        }
        let names = devices.map { $0.deviceName.label { _ in false } }.joined(separator: ", ")
        let unmetered = devices.filter { ledger.rules.account(for: $0.deviceName) == nil }
        if unmetered.isEmpty {
            logger.info("the uplink is this device now", metadata: ["device": "\(names)"])
        } else if unmetered.count == devices.count {
            logger.warning(
                "the uplink isn't metered, so nothing is counted for it: take it out of devices.exclude",
                metadata: ["device": "\(names)"])
        } else {
            let leftOut = unmetered.map { $0.deviceName.label { _ in false } }.joined(separator: ", ")
            logger.warning(
                "a part of the uplink isn't metered, so its bytes aren't counted: take it out of devices.exclude",
                metadata: ["device": "\(leftOut)", "uplink": "\(names)"])
        }
    }

    // MARK: - Scrapes

    /// Reads the kernel and shows everything that there is to see.
    func scrape() -> Snapshot {
        read(endsInterval: false)
        let series = currentSeries()
        let now = SystemClock.now()
        scrapedAt.store(now.sinceBoot.nanoseconds, ordering: .relaxed)
        return Snapshot(
            series: series, devices: series.snapshots(of: ledger), uplink: ledger.uplinkView,
            plans: planSeries.snapshot(
                of: ledger.planBook, countingNothing: countingNothing, at: now.timestamp), isOnline: route != nil,
            window: ledger.window, store: storeStatus, kernel: kernelStatus, configuration: configurationStatus,
            process: process, startTime: startTime, bootTime: bootTime)
    }

    private func currentSeries() -> Series {
        if let series, !series.isOutdated(ledger, links), planSeries.plans == ledger.planBook.plans { return series }
        let series = Series(ledger, links)
        self.series = series
        planSeries = PlanSeries(ledger.planBook.plans)
        countingNothing = quotasCountingNothing
        return series
    }

    /// How long after a scrape the next one is expected.
    private static let attention = Span(seconds: 60)

    /// What the process uses is looked up elsewhere, once a second while somebody scrapes: even `/proc` may be slow.
    nonisolated var wantsProcessStatistics: Bool {
        let scrapedAt = BootTime(nanoseconds: scrapedAt.load(ordering: .relaxed))
        return SystemClock.now().sinceBoot.elapsed(since: scrapedAt) < Self.attention
    }

    func take(_ statistics: ProcessStatistics) { process = statistics }

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
        read(endsInterval: true)
        wakeStoreIfDue()
        return plan
    }

    private func wakeStoreIfDue() {
        let isDue = SystemClock.now().sinceBoot.elapsed(since: flushedAt) >= settings.flushInterval
        if isDue || failedAt.map(isRetryDue) ?? false { wakeStore.yield() }
    }

    /// When the store has to be called, by a flush that is due or a failure; it is called once a second at the most.
    private func untilStoreIsWanted(at now: BootTime) -> Span {
        let (since, length) = failedAt.map { ($0, Self.retryInterval) } ?? (flushedAt, settings.flushInterval)
        return Span(nanoseconds: max(1_000_000_000, length.nanoseconds - now.elapsed(since: since).nanoseconds))
    }

    /// The next reading falls on a multiple of the interval by the wall clock, and so on every bucket's and day's end.
    var plan: Plan {
        let now = SystemClock.now()
        let interval = settings.samplingInterval.nanoseconds
        let bucket = Bucket.seconds * 1_000_000_000
        func untilMultiple(of length: Int64) -> Int64 {
            let remainder = now.wallNanoseconds % length
            return length - (remainder < 0 ? remainder + length : remainder)
        }
        var wait = min(untilMultiple(of: interval), untilMultiple(of: bucket))
        for moment in [ledger.window.daySpan.upperBound, ledger.nextCut(after: now.timestamp)] {
            guard let moment else { continue }
            let (nanoseconds, overflow) = moment.secondsSinceEpoch.multipliedReportingOverflow(by: 1_000_000_000)
            let (until, isFar) = nanoseconds.subtractingReportingOverflow(now.wallNanoseconds)
            if !overflow, !isFar, until > 0 { wait = min(wait, until) }
        }
        if ledger.isPersistent { wait = min(wait, untilStoreIsWanted(at: now.sinceBoot).nanoseconds) }
        let sinceRoutes = now.sinceBoot.elapsed(since: routesReadAt).nanoseconds
        // A reading that comes soon enough asks for them by itself.
        let isLate = sinceRoutes + wait > max(Self.latestRoutes, routesPause).nanoseconds
        let untilRoutes = max(1_000_000, routesPause.nanoseconds - sinceRoutes)
        return Plan(
            untilNextReading: Span(nanoseconds: wait),
            untilRoutes: isLate && untilRoutes < wait ? Span(nanoseconds: untilRoutes) : nil,
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
        routesAreOutdated = true
        configurationStatus = settings.status(readAt: SystemClock.now())
        series = nil
        isUrgent = true
        // The baselines of devices that are metered from here on, and who holds the route.
        read(endsInterval: false)
        hurryStore()
    }

    /// Local time, and that of plans, goes by these settings' calendars from now on.
    func useCalendars(of settings: MeterSettings) {
        self.settings.calendar = settings.calendar
        self.settings.calendars = settings.calendars
        hurryStore()
    }

    func reloadFailed() { configurationStatus.lastReloadSuccessful = false }
}
