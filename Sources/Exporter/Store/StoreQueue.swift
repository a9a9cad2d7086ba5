import Accounting
import CivilTime
import LedgerStore
import Reports

/// The work that waits for the store: what comes next, and what the outcome of a piece of work means.
///
/// Times are passed in, and what others have to do is returned as events. Only those who wait get their answers from here.
struct StoreQueue {
    /// What an outcome means for others than the queue and the ledger.
    enum Event {
        /// The ledger goes on from what the store has.
        case takenUp
        /// The file can't be used at all: what is booked is kept in memory.
        case noLedger
        case committed
        case historyReplaced
        /// This process alone may write the ledger from now on.
        case becameOwner
        case adjusted(Adjustment)
        /// Another meter's history was imported, this much of it new.
        case imported(Total)
        case failed(StoreFailure)
        /// New settings wait until the ledger can be written.
        case settingsWait
        /// It works again after a failure.
        case recovered
    }

    /// Work that somebody waits for.
    struct Waiting<Work: Sendable, Value: Sendable> {
        let work: Work
        let answer: @Sendable (Result<Value, OrderError>) -> Void
    }

    struct Order: Sendable {
        let order: QuotaOrder
        var enteredAt: Timestamp
    }

    private(set) var status = StoreStatus()
    /// Whether the program ends: nothing new is taken.
    private(set) var isEnding = false
    /// Whether something happened that a crash must not undo.
    private(set) var isUrgent = true
    /// Whether nobody else can write the ledger. One that could only be read at first is read again when it can be
    /// written: another process may have changed it meanwhile.
    private var isOwner = true
    /// Whether the store hasn't been called since the settings changed.
    private var areSettingsNew = false
    /// Whether an urgent commit went before other work that waits: then that goes first.
    private var isOthersTurn = false
    private var flushedAt: BootTime
    private var failedAt: BootTime?
    private var orders: [Waiting<Order, Adjustment>] = []
    private var orderUnderWay: Waiting<Order, Adjustment>?
    private var waitingImport: Waiting<ImportPiece, [ImportOutcome]>?
    private var importUnderWay: Waiting<ImportPiece, [ImportOutcome]>?
    /// Programs that start when the store has noted it. The answer is whether they may start.
    private var starts: [@Sendable (Bool) -> Void] = []
    private var startsUnderWay: [@Sendable (Bool) -> Void] = []
    /// How far the quotas' past has been read.
    private var scan: HistoryScan?

    init(at now: BootTime) {
        flushedAt = now
    }

    /// - Parameter isUrgent: Whether something happened that a crash must not undo.
    mutating func note(isUrgent: Bool) {
        if isUrgent { self.isUrgent = true }
    }

    // MARK: - Time

    /// A failed store is tried again after this time; it may be ten seconds late.
    private static let retryInterval = Span(seconds: 5)

    private func isRetryDue(at now: BootTime) -> Bool {
        failedAt.map { now.elapsed(since: $0) >= Self.retryInterval } ?? false
    }

    private func isFlushDue(_ settings: MeterSettings, at now: BootTime) -> Bool {
        now.elapsed(since: flushedAt) >= settings.flushInterval
    }

    /// Whether the store must be called, for a flush or for another try.
    func isDue(_ settings: MeterSettings, at now: BootTime) -> Bool {
        isFlushDue(settings, at: now) || isRetryDue(at: now)
    }

    /// When ``isDue(_:at:)`` becomes true; at least a second, because the store is called once a second at the most.
    func untilDue(_ settings: MeterSettings, at now: BootTime) -> Span {
        let (since, length) = failedAt.map { ($0, Self.retryInterval) } ?? (flushedAt, settings.flushInterval)
        return Span(nanoseconds: max(1_000_000_000, length.nanoseconds - now.elapsed(since: since).nanoseconds))
    }

    /// New settings hold: the store is tried at once, even if it failed a moment ago.
    mutating func hurry() {
        if failedAt != nil { failedAt = BootTime(nanoseconds: 0) }
        areSettingsNew = true
    }

    // MARK: - What waits

    /// How many orders may wait at a time; the owner gives one now and then.
    private static let maximumOrders = 16

