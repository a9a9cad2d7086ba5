import Accounting
import Exposition
import Reports

/// The labels of applications, rendered once. They are kept until an account comes or goes, or another one is shown by name.
struct ApplicationSeries {
    private struct Entry {
        let place: Int
        let row: Int
        let isOfUplink: Bool
        /// Whether its own counter is shown; that of all others counts up with each that isn't.
        let showsCounter: Bool
    }

    /// `application` and `scope`.
    let labels: LabelColumn
    private let entries: [Entry]
    private let unattributedRow: Int
    private let version: (structure: UInt64, shown: UInt64)

    /// What belongs to no application.
    static let unattributed = "(unattributed)"

    init(_ ledger: Ledger) {
        version = (ledger.structureVersion, ledger.shownApplicationsVersion)
        struct Label: Hashable {
            let name: ApplicationName
            let scope: TrafficScope?
        }
        var accounts: [(place: Int, label: Label, showsCounter: Bool)] = []
        for place in ledger.places {
            guard case .application(let name, let scope)? = ledger.key(at: place) else { continue }
            let isShown = ledger.shownApplications.contains(name)
            let label = Label(name: isShown ? name : ApplicationName.other, scope: scope)
            accounts.append((place, label, isShown || name == .other))
        }
        let none = Label(name: ApplicationName(Self.unattributed), scope: nil)
        func labelSet(_ label: Label) -> LabelSet {
            LabelSet(ApplicationFamily.labels(label.name.text, label.scope))
        }
        let all = Set(accounts.map(\.label) + [none]).map { (label: $0, set: labelSet($0)) }
            .sorted { $0.set.precedes($1.set) }
        let rows = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1.label, $0) })
        labels = LabelColumn(all.map(\.set))
        unattributedRow = rows[none] ?? 0
        entries = accounts.map {
            Entry(
                place: $0.place, row: rows[$0.label] ?? 0, isOfUplink: $0.label.scope != .tunnel,
                showsCounter: $0.showsCounter)
        }
    }

    /// Whether other labels would be made now.
    func isOutdated(_ ledger: Ledger) -> Bool {
        version != (ledger.structureVersion, ledger.shownApplicationsVersion)
    }

    /// What the ledger shows now, one for each row; none if no application was ever metered.
    func snapshots(of ledger: Ledger) -> [ApplicationSnapshot] {
        if entries.isEmpty { return [] }
        var snapshots = (0..<labels.count).map { ApplicationSnapshot(row: $0) }
        var attributed = PeriodTotals()
        let areCountersKnown = ledger.areApplicationCountersKnown
        for entry in entries {
            guard let view = ledger.view(at: entry.place) else { continue }
            snapshots[entry.row].periods.add(view.periods)
            if entry.isOfUplink { attributed.add(view.periods) }
            if entry.showsCounter, areCountersKnown { snapshots[entry.row].counter = view.counter }
        }
        let uplink = ledger.uplinkView.periods
        snapshots[unattributedRow].periods = uplink
        snapshots[unattributedRow].attributed = attributed
        return snapshots
    }
}

/// What an application shows at one moment, or the sum of those that aren't shown by name, or what belongs to none.
struct ApplicationSnapshot: BitwiseCopyable {
    /// Its row in the labels of the series.
    var row: Int
    var counter: Counters?
    var periods = PeriodTotals()
    /// What to take off, for what belongs to none: it may come out below 0.
    var attributed = PeriodTotals()

    init(row: Int) { self.row = row }
}
