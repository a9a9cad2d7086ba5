import Accounting
import CivilTime
import Exposition

/// The labels of all plans, rendered once and kept until the configuration changes.
struct PlanSeries {
    struct QuotaEntry {
        /// Its place in the book.
        let place: Int
        let labels: LabelSet
        /// `quota` and `threshold`, one for each in the quota's order.
        let thresholdLabels: [LabelSet]
        /// `quota` and `currency`.
        let costLabels: LabelSet
        /// `quota`, `count`, `direction` and `cycle`.
        let infoLabels: LabelSet
    }

    /// A plan that has no label but its name.
    private typealias Entry = (place: Int, labels: LabelSet)

    let plans: Plans
    private let quotas: [QuotaEntry]
    private let rateLimits: [Entry]
    private let committedRates: [Entry]

    init(_ plans: Plans) {
        self.plans = plans
        quotas = plans.quotas.enumerated().map { place, quota in
            let name = ("quota", quota.name)
            return QuotaEntry(
                place: place, labels: LabelSet([name]),
                thresholdLabels: quota.warnAt.map { LabelSet([name, ("threshold", $0.description)]) },
                costLabels: LabelSet([name, ("currency", quota.price?.currency.code ?? "")]),
                infoLabels: LabelSet([
                    name, ("count", quota.count.texts.joined(separator: ",")), ("direction", quota.direction.rawValue),
                    ("cycle", quota.cycle.text),
                ]))
        }.sorted { $0.labels.precedes($1.labels) }
        rateLimits = Self.entries("rate_limit", plans.rateLimits.map(\.name))
        committedRates = Self.entries("committed_rate", plans.committedRates.map(\.name))
    }

    private static func entries(_ label: String, _ names: [String]) -> [Entry] {
        names.enumerated().map { (place: $0, labels: LabelSet([(label, $1)])) }
            .sorted { $0.labels.precedes($1.labels) }
    }

    /// What a book of the plans shows at a moment.
    ///
    /// - Parameter countingNothing: The names of the quotas that count nothing.
    func snapshot(of book: PlanBook, countingNothing: Set<String>, at now: Timestamp) -> PlansSnapshot {
        let committed = book.committedRateStates
        let limited = book.rateLimitStates
        let states = book.quotaStates(at: now)
        return PlansSnapshot(
            quotas: (states.isEmpty ? [] : quotas).map { entry in
                let state = states[entry.place]
                let isKnown = state.usedBytes > 0 || !countingNothing.contains(state.quota.name)
                return QuotaSnapshot(series: entry, state: state, isUseKnown: isKnown)
            },
            rateLimits: rateLimits.map { ($0.labels, limited[$0.place]) },
            committedRates: committed.isEmpty ? [] : committedRates.map { ($0.labels, committed[$0.place]) })
    }
}

/// All plans at one moment, sorted by their labels; of those that need the ledger none while it isn't read.
struct PlansSnapshot {
    var quotas: [QuotaSnapshot] = []
    var rateLimits: [(labels: LabelSet, state: RateLimitState)] = []
    var committedRates: [(labels: LabelSet, state: CommittedRateState)] = []
}

/// One series of each quota family.
struct QuotaSnapshot {
    let series: PlanSeries.QuotaEntry
    let state: QuotaState
    /// Whether anything is counted, or was: otherwise it isn't known what is used.
    let isUseKnown: Bool
}
