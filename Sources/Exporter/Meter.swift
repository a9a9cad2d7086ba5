import Accounting
import CivilTime
import Logging
import NIOCore
import Netlink

/// Reads the kernel and owns the ledger.
///
/// It lives on the event loop that serves HTTP: a scrape reads the kernel, books, and renders without changing threads.
/// A reading takes microseconds (0.4 ms at 1,000 devices), far less than handing the work to another thread and back.
/// Inside it nothing awaits between reading and booking.
actor Meter {
    nonisolated let unownedExecutor: UnownedSerialExecutor

    private let kernel: KernelNetwork
    private let epoch: Epoch
    private let logger: Logger
    private var settings: MeterSettings
    private(set) var ledger: Ledger
    private var links = LinkTable()
    private var counters: [LinkCounters] = []
    /// Links that went away after the last dump was asked for: what it says of their numbers may be of another life.
    private var departed: Set<UInt32> = []
    private var route: DefaultRoute?
    private var routesAreOutdated = true
    private var routesReadAt = BootTime(nanoseconds: 0)
    private var routesTook = Span.zero
    private var linksAreOutdated = false

    private var kernelStatus = KernelStatus()
    private var kernelFailure: String?
    private var storeStatus = StoreStatus()
    private var configurationStatus: ConfigurationStatus
    private var process = ProcessStatistics()
    private var processReadAt: BootTime?
    private let startTime = ProcessStatistics.startTime()
    private var series: Series?

    private var previousMoment: Moment?
    private var flushedAt: BootTime
    private var failedAt: BootTime?
    /// Something happened that a crash must not undo.
    private var isUrgent = true
    private let wakeStore: AsyncStream<Void>.Continuation

    /// Prepares the meter: nothing is booked before ``begin(_:isPersistent:)``.
    ///
    /// - Throws: `NetlinkError` when the kernel doesn't answer.
    init(
        on loop: any EventLoop, kernel: KernelNetwork, bootID: String, settings: MeterSettings, logger: Logger,
        wakeStore: AsyncStream<Void>.Continuation
    ) throws(NetlinkError) {
        unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.kernel = kernel
        self.settings = settings
        self.logger = logger
        self.wakeStore = wakeStore
        epoch = Epoch(bootID: bootID, networkNamespace: kernel.networkNamespace)
        let now = SystemClock.now()
        flushedAt = now.sinceBoot
        configurationStatus = settings.status(readAt: now)
        ledger = Ledger(
            stored: .empty(daysFrom: PeriodWindow(settings.calendar, at: now.timestamp).previousMonthStart),
            devices: [],
            rules: settings.rules, calendar: settings.calendar, epoch: epoch, now: now, isPersistent: false)
        for link in try kernel.links() { links.update(link) }
        links.replaceAddresses(try kernel.addresses())
        try kernel.readCounters(into: &counters)
    }

    // MARK: - Start

    /// What is wanted of the store: the accounts of these devices, the days from this one on, by this calendar.
    func needs() -> (names: Set<DeviceName>, daysFrom: CivilDate, calendar: LocalCalendar) {
        let calendar = settings.calendar
        let window = PeriodWindow(calendar, at: SystemClock.now().timestamp)
        return (Set(links.links.values.map(\.deviceName)), window.previousMonthStart, calendar)
    }

    /// Takes up what the store has, and books what was carried since.
    func begin(_ stored: StoredLedger, isPersistent: Bool) {
        // Should this fail, those of a moment ago are as good a baseline.
        var fresh: [LinkCounters] = []
        do {
            try kernel.readCounters(into: &fresh)
            counters = fresh
        } catch {
            report(kernelFailure: error)
        }
        let now = SystemClock.now()
        let present: [Ledger.Presence] = counters.compactMap { reading in
            links[reading.index].map { (device(for: $0), reading.counters) }
        }
        ledger = Ledger(
            stored: stored, devices: present, rules: settings.rules, calendar: settings.calendar, epoch: epoch,
            now: now, isPersistent: isPersistent)
        series = nil
        previousMoment = now
        refreshRoutes()
        isUrgent = true
        read(endsInterval: false)
    }

    /// Meters without a ledger's file; what is booked is shown but not kept.
    ///
    /// - Parameter mayReturn: Whether the file is tried again.
    func beginWithoutStore(mayReturn: Bool) {
        begin(.empty(daysFrom: ledger.window.previousMonthStart), isPersistent: false)
        failedAt = mayReturn ? SystemClock.now().sinceBoot : nil
    }

    /// Whether the file, which couldn't be opened at start, is to be tried again.
    var isStoreRetryDue: Bool { !ledger.isPersistent && failedAt.map { isRetryDue(since: $0) } ?? false }

    func storeIsStillAway() { failedAt = SystemClock.now().sinceBoot }

    /// The rules allow ten seconds.
    private func isRetryDue(since failure: BootTime) -> Bool {
        SystemClock.now().sinceBoot.elapsed(since: failure) >= Span(seconds: 5)
    }

    /// The store, which couldn't be opened at start, can be read now: what it has goes before what was metered since.
    func resume(_ stored: StoredLedger) {
        let provisional = ledger
        begin(stored, isPersistent: true)
        ledger.absorbDeparted(of: provisional)
        failedAt = nil
    }

    private func device(for link: Link) -> Device {
        Device(index: link.deviceIndex, name: link.deviceName, linkBytesPerSecond: LinkTable.bytesPerSecond(of: link))
    }

    // MARK: - Reading

    /// Books everything up to now: events first, then counters, then what the routes say.
    func read(endsInterval: Bool) {
        takeEvents()
        departed.removeAll(keepingCapacity: true)
        do {
            try kernel.readCounters(into: &counters)
            report(kernelFailure: nil)
            // What happened while the counters were read has been in the queue since: a number may have changed hands.
            takeEvents()
            book(at: SystemClock.now(), endsInterval: endsInterval)
        } catch {
            report(kernelFailure: error)
            ledger.advance(to: SystemClock.now().timestamp)
        }
        if linksAreOutdated { refreshLinks() }
        if routesAreOutdated { refreshRoutesUnlessJustDone() }
        kernelStatus.overruns = kernel.overruns
        if isUrgent || ledger.needsHistory { wakeStore.yield() }
    }

    /// Takes events as they come.
    ///
    /// - Returns: Whether the kernel could be read.
    func readEvents() -> Bool {
        read(endsInterval: false)
        return kernelStatus.readSuccess
    }

    private func book(at now: Moment, endsInterval: Bool) {
        noticeClockStep(at: now)
        let sure = counters.lazy.filter { [departed] in departed.isEmpty || !departed.contains($0.index) }
        if ledger.record(sure.map(\.reading), at: now, endsInterval: endsInterval) { isUrgent = true }
        // A link that no event told of: the event was lost, or is about to come.
        if counters.count != links.links.count, departed.isEmpty { linksAreOutdated = true }
    }

    private func noticeClockStep(at now: Moment) {
        defer { previousMoment = now }
        guard let previous = previousMoment, now.isStepped(since: previous) else { return }
        kernelStatus.clockSteps += 1
        logger.warning("the wall clock was set", metadata: ["step_seconds": "\(now.step(since: previous))"])
    }

    private func report(kernelFailure error: NetlinkError?) {
        kernelStatus.readSuccess = error == nil
        if kernelFailure == error?.message { return }
        kernelFailure = error?.message
        if let error {
            logger.error(
                "the kernel's counters can't be read; what they show meanwhile is booked later",
                metadata: ["error": "\(error)"])
        } else {
            logger.notice("the kernel's counters can be read again")
        }
    }

    // MARK: - Events

    private func takeEvents() {
        var events: [KernelNetwork.Event] = []
        do {
            try kernel.drainEvents { events.append($0) }
        } catch {
            report(kernelFailure: error)
            linksAreOutdated = true
        }
        for event in events { take(event) }
    }

    private func take(_ event: KernelNetwork.Event) {
        switch event {
        case .linkChanged(let link): linkChanged(link)
        case .linkRemoved(let link): linkRemoved(link)
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
            if ledger.appear(device(for: link)) { isUrgent = true }
            return
        }
        if former?.name != link.name, ledger.rename(link.deviceIndex, to: link.deviceName) {
            isUrgent = true
            routesAreOutdated = true  // It may be metered only under one of the two names.
        }
        if former?.flags != link.flags || former?.operationalState != link.operationalState {
            ledger.setLinkSpeed(LinkTable.bytesPerSecond(of: link), of: link.deviceIndex)
            routesAreOutdated = true  // IPv4 routes out of a link that goes down go without a word.
        }
    }

    private func linkRemoved(_ link: Link) {
        departed.insert(link.index)
        guard links[link.index] != nil else { return }
        ledger.depart(
            link.deviceIndex, final: link.counters?.counters, movedAway: link.movedAway, at: SystemClock.now())
        links.remove(link.index)
        isUrgent = true
        routesAreOutdated = true
    }

    /// Reads the list of links and takes every difference as an event.
    private func refreshLinks() {
        linksAreOutdated = false
        do {
            let former = links.links.keys.sorted()
            let present = try kernel.links()
            let indices = Set(present.map(\.index))
            // What has been told by now, with its last bytes, isn't missing without a word.
            takeEvents()
            for index in former where !indices.contains(index) && links[index] != nil {
                ledger.depart(DeviceIndex(rawValue: index), final: nil, movedAway: false, at: SystemClock.now())
                links.remove(index)
                isUrgent = true
            }
            // All at once: two may have swapped their names.
            var names: [DeviceIndex: DeviceName] = [:]
            for link in present where links[link.index] != nil { names[link.deviceIndex] = link.deviceName }
            if ledger.rename(names) { isUrgent = true }
            for link in present {
                if links[link.index] == nil, ledger.appear(device(for: link)) { isUrgent = true }
                links.update(link)
            }
            links.replaceAddresses(try kernel.addresses())
            routesAreOutdated = true
        } catch {
            report(kernelFailure: error)
            linksAreOutdated = true
        }
    }

    // MARK: - Uplink

    /// Reading the routes of a large router takes long; it gets at most a twentieth of the time.
    private func refreshRoutesUnlessJustDone() {
        let now = SystemClock.now().sinceBoot
        if now.elapsed(since: routesReadAt) >= routesTook.times(20) { refreshRoutes() }
    }

    /// Everything up to now is booked: from here on bytes go to the device that holds the default route now.
    private func refreshRoutes() {
        let started = SystemClock.now().sinceBoot
        do {
            let routes = try kernel.defaultRoutes()
            routesAreOutdated = false
            let best = DefaultRoute.best(of: routes) { links[$0]?.isTunnel ?? false }
            if best?.index != route?.index {
                let name = best.flatMap { links[$0.index] }.map { String(decoding: $0.name, as: UTF8.self) }
                logger.info("the uplink is another device now", metadata: ["device": "\(name ?? "none")"])
            }
            route = best
            if ledger.setUplink(best.map { DeviceIndex(rawValue: $0.index) }) { isUrgent = true }
        } catch {
            report(kernelFailure: error)
        }
        routesReadAt = SystemClock.now().sinceBoot
        routesTook = routesReadAt.elapsed(since: started)
    }

    // MARK: - Scrapes

    /// Reads the kernel and shows everything that there is to see.
    func scrape() -> Snapshot {
        read(endsInterval: false)
        if series?.isOutdated(ledger, links) ?? true { series = Series(ledger, links) }
        refreshProcessStatistics()
        return Snapshot(
            devices: series?.snapshots(of: ledger, links) ?? [], uplink: ledger.uplinkView, isOnline: route != nil,
            window: ledger.window, store: storeStatus, kernel: kernelStatus, configuration: configurationStatus,
            process: process, startTime: startTime)
    }

    /// Files under `/proc` are read at most once a second.
    private func refreshProcessStatistics() {
        let now = SystemClock.now().sinceBoot
        if let processReadAt, now.elapsed(since: processReadAt) < Span(seconds: 1) { return }
        process = .now()
        processReadAt = now
    }

    // MARK: - Time

    /// What the watch has to wait for next.
    struct Plan: Sendable {
        /// Until the next reading that ends a sampling interval, or closes a bucket or a day.
        var untilNextReading: Span
        /// The next local midnight.
        var nextDay: Timestamp
    }

    /// Ends a sampling interval.
    func tick(onBattery: Bool) -> Plan {
        settings.isOnBattery = onBattery
        if ledger.rules != settings.rules { ledger.apply(settings.rules) }
        read(endsInterval: true)
        let now = SystemClock.now().sinceBoot
        let isDue = now.elapsed(since: flushedAt) >= settings.flushInterval
        if isDue || failedAt.map(isRetryDue) ?? false { wakeStore.yield() }
        return plan
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
        let (midnight, overflow) = ledger.window.daySpan.upperBound.secondsSinceEpoch
            .multipliedReportingOverflow(by: 1_000_000_000)
        let (untilMidnight, isFar) = midnight.subtractingReportingOverflow(now.wallNanoseconds)
        if !overflow, !isFar, untilMidnight > 0 { wait = min(wait, untilMidnight) }
        return Plan(untilNextReading: Span(nanoseconds: wait), nextDay: ledger.window.daySpan.upperBound)
    }

    // MARK: - Configuration

    /// Other settings hold from now on. Another calendar holds once the store has booked its days anew.
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
        use(settings.calendar)
    }

    /// Local time goes by this calendar from now on.
    func use(_ calendar: LocalCalendar) {
        settings.calendar = calendar
        wakeStore.yield()
    }

    func reloadFailed() { configurationStatus.lastReloadSuccessful = false }

    // MARK: - Store

    /// What the store is to do next.
    enum StoreWork: Sendable {
        case commit(Commit, LocalCalendar, horizon: Timestamp)
        /// Read the history again, with days by this calendar, from this day on.
        case history(LocalCalendar, daysFrom: CivilDate)
    }

    /// Whether the days are still booked by another calendar than the one that is set.
    private var wantsAnotherCalendar: Bool { settings.calendar != ledger.calendar }

    /// Whether the store has all that was booked.
    var isEverythingStored: Bool { !isUrgent }

    /// What waits for the store, the most urgent first; `nil` when nothing does.
    ///
    /// - Parameter isFinal: Whether the program ends with this.
    func takeStoreWork(isFinal: Bool = false) -> StoreWork? {
        let now = SystemClock.now()
        if isFinal { read(endsInterval: false) }
        guard ledger.isPersistent else {
            if wantsAnotherCalendar { ledger.useWithoutStore(settings.calendar, at: now.timestamp) }
            return nil
        }
        let isDue = now.sinceBoot.elapsed(since: flushedAt) >= settings.flushInterval
        if let failedAt, !isFinal, !isRetryDue(since: failedAt) { return nil }
        let needsHistory = wantsAnotherCalendar || ledger.needsHistory
        guard isFinal || isUrgent || isDue || needsHistory || failedAt != nil else { return nil }
        // The history is read when everything is in the store and nothing is under way.
        if needsHistory, !isUrgent, !isFinal {
            let calendar = settings.calendar
            return .history(calendar, daysFrom: PeriodWindow(calendar, at: now.timestamp).previousMonthStart)
        }
        guard let commit = ledger.takeCommit(isFinal: isFinal) else { return nil }
        isUrgent = false
        let horizon = now.timestamp(before: settings.keepBuckets)
        return .commit(commit, ledger.calendar, horizon: horizon)
    }

    /// A commit is in the store.
    func committed(_ adopted: [AdoptedHistory], sizeBytes: Int64) {
        ledger.acknowledgeCommit()
        for history in adopted { ledger.adopt(history) }
        storeSucceeded(sizeBytes: sizeBytes)
    }

    /// The store begins anew with an empty file: it needs everything.
    func storeBegunAnew() {
        ledger.recommitEverything()
        isUrgent = true
    }

    /// The history that was asked for.
    func take(_ history: StoredLedger, calendar: LocalCalendar, sizeBytes: Int64) {
        ledger.replaceHistory(history, calendar: calendar, at: SystemClock.now().timestamp)
        series = nil
        storeSucceeded(sizeBytes: sizeBytes)
    }

    func storeFailed(_ error: StoreFailure) {
        ledger.rejectCommit()
        isUrgent = true
        storeStatus.commitFailures += 1
        failedAt = SystemClock.now().sinceBoot
        if storeStatus.isUp || error.isFirst {
            logger.error("the ledger can't be written", metadata: ["error": "\(error.message)"])
        }
        storeStatus.isUp = false
    }

    private func storeSucceeded(sizeBytes: Int64) {
        let now = SystemClock.now()
        if failedAt != nil { logger.notice("the ledger can be written again; nothing was lost") }
        failedAt = nil
        flushedAt = now.sinceBoot
        storeStatus.isUp = true
        storeStatus.sizeBytes = sizeBytes
        storeStatus.lastCommitSeconds = (Double(now.wallNanoseconds) / 1e9 * 1000).rounded() / 1000
    }
}

/// Why the store didn't take a commit.
struct StoreFailure: Sendable {
    var message: String
    /// Whether the failure hasn't been told before.
    var isFirst: Bool
}
