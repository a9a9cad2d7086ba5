import Accounting
import CivilTime
import Exposition

/// The past as Prometheus would have scraped it, family by family and series by series, as OpenMetrics wants it.
///
/// It has rates and the totals of periods, under the names and labels of `/metrics`. It has no counters: the kernel's
/// past values aren't known. Where made-up ones ended and the real ones began, Prometheus would see a reset and add all
/// that the real ones show.
///
/// Rates come at every entry; totals once an hour at most, because dashboards ask for them over hours. A day whose
/// finer records aren't kept has its totals at its last second.
struct OpenMetricsExport<Reader: LedgerReader> {
    let reader: Reader
    let basis: ReportBasis
    let span: UsageSpan
    let grain: UsageQuery.Grain
    let labels: [ExportQuery.Label]
    let subject: UsageQuery.Subject
    let accounts: [UsageBuilder.Chosen]

    /// The values of an account at a moment.
    private struct Sample {
        var periods: PeriodTotals
        var lifetime: Total
        /// The mean since the previous sample; `nil` if it isn't known.
        var rate: Rate?
    }

    /// - Throws: `StoreError`, and what `sink` throws.
    func write(to sink: @escaping ExportSink) async throws {
        let pieces = Pieces(sink)
        let page = try await reader.buckets(from: .latest, before: .latest, only: .uplink)
        let keptFrom = max(
            page.keptFrom, span.calendar.start(of: span.calendar.day(containing: page.first)))
        if subject == .application { try await writeApplications(to: pieces) }
        for (metric, isUplink) in [(\TrafficFamily.ofDevices, false), (\.ofUplink, true)] {
            let chosen = accounts.filter { $0.entry.key.isOfDevices && ($0.entry.key == .uplink) == isUplink }
            for family in TrafficFamily.all {
                let write: (LabelSet, Tick, Sample) -> Void
                switch family.value {
                case .rate(let value):
                    write = { if let rate = $2.rate { pieces.writer.sample($0, value(rate)) } }
                case .total(let value):
                    write = { if $1.isFullHour { pieces.writer.sample($0, value($2.periods, $2.lifetime)) } }
                case .counter, .peak: continue  // Their past isn't known.
                }
                pieces.writer.begin(family[keyPath: metric])
                for account in chosen {
                    let device = isUplink ? [] : [("device", account.name)]
                    let labels = LabelSet(device + labels.map { ($0.name, $0.value) })
                    try await forEachSample(of: account.entry, keptFrom: keptFrom) { tick, sample in
                        pieces.writer.timestamp = tick.end.secondsSinceEpoch
                        write(labels, tick, sample)
                        try await pieces.passOn()
                    }
                }
            }
        }
        for period in PeriodStartFamily.all {
            pieces.writer.begin(period.family)
            let labels = LabelSet(labels.map { ($0.name, $0.value) })
            for moment in moments(keptFrom: keptFrom) where moment.isFullHour {
                let start = period.start(PeriodWindow(span.calendar, at: moment.end))
                pieces.writer.timestamp = moment.end.secondsSinceEpoch
                pieces.writer.sample(labels, UInt64(clamping: start.secondsSinceEpoch))
                try await pieces.passOn()
            }
        }
        pieces.writer.end()
        try await pieces.passOn(atLeast: 0)
    }

    /// By days alone: there may be thousands of applications, and their records of five minutes would be read once for each.
    private func writeApplications(to pieces: Pieces) async throws {
        for family in ApplicationFamily.all {
            pieces.writer.begin(family.family)
            for account in accounts {
                let own = ApplicationFamily.labels(account.name, account.entry.key.scope)
                let labels = LabelSet(own + labels.map { ($0.name, $0.value) })
                try await forEachSample(of: account.entry, keptFrom: span.until) { tick, sample in
                    pieces.writer.timestamp = tick.end.secondsSinceEpoch
                    pieces.writer.sample(labels, family.value(sample.periods))
                    try await pieces.passOn()
                }
            }
        }
    }

    // MARK: - Moments

    /// A moment of samples, and the start of the time that they cover.
    private struct Tick {
        var start: Timestamp
        var end: Timestamp
        var isFullHour: Bool
        /// Whether its bytes are known from buckets, not from the day.
        var isFine: Bool
    }