    /// Why the store takes no order now; `nil` if it does.
    func refusal(of ledger: Ledger) -> OrderError? {
        if isEnding { return .ending }
        if !ledger.isPersistent { return .noLedger }
        return orders.count < Self.maximumOrders ? nil : .busy
    }

    mutating func enter(
        _ order: QuotaOrder, at moment: Timestamp,
        _ answer: @escaping @Sendable (Result<Adjustment, OrderError>) -> Void
    ) {
        isUrgent = true
        orders.append(Waiting(work: Order(order: order, enteredAt: moment), answer: answer))
    }

    /// Why the store takes no part of an import now; `nil` if it does.
    func refusalOfImport(_ ledger: Ledger) -> OrderError? {
        if isEnding { return .ending }
        if !ledger.isPersistent { return .noLedger }
        return waitingImport == nil && importUnderWay == nil ? nil : .importing
    }

    /// What was metered up to now goes to the store first.
    mutating func enter(
        _ piece: ImportPiece, _ answer: @escaping @Sendable (Result<[ImportOutcome], OrderError>) -> Void
    ) {
        isUrgent = true
        waitingImport = Waiting(work: piece, answer: answer)
    }

    /// - Parameter answer: Called with whether the program may start: the store has noted it.
    mutating func enterStart(_ answer: @escaping @Sendable (Bool) -> Void) {
        isUrgent = true
        starts.append(answer)
    }

    /// Refuses the orders and the import that wait. Work under way gets its own outcome.
    mutating func refuseWaiting(_ error: OrderError) {
        for waiting in orders { waiting.answer(.failure(error)) }
        orders = []
        waitingImport?.answer(.failure(error))
        waitingImport = nil
    }

    /// No program starts any more, except those whose commit is under way, because that may succeed. The others wait for
    /// the next start of the daemon.
    mutating func end(_ ledger: inout Ledger) {
        isEnding = true
        ledger.withdrawStarts()
        for answer in starts { answer(false) }
        starts = []
        if failedAt != nil { refuseStartsUnderWay(&ledger) }
    }

    private mutating func refuseStartsUnderWay(_ ledger: inout Ledger) {
        if startsUnderWay.isEmpty { return }
        ledger.withdrawStartsUnderWay()
        for answer in startsUnderWay { answer(false) }
        startsUnderWay = []
    }

    // MARK: - What comes next

    /// The most urgent piece of work; `nil` when nothing waits.
    ///
    /// - Parameters:
    ///   - isFinal: Whether the program ends with this.
    ///   - scans: Whether there is time for what isn't urgent.
    mutating func next(
        _ ledger: inout Ledger, _ settings: MeterSettings, at now: Moment, isFinal: Bool = false, scans: Bool = true
    ) -> StoreWork? {
        if failedAt != nil, !isFinal, !isRetryDue(at: now.sinceBoot) { return nil }
        let request = LedgerRequest(
            names: ledger.isAwaitingStore ? ledger.namesWanted : [],
            daysFrom: PeriodWindow(settings.calendar, at: now.timestamp).previousMonthStart,
            calendar: settings.calendar,
            plans: settings.planRequest(at: now))
        if ledger.isAwaitingStore { return .open(request) }
        let needsHistory =
            !isOwner || ledger.needsHistory || ledger.isPlanBookOutdated || settings.differ(from: ledger)
        let othersWait = !orders.isEmpty || waitingImport != nil || needsHistory
        // On some machines links come and go all the time, so that a commit is always urgent. The others take turns with it.
        // A ledger that could only be read is read again first.
        let isCommitFirst = isUrgent && isOwner && !(isOthersTurn && othersWait)
        // A commit that is under way bars everything but another try.
        let areOthersFree = !isFinal && !isCommitFirst && !ledger.hasCommitUnderWay
        if areOthersFree, let work = nextOrder(ledger, settings, at: now) { return work }
        let isDue = isFlushDue(settings, at: now.sinceBoot)
        guard isFinal || isUrgent || isDue || needsHistory || failedAt != nil else {
            return scans ? nextScan(ledger, at: now.timestamp).map { .scan($0) } : nil
        }
        if needsHistory, areOthersFree, !ledger.hasFolds, !(isOwner && ledger.needsCommitBeforeHistory) {
            isOthersTurn = false
            return .history(request)
        }
        if isOthersTurn, scans, !isFinal, !ledger.hasCommitUnderWay, let scan = nextScan(ledger, at: now.timestamp) {
            isOthersTurn = false
            return .scan(scan)
        }
        let isRetry = ledger.hasCommitUnderWay
        guard let commit = ledger.takeCommit(isFinal: isFinal) else { return nil }
        if !isRetry {
            startsUnderWay += starts
            starts = []
        }
        // What came after the commit that is tried again waits as urgently as before.
        isUrgent = isRetry
        isOthersTurn = othersWait || scans && ledger.planBook.needsHistories
        return .commit(
            commit, ledger.calendar, horizon: settings.horizon(for: ledger, at: now),
            applicationHorizon: settings.applicationHorizon(for: ledger, at: now))
    }

