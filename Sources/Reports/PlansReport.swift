import Accounting
import CivilTime

/// The plans at one moment, for commands and programs. Times are RFC 3339 with the offset of the plan's zone.
package struct PlansReport: Codable, Sendable {
    package var quotas: [QuotaReport]
    package var rateLimits: [RateLimitReport]
    package var committedRates: [CommittedRateReport]
    /// The moment up to which everything is counted; absent if nothing ever was.
    package var meteredUntil: LocalMoment?
    /// Why the figures are from the ledger's last commit and not from a daemon, if so.
    package var note: String?
    /// Whether no daemon runs, and the figures are old.
    package var isStale = false
    /// The source of the plans, for people.
    package var configuration = daemonsConfiguration

    /// Notes which plans count nothing.
    ///
    /// - Parameter problem: Why a selection counts nothing, for people; `nil` if it counts something.
    package mutating func noteProblems(of plans: Plans, _ problem: (Selection) -> String?) {
        func problems(_ counts: [(String, Selection)]) -> [String: String] {
            counts.reduce(into: [:]) { $0[$1.0] = problem($1.1) }
        }
        let ofQuotas = problems(plans.quotas.map { ($0.name, $0.count) })
        for place in quotas.indices { quotas[place].note(ofQuotas[quotas[place].name]) }
        let ofLimits = problems(plans.rateLimits.map { ($0.name, $0.count) })
        for place in rateLimits.indices { rateLimits[place].problem = ofLimits[rateLimits[place].name] }
        let ofRates = problems(plans.committedRates.map { ($0.name, $0.count) })
        for place in committedRates.indices { committedRates[place].problem = ofRates[committedRates[place].name] }
    }

    package static let daemonsConfiguration = "the daemon's configuration"

    /// Whether there are no plans.
    package var isEmpty: Bool { quotas.isEmpty && rateLimits.isEmpty && committedRates.isEmpty }

    /// - Parameter calendars: The calendars of all cycles' zones.
    package init(_ book: PlanBook, calendars: [TimeZoneSetting: LocalCalendar], at now: Timestamp) {
        quotas = book.quotaStates(at: now).map { state in
            QuotaReport(state, calendar: calendars[state.quota.cycle.timezone] ?? .utc, at: now)
        }
        meteredUntil = (calendars[.local] ?? .utc).local(now)
        rateLimits = book.rateLimitStates.map { RateLimitReport($0) }
        committedRates = book.committedRateStates.map { state in
            CommittedRateReport(state, calendar: calendars[state.committedRate.cycle.timezone] ?? .utc)
        }
    }
}

/// The state of a rate limit. Only a running daemon knows it.
package struct RateLimitReport: Codable, Sendable {
    package var name: String
    package var count: [String]
    package var direction: String
    package var limitBytesPerSecond: Double
    package var forSeconds: Double
    package var breached: Bool
    package var breaches: UInt64
    /// Why it counts nothing, if so.
    package var problem: String?

    init(_ state: RateLimitState) {
        name = state.rateLimit.name
        count = state.rateLimit.count.texts
        direction = state.rateLimit.direction.rawValue
        limitBytesPerSecond = state.rateLimit.limitBytesPerSecond
        forSeconds = state.rateLimit.hold.seconds
        breached = state.isBreached
        breaches = state.breaches
    }
}

/// The figures of a committed rate now, and of its earlier cycles.
package struct CommittedRateReport: Codable, Sendable {
    package struct Cycle: Codable, Sendable {
        package var cycleStart: LocalMoment
        package var cycleEnd: LocalMoment
        package var limitBytesPerSecond: Double
        package var p95BytesPerSecond: Double
        package var samples: Int
        /// Samples in whose time nothing was read.
        package var missing: Int
    }

    package var name: String
    package var count: [String]
    package var direction: String
    package var cycle: String
    package var open: Cycle
    package var burstRemainingSeconds: Int64
    /// Earlier cycles, the last one first.
    package var closed: [Cycle]
    /// Why it counts nothing, if so.
    package var problem: String?

    init(_ state: CommittedRateState, calendar: LocalCalendar) {
        let plan = state.committedRate
        name = plan.name
        count = plan.count.texts
        direction = plan.direction.rawValue
        cycle = plan.cycle.text
        open = Cycle(
            cycleStart: calendar.local(state.cycle.lowerBound), cycleEnd: calendar.local(state.cycle.upperBound),
            limitBytesPerSecond: plan.limitBytesPerSecond, p95BytesPerSecond: state.percentileBytesPerSecond,
            samples: state.samples, missing: state.missing)
        burstRemainingSeconds = state.burstRemainingSeconds
        closed = state.closed.reversed().map {
            Cycle(
                cycleStart: calendar.local($0.cycle.lowerBound), cycleEnd: calendar.local($0.cycle.upperBound),
                limitBytesPerSecond: Double($0.limitBitsPerSecond) / 8,
                p95BytesPerSecond: $0.percentileBytesPerSecond, samples: $0.samples, missing: $0.missing)
        }
    }
}

/// A correction or a top-up.
package struct AdjustmentReport: Codable, Sendable {
    package var id: Int64
    package var quota: String
    /// `correction` or `top-up`.
    package var kind: String
    package var bytes: UInt64
    package var at: LocalMoment
    package var enteredAt: LocalMoment
    package var undoneAt: LocalMoment?

    package init(_ adjustment: Adjustment, calendar: LocalCalendar) {
        id = adjustment.id
        quota = adjustment.quota
        switch adjustment.kind {
        case .correction(let used): (kind, bytes) = ("correction", used)
        case .topUp(let added): (kind, bytes) = ("top-up", added)
        }
        at = calendar.local(adjustment.at)
        enteredAt = calendar.local(adjustment.enteredAt)
        undoneAt = adjustment.undoneAt.map(calendar.local)
    }
}
