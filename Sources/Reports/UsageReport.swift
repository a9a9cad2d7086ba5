import Accounting
import CivilTime

/// The usage of accounts in a span of time, as sums or in entries; for commands and programs. Times are RFC 3339 with
/// the offset of the local zone.
package struct UsageReport: Codable, Sendable {
    package struct Account: Codable, Sendable {
        /// What `/metrics` shows as `device`; `uplink` for the uplink.
        package var name: String
        /// `uplink`, `device`, `application`, or `collapsed` for a class of devices.
        package var kind: String
        /// Of applications: `internet`, `lan` or `tunnel`.
        package var scope: String?
        package var receivedBytes: UInt64
        package var transmittedBytes: UInt64
        package var totalBytes: UInt64
        /// All entries of the known part of the span, in order, even those without bytes; absent in a report of sums.
        package var entries: [Entry]?
    }

    /// Bytes of the uplink that belong to no application: forwarded, not IP, taken by no program, or from a time in which
    /// applications weren't metered. Below 0 where programs sent what no device carried.
    package struct Unattributed: Codable, Sendable {
        package var receivedBytes: Int64
        package var transmittedBytes: Int64
        package var totalBytes: Int64
        /// The same of each entry; absent in a report of sums.
        package var entries: [Entry]?

        package struct Entry: Codable, Sendable {
            package var start: LocalMoment
            package var receivedBytes: Int64
            package var transmittedBytes: Int64
            package var totalBytes: Int64
        }
    }

    package struct Entry: Codable, Sendable {
        package var start: LocalMoment
        package var end: LocalMoment
        /// Its length so far.
        package var seconds: Int64
        package var receivedBytes: UInt64
        package var transmittedBytes: UInt64
        package var totalBytes: UInt64
    }

    /// The moment up to which everything is counted; absent if nothing ever was.
    package var asOf: LocalMoment?
    /// Absent if nothing was metered yet.
    package var since: LocalMoment?
    package var until: LocalMoment
    /// The length of the span so far.
    package var seconds: Int64
    /// `total`, `5m`, `hour`, `day`, `month` or `year`.
    package var grain: String
    /// The uplink, then devices by name.
    package var accounts: [Account]
    /// In a report by application on all scopes: what is missing from the applications' internet and LAN to the uplink.
    package var unattributed: Unattributed?
    /// For people: why the figures are from the ledger's last commit and not from a daemon, or what isn't kept.
    package var note: String?
    /// Whether no daemon runs, and the figures are old.
    package var isStale = false
}

extension UsageReport {
    /// Without accounts.
    package static var empty: UsageReport {
        UsageReport(
            until: LocalCalendar.utc.local(Timestamp(secondsSinceEpoch: 0)), seconds: 0, grain: "total", accounts: [])
    }

    /// From whole days alone.
    ///
    /// - Throws: `UsageError` when the query makes no sense.
    package init(_ query: UsageQuery, of days: DayHistory, _ basis: ReportBasis) throws(UsageError) {
        let span = try query.span(by: basis.calendar, at: basis.now)
        self = try UsageBuilder(query, span, days, collapse: basis.collapse).report(asOf: basis.asOf)
    }
}

/// Makes a report from days and buckets.
struct UsageBuilder {
    private let query: UsageQuery
    private let span: UsageSpan
    private let starts: [Timestamp]
    private var accounts: [Account] = []
    private var places: [AccountKey: Int] = [:]
    /// Fine entries begin here, because earlier buckets aren't kept.
    private var toldFrom = Timestamp.earliest
    /// Buckets count from here on. Days count whole.
    private var bucketsFrom = Timestamp.earliest

    private struct Account {
        var key: AccountKey
        var name: String
        var firstDay: CivilDate?
        var sum = Total.zero
        /// By the number of the entry.
        var totals: [Int: Total] = [:]
    }

