import Accounting
import CivilTime

/// What accounts carried in a span of time, whole or cut into entries; for commands and programs. Bytes are integers, times
/// RFC 3339 with the offset of the local zone.
package struct UsageReport: Codable, Sendable {
    package struct Account: Codable, Sendable {
        /// What `/metrics` shows as `device`; `uplink` for the uplink.
        package var name: String
        /// `uplink`, `device`, or `collapsed` for a class of devices.
        package var kind: String
        package var receivedBytes: UInt64
        package var transmittedBytes: UInt64
        package var totalBytes: UInt64
        /// All of the span of which something is known, in order, also those without bytes; absent in a report of sums.
        package var entries: [Entry]?
    }

    package struct Entry: Codable, Sendable {
        package var start: String
        package var end: String
        /// How long it has been so far.
        package var seconds: Int64
        package var receivedBytes: UInt64
        package var transmittedBytes: UInt64
        package var totalBytes: UInt64
    }

    /// Up to when everything is counted; absent if nothing was ever.
    package var asOf: String?
    /// Absent if nothing was metered yet.
    package var since: String?
    package var until: String
    /// How long it has been so far.
    package var seconds: Int64
    /// `total`, `5m`, `hour`, `day`, `month` or `year`.
    package var grain: String
    /// The uplink, then devices by name.
    package var accounts: [Account]
    /// What a reader should know: why it is the ledger's last commit and not what a daemon says now, or what isn't kept.
    package var note: String?
    /// Whether no daemon runs, and the figures are old.
    package var isStale = false
}

extension UsageReport {
    /// Of nothing.
    package static var empty: UsageReport { UsageReport(until: "", seconds: 0, grain: "total", accounts: []) }

    /// Of whole days alone.
    ///
    /// - Throws: `UsageError` when the query makes no sense.
    package init(_ query: UsageQuery, of days: DayHistory, _ basis: ReportBasis) throws(UsageError) {
        let span = try query.span(by: basis.calendar, at: basis.now)
        self = try UsageBuilder(query, span, days, collapse: basis.collapse).report(asOf: basis.asOf)
    }
}

/// Makes a report of days or of buckets.
struct UsageBuilder {
    private let span: UsageSpan
    private let starts: [Timestamp]
    private var accounts: [Account] = []
    private var places: [AccountKey: Int] = [:]
    /// Of fine entries, what lies before isn't told: its buckets aren't kept.
    private var toldFrom = Timestamp.earliest

    private struct Account {
        var key: AccountKey
        var name: String
        var firstDay: CivilDate?
        var sum = Total.zero
        /// By the number of the entry.
        var totals: [Int: Total] = [:]
    }

    /// - Parameters:
    ///   - history: With the days of the span; its ``edges`` come by ``add(_:)``.
    ///   - collapse: Under `devices` in the configuration.
    /// - Throws: `UsageError` when there is no such device, or too much is wanted.
    init(_ query: UsageQuery, _ span: UsageSpan, _ history: DayHistory, collapse: [DevicePattern]) throws(UsageError) {
        var span = span
        let names = AccountNames(history.entries.lazy.map(\.key), collapse: collapse)
        let chosen = try Self.chosen(of: history, for: query, span, names)
        span.begin(with: chosen.compactMap(\.entry.first).min(), meteredFrom: history.meteredFrom)
        self.span = span
        starts = span.grain == .total ? [] : try Self.starts(of: span, accounts: chosen.count)
        for (entry, name) in chosen {
            places[entry.key] = accounts.count
            accounts.append(Account(key: entry.key, name: name, firstDay: entry.first))
        }
        add(chosen.map(\.entry), isEverything: query.isLifetime)
    }

    typealias Chosen = (entry: DayHistory.Entry, name: String)

    /// Those that are asked for, the uplink first, then by name. If none is, those that are there or carried something.
    static func chosen(
        of history: DayHistory, for query: UsageQuery, _ span: UsageSpan, _ names: AccountNames
    ) throws(UsageError) -> [Chosen] {
        let sorted = history.entries.map { (entry: $0, name: names.name(of: $0.key)) }.sorted {
            ($0.entry.key == .uplink ? 0 : 1, $0.name) < ($1.entry.key == .uplink ? 0 : 1, $1.name)
        }
        if query.devices.isEmpty {
            let uplink = sorted.filter { $0.entry.key == .uplink && !$0.entry.lifetime.isZero }
            if query.prefersUplink, !uplink.isEmpty { return uplink }
            return sorted.filter { each in
                each.entry.isLive || query.period == .all && !each.entry.lifetime.isZero
                    || each.entry.days.contains { $0.day >= span.firstDay && $0.day <= span.lastDay }
            }
        }
        for text in query.devices where !sorted.contains(where: { $0.entry.key.isMeant(by: text, name: $0.name) }) {
            throw .unknownDevice(text, known: sorted.prefix(20).map(\.name) + (sorted.count > 20 ? ["…"] : []))
        }
        return sorted.filter { each in query.devices.contains { each.entry.key.isMeant(by: $0, name: each.name) } }
    }