    private mutating func nextOrder(_ ledger: Ledger, _ settings: MeterSettings, at now: Moment) -> StoreWork? {
        if !orders.isEmpty {
            let waiting = orders.removeFirst()
            orderUnderWay = waiting
            isOthersTurn = false
            return .adjust(waiting.work.order, enteredAt: waiting.work.enteredAt, settings.planRequest(at: now))
        }
        guard let waiting = waitingImport else { return nil }
        isOthersTurn = false
        waitingImport = nil
        importUnderWay = waiting
        return .importPiece(
            waiting.work, ledger.calendar, at: now.timestamp, horizon: settings.horizon(for: ledger, at: now))
    }

    /// The rest of the quotas' past that isn't read yet.
    private mutating func nextScan(_ ledger: Ledger, at now: Timestamp) -> HistoryScan? {
        guard ledger.planBook.needsHistories, !ledger.planBook.plans.quotas.isEmpty else {
            scan = nil
            return nil
        }
        if let scan, scan.isOf(ledger.planBook) { return scan }
        scan = HistoryScan(ledger.planBook, at: now)
        return scan
    }

    // MARK: - Outcomes

    /// Takes the outcome of the work that was under way.
    ///
    /// - Parameter wasShown: Whether anybody saw this ledger's counters.
    mutating func take(
        _ outcome: StoreOutcome, into ledger: inout Ledger, _ settings: MeterSettings, wasShown: Bool, at now: Moment
    ) -> [Event] {
        switch outcome {
        case .opened(let seen):
            takeUp(seen, into: &ledger, wasShown: wasShown)
            isOwner = true
            return [.takenUp, .becameOwner]
        case .looked(let seen, let failure):
            takeUp(seen, into: &ledger, wasShown: wasShown)
            isOwner = false
            return [.takenUp] + failed(failure, &ledger, settings, at: now)
        case .committed(let adopted, let sizeBytes):
            committed(adopted, &ledger, at: now)
            return [.committed] + succeeded(sizeBytes: sizeBytes)
        case .history(let seen):
            let events = succeeded(sizeBytes: seen.sizeBytes)
            guard replaceHistory(seen, in: &ledger, at: now) else { return events }
            defer { isOwner = true }
            return events + [.historyReplaced] + (isOwner ? [] : [.becameOwner])
        case .seenHistory(let seen, let failure):
            let isReplaced = replaceHistory(seen, in: &ledger, at: now)
            if isReplaced { isOwner = false }
            return (isReplaced ? [.historyReplaced] : []) + failed(failure, &ledger, settings, at: now)
        case .scanned(let scan):
            self.scan = scan.isDone ? nil : scan
            if scan.isDone { ledger.adopt(scan) }
            return []
        case .adjusted(let result, let book): return adjusted(result, book, &ledger, at: now)
        case .imported(let outcomes): return imported(.success(outcomes), &ledger)
        case .begunAnew: return begunAnew(&ledger)
        case .notOurs:
            ledger.giveUpStore()
            return [.noLedger]
        case .failed(let failure): return failed(failure, &ledger, settings, at: now)
        }
    }

