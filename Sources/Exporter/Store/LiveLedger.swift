import Accounting
import CivilTime
import LedgerStore
import Reports

/// The ledger while the daemon has it: what the store has, and on top of it what the meter has that isn't stored yet.
struct LiveLedger: LiveQuestions, LedgerChanges {
    let meter: Meter
    let store: Store

    func status() async -> StatusReport { await meter.statusReport() }

    func live(by subject: UsageQuery.Subject) async -> LiveReport { await meter.liveReport(by: subject) }

    func plans() async -> PlansReport { await meter.plansReport() }

    func openPeriods() async -> (DayHistory, ReportBasis) {
        let (ledger, basis) = await meter.openPeriods()
        return (ledger.history(), basis)
    }

    func basis() async -> ReportBasis { await meter.reportBasis() }

    func days(from first: CivilDate, everybody: Bool) async throws -> DayHistory {
        try await repeatedly {
            let ledger = await meter.ledgerNow()
            let isInMemory = first >= ledger.daysInMemoryFrom && !everybody
            if isInMemory || !ledger.hasStore { return ledger.history() }
            let stored = try await store.days(from: first)
            return await meter.ledgerNow().history(with: stored)
        }
    }

    func buckets(from start: Timestamp, before end: Timestamp, only: AccountKey?) async throws -> BucketPage {
        try await repeatedly {
            let ledger = await meter.ledger
            guard ledger.hasStore else { throw UsageError.noLedger }
            let page = try await store.buckets(
                from: start, before: end, only: only.map { ($0, ledger.numbers(of: $0)) })
            guard let rows = await meter.ledgerNow().buckets(with: page) else { return nil }
            return BucketPage(page, rows: only.map { key in rows.filter { $0.key == key } } ?? rows)
        }
    }

    // MARK: - Changes

    func carryOut(_ order: QuotaRequest) async throws -> AdjustmentReport {
        switch await meter.carryOut(order) {
        case .success(let adjustment):
            let calendar = await meter.settings.calendar(ofQuota: adjustment.quota)
            return AdjustmentReport(adjustment, calendar: calendar)
        case .failure(let error): throw ChangeRefusal(error)
        }
    }

    func carryOut(_ piece: ImportPiece) async throws -> [ImportOutcome] {
        switch await meter.carryOut(piece) {
        case .success(let outcomes): return outcomes
        case .failure(let error): throw ChangeRefusal(error)
        }
    }

    func bookingBasis() async -> BookingBasis { await meter.bookingBasis() }

    // MARK: - Asking twice

    /// A commit may come between reading the store and asking the meter; then both are asked again.
    private func repeatedly<Value: Sendable>(_ body: () async throws -> Value?) async throws -> Value {
        for _ in 0..<10 {
            if let value = try await body() { return value }
        }
        throw StoreError(.busy, path: "the ledger", "it is written too often to be read")
    }
}
