import Accounting
import Machine
import Reports

/// The content of the page at `/`, of one moment.
struct PageContent: Sendable {
    /// The machine's name.
    var host: String
    var live: LiveReport
    /// The account that the page is about: the uplink, one device, or one application.
    var watched: UsageReport.Account?
    /// The same today.
    var watchedToday: UsageReport.Account?
    var today: UsageReport
    var month: UsageReport
    /// By application; without any if none was metered.
    var applicationsToday: UsageReport
    var applicationsOfMonth: UsageReport
    var lifetime: Total?
    /// The last 31 days of this account, and its last 24 hours by five minutes.
    var days: UsageReport?
    var hours: UsageReport?
    var plans: PlansReport
    /// What is wrong, for people.
    var problems: [String] = []
    var telemetryPath: String
    var version: String

    init(of subject: PageSubject, _ questions: any LiveQuestions, telemetryPath: String) async {
        self.telemetryPath = telemetryPath
        host = machineName()
        live = await questions.live(by: .device)
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
            applicationsToday = try UsageReport(UsageQuery(.day, by: .application), of: history, basis)
            applicationsOfMonth = try UsageReport(UsageQuery(.month, by: .application), of: history, basis)
        } catch {
            problems.append("\(error)")
            (today, month, applicationsToday, applicationsOfMonth) = (.empty, .empty, .empty, .empty)
        }
        switch subject {
        case .uplink: break
        case .device(let name):
            watched = month.accounts.first { $0.name == name }
            if watched == nil { problems.append("Nothing called \(name) was metered in this month.") }
        case .application(let name):
            watched = applicationsOfMonth.application(name)
            watchedToday = applicationsToday.application(name)
            if watched == nil { problems.append("No application called \(name) carried anything in this month.") }
        }
        watched = watched ?? month.accounts.first { $0.name == "uplink" } ?? month.accounts.first
        guard let watched else { return }
        if watched.kind != "application" {
            watchedToday = today.accounts.first { $0.kind == watched.kind && $0.name == watched.name }
        }
        let names = AccountNames(history.entries.lazy.map(\.key), collapse: basis.collapse)
        lifetime = history.entries.filter { $0.key.kind == watched.kind && names.name(of: $0.key) == watched.name }
            .reduce(into: Total.zero) { $0 += $1.lifetime }
        func last(_ count: Int, _ grain: UsageQuery.Grain) async throws -> UsageReport {
            var query = UsageQuery(grain: grain)
            query.last = count
            if watched.kind == "application" {
                (query.subject, query.applications) = (.application, [watched.name])
                var report = try await questions.usage(query)
                report.accounts = [report.application(watched.name)].compactMap { $0 }
                return report
            }
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

/// What the page is about.
enum PageSubject: Equatable, Sendable {
    case uplink
    case device(String)
    case application(String)
}
