import Accounting
import CivilTime
import LedgerStore
import Logging
import Reports

/// Work goes to the store, and outcomes come back; see ``StoreQueue``.
extension Meter {
    /// Whether the program's last commit is in the store.
    var isClosed: Bool { ledger.isClosed }

    /// What waits for the store, the most urgent first; `nil` when nothing does.
    ///
    /// - Parameters:
    ///   - isFinal: Whether the program ends with this.
    ///   - scans: Whether there is time for what isn't urgent.
    func takeStoreWork(isFinal: Bool = false, scans: Bool = true) -> StoreWork? {
        let now = isFinal ? read(endsInterval: false) : clock()
        if isFinal { readApplications(at: now, isLast: applications.reader?.isKept == false) }
        if !ledger.isPersistent || ledger.isAwaitingStore { applySettingsWithoutStore(at: now) }
        guard ledger.isPersistent else { return nil }
        return queue.next(&ledger, settings, at: now, isFinal: isFinal, scans: scans && hasBegun)
    }

    private func applySettingsWithoutStore(at now: Moment) {
        if settings.calendar != ledger.calendar { ledger.useWithoutStore(settings.calendar, at: now.timestamp) }
        if ledger.isPlanBookOutdated || settings.differ(from: ledger) {
            ledger.useWithoutStore(settings.newPlanBook(records: ledger.planBook.records, at: now.timestamp))
        }
    }

    /// Takes what became of a piece of work.
    ///
    /// - Returns: Why it failed, if it did; and whether this process is the ledger's owner only now.
    func take(_ outcome: StoreOutcome) -> (failure: StoreFailure?, becameOwner: Bool) {
        // What was metered until now comes after what the store has.
        if hasBegun, outcome.isFirst { read(endsInterval: false) }
        var failure: StoreFailure?
        var becameOwner = false
        let events = queue.take(outcome, into: &ledger, settings, wasShown: hasBegun, at: clock())
        for event in events {
            switch event {
            case .takenUp:
                shown.outdate()
                announceWaiting()
                begin()
            case .noLedger: begin()
            case .committed: announceNews()
            case .historyReplaced: shown.outdate()
            case .becameOwner: becameOwner = true
            case .failed(let reason):
                failure = reason
                // At the start, a ledger that another process holds ends the program, which logs why.
                if reason.isNews, hasBegun || reason.error.code != .locked {
                    logger.error(
                        "the ledger can't be used now; bookings wait in memory", metadata: ["error": "\(reason.error)"])
                }
            case .adjusted, .imported, .settingsWait, .recovered: log(event)
            }
        }
        return (failure, becameOwner)
    }

    private func log(_ event: StoreQueue.Event) {
        switch event {
        case .adjusted(let adjustment):
            let report = AdjustmentReport(adjustment, calendar: settings.calendar(ofQuota: adjustment.quota))
            logger.notice(
                adjustment.undoneAt == nil ? "a quota was adjusted" : "an adjustment of a quota was taken back",
                metadata: [
                    "quota": "\(report.quota)", "kind": "\(report.kind)", "number": "\(report.id)",
                    "bytes": "\(report.bytes)", "at": "\(report.at)",
                ])
        case .imported(let total):
            logger.notice("another meter's history was imported", metadata: ["bytes": "\(total.bytes)"])
        case .settingsWait:
            logger.warning("days and plans go by the previous configuration until the ledger can be written")
        case .recovered: logger.notice("the ledger can be used again; nothing was lost")
        case .takenUp, .noLedger, .committed, .historyReplaced, .becameOwner, .failed: break
        }
    }

    /// Meters without a store; what is booked is shown but not kept.
    func goWithoutStore() {
        ledger.giveUpStore()
        begin()
    }

    // MARK: - What others want of the store

    /// Keeps what the owner says about a quota, or says why that can't be.
    func carryOut(_ request: QuotaRequest) async -> Result<Adjustment, OrderError> {
        if let refusal = queue.refusal(of: ledger) { return .failure(refusal) }
        let now = read(endsInterval: false).timestamp
        let order: QuotaOrder
        do throws(OrderError) {
            order = try request.order(
                plans: settings.plans, of: PlansReport.daemonsConfiguration, calendars: settings.calendars, at: now)
        } catch {
            return .failure(error)
        }
        // What was carried until now comes before it, what is carried from now on after it.
        if case .correct(_, at: nil) = order.kind {
            if ledger.hasSlot(from: now) {
                // Something of this second is in the slot that would begin with it: the next second has a slot of its own.
                try? await Task.sleep(for: .milliseconds(200))  // Nobody cancels it.
                return await carryOut(request)
            }
            ledger.cut(at: now)
        }
        wakeStore.yield()
        return await withCheckedContinuation { waiting in
            queue.enter(order, at: now) { waiting.resume(returning: $0) }
        }
    }

    /// Has the store import a piece, after everything that was metered up to now is in it.
    func carryOut(_ piece: ImportPiece) async -> Result<[ImportOutcome], OrderError> {
        if let refusal = queue.refusalOfImport(ledger) { return .failure(refusal) }
        read(endsInterval: false)
        wakeStore.yield()
        return await withCheckedContinuation { waiting in
            queue.enter(piece) { waiting.resume(returning: $0) }
        }
    }

    /// The program of an event may be started when this returns: the store knows, so that it isn't started again.
    ///
    /// - Returns: Whether it is to be started; otherwise it is when the daemon is started again.
    func willStart(for event: QuotaEvent) async -> Bool {
        if queue.isEnding { return false }
        ledger.noteStart(for: event)
        guard ledger.isPersistent else { return true }
        wakeStore.yield()
        return await withCheckedContinuation { waiting in
            queue.enterStart { waiting.resume(returning: $0) }
        }
    }

    func refuseWaiting(_ error: OrderError) { queue.refuseWaiting(error) }

    /// The program ends; see ``StoreQueue/end(_:)``.
    func refuseStarts() { queue.end(&ledger) }
}

extension StoreOutcome {
    /// Whether it is what the store has when it is read for the first time.
    fileprivate var isFirst: Bool {
        switch self {
        case .opened, .looked: true
        case .committed, .history, .seenHistory, .adjusted, .scanned, .imported, .begunAnew, .notOurs, .failed: false
        }
    }
}
