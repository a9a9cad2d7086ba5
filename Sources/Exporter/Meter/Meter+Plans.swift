import Accounting
import CivilTime
import Machine
import Reports

/// Quotas and rate limits: news in the log, programs to start, and reports.
extension Meter {
    /// Logs quota events and starts their programs, now that a crash can't make them happen again.
    func announceNews() {
        for event in ledger.takeNews() {
            guard let quota = settings.plans.quotas.first(where: { $0.name == event.quota }) else { continue }
            let calendar = settings.calendar(ofQuota: quota.name)
            logger.log(
                level: event.kind == .lift ? .notice : .warning, "\(event.message)",
                metadata: [
                    "quota": "\(event.quota)", "threshold": "\(event.share)", "used_bytes": "\(event.usedBytes)",
                    "limit_bytes": "\(event.limitBytes)", "cycle_end": "\(calendar.rfc3339(event.cycle.upperBound))",
                ])
            if event.awaitsProgram { announcements.start(Announcement(event, of: quota, calendar: calendar)) }
        }
    }

    /// The daemon serves from here on: programs are started.
    func startAnnouncing() { announcements.release() }

    /// Programs that were to be started when the daemon ended are started now.
    func announceWaiting() {
        for event in ledger.planBook.waitingEvents {
            guard let quota = settings.plans.quotas.first(where: { $0.name == event.quota }), !quota.run.isEmpty else {
                continue
            }
            let calendar = settings.calendar(ofQuota: quota.name)
            announcements.start(Announcement(event, of: quota, calendar: calendar))
        }
    }

    /// Logs rate limits that were breached, or no longer are.
    func logRateLimits() {
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

    /// The plans as they are now.
    func plansReport() -> PlansReport {
        let now = read(endsInterval: false).timestamp
        var report = PlansReport(ledger.planBook, calendars: settings.calendars, at: now)
        report.noteProblems(of: settings.plans, planCheck.problem(with:))
        return report
    }

    private var planCheck: PlanCheck {
        let keys = ledger.places.compactMap { ledger.key(at: $0) }
        return PlanCheck(
            links: Array(links.table.links.values), uplink: uplink.links, rules: settings.rules,
            // What was there long ago is known by the store only.
            accounts: ledger.isAwaitingStore ? nil : ledger.planBook.storedAccounts.union(keys))
    }

    /// The quotas whose use isn't known, because there is nothing that they count.
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
