import Accounting
import CivilTime
import Configuration
import Reports

/// The source of an import.
package enum ImportSource: Sendable {
    /// - Parameter timezone: The zone of vnStat's times; `nil` for the ledger's.
    case vnStat(path: String, timezone: TimeZoneSetting?)
    case csv(path: String)

    /// - Parameter calendar: The ledger's calendar.
    func contents(by calendar: LocalCalendar, at now: Timestamp) throws(ImportFile.Problem) -> ImportFile.Contents {
        switch self {
        case .csv(let path): return try ImportFile.csv(path, at: now)
        case .vnStat(let path, let timezone):
            var calendar = calendar
            do throws(ZoneError) {
                if let timezone {
                    calendar = LocalCalendar(zone: try SystemZone.load(timezone).zone, weekStart: .monday)
                }
            } catch {
                throw ImportFile.Problem(description: "--timezone: \(error)")
            }
            return try ImportFile.vnStat(path, by: calendar, at: now)
        }
    }
}

/// The outcome of an import, for commands and programs.
package struct ImportReport: Codable, Sendable {
    /// The uplink, then devices by name.
    package struct Account: Codable, Sendable {
        package var name: String
        package var kind: String
        /// Absent if nothing was new.
        package var from: LocalMoment?
        package var until: LocalMoment?
        package var takenReceivedBytes: UInt64
        package var takenTransmittedBytes: UInt64
        /// Bytes that the ledger already had, metered by netusage itself or imported before.
        package var knownReceivedBytes: UInt64
        package var knownTransmittedBytes: UInt64
        /// Bytes that the ledger lacks from the time in which netusage was to meter them itself.
        package var missedReceivedBytes: UInt64
        package var missedTransmittedBytes: UInt64
        /// Bytes that may have been carried after the ledger's last reading: netusage books them itself when it runs.
        package var lateReceivedBytes: UInt64
        package var lateTransmittedBytes: UInt64
        /// Bytes of earlier imports that this import replaces.
        package var forgottenReceivedBytes: UInt64
        package var forgottenTransmittedBytes: UInt64
    }

    package var accounts: [Account]
    /// What was left out because it is wrong.
    package var problems: [String]
    /// Whether it was a trial, which changes nothing.
    package var isTrial: Bool
    /// The path of the ledger that the import creates; absent if there was one.
    package var begunLedger: String?

    init(_ outcomes: [ImportOutcome], _ problems: [String], _ calendar: LocalCalendar, isTrial: Bool) {
        let names = AccountNames(outcomes.lazy.map(\.key), collapse: [])
        accounts = outcomes.map { outcome in
            Account(
                name: names.name(of: outcome.key), kind: outcome.key.kind,
                from: outcome.from.map { calendar.local(Timestamp(secondsSinceEpoch: $0)) },
                until: outcome.until.map { calendar.local(Timestamp(secondsSinceEpoch: $0)) },
                takenReceivedBytes: outcome.taken.received, takenTransmittedBytes: outcome.taken.transmitted,
                knownReceivedBytes: outcome.known.received, knownTransmittedBytes: outcome.known.transmitted,
                missedReceivedBytes: outcome.missed.received, missedTransmittedBytes: outcome.missed.transmitted,
                lateReceivedBytes: outcome.late.received, lateTransmittedBytes: outcome.late.transmitted,
                forgottenReceivedBytes: outcome.forgotten.received,
                forgottenTransmittedBytes: outcome.forgotten.transmitted)
        }.sorted { ($0.kind == "uplink" ? 0 : 1, $0.name) < ($1.kind == "uplink" ? 0 : 1, $1.name) }
        self.problems = problems
        self.isTrial = isTrial
    }
}
