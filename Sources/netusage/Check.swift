import ArgumentParser
import Exporter
import Reports

/// `netusage check`.
struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Report the state of the quotas to a monitoring system.",
        discussion: """
            Prints a line with performance data, like the plugins of Nagios and Icinga. Exits with 0 if all is well, 1 if a threshold \
            is reached or a breach is expected, 2 if a quota is breached, 3 if the state is unknown (also when no daemon has metered for a quarter of an hour).
            """)

    @OptionGroup var common: CommonOptions

    @Argument(help: "Only this quota.")
    var name: String?

    mutating func run() async throws {
        let report: PlansReport
        do throws(LedgerAccess.Failure) {
            report = try await common.ledgerAccess.answer { try await $0.plans() }
        } catch {
            try end(.unknown, error.description.split(separator: "\n").joined(separator: "; "))
        }
        let quotas = report.quotas.filter { name == nil || $0.name == name }
        if quotas.isEmpty {
            try end(.unknown, "\(report.configuration) has no quota\(name.map { " " + $0 } ?? "s")")
        }
        let worstFirst = quotas.sorted { $0.condition.severity.urgency > $1.condition.severity.urgency }
        var state = worstFirst.first?.condition.severity ?? .unknown
        // A breached quota stays breached. Nobody knows whether another quota is breached by now.
        if report.isStale, state != .critical { state = .unknown }
        var texts = worstFirst.map(Self.text).joined(separator: ", ")
        if report.isStale {
            texts = "nothing metered since \(report.meteredUntil.map { "\($0)" } ?? "the beginning"), " + texts
        }
        try end(state, "\(texts) | \(quotas.map(Self.performance).joined(separator: " "))")
    }

    /// Exits with the state "unknown" if the arguments are wrong. Returns for other errors.
    static func exit(onWrongUse error: any Error) {
        if exitCode(for: error) != .validationFailure { return }
        let text = message(for: error).split(separator: "\n").joined(separator: " ")
        // The state is unknown even if this can't be written.
        try? output("NETUSAGE UNKNOWN - \(Terminal.printable(text))\n")
        exit(withError: ExitCode(unknown))
    }

    private static let unknown = QuotaCondition.Severity.unknown.rawValue

    private func end(_ state: QuotaCondition.Severity, _ text: String) throws -> Never {
        try output("NETUSAGE \(state.word) - \(Terminal.printable(text))\n", failure: Self.unknown)
        throw ExitCode(state.rawValue)
    }

    private static func text(_ quota: QuotaReport) -> String {
        if quota.condition == .unknown, let problem = quota.plan.problem {
            return "\(quota.name.withoutBars): \(problem.withoutBars)"
        }
        guard let used = quota.use.usedBytes else { return quota.name.withoutBars }
        let percent = decimalText(Double(used) / Double(quota.use.limitBytes) * 100, decimals: 1)
        let condition =
            [.notBegun, .ended, .breachExpected].contains(quota.condition) ? "\(quota.conditionText), " : ""
        return
            "\(quota.name.withoutBars) \(condition)\(percent)% used (\(sizeText(used)) of \(sizeText(quota.use.limitBytes)))"
    }

    /// `'label'=value;warning;critical;minimum`; the value is `U` where it isn't known.
    private static func performance(_ quota: QuotaReport) -> String {
        let label = quota.name.withoutBars.replacing("'", with: "''").replacing("=", with: "_")
        let warning = quota.breach.thresholds.first.map { String($0.bytes) } ?? ""
        let used = quota.use.usedBytes.map { "\($0)B" } ?? "U"
        return "'\(label)'=\(used);\(warning);\(quota.use.limitBytes);0"
    }
}

extension QuotaCondition.Severity {
    /// A known breach comes before an unknown state, and that before a warning.
    fileprivate var urgency: Int { [.ok: 0, .warning: 1, .unknown: 2, .critical: 3][self] ?? 0 }

    fileprivate var word: String {
        switch self {
        case .ok: "OK"
        case .warning: "WARNING"
        case .critical: "CRITICAL"
        case .unknown: "UNKNOWN"
        }
    }
}

extension String {
    /// A bar would begin the performance data.
    fileprivate var withoutBars: String { String(map { $0 == "|" ? "/" : $0 }) }
}
