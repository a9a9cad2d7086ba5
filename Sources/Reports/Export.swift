import Accounting
import CivilTime
import FoundationEssentials

/// Takes a piece of an export.
package typealias ExportSink = (_ bytes: [UInt8]) async throws -> Void

/// Writes the history out, entry by entry. Its memory grows with the days, not with the records of five minutes.
package struct Export<Reader: LedgerReader> {
    private let reader: Reader
    private let query: ExportQuery
    private let basis: ReportBasis
    private let span: UsageSpan
    private let accounts: [UsageBuilder.Chosen]

    /// - Throws: `UsageError` when the query makes no sense, `StoreError` when the ledger can't be read.
    package init(_ query: ExportQuery, of reader: Reader) async throws {
        self.reader = reader
        self.query = query
        basis = try await reader.basis()
        var span = try query.usage.span(by: basis.calendar, at: basis.now)
        // Month and lifetime at a moment are sums of all days before.
        let history = try await reader.days(from: .earliest, everybody: true)
        let names = AccountNames(history.entries.lazy.map(\.key), collapse: basis.collapse)
        let isByApplication = query.usage.subject == .application
        // A report compares applications with the uplink; an export has what belongs to them.
        accounts = try UsageBuilder.chosen(of: history, for: query.usage, span, names)
            .filter { !isByApplication || $0.entry.key.isApplication }
        let isByDay = query.usage.grain == .day && !span.isWholeDays
        // An empty span must not become a whole day.
        if !span.isEmpty, isByDay || query.format == .openmetrics {
            // Days are exported whole, and OpenMetrics needs the whole first day for its totals.
            span.since = span.since.map { [span] in span.calendar.start(of: span.calendar.day(containing: $0)) }
            if isByDay {
                span.until = span.calendar.span(ofDay: span.lastDay).upperBound
                span.isWholeDays = true
            }
        }
        span.begin(with: accounts.compactMap(\.entry.first).min(), meteredFrom: history.meteredFrom)
        self.span = span
    }

    /// - Throws: `StoreError`, and what `sink` throws.
    package func write(to sink: @escaping ExportSink) async throws {
        switch query.format {
        case .csv:
            let header = query.usage.subject == .application ? HistoryCSV.applicationHeader : HistoryCSV.header
            try await writeRows(after: "\(header)\r\n", csvLine, to: sink)
        case .json:
            var separator = "\n"
            try await writeRows(
                after: "{\"grain\":\"\(query.usage.grain.rawValue)\",\"rows\":[",
                { entry in
                    defer { separator = ",\n" }
                    return separator + jsonLine(entry)
                }, before: "\n]}\n", to: sink)
        case .openmetrics:
            try await OpenMetricsExport(
                reader: reader, basis: basis, span: span, grain: query.usage.grain, labels: query.labels,
                subject: query.usage.subject, accounts: accounts
            ).write(to: sink)
        }
    }

    private func writeRows(
        after head: String, _ row: (Entry) -> String, before tail: String = "", to sink: ExportSink
    ) async throws {
        var buffer = Array(head.utf8)
        try await forEachEntry { entry in
            buffer += row(entry).utf8
            if buffer.count >= 64 * 1024 {
                try await sink(buffer)
                buffer.removeAll(keepingCapacity: true)
            }
        }
        try await sink(buffer + Array(tail.utf8))
    }

    // MARK: - Entries

    private typealias Entry = (slot: Range<Timestamp>, account: UsageBuilder.Chosen, total: Total)
    private typealias EntryBody = (_ entry: Entry) async throws -> Void

    /// Entries with bytes, by time; at the same time the uplink first, then devices by name.
    private func forEachEntry(_ body: EntryBody) async throws {
        guard let since = span.since, !span.isEmpty else { return }
        if span.isWholeDays { return try await forEachDay(body) }
        let slots = Slots(grain: query.usage.grain, calendar: span.calendar)
        let order = Dictionary(uniqueKeysWithValues: accounts.enumerated().map { ($0.element.entry.key, $0.offset) })
        var open: [Int: Total] = [:]
        var slot = since..<since
        func close() async throws {
            for (place, total) in open.sorted(by: { $0.key < $1.key }) {
                try await body((slot, accounts[place], total))
            }
            open = [:]
        }
        let only = accounts.count == 1 ? accounts[0].entry.key : nil
        var next = since
        while next < span.until {
            let page = try await reader.buckets(from: next, before: span.until, only: only)
            for row in page.rows {
                guard let place = order[row.key] else { continue }
                if !slot.contains(row.start) {
                    try await close()
                    // It begins where the previous one ended, even if the clock is set by half an hour.
                    let start = max(slots.start(ofSlotAt: row.start), slot.upperBound)
                    slot = start..<min(slots.end(ofSlotAt: row.start), max(span.until, row.start.adding(seconds: 1)))
                }
                open[place, default: .zero] += row.total
            }
            next = page.until
        }
        try await close()
    }

    private func forEachDay(_ body: EntryBody) async throws {
        var rest = accounts.map { account in account.entry.days.drop { $0.day < span.firstDay } }
        while let day = rest.compactMap({ $0.first?.day }).min(), day <= span.lastDay {
            let slot = span.calendar.span(ofDay: day)
            for (place, account) in accounts.enumerated() where rest[place].first?.day == day {
                let total = rest[place].removeFirst().total
                if !total.isZero { try await body((slot, account, total)) }
            }
        }
    }

    // MARK: - Lines

    /// A device's kind, or an application's scope.
    private static func `class`(of entry: Entry) -> String {
        let key = entry.account.entry.key
        return key.scope?.rawValue ?? key.kind
    }

    private func csvLine(_ entry: Entry) -> String {
        HistoryCSV.line(
            from: span.calendar.rfc3339(entry.slot.lowerBound), to: span.calendar.rfc3339(entry.slot.upperBound),
            of: entry.account.name, Self.class(of: entry), entry.total)
    }

    private func jsonLine(_ entry: Entry) -> String {
        let start = span.calendar.rfc3339(entry.slot.lowerBound)
        let end = span.calendar.rfc3339(entry.slot.upperBound)
        let (subject, kind) = query.usage.subject == .application ? ("application", "scope") : ("device", "kind")
        return
            "{\"start\":\"\(start)\",\"end\":\"\(end)\",\"\(subject)\":\(jsonString(entry.account.name)),"
            + "\"\(kind)\":\"\(Self.class(of: entry))\","
            + "\"received_bytes\":\(entry.total.received),\"transmitted_bytes\":\(entry.total.transmitted)}"
    }
}

extension Export: Sendable where Reader: Sendable {}
