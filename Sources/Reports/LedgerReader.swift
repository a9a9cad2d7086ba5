import Accounting
import CivilTime

/// The source of reports: the daemon's meter and store, or the ledger's file alone.
package protocol LedgerReader {
    /// The moment of reports, and their calendar.
    func basis() async throws -> ReportBasis

    /// Every account's days from a date on.
    ///
    /// - Parameter everybody: Whether to include accounts that have carried nothing for long.
    func days(from first: CivilDate, everybody: Bool) async throws -> DayHistory

    /// The first page of a span's buckets.
    ///
    /// - Parameter only: The only account that is wanted; `nil` for all.
    func buckets(from start: Timestamp, before end: Timestamp, only: AccountKey?) async throws -> BucketPage
}

/// The moment, calendar and classes that a report is made with.
package struct ReportBasis: Sendable {
    package var now: Timestamp
    /// The moment up to which everything is counted; `nil` if nothing ever was.
    package var asOf: Timestamp?
    package var calendar: LocalCalendar
    /// `devices.collapse` of the configuration.
    package var collapse: [DevicePattern]

    package init(now: Timestamp, asOf: Timestamp?, calendar: LocalCalendar, collapse: [DevicePattern]) {
        self.now = now
        self.asOf = asOf
        self.calendar = calendar
        self.collapse = collapse
    }
}

/// Buckets with their accounts' names.
package struct BucketPage: Sendable {
    /// Ascending by time.
    package var rows: [BucketRow]
    /// The end of the time that the page covers, exclusive.
    package var until: Timestamp
    /// Some or all earlier buckets are deleted.
    package var keptFrom: Timestamp
    /// The same for buckets of applications; `nil` if it is the same moment.
    package var applicationsKeptFrom: Timestamp?
    /// The start of the oldest bucket; for earlier days only sums are known.
    package var first: Timestamp

    /// How many rows are read at a time: some milliseconds' work, so that commits don't wait for long.
    package static let rows = 4096
}

extension BucketPage {
    /// Some or all earlier buckets of devices, or of applications, are deleted.
    func keptFrom(for subject: UsageQuery.Subject) -> Timestamp {
        subject == .application ? applicationsKeptFrom ?? keptFrom : keptFrom
    }

    package init(_ page: StoredBuckets, rows: [BucketRow]) {
        self.init(
            rows: rows, until: page.until, keptFrom: page.keptFrom, applicationsKeptFrom: page.applicationsKeptFrom,
            first: page.first)
    }
}

extension LedgerReader {
    /// - Throws: `UsageError` when the query makes no sense, `StoreError` when the ledger can't be read.
    package func usage(_ query: UsageQuery) async throws -> UsageReport {
        let basis = try await basis()
        let span = try query.span(by: basis.calendar, at: basis.now)
        var builder = try await builder(query, span, basis)
        var note: String?
        for edge in builder.edges {
            var start = Bucket(containing: edge.lowerBound).start
            while start < edge.upperBound {
                let page = try await buckets(from: start, before: edge.upperBound, only: builder.only)
                let isKnownByDays = builder.firstDay.map { $0 < basis.calendar.day(containing: page.first) } ?? false
                let keptFrom = page.keptFrom(for: query.subject)
                if keptFrom > edge.lowerBound || isKnownByDays && page.first > edge.lowerBound {
                    let kept = max(keptFrom, page.first)
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

    /// Writes an export out, a piece when the previous one has been taken.
    ///
    /// - Throws: `UsageError` when the query makes no sense, `StoreError` when the ledger can't be read, and what `sink`
    ///   throws.
    package func export(_ query: ExportQuery, to sink: @escaping ExportSink) async throws {
        try await Export(query, of: self).write(to: sink)
    }

    private func builder(_ query: UsageQuery, _ span: UsageSpan, _ basis: ReportBasis) async throws -> UsageBuilder {
        // The sum of all days needs no single day.
        let first = query.isLifetime ? .latest : span.firstDay
        let history = try await days(from: first, everybody: query.period == .all)
        do {
            return try UsageBuilder(query, span, history, collapse: basis.collapse)
        } catch let error where error.isOfUnknownName {
            // What is named may have carried nothing for long.
            let everybody = try await days(from: first, everybody: true)
            return try UsageBuilder(query, span, everybody, collapse: basis.collapse)
        }
    }
}
