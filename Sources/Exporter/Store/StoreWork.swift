import Accounting
import CivilTime
import LedgerStore
import Reports

/// What the store is to do next.
///
/// To add a kind of work, add a case here and to ``StoreOutcome``: `StoreQueue.next` says when it is its turn,
/// `Store.perform` does it, and `StoreQueue.take` says what its outcome means.
enum StoreWork: Sendable {
    /// Open the file and read what the program needs to go on.
    case open(LedgerRequest)
    case commit(Commit, LocalCalendar, horizon: Timestamp, applicationHorizon: Timestamp)
    /// Read the history again.
    case history(LedgerRequest)
    /// Go on with reading what quotas carried in the last weeks.
    case scan(HistoryScan)
    /// Keep a correction or a top-up, or take one back.
    case adjust(QuotaOrder, enteredAt: Timestamp, PlanRequest)
    /// Book what of another meter's history is new.
    case importPiece(ImportPiece, LocalCalendar, at: Timestamp, horizon: Timestamp)
}

/// How a piece of work ended.
enum StoreOutcome: Sendable {
    case opened(SeenLedger)
    /// The ledger can be read, but not written for now.
    case looked(SeenLedger, StoreFailure)
    case committed([AdoptedHistory], sizeBytes: Int64)
    case history(SeenLedger)
    /// The history of a ledger that still can't be written.
    case seenHistory(SeenLedger, StoreFailure)
    /// A correction or a top-up is kept, and counts in the book; or why not.
    case adjusted(Result<Adjustment, OrderError>, PlanBook?)
    case scanned(HistoryScan)
    case imported([ImportOutcome])
    /// The file is a new one, without anything in it.
    case begunAnew
    /// The file belongs to something else, or to a later version: there is no ledger.
    case notOurs
    /// The store can't be used: it counts as down, and all who wait are refused. Work that may fail by itself, as for
    /// lack of space, needs an outcome of its own.
    case failed(StoreFailure)
}

/// What to read of the file.
struct LedgerRequest: Sendable {
    /// Devices whose accounts are wanted, whatever they carried.
    var names: Set<DeviceName>
    /// The first day that is wanted.
    var daysFrom: CivilDate
    /// The calendar by which the days are booked from now on.
    var calendar: LocalCalendar
    var plans: PlanRequest

    func read(_ file: LedgerFile) throws(StoreError) -> SeenLedger {
        SeenLedger(
            stored: try file.load(rezonedTo: calendar, daysFrom: daysFrom, names: names),
            book: try plans.book(of: file),
            calendar: calendar, sizeBytes: file.sizeBytes)
    }
}

/// What was read of the file.
struct SeenLedger: Sendable {
    var stored: StoredLedger
    var book: PlanBook
    /// The calendar by which its days are booked.
    var calendar: LocalCalendar
    var sizeBytes: Int64
}

/// Why the store didn't do what it was asked to.
struct StoreFailure: Sendable {
    var error: StoreError
    /// Whether it differs from the failure that was logged last.
    var isNews: Bool
}
