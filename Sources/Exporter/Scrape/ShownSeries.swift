import Accounting

/// The labels that the last scrape showed. They are kept until something changes that shows in them.
struct ShownSeries {
    private(set) var devices = Series()
    private(set) var applications: ApplicationSeries?
    private(set) var plans = PlanSeries(.none)
    /// The names of the quotas that count nothing.
    private(set) var countingNothing: Set<String> = []
    private var isOutdated = true

    mutating func outdate() { isOutdated = true }

    mutating func refresh(_ ledger: Ledger, _ links: LinkTable, countingNothing: () -> Set<String>) {
        // Without a counter there is nothing to show, and nothing to pay for.
        if ledger.hasApplications, applications?.isOutdated(ledger) ?? true { applications = ApplicationSeries(ledger) }
        if !isOutdated, !devices.isOutdated(ledger, links), plans.plans == ledger.planBook.plans { return }
        isOutdated = false
        devices = Series(ledger, links)
        plans = PlanSeries(ledger.planBook.plans)
        self.countingNothing = countingNothing()
    }
}
