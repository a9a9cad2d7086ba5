import Accounting
import CivilTime

/// What reports are made of, as everything is now.
extension Meter {
    func reportBasis() -> ReportBasis {
        let now = SystemClock.now().timestamp
        return ReportBasis(now: now, asOf: now, calendar: ledger.calendar, collapse: settings.collapse)
    }

    /// The ledger as it is now. What takes long is made of it elsewhere: a scrape doesn't wait for reports.
    func ledgerNow() -> Ledger {
        read(endsInterval: false)
        return ledger
    }
}
