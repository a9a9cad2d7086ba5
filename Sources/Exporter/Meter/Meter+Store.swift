import Accounting
import CivilTime
import LedgerStore
import Logging
import Machine

/// What goes to the store and what comes back.
extension Meter {
    /// Whether the days are still booked by another calendar than the one that is set.
    private var wantsAnotherCalendar: Bool { settings.calendar != ledger.calendar }

    /// Whether the book is of other plans than those that are set.
    private var wantsOtherPlans: Bool { !ledger.planBook.isOf(settings.plans, settings.calendars) }

    /// Whether the book is of other plans than those that are set, or has to be made again.
    private var wantsAnotherPlanBook: Bool { ledger.isPlanBookOutdated || wantsOtherPlans }

    /// Whether the program's last commit is in the store.
    var isClosed: Bool { ledger.isClosed }

    /// What waits for the store, the most urgent first; `nil` when nothing does.
    ///
    /// - Parameters:
    ///   - isFinal: Whether the program ends with this.
    ///   - scans: Whether there is time for what isn't urgent.
    func takeStoreWork(isFinal: Bool = false, scans: Bool = true) -> StoreWork? {
        let now = SystemClock.now()
        if isFinal { read(endsInterval: false) }
        if !ledger.isPersistent || ledger.isAwaitingStore, wantsAnotherCalendar {
            ledger.useWithoutStore(settings.calendar, at: now.timestamp)
        }
        if !ledger.isPersistent || ledger.isAwaitingStore, wantsAnotherPlanBook {
            ledger.useWithoutStore(settings.newPlanBook(records: ledger.planBook.records, at: now.timestamp))
        }
        guard ledger.isPersistent else { return nil }
        let request = PlanRequest(plans: settings.plans, calendars: settings.calendars, now: now.timestamp)
        let isDue = now.sinceBoot.elapsed(since: flushedAt) >= settings.flushInterval
        if let failedAt, !isFinal, !isRetryDue(since: failedAt) { return nil }
        if ledger.isAwaitingStore {
            let window = PeriodWindow(settings.calendar, at: now.timestamp)
            return .open(
                names: ledger.namesWanted, daysFrom: window.previousMonthStart,
                settings.calendar, request)
        }
        let needsHistory = wantsAnotherCalendar || wantsAnotherPlanBook || ledger.needsHistory || !isOwner
        // Where links come and go all the time there is always an urgent commit; the others take turns with it.
        let othersWait = !orders.isEmpty || waitingImport != nil || needsHistory
        // A commit that is under way bars another calendar and other plans, and a ledger that is only read takes none.
        let isCommitFirst = isUrgent && isOwner && !(isOthersTurn && othersWait)
        if !orders.isEmpty, !isCommitFirst, !isFinal, !ledger.hasCommitUnderWay {
            let waiting = orders.removeFirst()
            orderUnderWay = waiting
            isOthersTurn = false
            return .adjust(waiting.order, enteredAt: waiting.enteredAt, request)
        }
        if let waiting = waitingImport, !isCommitFirst, !isFinal, !ledger.hasCommitUnderWay {
            isOthersTurn = false
            waitingImport = nil
            importUnderWay = waiting
            return .importPiece(waiting.piece, ledger.calendar, at: now.timestamp, horizon: horizon(at: now))
        }
        guard isFinal || isUrgent || isDue || needsHistory || failedAt != nil else {
            return scans ? nextScan(at: now.timestamp).map { .scan($0) } : nil
        }
        // The history is read when nothing is under way, and the store has each account that became part of another.
        if needsHistory, !isCommitFirst, !isFinal, !ledger.hasCommitUnderWay, !ledger.hasFolds {
            isOthersTurn = false
            let calendar = settings.calendar
            let daysFrom = PeriodWindow(calendar, at: now.timestamp).previousMonthStart
            return .history(calendar, daysFrom: daysFrom, request)
        }
        // Where links come and go all the time some commit is always urgent.
        if isOthersTurn, scans, !isFinal, !ledger.hasCommitUnderWay, let scan = nextScan(at: now.timestamp) {
            isOthersTurn = false
            return .scan(scan)
        }
        // What came after the commit that is tried again waits as urgently as before.
        let isRetry = ledger.hasCommitUnderWay
        guard let commit = ledger.takeCommit(isFinal: isFinal) else { return nil }
        if !isRetry {
            startsUnderWay += starts
            starts = []
        }
        isUrgent = isRetry
        isOthersTurn = othersWait || scans && ledger.planBook.needsHistories
        return .commit(commit, ledger.calendar, horizon: horizon(at: now))
    }

    /// Buckets that end before it may go.
    private func horizon(at now: Moment) -> Timestamp {
        min(now.timestamp(before: settings.keepBuckets), ledger.planBook.bucketsNeededFrom(at: now.timestamp))
    }

