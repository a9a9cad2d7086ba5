import Accounting
import Glibc
import Reports

/// The content of the page at `/`, of one moment.
struct PageContent: Sendable {
    /// The machine's name.
    var host: String
    var live: LiveReport
    /// The account that the page is about: the uplink, or one device.
    var watched: UsageReport.Account?
    var today: UsageReport
    var month: UsageReport
    var lifetime: Total?
    /// The last 31 days of this account, and its last 24 hours by five minutes.
    var days: UsageReport?
    var hours: UsageReport?
    var plans: PlansReport
    /// What is wrong, for people.
    var problems: [String] = []
    var telemetryPath: String
    var version: String

    /// - Parameter device: The device that the page is about; `nil` for the uplink.
    init(of device: String?, _ questions: any LiveQuestions, telemetryPath: String) async {
        self.telemetryPath = telemetryPath
        var name = utsname()
        uname(&name)
        host = withUnsafeBytes(of: &name.nodename) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        live = await questions.live()
        plans = await questions.plans()
        let status = await questions.status()
        version = status.version
        if !status.ledger.up {
            problems.append("The ledger can't be written now; what is metered waits in memory. See the log.")
        }
        if !status.kernel.readSuccess { problems.append("The kernel's counters can't be read now. See the log.") }
        if !status.configuration.lastReloadSuccessful {
            problems.append("The configuration has errors; the previous one stays in use. See netusage config check.")
        }
        // All sums are of one reading, so they agree. Accounts that are there, or have bytes this month, are in memory.
        let (history, basis) = await questions.openPeriods()
        do throws(UsageError) {
            today = try UsageReport(UsageQuery(.day), of: history, basis)
            month = try UsageReport(UsageQuery(.month), of: history, basis)
        } catch {
            problems.append("\(error)")
            (today, month) = (.empty, .empty)
        }
        let wanted = device ?? "uplink"
        watched = month.accounts.first { $0.name == wanted }
        if watched == nil {
            if device != nil { problems.append("Nothing called \(wanted) was metered in this month.") }
            watched = month.accounts.first
        }
        guard let watched else { return }
        let names = AccountNames(history.entries.lazy.map(\.key), collapse: basis.collapse)
        lifetime =
            history.entries.first { $0.key.kind == watched.kind && names.name(of: $0.key) == watched.name }?.lifetime
        func last(_ count: Int, _ grain: UsageQuery.Grain) async throws -> UsageReport {
            var query = UsageQuery(grain: grain)
            query.last = count
            query.devices = [watched.name]
            var report = try await questions.usage(query)
            report.accounts.removeAll { $0.name != watched.name || $0.kind != watched.kind }
            return report
        }
        do {
            days = try await last(31, .day)
            hours = try await last(288, .fiveMinutes)
        } catch {
            problems.append("\(error)")
        }
    }
}
