import CivilTime

/// The part of a ledger's past that an import needs.
///
/// A store answers row by row, because the whole past of a large ledger doesn't fit into memory.
package protocol BookedPast {
    /// The moment from which all buckets are kept.
    func keptFrom() throws -> Timestamp

    /// When the ledger read counters last; `nil` before its first reading.
    func lastReading() throws -> Timestamp?

    /// When the ledger read counters first; `nil` before that.
    func meteredFrom() throws -> Timestamp?

    /// `nil` if there is no such account.
    func key(of account: AccountID) throws -> AccountKey?

    /// The accounts that may have a device's bytes: its own first, then the classes that it belongs to.
    ///
    /// - Parameter source: The device's label.
    func accounts(ofSource source: String) throws -> [AccountID]

    /// Whether anything was imported for an account.
    func hasImport(_ account: AccountID) throws -> Bool

    /// When an account's own bytes begin, if an import has noted that; `nil` also if the account has none of its own.
    func ownFrom(of account: AccountID) throws -> Timestamp?

    /// The first bucket of an account that starts at `start` or later.
    func firstBucket(of account: AccountID, from start: Timestamp) throws -> Bucket?

    /// The buckets of an account that start in a span of time, ascending.
    func bucketRows(of account: AccountID, from start: Timestamp, before end: Timestamp) throws -> [OwnBytes.Row]

    /// The days of an account, ascending.
    func dayRows(of account: AccountID, _ days: ClosedRange<CivilDate>) throws -> [StoredLedger.StoredDay]

    /// Imported rows whose slot, or booked time, overlaps a span of time; sorted by the slots' starts.
    func importedRows(_ owner: ImportOwner, in span: Range<Timestamp>) throws -> [ImportedRow]

    /// Spans without readings that overlap a span of time, except the time before the first reading; ascending.
    func gaps(in span: Range<Timestamp>) throws -> [Range<Timestamp>]
}

/// Selects imported rows by account and source.
package enum ImportOwner {
    case account(AccountID)
    case source(String, in: AccountID)
    /// A source's rows in other accounts, except the uplink.
    case sourceElsewhere(String, than: AccountID)
    /// Rows of other accounts, except the uplink, that the ledger's own bytes explained in part.
    case ownElsewhere(than: AccountID)
}
