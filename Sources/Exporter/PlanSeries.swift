import Accounting
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

    let plans: Plans
    private let quotas: [QuotaEntry]

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
    }

    /// What the book shows now under these labels.
    func quotaSnapshots(of states: [QuotaState]) -> [QuotaSnapshot] {
        if states.isEmpty { return [] }
        return quotas.map { QuotaSnapshot(series: $0, state: states[$0.place]) }
    }
}

/// One series of each quota family.
struct QuotaSnapshot {
    let series: PlanSeries.QuotaEntry
    let state: QuotaState
}