    private static func starts(of span: UsageSpan, accounts: Int) throws(UsageError) -> [Timestamp] {
        guard let since = span.since else { return [] }
        let slots = Slots(span.grain, span.calendar)
        var starts: [Timestamp] = []
        var start = since
        while start < span.until {
            starts.append(start)
            start = slots.end(ofSlotAt: start)
            // Far above the limit: that it is too much is all that matters.
            if starts.count > 100 * UsageQuery.maximumEntries { break }
        }
        let entries = starts.count * max(1, accounts)
        if entries > UsageQuery.maximumEntries { throw .tooLong(entries: entries) }
        return starts
    }

    /// - Parameter isEverything: Whether lifetimes say it all, also days that are yet to come by a clock that was wrong.
    private mutating func add(_ entries: [DayHistory.Entry], isEverything: Bool) {
        // Of a span of many days only those at its ends may be told by buckets.
        let ends = Set([span.firstDay, span.lastDay].filter { !span.hasWhole($0) })
        for (place, entry) in entries.enumerated() where !span.grain.isFine {
            for (day, total) in entry.days where day >= span.firstDay && day <= span.lastDay && !ends.contains(day) {
                // Metering may have begun in the midst of it.
                add(total, to: place, at: max(span.calendar.start(of: day), starts.first ?? .earliest))
            }
            if isEverything { accounts[place].sum = entry.lifetime }
        }
    }

    /// The first day with bytes.
    var firstDay: CivilDate? { accounts.compactMap(\.firstDay).min() }

    /// Which buckets are wanted, and of which account alone, if of one.
    var edges: [Range<Timestamp>] { span.edges }
    var only: AccountKey? { accounts.count == 1 ? accounts[0].key : nil }

    /// Takes a bucket.
    mutating func add(_ row: BucketRow) {
        if row.start < toldFrom { return }
        // The first one may have begun before.
        if let place = places[row.key] { add(row.total, to: place, at: max(row.start, starts.first ?? .earliest)) }
    }

    /// Buckets that begin before a moment aren't kept, or not all.
    mutating func leaveOut(before moment: Timestamp) {
        if span.grain.isFine { toldFrom = max(toldFrom, moment) }
    }

    private mutating func add(_ total: Total, to place: Int, at moment: Timestamp) {
        accounts[place].sum += total
        guard let slot = slot(at: moment) else { return }
        accounts[place].totals[slot, default: .zero] += total
    }

    /// The number of the entry that holds a moment.
    private func slot(at moment: Timestamp) -> Int? {
        let next = starts.firstPlace { $0 > moment }
        return next == 0 ? nil : next - 1
    }

    func report(asOf: Timestamp?) -> UsageReport {
        let reached = asOf.map { min($0, span.now) } ?? span.now
        let since = span.since.map { min(max($0, toldFrom), span.until) }
        return UsageReport(
            asOf: asOf.map(span.calendar.rfc3339), since: since.map(span.calendar.rfc3339),
            until: span.calendar.rfc3339(span.until),
            seconds: Self.seconds(from: since ?? span.until, to: min(span.until, reached)),
            grain: span.grain.rawValue, accounts: accounts.map { report($0, reached: reached) })
    }

    private func report(_ account: Account, reached: Timestamp) -> UsageReport.Account {
        var entries: [UsageReport.Entry]?
        if span.grain != .total {
            entries = starts.enumerated().compactMap { number, start in
                let end = number + 1 < starts.count ? starts[number + 1] : slotEnd(of: start)
                if end <= toldFrom { return nil }
                let start = max(start, toldFrom)
                let total = account.totals[number] ?? .zero
                return UsageReport.Entry(
                    start: span.calendar.rfc3339(start), end: span.calendar.rfc3339(end),
                    seconds: Self.seconds(from: start, to: min(end, reached)), receivedBytes: total.received,
                    transmittedBytes: total.transmitted, totalBytes: total.bytes)
            }
        }
        return UsageReport.Account(
            name: account.name, kind: account.key.kind, receivedBytes: account.sum.received,
            transmittedBytes: account.sum.transmitted, totalBytes: account.sum.bytes, entries: entries)
    }

    /// Of an open entry it is the end that it will have.
    private func slotEnd(of start: Timestamp) -> Timestamp {
        let end = Slots(span.grain, span.calendar).end(ofSlotAt: start)
        return span.until > span.now ? end : min(end, span.until)
    }

    private static func seconds(from start: Timestamp, to end: Timestamp) -> Int64 {
        max(0, end.secondsSinceEpoch &- start.secondsSinceEpoch)
    }
}

extension AccountKey {
    /// Whether a name or pattern of the command line means it.
    fileprivate func isMeant(by text: String, name: String) -> Bool {
        if text == name { return true }
        guard case .device(let device) = self else { return false }
        return DevicePattern(text)?.matches(device) ?? false
    }
}