    private mutating func takeUp(_ seen: SeenLedger, into ledger: inout Ledger, wasShown: Bool) {
        ledger.takeUp(seen.stored, planBook: seen.book, calendar: seen.calendar, wasShown: wasShown)
        isUrgent = true
        status.sizeBytes = seen.sizeBytes
    }

    private mutating func committed(_ adopted: [AdoptedHistory], _ ledger: inout Ledger, at now: Moment) {
        ledger.acknowledgeCommit()
        for answer in startsUnderWay { answer(true) }
        startsUnderWay = []
        for history in adopted { ledger.adopt(history) }
        flushedAt = now.sinceBoot
        status.lastCommitSeconds = (Double(now.wallNanoseconds) / 1e9 * 1000).rounded() / 1000
    }

    /// - Returns: Whether it was; otherwise it is read again.
    private func replaceHistory(_ seen: SeenLedger, in ledger: inout Ledger, at now: Moment) -> Bool {
        // Accounts that became one meanwhile are two in it.
        if ledger.hasFolds { return false }
        ledger.replaceHistory(seen.stored, calendar: seen.calendar, at: now.timestamp)
        ledger.use(seen.book)
        return true
    }

    private mutating func adjusted(
        _ result: Result<Adjustment, OrderError>, _ book: PlanBook?, _ ledger: inout Ledger, at now: Moment
    ) -> [Event] {
        if let book {
            ledger.use(book)
        } else {
            // Whatever became of the order, the book is made again.
            ledger.outdatePlanBook()
        }
        orderUnderWay?.answer(result)
        orderUnderWay = nil
        if ledger.notePlanEvents(at: now.timestamp) { isUrgent = true }
        if case .success(let adjustment) = result { return [.adjusted(adjustment)] }
        return []
    }

    private mutating func imported(
        _ result: Result<[ImportOutcome], OrderError>, _ ledger: inout Ledger
    ) -> [Event] {
        guard let waiting = importUnderWay else { return [] }
        importUnderWay = nil
        var events: [Event] = []
        if case .success(let outcomes) = result, !waiting.work.isTrial {
            // The uplink's bytes are those of a device.
            let devices = outcomes.filter { $0.key != .uplink }
            let taken = (devices.isEmpty ? outcomes : devices).reduce(into: Total.zero) { $0 += $1.taken.total }
            if !taken.isZero { events.append(.imported(taken)) }
            // What plans have counted is read again.
            ledger.outdatePlanBook()
        }
        waiting.answer(result)
        return events
    }

    /// The store begins again with an empty file: it needs everything.
    private mutating func begunAnew(_ ledger: inout Ledger) -> [Event] {
        ledger.recommitEverything()
        isUrgent = true
        let events = imported(.failure(.busy), &ledger)
        guard let waiting = orderUnderWay else { return events }
        orderUnderWay = nil
        // It comes after what the new file gets to know about the quotas' use.
        var order = waiting.work
        order.enteredAt = max(order.enteredAt, ledger.lastReading.timestamp)
        ledger.cut(at: order.enteredAt)
        orders.insert(Waiting(work: order, answer: waiting.answer), at: 0)
        if isEnding { refuseWaiting(.ending) }
        return events
    }

    private mutating func failed(
        _ failure: StoreFailure, _ ledger: inout Ledger, _ settings: MeterSettings, at now: Moment
    ) -> [Event] {
        isUrgent = true
        status.isUp = false
        status.commitFailures += 1
        failedAt = now.sinceBoot
        let settingsWait = areSettingsNew && settings.differ(from: ledger)
        areSettingsNew = false
        refuseWaiting(.store(failure.error))
        let events = imported(.failure(.store(failure.error)), &ledger)
        if isEnding { refuseStartsUnderWay(&ledger) }
        return [.failed(failure)] + (settingsWait ? [.settingsWait] : []) + events
    }

    private mutating func succeeded(sizeBytes: Int64) -> [Event] {
        defer { failedAt = nil }
        status.isUp = true
        status.sizeBytes = sizeBytes
        return failedAt == nil ? [] : [.recovered]
    }
}
