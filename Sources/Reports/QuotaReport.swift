import Accounting
import CivilTime

/// A quota at one moment. In JSON all its parts are one object.
package struct QuotaReport: Sendable {
    package struct Plan: Codable, Sendable {
        package var name: String
        /// Why it counts nothing, if so.
        package var problem: String?
        package var count: [String]
        package var direction: String
    }

    package struct Cycle: Codable, Sendable {
        /// As in the configuration, such as `month from 15`.
        package var text: String
        package var start: LocalMoment
        package var end: LocalMoment
        package var secondsLeft: Int64
        /// The time until a one-time cycle begins.
        package var secondsAhead: Int64

        enum CodingKeys: String, CodingKey {
            case text = "cycle"
            case start = "cycleStart"
            case end = "cycleEnd"
            case secondsLeft = "cycleSecondsLeft"
            case secondsAhead = "cycleSecondsAhead"
        }
    }

    package struct Use: Codable, Sendable {
        package var limitBytes: UInt64
        package var rolloverBytes: UInt64
        package var topUpBytes: UInt64
        /// Absent if nothing is counted, and so is everything that depends on it.
        package var usedBytes: UInt64?
        package var leftBytes: UInt64?
        /// The bytes metered in the cycle, whatever the provider counted.
        package var measuredBytes: UInt64?
        /// The last correction minus the bytes metered until then.
        package var driftBytes: Int64?
        package var adjustments: [AdjustmentReport]
    }

    package struct Breach: Codable, Sendable {
        package var breached: Bool?
        package var breachedAt: LocalMoment?
        package var breaches: UInt64
        package fileprivate(set) var condition = QuotaCondition.ok
        package var thresholds: [Threshold]
    }

    package struct Threshold: Codable, Sendable {
        /// A share of the limit.
        package var threshold: Double
        package var bytes: UInt64
        package var reached: Bool
        package var reachedAt: LocalMoment?
    }

    package struct Outlook: Codable, Sendable {
        /// Absent while the daemon starts.
        package var projectedBytes: UInt64?
        package var exhaustion: LocalMoment?
        package var safePerDayBytes: UInt64?
        package var cost: Cost?
    }

    package struct Cost: Codable, Sendable {
        /// Rounded to the currency's decimals, as `"514.00"`.
        package var amount: String
        package var currency: String
    }

    package var plan: Plan
    package var cycle: Cycle
    package var use: Use
    package var breach: Breach
    package var outlook: Outlook

    package var name: String { plan.name }
    package var condition: QuotaCondition { breach.condition }

    /// Notes why it counts nothing, if so. Then its use isn't known, unless there are bytes from before.
    mutating func note(_ problem: String?) {
        plan.problem = problem
        defer { noteCondition() }
        guard problem != nil, use.usedBytes == 0 else { return }
        (use.usedBytes, use.leftBytes, use.measuredBytes) = (nil, nil, nil)
        breach.breached = nil
        breach.thresholds = []
        outlook = Outlook()
    }

    /// Leaves out what changes with time alone.
    package mutating func forgetTime() {
        (cycle.secondsLeft, cycle.secondsAhead, outlook.safePerDayBytes) = (0, 0, nil)
    }

    init(_ state: QuotaState, calendar: LocalCalendar, at now: Timestamp) {
        let quota = state.quota
        plan = Plan(name: quota.name, count: quota.count.texts, direction: quota.direction.rawValue)
        cycle = Cycle(
            text: quota.cycle.text, start: calendar.local(state.cycle.lowerBound),
            end: calendar.local(state.cycle.upperBound),
            secondsLeft: max(0, state.cycle.upperBound.secondsSinceEpoch - now.secondsSinceEpoch),
            secondsAhead: max(0, state.cycle.lowerBound.secondsSinceEpoch - now.secondsSinceEpoch))
        use = Use(
            limitBytes: state.limitBytes, rolloverBytes: state.rolloverBytes, topUpBytes: state.topUpBytes,
            usedBytes: state.usedBytes, leftBytes: state.leftBytes, measuredBytes: state.measuredBytes,
            driftBytes: state.driftBytes,
            adjustments: state.adjustments.map { AdjustmentReport($0, calendar: calendar) })
        breach = Breach(
            breached: state.isBreached, breachedAt: state.breachedAt.map(calendar.local), breaches: state.breaches,
            thresholds: state.thresholds.map {
                Threshold(
                    threshold: Double($0.share.millionths) / 1e6, bytes: $0.share.bytes(of: state.limitBytes),
                    reached: $0.isReached, reachedAt: $0.reachedAt.map(calendar.local))
            })
        outlook = Outlook(
            projectedBytes: state.projectedBytes, exhaustion: state.exhaustion.map(calendar.local),
            safePerDayBytes: state.safeBytesPerDay(at: now))
        if let price = quota.price, let amount = state.cost {
            outlook.cost = Cost(amount: amount.text(decimals: price.currency.decimals), currency: price.currency.code)
        }
        noteCondition()
    }

    private mutating func noteCondition() {
        breach.condition =
            if breach.breached == true {
                .breached
            } else if plan.problem != nil {
                .unknown
            } else if cycle.secondsAhead > 0 {
                .notBegun
            } else if cycle.secondsLeft == 0 {
                .ended
            } else if breach.thresholds.contains(where: \.reached) {
                .warned
            } else {
                outlook.exhaustion == nil ? .ok : .breachExpected
            }
    }
}

extension QuotaReport: Codable {
    package init(from decoder: any Decoder) throws {
        plan = try Plan(from: decoder)
        cycle = try Cycle(from: decoder)
        use = try Use(from: decoder)
        breach = try Breach(from: decoder)
        outlook = try Outlook(from: decoder)
    }

    package func encode(to encoder: any Encoder) throws {
        for part in [plan, cycle, use, breach, outlook] as [any Encodable] { try part.encode(to: encoder) }
    }
}
