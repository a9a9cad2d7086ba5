import Accounting
import CivilTime
import LedgerStore

/// What the owner tells the ledger about a quota.
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

/// An order as the command line has it.
package struct QuotaRequest: Codable, Sendable {
    package enum Kind: String, Codable, Sendable {
        case correct, topUp, undo
    }

    package var quota: String
    package var kind: Kind
    /// What is used, or added to the limit.
    package var bytes: UInt64?
    /// A moment as people write it; see ``moment(_:by:at:)``.
    package var at: String?
    /// The number of what is taken back.
    package var id: Int64?

    package init(quota: String, kind: Kind, bytes: UInt64? = nil, at: String? = nil, id: Int64? = nil) {
        self.quota = quota
        self.kind = kind
        self.bytes = bytes
        self.at = at
        self.id = id
    }

    /// The order that is meant, by the wall clocks of the quota's zone.
    ///
    /// - Parameter configuration: Where the plans are from, for people.
    /// - Throws: `OrderError` when it can't be carried out.
    func order(
        plans: Plans, of configuration: String, calendars: [TimeZoneSetting: LocalCalendar], at now: Timestamp
    ) throws(OrderError) -> QuotaOrder {
        let known = plans.quotas.first { $0.name == quota }
        if kind == .undo {
            // What was told about a quota can be taken back even when the configuration has it no more.
            let start = known.flatMap { plan in
                calendars[plan.cycle.timezone].map { plan.cycle.rule.cycle(containing: now, in: $0).lowerBound }
            }
            return QuotaOrder(quota: quota, kind: .undo(id: id, from: start ?? .earliest))
        }
        guard let plan = known, let calendar = calendars[plan.cycle.timezone]
        else { throw .unknownQuota(quota, known: plans.quotas.map(\.name), in: configuration) }
        let cycle = plan.cycle.rule.cycle(containing: now, in: calendar)
        if !cycle.contains(now) { throw .notRunning(quota) }
        if kind == .topUp { return QuotaOrder(quota: quota, kind: .topUp(bytes: bytes ?? 0)) }
        guard let at else {
            return QuotaOrder(
                quota: quota, kind: .correct(usedBytes: bytes ?? 0, at: nil), cycleStart: cycle.lowerBound)
        }
        guard let moment = Self.moment(at, by: calendar, at: now) else { throw .notATime(at) }
        if moment > now { throw .inTheFuture(at) }
        if moment < cycle.lowerBound { throw .tooEarly(at, cycleStart: calendar.rfc3339(cycle.lowerBound)) }
        return QuotaOrder(
            quota: quota, kind: .correct(usedBytes: bytes ?? 0, at: moment), cycleStart: cycle.lowerBound)
    }

    /// Whether a text is a moment, as `at` has it.
    package static func isTime(_ text: String) -> Bool {
        moment(text, by: .utc, at: Timestamp(secondsSinceEpoch: 0)) != nil
    }

    /// A moment written as "09:00" (today), "2026-11-20 09:00", with seconds if need be, or in RFC 3339; `nil` for
    /// anything else.
    static func moment(_ text: String, by calendar: LocalCalendar, at now: Timestamp) -> Timestamp? {
        var words = text.split(whereSeparator: { $0 == " " || $0 == "T" || $0 == "t" }).map(String.init)
        guard let clock = words.popLast(), words.count <= 1 else { return nil }
        let date = words.first.map { CivilDate($0) } ?? calendar.localTime(at: now).date
        guard let date else { return nil }
        if let seconds = secondsOfDay(clock) { return calendar.firstInstant(on: date, secondsOfDay: seconds) }
        guard let sign = clock.lastIndex(where: { "+-Zz".contains($0) }), words.count == 1,
            let seconds = secondsOfDay(String(clock[..<sign])), let offset = offset(clock[sign...])
        else { return nil }
        return Timestamp(secondsSinceEpoch: Int64(date.daysSinceEpoch) * 86_400 + Int64(seconds - offset))
    }

    /// The seconds since midnight of "09:00", "09:00:30" or "09:00:30.25", of which the fraction doesn't count.
    private static func secondsOfDay(_ text: String) -> Int? {
        let fraction = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        if fraction.count == 2,
            fraction[0].utf8.count != 8 || fraction[1].isEmpty || !fraction[1].allSatisfy(\.isASCIIDigit)
        {
            return nil
        }
        let parts = fraction[0].split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), parts.allSatisfy({ $0.count == 2 && $0.allSatisfy(\.isASCIIDigit) })
        else { return nil }
        let numbers = parts.compactMap { Int($0) } + (parts.count == 2 ? [0] : [])
        guard numbers.count == 3, numbers[0] < 24, numbers[1] < 60, numbers[2] < 60 else { return nil }
        return numbers[0] * 3600 + numbers[1] * 60 + numbers[2]
    }

    /// The seconds of "Z" or "+05:30".
    private static func offset(_ text: Substring) -> Int? {
        if text == "Z" || text == "z" { return 0 }
        return secondsOfDay(String(text.dropFirst())).map { text.first == "-" ? -$0 : $0 }
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { isASCII && isNumber }
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
        case .importing: "another import is under way; try again when it is done: what was taken over till then stays"
        case .ending: "the daemon ends just now; try again in a moment"
        case .store(let error): "\(error)"
        case .doubtful(let error): "\(error); look with netusage quota whether it was done"
        }
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
