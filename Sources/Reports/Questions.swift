import Accounting
import CivilTime

/// The questions about what was carried and what is agreed. Commands ask them, and don't know who answers: the running
/// daemon, or the ledger's file alone. Page and API ask the daemon's own meter; see ``LiveQuestions``.
package protocol Questions: Sendable {
    /// What is carried now, by device or by application.
    func live(by subject: UsageQuery.Subject) async throws -> LiveReport
    func plans() async throws -> PlansReport
    func usage(_ query: UsageQuery) async throws -> UsageReport
    /// Writes an export out, a piece when the previous one has been taken.
    func export(_ query: ExportQuery, to sink: @escaping ExportSink) async throws
}

/// The questions as the daemon's own meter answers them, and those that only a daemon has an answer to.
package protocol LiveQuestions: Questions, LedgerReader {
    func live(by subject: UsageQuery.Subject) async -> LiveReport
    func plans() async -> PlansReport
    func status() async -> StatusReport
    /// Every account that an open period shows, of one moment.
    func openPeriods() async -> (DayHistory, ReportBasis)
}

/// What changes the ledger: carried out by the running daemon, or in the file alone.
package protocol LedgerChanges: Sendable {
    /// Keeps a correction or a top-up of a quota, or takes one back.
    func carryOut(_ request: QuotaRequest) async throws -> AdjustmentReport
    /// Imports what another meter has counted, or only says what that would be.
    func carryOut(_ piece: ImportPiece) async throws -> [ImportOutcome]
    /// By which calendar and rules it books.
    func bookingBasis() async throws -> BookingBasis
}

/// Why a change wasn't carried out.
package struct ChangeRefusal: Error, CustomStringConvertible {
    package var description: String
    /// Whether the same may be carried out later; otherwise the request doesn't fit the ledger.
    package var isTemporary: Bool

    package init(_ description: String, isTemporary: Bool) {
        self.description = description
        self.isTemporary = isTemporary
    }
}

/// What the owner says about a quota, as a command line or a request has it.
package struct QuotaRequest: Codable, Sendable {
    package enum Kind: Codable, Sendable {
        /// `at` is a moment as people write it; see ``CivilTime/LocalCalendar/moment(_:at:)``.
        case correct(usedBytes: UInt64, at: String?)
        case topUp(bytes: UInt64)
        /// `id` is the number of the correction or top-up to take back.
        case undo(id: Int64?)
    }

    package let quota: String
    package let kind: Kind

    package init(quota: String, kind: Kind) {
        self.quota = quota
        self.kind = kind
    }

    /// Whether a text is a moment, as `at` has it.
    package static func isTime(_ text: String) -> Bool {
        LocalCalendar.utc.moment(text, at: Timestamp(secondsSinceEpoch: 0)) != nil
    }
}

/// A part of an import, which the store books at once.
package struct ImportPiece: Codable, Sendable {
    package let accounts: [ImportedAccount]
    /// Whether nothing is kept.
    package let isTrial: Bool

    package init(accounts: [ImportedAccount], isTrial: Bool) {
        self.accounts = accounts
        self.isTrial = isTrial
    }
}

/// What the days and devices of another meter mean to the ledger.
package struct BookingBasis: Codable, Sendable {
    package var calendar: LocalCalendar
    package var rules: AccountingRules

    package init(calendar: LocalCalendar, rules: AccountingRules) {
        self.calendar = calendar
        self.rules = rules
    }
}
