import Accounting
import CivilTime
import LedgerStore
import Reports

/// The ledger while the daemon has it: what the store has, and on top of it what the meter has that isn't stored yet.
struct LiveLedger: Questions {
    let meter: Meter
    let store: Store

    func status() async -> StatusReport { await meter.statusReport() }

    func live() async -> LiveReport { await meter.liveReport() }

    func plans() async -> PlansReport { await meter.plansReport() }

    func openPeriods() async -> DayHistory { await meter.ledgerNow().history() }

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
            return BucketPage(
                rows: only.map { key in rows.filter { $0.key == key } } ?? rows, until: page.until,
                keptFrom: page.keptFrom, first: page.first)
        }
    }

    /// A commit may come between reading the store and asking the meter; then both are asked again.
    private func repeatedly<Value: Sendable>(_ body: () async throws -> Value?) async throws -> Value {
        for _ in 0..<10 {
            if let value = try await body() { return value }
        }
        throw StoreError(.busy, path: "the ledger", "it is written too often to be read")
    }
}

/// The ledger's file, where no daemon runs.
struct StoredLedgerReader: LedgerReader {
    let file: LedgerFile
    let now: Timestamp
    let calendar: LocalCalendar
    let collapse: [DevicePattern]

    func basis() throws -> ReportBasis {
        ReportBasis(now: now, asOf: try file.lastReading(), calendar: calendar, collapse: collapse)
    }

    func days(from first: CivilDate, everybody: Bool) throws -> DayHistory { DayHistory(try file.days(from: first)) }

    func buckets(from start: Timestamp, before end: Timestamp, only: AccountKey?) throws -> BucketPage {
        let page = try file.buckets(
            from: start, before: end, rowsPerPage: BucketPage.rows, only: only.map { ($0, []) })
        return BucketPage(rows: page.named, until: page.until, keptFrom: page.keptFrom, first: page.first)
    }
}
