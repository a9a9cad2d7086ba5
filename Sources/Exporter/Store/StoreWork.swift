import Accounting
import CivilTime
import LedgerStore

/// What the store is to do next.
///
/// To add a kind of work, add a case here and to ``StoreOutcome``: `Meter.takeStoreWork` says when it is its turn,
/// `Store.perform` does it, and `Meter.take` says what its outcome means.
enum StoreWork: Sendable {
    /// Read what the program needs to go on: the accounts of these devices, the days from this one on, by this calendar.
    case open(names: Set<DeviceName>, daysFrom: CivilDate, LocalCalendar, PlanRequest)
    case commit(Commit, LocalCalendar, horizon: Timestamp)
    /// Read the history again, with days by this calendar, from this day on.
    case history(LocalCalendar, daysFrom: CivilDate, PlanRequest)
    /// Go on with reading what quotas carried in the last weeks.
    case scan(HistoryScan)
    /// Keep a correction or a top-up, or take one back.
    case adjust(QuotaOrder, enteredAt: Timestamp, PlanRequest)
    /// Book what of another meter's history is new.
    case importPiece(ImportPiece, LocalCalendar, at: Timestamp, horizon: Timestamp)
}

/// How a piece of work ended.
enum StoreOutcome: Sendable {
    case opened(StoredLedger, PlanBook, LocalCalendar, sizeBytes: Int64)
    /// The same of a ledger that can be read, but not written for now.
    case looked(StoredLedger, PlanBook, LocalCalendar, sizeBytes: Int64, StoreFailure)
    case committed([AdoptedHistory], sizeBytes: Int64)
    case history(StoredLedger, PlanBook, LocalCalendar, sizeBytes: Int64)
    /// The same of a ledger that still can't be written.
    case seenHistory(StoredLedger, PlanBook, LocalCalendar, sizeBytes: Int64, StoreFailure)
    /// A correction or a top-up is kept, and counts in the book; or why not.
    case adjusted(Result<Adjustment, OrderError>, PlanBook?)
    case scanned(HistoryScan)
    case imported([ImportOutcome])
    /// The file is a new one, without anything in it.
    case begunAnew
    /// The file belongs to something else, or to a later version: there is no ledger.
    case notOurs
    case failed(StoreFailure)
}

/// Why the store didn't do what it was asked to.
struct StoreFailure: Sendable {
    var error: StoreError
    /// Whether it differs from the failure that was logged last.
    var isNews: Bool
}