    /// Takes what became of a piece of work.
    ///
    /// - Returns: Why it failed, if it did; and whether this process is the ledger's owner only now.
    func take(_ outcome: StoreOutcome) -> (failure: StoreFailure?, becameOwner: Bool) {
        switch outcome {
        case .opened(let stored, let book, let calendar, let sizeBytes):
            takeUp(stored, book, calendar: calendar, sizeBytes: sizeBytes)
            return (nil, true)
        case .looked(let stored, let book, let calendar, let sizeBytes, let failure):
            takeUp(stored, book, calendar: calendar, sizeBytes: sizeBytes, isOwned: false)
            storeFailed(failure)
            return (failure, false)
        case .committed(let adopted, let sizeBytes): committed(adopted, sizeBytes: sizeBytes)
        case .history(let stored, let book, let calendar, let sizeBytes):
            return (nil, take(stored, book, calendar: calendar, sizeBytes: sizeBytes))
        case .seenHistory(let stored, let book, let calendar, let sizeBytes, let failure):
            _ = take(stored, book, calendar: calendar, sizeBytes: sizeBytes, isOwned: false)
            storeFailed(failure)
            return (failure, false)
        case .scanned(let scan): take(scan)
        case .adjusted(let result, let book): adjusted(result, book)
        case .imported(let outcomes): importEnded(.success(outcomes))
        case .begunAnew: storeBegunAnew()
        case .notOurs: goWithoutStore()
        case .failed(let failure):
            storeFailed(failure)
            return (failure, false)
        }
        return (nil, false)
    }

    /// A commit is in the store.
    private func committed(_ adopted: [AdoptedHistory], sizeBytes: Int64) {
        ledger.acknowledgeCommit()
        for start in startsUnderWay { start.resume(returning: true) }
        startsUnderWay = []
        for history in adopted { ledger.adopt(history) }
        tellNews()
        let now = SystemClock.now()
        flushedAt = now.sinceBoot
        storeStatus.lastCommitSeconds = (Double(now.wallNanoseconds) / 1e9 * 1000).rounded() / 1000
        storeSucceeded(sizeBytes: sizeBytes)
    }

    /// The store begins again with an empty file: it needs everything.
    private func storeBegunAnew() {
        ledger.recommitEverything()
        isUrgent = true
        importEnded(.failure(.busy))
        guard var order = orderUnderWay else { return }
        orderUnderWay = nil
        // It comes after what the new file was told that quotas have used.
        order.enteredAt = max(order.enteredAt, ledger.lastReading.timestamp)
        ledger.cut(at: order.enteredAt)
        orders.insert(order, at: 0)
        if isEnding { refuseOrders(.ending) }
    }

    /// The history that was asked for.
    ///
    /// - Parameter isOwned: Whether the store can be written, too.
    /// - Returns: Whether this process is the ledger's owner only now; see ``isOwner``.
    func take(
        _ history: StoredLedger, _ book: PlanBook, calendar: LocalCalendar, sizeBytes: Int64, isOwned: Bool = true
    ) -> Bool {
        if isOwned { storeSucceeded(sizeBytes: sizeBytes) }
        // Accounts that became one meanwhile are two in it: it is read again when that is in the store.
        if ledger.hasFolds { return false }
        ledger.replaceHistory(history, calendar: calendar, at: SystemClock.now().timestamp)
        ledger.use(book)
        series = nil
        defer { isOwner = isOwned }
        return isOwned && !isOwner
    }

    /// Other settings hold: what they want of the store is tried at once, even if it failed a moment ago.
    func hurryStore() {
        if failedAt != nil { failedAt = BootTime(nanoseconds: 0) }
        areSettingsNew = true
        wakeStore.yield()
    }

    /// The store couldn't do what it was asked to; it is asked again. See ``isRetryDue(since:)``.
    func storeFailed(_ failure: StoreFailure) {
        isUrgent = true
        storeStatus.commitFailures += 1
        failedAt = SystemClock.now().sinceBoot
        // At the start, a ledger that another process holds ends the program, which tells why.
        if failure.isNews, hasBegun || failure.error.code != .locked {
            logger.error(
                "the ledger can't be used now; bookings wait in memory", metadata: ["error": "\(failure.error)"])
        }
        if areSettingsNew, wantsAnotherCalendar || wantsOtherPlans {
            logger.warning("days and plans go by the previous configuration until the ledger can be written")
        }
        areSettingsNew = false
        storeStatus.isUp = false
        refuseOrders(.store(failure.error))
        refuseImport(.store(failure.error))
        importEnded(.failure(.store(failure.error)))
        if isEnding { refuseStartsUnderWay() }
    }

    /// The rules allow ten seconds.
    static let retryInterval = Span(seconds: 5)

    func isRetryDue(since failure: BootTime) -> Bool {
        SystemClock.now().sinceBoot.elapsed(since: failure) >= Self.retryInterval
    }

    private func storeSucceeded(sizeBytes: Int64) {
        if failedAt != nil { logger.notice("the ledger can be used again; nothing was lost") }
        failedAt = nil
        storeStatus.isUp = true
        storeStatus.sizeBytes = sizeBytes
    }
}
