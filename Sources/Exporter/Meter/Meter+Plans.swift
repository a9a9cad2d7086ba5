import Accounting
import CivilTime
import Machine
import Reports

/// What the owner has agreed upon, is told, and tells.
extension Meter {
    /// Tells of what happened to quotas, now that a crash can't make it happen again.
    func tellNews() {
        for event in ledger.takeNews() {
            guard let quota = settings.plans.quotas.first(where: { $0.name == event.quota }) else { continue }
            let calendar = settings.calendar(ofQuota: quota.name)
            logger.log(
                level: event.kind == .lift ? .notice : .warning, "\(event.message)",
                metadata: [
                    "quota": "\(event.quota)", "threshold": "\(event.share)", "used_bytes": "\(event.usedBytes)",
                    "limit_bytes": "\(event.limitBytes)", "cycle_end": "\(calendar.rfc3339(event.cycle.upperBound))",
                ])
            if event.awaitsProgram { start(Announcement(event, of: quota, calendar: calendar)) }
        }
    }

    /// Programs that were to be started when the daemon ended are started now.
    func announceWaiting() {
        for event in ledger.planBook.waitingEvents {
            guard let quota = settings.plans.quotas.first(where: { $0.name == event.quota }), !quota.run.isEmpty else {
                continue
            }
            let calendar = settings.calendar(ofQuota: quota.name)
            start(Announcement(event, of: quota, calendar: calendar))
        }
    }

    /// The program of an event may be started when this returns: the store knows, so that it isn't started again.
    ///
    /// - Returns: Whether it is to be started; otherwise it is when the daemon is started again.
    func willStart(for event: QuotaEvent) async -> Bool {
        if isEnding { return false }
        ledger.noteStart(for: event)
        guard ledger.isPersistent else { return true }
        isUrgent = true
        wakeStore.yield()
        return await withCheckedContinuation { starts.append($0) }
    }

    /// How many orders may wait at a time; the owner gives one now and then.
    private static let maximumOrders = 16

    /// Keeps what the owner tells, or says why that can't be.
    func carryOut(_ request: QuotaRequest) async -> Result<Adjustment, OrderError> {
        if isEnding { return .failure(.ending) }
        guard ledger.isPersistent else { return .failure(.noLedger) }
        guard orders.count < Self.maximumOrders else { return .failure(.busy) }
        read(endsInterval: false)
        let now = SystemClock.now().timestamp
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
        isUrgent = true
        wakeStore.yield()
        return await withCheckedContinuation { orders.append(.init(order: order, enteredAt: now, answer: $0)) }
    }

    /// Tells of rate limits that were breached, or no longer are.
    func tellRateLimits() {
        for state in ledger.takeRateLimitNews() {
            logger.log(
                level: state.isBreached ? .warning : .notice,
                state.isBreached ? "a rate limit is breached" : "a rate limit is kept again",
                metadata: [
                    "rate_limit": "\(state.rateLimit.name)",
                    "limit_bytes_per_second": "\(state.rateLimit.limitBytesPerSecond)",
                ])
        }
    }

    /// An order was carried out by the store, or not.
    func adjusted(_ result: Result<Adjustment, OrderError>, _ book: PlanBook?) {
        if case .success(let adjustment) = result {
            let report = AdjustmentReport(adjustment, calendar: settings.calendar(ofQuota: adjustment.quota))
            logger.notice(
                adjustment.undoneAt == nil ? "a quota was adjusted" : "an adjustment of a quota was taken back",
                metadata: [
                    "quota": "\(report.quota)", "kind": "\(report.kind)", "number": "\(report.id)",
                    "bytes": "\(report.bytes)", "at": "\(report.at)",
                ])
        }
        if let book {
            ledger.use(book)
        } else {
            // Whatever became of it, the book is made again.
            ledger.outdatePlanBook()
        }
        orderUnderWay?.answer.resume(returning: result)
        orderUnderWay = nil
        if ledger.notePlanEvents(at: SystemClock.now().timestamp) { isUrgent = true }
    }

    /// What is left to read of the quotas' past, which isn't urgent.
    func nextScan(at now: Timestamp) -> HistoryScan? {
        guard hasBegun, ledger.planBook.needsHistories, !ledger.planBook.plans.quotas.isEmpty else {
            scan = nil
            return nil
        }
        if let scan, scan.isOf(ledger.planBook) { return scan }
        scan = HistoryScan(ledger.planBook, at: now)
        return scan
    }

    /// A part of the quotas' past was read.
    func take(_ scan: HistoryScan) {
        self.scan = scan.isDone ? nil : scan
        if scan.isDone { ledger.adopt(scan) }
    }

    /// The store can't carry out anything now, but for what it is at.
    func refuseOrders(_ error: OrderError) {
        for waiting in orders { waiting.answer.resume(returning: .failure(error)) }
        orders = []
        refuseImport(error)
    }

    /// No program is started any more, but those whose commit is under way: it may succeed. The others wait for the next
    /// start of the daemon.
    func refuseStarts() {
        isEnding = true
        ledger.withdrawStarts()
        for start in starts { start.resume(returning: false) }
        starts = []
        if failedAt != nil { refuseStartsUnderWay() }
    }

    /// The store can't take the commit that they wait for, and the daemon ends.
    func refuseStartsUnderWay() {
        if startsUnderWay.isEmpty { return }
        ledger.withdrawStartsUnderWay()
        for start in startsUnderWay { start.resume(returning: false) }
        startsUnderWay = []
    }

    /// The plans as they are now.
    func plansReport() -> PlansReport {
        read(endsInterval: false)
        let now = SystemClock.now().timestamp
        var report = PlansReport(ledger.planBook, calendars: settings.calendars, at: now)
        report.noteProblems(of: settings.plans, planCheck.problem(with:))
        return report
    }

    private var planCheck: PlanCheck {
        let keys = ledger.places.compactMap { ledger.key(at: $0) }
        return PlanCheck(
            links: Array(links.links.values), uplink: route?.links ?? [], rules: settings.rules,
            // What was there long ago is known by the store only.
            accounts: ledger.isAwaitingStore ? nil : ledger.planBook.storedAccounts.union(keys))
    }

    /// The quotas of which it isn't known what is used, as there is nothing that they count.
    var quotasCountingNothing: Set<String> {
        let plans = ledger.planBook.plans.quotas
        if plans.isEmpty { return [] }
        let check = planCheck
        return Set(plans.filter { check.problem(with: $0.count) != nil }.map(\.name))
    }

    /// Logs what is wrong with the plans on this machine.
    func logPlanProblems() {
        for finding in planCheck.findings(settings.plans, csvLog: settings.csvLog) {
            logger.warning("a plan may not count what is meant", metadata: ["plan": "\(finding)"])
        }
    }
}

extension QuotaEvent {
    /// What happened, for the log.
    fileprivate var message: String {
        switch kind {
        case .warning: "a quota's threshold is reached"
        case .breach: isFirst ? "a quota is breached" : "a quota is breached again"
        case .lift: "a quota isn't breached any more"
        }
    }
}