    /// All moments in order: the last second of each day whose finer records aren't kept, then the ends of all entries.
    private func moments(keptFrom: Timestamp) -> some Sequence<Tick> {
        // The open five minutes still grow, so each series would show something else.
        let complete = basis.asOf.map { Bucket(containing: $0).start } ?? span.until
        let (calendar, end) = (span.calendar, min(span.until, complete))
        let slots = Slots(grain: grain, calendar: calendar)
        // The first day whose buckets are all kept.
        var fine = span.isWholeDays ? Timestamp.latest : calendar.start(of: calendar.day(containing: keptFrom))
        if fine < keptFrom { fine = calendar.span(ofDay: calendar.day(containing: keptFrom)).upperBound }
        return sequence(state: span.since ?? span.until) { (start: inout Timestamp) -> Tick? in
            if start >= end { return nil }
            let from = start
            if from < fine {
                start = calendar.span(ofDay: calendar.day(containing: from)).upperBound
                // The bytes of an open day aren't those of its end.
                if start > end { return nil }
                return Tick(start: from, end: start.adding(seconds: -1), isFullHour: true, isFine: false)
            }
            start = slots.end(ofSlotAt: from)
            let moment = min(start, end)
            let isFullHour = grain != .fiveMinutes || calendar.localTime(at: moment).secondsOfDay % 3600 == 0
            return Tick(start: from, end: moment, isFullHour: isFullHour || moment == end, isFine: true)
        }
    }

    private func forEachSample(
        of account: DayHistory.Entry, keptFrom: Timestamp, _ body: (Tick, Sample) async throws -> Void
    ) async throws {
        var days = DaySums(days: account.days)
        var window: PeriodWindow?
        var carried = Total.zero
        var rows = BucketRows(reader: reader, key: account.key, until: span.until)
        for tick in moments(keptFrom: keptFrom) {
            let total = tick.isFine ? try await rows.total(from: tick.start, before: tick.end) : .zero
            if window?.daySpan.contains(tick.end) != true {
                window = PeriodWindow(span.calendar, at: tick.end)
                carried = .zero
                // An entry that ends at midnight belongs to the day before.
                if let window { days.open(window) }
            }
            guard let window else { continue }
            if tick.end > window.daySpan.lowerBound { carried += total }
            if !tick.isFine { carried = days.total(on: window.today) }
            let seconds = Double(tick.end.secondsSinceEpoch - tick.start.secondsSinceEpoch)
            try await body(
                tick,
                Sample(
                    periods: PeriodTotals(
                        day: carried, week: days.week.adding(carried), month: days.month.adding(carried),
                        previousDay: days.previousDay, previousMonth: days.previousMonth),
                    lifetime: days.before.adding(carried),
                    rate: tick.isFine && seconds > 0
                        ? Rate(
                            received: Double(total.received) / seconds, transmitted: Double(total.transmitted) / seconds
                        )
                        : nil))
        }
    }
}

/// The sums of an account's days before the open one.
private struct DaySums {
    let days: [(day: CivilDate, total: Total)]
    private(set) var week = Total.zero
    private(set) var month = Total.zero
    private(set) var previousDay = Total.zero
    private(set) var previousMonth = Total.zero
    /// All days before the open one.
    private(set) var before = Total.zero
    var next = 0

    func total(on day: CivilDate) -> Total {
        next < days.count && days[next].day == day ? days[next].total : .zero
    }

    /// - Precondition: Windows come in order.
    mutating func open(_ window: PeriodWindow) {
        while next < days.count, days[next].day < window.today {
            before += days[next].total
            next += 1
        }
        (week, month, previousDay, previousMonth) = (.zero, .zero, .zero, .zero)
        for (day, total) in days[..<next].reversed() {
            if day < window.previousMonthStart, day < window.weekStart { return }
            if day >= window.weekStart { week += total }
            if day >= window.monthStart { month += total }
            if day == window.previousDay { previousDay += total }
            if day >= window.previousMonthStart, day < window.monthStart { previousMonth += total }
        }
    }
}

/// One account's buckets in order, page by page.
private struct BucketRows<Reader: LedgerReader> {
    let reader: Reader
    let key: AccountKey
    let until: Timestamp
    var rows: ArraySlice<BucketRow> = []
    var next: Timestamp?

    /// The bytes of a span; spans come in order.
    mutating func total(from start: Timestamp, before end: Timestamp) async throws -> Total {
        var total = Total.zero
        while true {
            while let row = rows.first, row.start < end {
                if row.start >= start { total += row.total }
                rows.removeFirst()
            }
            if !rows.isEmpty { return total }
            let from = next ?? Bucket(containing: start).start
            if from >= end || from >= until { return total }
            let page = try await reader.buckets(from: from, before: until, only: key)
            rows = page.rows[...]
            next = page.until
        }
    }
}

/// Gathers the output in pieces. A class, because asynchronous closures fill it.
private final class Pieces {
    var writer = ExpositionWriter()
    private let sink: ExportSink

    init(_ sink: @escaping ExportSink) {
        self.sink = sink
        writer.begin(.openMetrics)
    }

    /// Passes the output on if it is enough for a piece.
    func passOn(atLeast byteCount: Int = 64 * 1024) async throws {
        if writer.byteCount < byteCount { return }
        let bytes = writer.withBytes { Array($0) }
        writer.forgetBytes()
        try await sink(bytes)
    }
}