    /// - Parameters:
    ///   - history: The days of the span; ``add(_:)`` takes the buckets of its ``edges``.
    ///   - collapse: `devices.collapse` of the configuration.
    /// - Throws: `UsageError` when there is no such device, or there are too many entries.
    init(_ query: UsageQuery, _ span: UsageSpan, _ history: DayHistory, collapse: [DevicePattern]) throws(UsageError) {
        self.query = query
        var span = span
        let names = AccountNames(history.entries.lazy.map(\.key), collapse: collapse)
        let chosen = try Self.chosen(of: history, for: query, span, names)
        span.begin(with: chosen.compactMap(\.entry.first).min(), meteredFrom: history.meteredFrom)
        self.span = span
        starts = span.grain == .total ? [] : try Self.starts(of: span, accounts: chosen.count)
        // Only the days at the span's ends may need buckets.
        let ends = Set([span.firstDay, span.lastDay].filter { !span.hasWhole($0) })
        for (place, (entry, name)) in chosen.enumerated() {
            places[entry.key] = place
            accounts.append(Account(key: entry.key, name: name, firstDay: entry.first))
            if span.grain.isFine { continue }
            for (day, total) in entry.days where day >= span.firstDay && day <= span.lastDay && !ends.contains(day) {
                // Metering may have begun during the day.
                add(total, to: place, at: max(span.calendar.start(of: day), starts.first ?? .earliest))
            }
            // A lifetime includes days ahead, from a clock that was wrong.
            if query.isLifetime { accounts[place].sum = entry.lifetime }
        }
    }

    typealias Chosen = (entry: DayHistory.Entry, name: String)

