import Accounting
import CivilTime
import Reports

/// How commands talk to the daemon: a socket beside the ledger, a line of JSON to it, a line of JSON back.
///
/// Whoever may use it, by its file's permissions, may do what the daemon's owner may. Nothing of it is HTTP.
package enum Control {
    enum Request: Codable, Sendable {
        case plans
        case order(QuotaRequest)
        case usage(UsageQuery)
        case live
        /// Answered by a line that says whether it begins, and then piece by piece; see ``ExportFrame``.
        case export(ExportQuery)
        /// By which calendar and rules the daemon books.
        case basis
        /// Imports what another meter has counted, or only says what that would be.
        case importPiece([ImportedAccount], isTrial: Bool)
    }

    struct Answer: Codable, Sendable {
        var error: String?
        var plans: PlansReport?
        var adjustment: AdjustmentReport?
        var usage: UsageReport?
        var live: LiveReport?
        var basis: BookingBasis?
        var imported: [ImportOutcome]?
    }

    /// What a file's days and devices mean to the daemon.
    struct BookingBasis: Codable, Sendable {
        var calendar: LocalCalendar
        var rules: AccountingRules
    }

    /// A piece of an export: its length and how much is written by then, from 0 to 1, on a line; then its bytes. The last
    /// one is empty. What is wrong comes as a length of -1 with the problem behind it.
    enum ExportFrame {
        static func head(count: Int, _ rest: String) -> [UInt8] { Array("\(count) \(rest)\n".utf8) }
    }

    /// Lines longer than this aren't requests.
    static let maximumRequestBytes = 8 * 1024 * 1024

    /// Where the socket of a ledger is.
    static func path(ofLedger ledger: String) -> String { ledger + ".control" }
}
