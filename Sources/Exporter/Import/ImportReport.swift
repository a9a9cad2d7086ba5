import Accounting
import CivilTime

/// Where something is taken over from.
package enum ImportSource: Sendable {
    case vnStat(path: String)
    case csv(path: String)

    func contents(by calendar: LocalCalendar, at now: Timestamp) throws(ImportFile.Problem) -> ImportFile.Contents {
        switch self {
        case .vnStat(let path): try ImportFile.vnStat(path, by: calendar, at: now)
        case .csv(let path): try ImportFile.csv(path, at: now)
        }
    }
}

/// What was taken over, for commands and programs.
package struct ImportReport: Codable, Sendable {
    /// The uplink, then devices by name.
    package struct Account: Codable, Sendable {
        package var name: String
        package var kind: String
        /// Absent if nothing was taken.
        package var from: String?
        package var until: String?
        package var takenReceivedBytes: UInt64
        package var takenTransmittedBytes: UInt64
        /// What is there already, metered by netusage itself or taken over before.
        package var knownReceivedBytes: UInt64
        package var knownTransmittedBytes: UInt64
        /// What the ledger doesn't have of the time in which netusage was to meter it itself.
        package var missedReceivedBytes: UInt64
        package var missedTransmittedBytes: UInt64
        /// What was carried since the ledger's last reading, or perhaps so: netusage will book it itself when it runs.
        package var lateReceivedBytes: UInt64
        package var lateTransmittedBytes: UInt64
    }

    package var accounts: [Account]
    /// What was left out because it makes no sense.
    package var problems: [String]
    /// Whether everything is as it was.
    package var isTrial: Bool
    /// Whether there was no ledger.
    package var hasBegunLedger = false

    init(_ outcomes: [ImportOutcome], _ problems: [String], _ calendar: LocalCalendar, isTrial: Bool) {
        let names = AccountNames(outcomes.lazy.map(\.key), collapse: [])
        accounts = outcomes.map { outcome in
            Account(
                name: names.name(of: outcome.key), kind: outcome.key.kind,
                from: outcome.from.map { calendar.rfc3339(Timestamp(secondsSinceEpoch: $0)) },
                until: outcome.until.map { calendar.rfc3339(Timestamp(secondsSinceEpoch: $0)) },
                takenReceivedBytes: outcome.taken.received, takenTransmittedBytes: outcome.taken.transmitted,
                knownReceivedBytes: outcome.known.received, knownTransmittedBytes: outcome.known.transmitted,
                missedReceivedBytes: outcome.missed.received, missedTransmittedBytes: outcome.missed.transmitted,
                lateReceivedBytes: outcome.late.received, lateTransmittedBytes: outcome.late.transmitted)
        }.sorted { ($0.kind == "uplink" ? 0 : 1, $0.name) < ($1.kind == "uplink" ? 0 : 1, $1.name) }
        self.problems = problems
        self.isTrial = isTrial
    }
}