    /// The requested accounts, the uplink first, then by name. Without a request, those that are there or have bytes.
    static func chosen(
        of history: DayHistory, for query: UsageQuery, _ span: UsageSpan, _ names: AccountNames
    ) throws(UsageError) -> [Chosen] {
        if query.subject == .application { return try applications(of: history, for: query, span) }
        let sorted = history.entries.filter(\.key.isOfDevices).map { (entry: $0, name: names.name(of: $0.key)) }
            .sorted { ($0.entry.key == .uplink ? 0 : 1, $0.name) < ($1.entry.key == .uplink ? 0 : 1, $1.name) }
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

    /// The requested applications by name and scope, after the uplink, which their sums are compared with.
    private static func applications(
        of history: DayHistory, for query: UsageQuery, _ span: UsageSpan
    ) throws(UsageError) -> [Chosen] {
        var chosen: [(entry: DayHistory.Entry, name: String, scope: TrafficScope)] = []
        var unknown = Set(query.applications)
        for entry in history.entries {
            guard case .application(let name, let scope) = entry.key else { continue }
            let wanted = query.applications.filter { UsageQuery.isMeant(name.text, by: $0) }
            unknown.subtract(wanted)
            guard query.applications.isEmpty || !wanted.isEmpty, query.scopes.isEmpty || query.scopes.contains(scope),
                query.period == .all && !entry.lifetime.isZero
                    || entry.days.contains(where: { $0.day >= span.firstDay && $0.day <= span.lastDay })
            else { continue }
            chosen.append((entry, name.text, scope))
        }
        if let name = unknown.min() { throw .unknownApplication(name) }
        chosen.sort { ($0.name, $0.scope.rawValue) < ($1.name, $1.scope.rawValue) }
        let uplink = history.entries.filter { $0.key == .uplink && query.isOfAllApplications }
        return uplink.map { ($0, "uplink") } + chosen.map { ($0.entry, $0.name) }
    }

    private static func starts(of span: UsageSpan, accounts: Int) throws(UsageError) -> [Timestamp] {
        guard let since = span.since, since < span.until else { return [] }
        let slots = Slots(grain: span.grain, calendar: span.calendar)
        let all = sequence(first: since) { start in
            let next = slots.end(ofSlotAt: start)
            return next < span.until ? next : nil
        }
        // Far above the limit, the exact number doesn't matter.
        let starts = Array(all.prefix(100 * UsageQuery.maximumEntries + 1))
        let entries = starts.count * max(1, accounts)
        if entries > UsageQuery.maximumEntries { throw .tooLong(entries: entries) }
        return starts
    }

    /// The first day with bytes.
    var firstDay: CivilDate? { accounts.compactMap(\.firstDay).min() }

    /// The spans whose buckets are needed, and the account, if it is only one.
    var edges: [Range<Timestamp>] { span.edges }
    var only: AccountKey? { accounts.count == 1 ? accounts[0].key : nil }

    /// Adds a bucket.
    mutating func add(_ row: BucketRow) {
        if row.start < max(toldFrom, bucketsFrom) { return }
        // The first bucket may begin before the span.
        if let place = places[row.key] { add(row.total, to: place, at: max(row.start, starts.first ?? .earliest)) }
    }

    /// Leaves out fine entries before a moment, because some or all of their buckets are deleted. Where applications are
    /// compared with the uplink, neither counts then, also of a day of which only a part is asked for.
    mutating func leaveOut(before moment: Timestamp) {
        if span.grain.isFine { toldFrom = max(toldFrom, moment) }
        if query.subject == .application { bucketsFrom = max(bucketsFrom, moment) }
    }

    private mutating func add(_ total: Total, to place: Int, at moment: Timestamp) {
        accounts[place].sum += total
        // The entry that holds the moment is the one before.
        let next = starts.firstPlace { $0 > moment }
        if next > 0 { accounts[place].totals[next - 1, default: .zero] += total }
    }

    func report(asOf: Timestamp?) -> UsageReport {
        let reached = asOf.map { min($0, span.now) } ?? span.now
        let since = span.since.map { min(max($0, toldFrom), span.until) }
        let accounts = accounts.map { report($0, reached: reached) }
        return UsageReport(
            asOf: asOf.map(span.calendar.local), since: since.map(span.calendar.local),
            until: span.calendar.local(span.until),
            seconds: Self.seconds(from: since ?? span.until, to: min(span.until, reached)),
            grain: span.grain.rawValue, accounts: accounts,
            unattributed: query.isOfAllApplications ? UsageReport.Unattributed(of: accounts) : nil)
    }

    private func report(_ account: Account, reached: Timestamp) -> UsageReport.Account {
        let slots = Slots(grain: span.grain, calendar: span.calendar)
        let entries = starts.enumerated().compactMap { number, start -> UsageReport.Entry? in
            let slotEnd = slots.end(ofSlotAt: start)
            // An open entry has the end that it will have.
            let end = span.until > span.now ? slotEnd : min(slotEnd, span.until)
            if end <= toldFrom { return nil }
            let start = max(start, toldFrom)
            let total = account.totals[number] ?? .zero
            return UsageReport.Entry(
                start: span.calendar.local(start), end: span.calendar.local(end),
                seconds: Self.seconds(from: start, to: min(end, reached)), receivedBytes: total.received,
                transmittedBytes: total.transmitted, totalBytes: total.bytes)
        }
        return UsageReport.Account(
            name: account.name, kind: account.key.kind, scope: account.key.scope?.rawValue,
            receivedBytes: account.sum.received,
            transmittedBytes: account.sum.transmitted, totalBytes: account.sum.bytes,
            entries: span.grain == .total ? nil : entries)
    }

    private static func seconds(from start: Timestamp, to end: Timestamp) -> Int64 {
        max(0, end.secondsSinceEpoch &- start.secondsSinceEpoch)
    }
}

extension UsageReport.Unattributed {
    /// - Parameter accounts: The uplink and all applications; `nil` comes out if there is no uplink.
    fileprivate init?(of accounts: [UsageReport.Account]) {
        guard let uplink = accounts.first, uplink.kind == "uplink" else { return nil }
        let parts = accounts.filter { $0.scope != nil && $0.scope != TrafficScope.tunnel.rawValue }
        func rest(_ whole: UInt64, _ value: (UsageReport.Account) -> UInt64) -> Int64 {
            parts.reduce(Int64(clamping: whole)) {
                $0.subtractingReportingOverflow(Int64(clamping: value($1))).partialValue
            }
        }
        receivedBytes = rest(uplink.receivedBytes, \.receivedBytes)
        transmittedBytes = rest(uplink.transmittedBytes, \.transmittedBytes)
        totalBytes = receivedBytes.addingReportingOverflow(transmittedBytes).partialValue
        // All accounts of a report have the same entries.
        entries = uplink.entries?.enumerated().map { place, entry in
            let received = rest(entry.receivedBytes) { $0.entries?[place].receivedBytes ?? 0 }
            let transmitted = rest(entry.transmittedBytes) { $0.entries?[place].transmittedBytes ?? 0 }
            return Entry(
                start: entry.start, receivedBytes: received, transmittedBytes: transmitted,
                totalBytes: received.addingReportingOverflow(transmitted).partialValue)
        }
    }
}

extension UsageQuery {
    /// Whether the applications of the report and ``UsageReport/unattributed`` are all of the uplink.
    var isOfAllApplications: Bool { subject == .application && applications.isEmpty && scopes.isEmpty }
}

extension AccountKey {
    /// Where an application's other ends are.
    var scope: TrafficScope? {
        if case .application(_, let scope) = self { scope } else { nil }
    }

    /// Whether a name or pattern of a query means the account.
    func isMeant(by text: String, name: String) -> Bool {
        guard case .device(let device) = self else { return text == name }
        return text == name || DevicePattern(text)?.matches(device) == true
    }
}
