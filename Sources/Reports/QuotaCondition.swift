/// The condition of a quota: the first of these that applies. Terminal, page, `netusage check` and JSON show the same.
package enum QuotaCondition: String, Codable, CaseIterable, Sendable {
    case breached
    /// It counts nothing now, so its use isn't known.
    case unknown
    /// Its only cycle hasn't begun.
    case notBegun = "not_begun"
    /// Its only cycle has ended.
    case ended
    /// A threshold below the limit is reached.
    case warned
    /// The forecast reaches the limit before the cycle ends.
    case breachExpected = "breach_expected"
    case ok

    /// How serious it is: the states of a monitoring system, and colours. The numbers are the exit codes of a plugin:
    /// <https://nagios-plugins.org/doc/guidelines.html>.
    package enum Severity: Int32, Sendable {
        case ok, warning, critical, unknown
    }

    package var severity: Severity {
        switch self {
        case .ok, .notBegun, .ended: .ok
        case .warned, .breachExpected: .warning
        case .breached: .critical
        case .unknown: .unknown
        }
    }
}

extension QuotaReport {
    /// The condition in a few words, as "over 80 %".
    package var conditionText: String {
        switch condition {
        case .unknown: "not known"
        case .breached: "breached"
        case .notBegun: "not begun"
        case .ended: "ended"
        case .warned:
            breach.thresholds.last(where: \.reached).map { "over \(Self.percentText($0.threshold)) %" } ?? "warned"
        case .breachExpected: "expected to breach"
        case .ok: "ok"
        }
    }

    /// As in the configuration: without decimals if there are none.
    private static func percentText(_ share: Double) -> String {
        let text = decimalText(share * 100, decimals: 2)
        return text.hasSuffix(".00") ? String(text.dropLast(3)) : text.hasSuffix("0") ? String(text.dropLast()) : text
    }
}
