import Accounting
import CivilTime
import LedgerStore
import Reports

/// What the owner says about a quota: a correction, a top-up, or that one of them is taken back.
package struct QuotaOrder: Sendable {
    package enum Kind: Sendable {
        /// The provider counted so much; at a moment in the past, or now.
        case correct(usedBytes: UInt64, at: Timestamp?)
        case topUp(bytes: UInt64)
        /// Takes back the correction or top-up with this number, or the last one that holds from this moment on.
        case undo(id: Int64?, from: Timestamp)
    }

    package var quota: String
    package var kind: Kind
    /// When the cycle began that a correction speaks of.
    package var cycleStart: Timestamp?

    package init(quota: String, kind: Kind, cycleStart: Timestamp? = nil) {
        self.quota = quota
        self.kind = kind
        self.cycleStart = cycleStart
    }

    /// - Parameter now: What "now" means in it.
    /// - Returns: What was kept or taken back; `nil` when there was nothing to take back.
    /// - Throws: `OrderError`: with `.store` nothing has changed, with `.doubtful` nobody knows.
    package func carryOut(in file: LedgerFile, at now: Timestamp) throws(OrderError) -> Adjustment? {
        let before: [Adjustment]
        do throws(StoreError) {
            before = try file.allAdjustments()
        } catch {
            throw .store(error)
        }
        do throws(StoreError) {
            return try perform(in: file, at: now)
        } catch {
            // A disk that fails after it has taken the bytes may have them all the same.
            guard let after = try? file.recoveredAdjustments() else { throw .doubtful(error) }
            if let done = after.first(where: { !before.contains($0) }) { return done }
            throw .store(error)
        }
    }

    private func perform(in file: LedgerFile, at now: Timestamp) throws(StoreError) -> Adjustment? {
        switch kind {
        case .correct(let used, let moment):
            try file.adjust(
                quota, .correction(usedBytes: used), at: moment ?? now, enteredAt: now, cycleStart: cycleStart)
        case .topUp(let bytes): try file.adjust(quota, .topUp(bytes: bytes), at: now, enteredAt: now)
        case .undo(let id, let start): try file.undo(quota, id: id, from: start, at: now)
        }
    }
}

extension QuotaRequest {
    /// The order that is meant, by the wall clocks of the quota's zone.
    ///
    /// - Parameter configuration: Where the plans are from, for people.
    /// - Throws: `OrderError` when it can't be carried out.
    func order(
        plans: Plans, of configuration: String, calendars: [TimeZoneSetting: LocalCalendar], at now: Timestamp
    ) throws(OrderError) -> QuotaOrder {
        let plan = plans.quotas.first { $0.name == quota }
        let calendar = plan.flatMap { calendars[$0.cycle.timezone] }
        let cycle = plan.flatMap { plan in calendar.map { plan.cycle.rule.cycle(containing: now, in: $0) } }
        /// - Returns: The cycle that runs now, and its calendar.
        func running() throws(OrderError) -> (Range<Timestamp>, LocalCalendar) {
            guard let calendar, let cycle else {
                throw .unknownQuota(quota, known: plans.quotas.map(\.name), in: configuration)
            }
            if !cycle.contains(now) { throw .notRunning(quota) }
            return (cycle, calendar)
        }
        switch kind {
        case .undo(let id):
            // A correction can be taken back even when the quota isn't in the configuration any more.
            return QuotaOrder(quota: quota, kind: .undo(id: id, from: cycle?.lowerBound ?? .earliest))
        case .topUp(let bytes):
            _ = try running()
            return QuotaOrder(quota: quota, kind: .topUp(bytes: bytes))
        case .correct(let used, let text):
            let (cycle, calendar) = try running()
            let at = try text.map { text throws(OrderError) in
                try moment(text, in: cycle, by: calendar, at: now)
            }
            return QuotaOrder(quota: quota, kind: .correct(usedBytes: used, at: at), cycleStart: cycle.lowerBound)
        }
    }

    /// A moment of the past in this cycle.
    private func moment(
        _ text: String, in cycle: Range<Timestamp>, by calendar: LocalCalendar, at now: Timestamp
    ) throws(OrderError) -> Timestamp {
        guard let moment = calendar.moment(text, at: now) else { throw .notATime(text) }
        if moment > now { throw .inTheFuture(text) }
        if moment < cycle.lowerBound { throw .tooEarly(text, cycleStart: calendar.rfc3339(cycle.lowerBound)) }
        return moment
    }
}

/// Why an order wasn't carried out.
package enum OrderError: Error, Sendable, CustomStringConvertible {
    /// Not in this configuration.
    case unknownQuota(String, known: [String], in: String)
    /// Its only cycle is over, or hasn't begun.
    case notRunning(String)
    case notATime(String)
    case inTheFuture(String)
    /// Before the open cycle.
    case tooEarly(String, cycleStart: String)
    case nothingToUndo(QuotaOrder)
    case noLedger
    case busy
    case importing
    case ending
    case store(StoreError)
    /// The disk failed in the midst, and can't be read to see what it has.
    case doubtful(StoreError)

    package var description: String {
        switch self {
        case .unknownQuota(let name, let known, let configuration):
            known.isEmpty
                ? "there is no quota \(name): \(configuration) has none; add it there under quotas"
                : "there is no quota \(name); \(configuration) has \(known.joined(separator: ", "))"
        case .notRunning(let name): "\(name) isn't running now: its only cycle is over or hasn't begun"
        case .notATime(let text):
            "\(text) is not a time; write 09:00 for today, \"2026-11-20 09:00\", or RFC 3339 such as 2026-11-20T09:00:00+01:00"
        case .inTheFuture(let moment): "\(moment) is in the future; give a moment that has passed, with its date"
        case .tooEarly(let moment, let start):
            "\(moment) lies before the open cycle, which began at \(start); what the provider says must be of this cycle"
        case .nothingToUndo(let order):
            if case .undo(let id?, _) = order.kind {
                "\(order.quota) has no correction or top-up number \(id) that holds; netusage quota lists those of the open cycle"
            } else {
                "\(order.quota) has no correction or top-up in the open cycle, so there is nothing to undo; --id names an earlier one"
            }
        case .noLedger: "there is no ledger to keep it in; see what the daemon's log says about its file"
        case .busy: "the daemon is busy with other orders; try again in a moment"
        case .importing: "another import is under way; try again when it is done: what was imported till then stays"
        case .ending: "the daemon ends just now; try again in a moment"
        case .store(let error): "\(error)"
        case .doubtful(let error): "\(error); look with netusage quota whether it was done"
        }
    }
}

extension ChangeRefusal {
    init(_ error: OrderError) {
        let isTemporary =
            switch error {
            case .noLedger, .busy, .importing, .ending, .store, .doubtful: true
            case .unknownQuota, .notRunning, .notATime, .inTheFuture, .tooEarly, .nothingToUndo: false
            }
        self.init(error.description, isTemporary: isTemporary)
    }
}

/// Of which plans a book is wanted.
struct PlanRequest: Sendable {
    var plans: Plans
    var calendars: [TimeZoneSetting: LocalCalendar]
    var now: Timestamp

    func book(of file: LedgerFile) throws(StoreError) -> PlanBook {
        try file.planBook(plans, calendars: calendars, at: now)
    }
}
