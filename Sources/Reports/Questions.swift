import Accounting

/// The questions about what was carried and what is agreed. Page and API ask them, and don't know who answers.
package protocol Questions: LedgerReader, Sendable {
    func basis() async -> ReportBasis
    func status() async -> StatusReport
    func live() async -> LiveReport
    func plans() async -> PlansReport
    /// Every account that an open period shows, of this moment.
    func openPeriods() async -> DayHistory
}
