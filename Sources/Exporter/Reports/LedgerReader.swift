import Accounting
import CivilTime
import LedgerStore

/// Where reports get what the ledger has: from the daemon's meter and store, or from the file alone.
protocol LedgerReader {
    /// The moment, and by which calendar reports go.
    func basis() async throws -> ReportBasis

    /// Every account's days from a date on.
    ///
    /// - Parameter everybody: Whether accounts are wanted that have carried nothing for long.
    func days(from first: CivilDate, everybody: Bool) async throws -> DayHistory

    /// Some buckets of a span of time, the first of it.
    ///
    /// - Parameter only: Of this account alone; `nil` for all.
    func buckets(from start: Timestamp, before end: Timestamp, only: AccountKey?) async throws -> BucketPage
}

/// What a report goes by.
struct ReportBasis: Sendable {
    var now: Timestamp
    /// Up to when everything is counted; `nil` if nothing was ever.
    var asOf: Timestamp?
    var calendar: LocalCalendar
    /// Under `devices` in the configuration.
    var collapse: [DevicePattern]
}

/// Buckets with their accounts' names.
struct BucketPage: Sendable {
    /// Ascending by time.
    var rows: [BucketRow]
    /// Up to where it goes, exclusive.
    var until: Timestamp
    /// Buckets that start before aren't kept any more, or not all.
    var keptFrom: Timestamp
    /// The first bucket there is; of the days before nothing finer was ever known.
    var first: Timestamp

    /// How many rows are read at a time: some milliseconds' work, so that commits don't wait for long.
    static let rows = 4096
}

extension LedgerReader {
    /// - Throws: `UsageError` when the query makes no sense, `StoreError` when the ledger can't be read.
    func usage(_ query: UsageQuery) async throws -> UsageReport {
        let basis = try await basis()
        let span = try query.span(by: basis.calendar, at: basis.now)
        var builder = try await builder(query, span, basis)
        var note: String?
        for edge in builder.edges {
            var start = Bucket(containing: edge.lowerBound).start
            while start < edge.upperBound {
                let page = try await buckets(from: start, before: edge.upperBound, only: builder.only)
                let isKnownByDays = builder.firstDay.map { $0 < basis.calendar.day(containing: page.first) } ?? false
                if page.keptFrom > edge.lowerBound || isKnownByDays && page.first > edge.lowerBound {
                    let kept = max(page.keptFrom, page.first)
                    builder.leaveOut(before: kept)
                    note = "there are no records of five minutes before \(basis.calendar.rfc3339(kept)), only days"
                }
                for row in page.rows { builder.add(row) }
                start = page.until
            }
        }
        var report = builder.report(asOf: basis.asOf)
        report.note = note
        return report
    }

    private func builder(_ query: UsageQuery, _ span: UsageSpan, _ basis: ReportBasis) async throws -> UsageBuilder {
        // The sum of all days is known without any of them.
        let first = query.isLifetime ? .latest : span.firstDay
        let history = try await days(from: first, everybody: query.period == .all)
        if let builder = try? UsageBuilder(query, span, history, collapse: basis.collapse) { return builder }
        // What was named may have carried nothing for long.
        let everybody = try await days(from: first, everybody: true)
        return try UsageBuilder(query, span, everybody, collapse: basis.collapse)
    }
}

/// The ledger while the daemon has it: what the store has, and on top of it what the meter has that isn't stored yet.
struct LiveLedger: LedgerReader, Sendable {
    let meter: Meter
    let store: Store

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
