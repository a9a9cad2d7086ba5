import CivilTime

/// What all plans have counted: kept up to date booking by booking, and made again from the ledger when it must be.
package struct PlanBook: Sendable {
    package let plans: Plans
    /// Whether all is in it that the store has; until then it shows nothing.
    package internal(set) var isComplete = false
    private let calendars: [TimeZoneSetting: LocalCalendar]
    /// What the store has about plans, and what has happened since.
    package private(set) var records: PlanRecords
    var quotas: [QuotaBook]
    private(set) var rateLimits: [RateLimitBook]
    var committedRates: [CommittedRateBook]
    /// By which names the store's accounts were counted, until the ledger has taken note.
    package var keys: [AccountID: AccountKey] = [:]
    /// The store's accounts when the book was made, also of devices that went long ago.
    package internal(set) var storedAccounts: Set<AccountKey> = []
    private let selections: (quotas: SelectionIndex, rateLimits: SelectionIndex, committedRates: SelectionIndex)
    /// Which plans count each account that was asked for.
    private var countings: [AccountKey: Counting] = [:]

    package static let empty = PlanBook(
        .none, calendars: [:], records: .none, meteredFrom: .latest, at: Timestamp(secondsSinceEpoch: 0))

    /// - Parameters:
    ///   - calendars: For the zones of all cycles.
    ///   - records: What the store has about these plans, and others.
    ///   - meteredFrom: When the first byte was booked; `.latest` when none was.
    package init(
        _ plans: Plans, calendars: [TimeZoneSetting: LocalCalendar], records: PlanRecords, meteredFrom: Timestamp,
        at now: Timestamp
    ) {
        self.plans = plans
        self.calendars = calendars
        self.records = records
        quotas = plans.quotas.map {
            let calendar = calendars[$0.cycle.timezone] ?? LocalCalendar(zone: .utc, weekStart: .monday)
            return QuotaBook($0, calendar: calendar, records: records, meteredFrom: meteredFrom, at: now)
        }
        selections = (
            SelectionIndex(plans.quotas.map(\.count)), SelectionIndex(plans.rateLimits.map(\.count)),
            SelectionIndex(plans.committedRates.map(\.count))
        )
        rateLimits = plans.rateLimits.map { RateLimitBook($0) }
        committedRates = plans.committedRates.map {
            let calendar = calendars[$0.cycle.timezone] ?? LocalCalendar(zone: .utc, weekStart: .monday)
            return CommittedRateBook($0, calendar: calendar, records: records, at: now)
        }
        let corrected = quotas.flatMap { quota in
            quota.adjustments.filter(\.isOfThePast).map { Bucket(containing: $0.at) }
        }
        if corrected.isEmpty { return }
        let found = Dictionary(uniqueKeysWithValues: Set(corrected).map { ($0.start, divisions(of: $0)) })
        for place in quotas.indices { quotas[place].divisions = found }
    }

    /// Where slots begin within a bucket, by what is known of corrections, cycles and free windows.
    private func divisions(of bucket: Bucket) -> [QuotaBook.Division] {
        let span = bucket.start.adding(seconds: 1)..<bucket.end
        var edges: Set<Timestamp> = []
        for quota in quotas { quota.addEdges(in: span, to: &edges) }
        let corrections = records.adjustments.filter { $0.isCorrection && span.contains($0.at) }
        return edges.map { ($0, $0) }
            + corrections.map { correction in
                // What was found after a gap, when the correction was known, was told apart.
                let isGap = records.unread.contains {
                    $0.contains(bucket.start) && $0.upperBound >= max(bucket.end, correction.enteredAt)
                }
                return (correction.at, isGap ? correction.at : max(correction.at, correction.enteredAt))
            }
    }

    /// Places of the plans that count an account.
    package struct Counting: Hashable, Sendable {
        var quotas: [Int] = []
        var rateLimits: [Int] = []
        var committedRates: [Int] = []

        /// Whether none of them counts bytes.
        var isEmpty: Bool { quotas.isEmpty && committedRates.isEmpty }
    }

    /// More names than any machine has at a time.
    private static let maximumCountings = 10_000

    mutating func counting(_ key: AccountKey) -> Counting {
        if let known = countings[key] { return known }
        if countings.count >= Self.maximumCountings { countings = [:] }
        var counting = Counting()
        counting.quotas = selections.quotas.places(for: key)
        counting.rateLimits = selections.rateLimits.places(for: key)
        counting.committedRates = selections.committedRates.places(for: key)
        countings[key] = counting
        return counting
    }

    // MARK: - Booking

    mutating func book(_ total: Total, at slot: Timestamp, for counting: Counting) {
        for place in counting.quotas { quotas[place].add(total, at: slot) }
        for place in counting.committedRates { committedRates[place].add(total, at: slot) }
    }

    mutating func book(_ spread: Spread, for counting: Counting) {
        spread.forEachBucket(since: .earliest) { bucket, delta in book(Total(delta), at: bucket.start, for: counting) }
    }

    /// Takes one of the store's bookings, which is no news.
    package mutating func restore(_ total: Total, of key: AccountKey, at slot: Timestamp) {
        let counting = counting(key)
        for place in counting.quotas { quotas[place].restore(total, at: slot) }
        for place in counting.committedRates { committedRates[place].add(total, at: slot) }
    }

    /// Nothing was read in this time.
    ///
    /// - Returns: Whether bytes that are booked already count otherwise now, so that the book has to be made again.
    @discardableResult
    package mutating func noteUnread(_ span: Range<Timestamp>) -> Bool {
        if span.isEmpty { return false }
        records.noteUnread(span)
        for place in committedRates.indices { committedRates[place].noteUnread(span) }
        let isAffected = quotas.first?.divisions.keys.contains { span.contains($0) } ?? false
        for place in quotas.indices { quotas[place].noteUnread(span) }
        return isAffected
    }

    /// Buckets from before this moment may be gone: there are no samples.
    package mutating func omitSamples(before moment: Timestamp) {
        // It isn't the beginning of all time, which is when metering began.
        let span = Timestamp.earliest.adding(seconds: 1)..<max(moment, Timestamp.earliest.adding(seconds: 1))
        if !span.isEmpty { for place in committedRates.indices { committedRates[place].noteUnread(span) } }
    }

    /// Takes the mean rates of an interval, by the accounts' plans.
    mutating func sample(_ rates: [(rate: Rate, counting: Counting)], over elapsed: Span) {
        if rateLimits.isEmpty { return }
        var sums = Array(repeating: Rate.zero, count: rateLimits.count)
        for (rate, counting) in rates {
            for place in counting.rateLimits {
                sums[place].received += rate.received
                sums[place].transmitted += rate.transmitted
            }
        }
        for place in rateLimits.indices { rateLimits[place].sample(sums[place], over: elapsed) }
    }

    /// Rate limits go on as they were in another book; they are of the moment and can't be made again.
    mutating func adoptRates(of previous: PlanBook) {
        for place in rateLimits.indices {
            if let known = previous.rateLimits.first(where: { $0.rateLimit == rateLimits[place].rateLimit }) {
                rateLimits[place] = known
            }
        }
    }

    /// A book of the same plans, with nothing booked.
    ///
    /// - Parameter unread: Time in which nothing was read.
    func emptied(unread: [Range<Timestamp>], at now: Timestamp) -> PlanBook {
        var records = records
        records.unread = unread
        return PlanBook(plans, calendars: calendars, records: records, meteredFrom: .latest, at: now)
    }

    /// Corrections and top-ups by which a book of the same plans comes to show what this one does.
    func adjustments(of other: PlanBook, at now: Timestamp) -> [Adjustment] {
        if !isComplete { return [] }
        var adjustments: [Adjustment] = []
        var id = records.adjustments.map(\.id).max() ?? 0
        func add(_ kind: Adjustment.Kind, to book: QuotaBook) {
            id += 1
            adjustments.append(
                Adjustment(
                    id: id, quota: book.quota.name, kind: kind, at: now, enteredAt: now,
                    cycleStart: book.current.lowerBound))
        }
        for (known, told) in zip(quotas, other.quotas) where known.current.contains(now) {
            let used = known.usedBytes(in: known.current)
            if used != told.usedBytes(in: known.current) { add(.correction(usedBytes: used), to: known) }
            let limit = known.limitBytes(in: known.current)
            let limitTold = told.limitBytes(in: known.current)
            if limit > limitTold { add(.topUp(bytes: limit - limitTold), to: known) }
        }
        return adjustments
    }

    // MARK: - What is usual

    /// Whether the past of some quota by the hour isn't known: it is to be read from the store.
    package var needsHistories: Bool { quotas.contains { !$0.knowsPast } }

    /// There is no store that knows more of the past.
    package mutating func takePastAsKnown() {
        for place in quotas.indices { quotas[place].takePastAsKnown() }
    }

    mutating func remember(_ total: Total, at slot: Timestamp, for counting: Counting) {
        for place in counting.quotas { quotas[place].rememberOnly(total, at: slot) }
    }

    mutating func forgetHistories() {
        for place in quotas.indices { quotas[place].forgetHistories() }
    }

    /// Quotas take their past by the hour from another book, where it knows it.
    mutating func adoptHistories(of previous: PlanBook) {
        let byName = Dictionary(previous.quotas.map { ($0.quota.name, $0) }, uniquingKeysWith: { first, _ in first })
        for place in quotas.indices {
            guard let known = byName[quotas[place].quota.name], known.knowsPast, quotas[place].remembersLike(known)
            else { continue }
            quotas[place].adoptHistories(of: known)
        }
    }

    /// Takes what was found in the store.
    package mutating func adopt(_ scan: HistoryScan) {
        let found = scan.quotas
        guard found.map(\.quota) == quotas.map(\.quota) else { return }  // Of other plans, by now.
        for place in quotas.indices where !quotas[place].knowsPast {
            quotas[place].prependHistories(of: found[place], before: scan.end)
        }
    }

    /// From when on the store's buckets must be kept: where days don't tell what a cycle has used.
    package func bucketsNeededFrom(at now: Timestamp) -> Timestamp {
        let ofQuotas = quotas.map { $0.bucketsNeededFrom(at: now, local: calendars[.local]) }
        return (ofQuotas + committedRates.map { $0.bucketsNeededFrom(at: now) }).min() ?? .latest
    }

    /// Whether it is about these plans, in these zones.
    package func isOf(_ plans: Plans, _ calendars: [TimeZoneSetting: LocalCalendar]) -> Bool {
        self.plans == plans && (plans == .none || self.calendars == calendars)
    }

    // MARK: - Cuts

    /// The moments in a span, ascending, at which a slot must end: where a cycle or a free window begins or ends within
    /// five minutes that are stored as one otherwise, and where a correction holds from.
    func cuts(in span: Range<Timestamp>) -> [Timestamp] {
        var cuts: Set<Timestamp> = []
        // Also those of quotas that the configuration hasn't now: they may come back.
        for adjustment in records.adjustments where adjustment.isCorrection && span.contains(adjustment.at) {
            cuts.insert(adjustment.at)
        }
        for quota in quotas { quota.addEdges(in: span, to: &cuts) }
        return cuts.filter { Bucket(containing: $0).start != $0 }.sorted()
    }

    // MARK: - State

    /// Whether bytes count otherwise for any plan from here on; to be asked before ``takeEvents(at:)``.
    mutating func isTurning(at now: Timestamp) -> Bool {
        var isTurning = false
        for place in quotas.indices where quotas[place].isTurning(at: now) { isTurning = true }
        return isTurning
    }

    /// What happened to the quotas since the last time.
    mutating func takeEvents(at now: Timestamp) -> [QuotaEvent] {
        if !isComplete { return [] }
        var events: [QuotaEvent] = []
        for place in quotas.indices { events += quotas[place].takeEvents(at: now) }
        records.note(events)
        return events
    }

    /// How many forecasts are made in a reading: a few milliseconds, however many quotas there are.
    private static let forecastsPerReading = 16

    /// Makes some of the forecasts that are due.
    mutating func refreshForecasts(at now: Timestamp) {
        if !isComplete { return }
        var made = 0
        for place in quotas.indices {
            if made < Self.forecastsPerReading, quotas[place].isForecastDue(at: now) {
                quotas[place].makeForecast(at: now)
                made += 1
            }
            quotas[place].refreshExhaustion(at: now)
        }
    }

    private mutating func makeForecasts(at now: Timestamp) {
        for place in quotas.indices {
            quotas[place].makeForecast(at: now)
            quotas[place].refreshExhaustion(at: now)
        }
    }

    /// How many percentiles are looked for in a reading: a millisecond or two.
    private static let percentilesPerReading = 4

    /// Cycles of committed rates that are over, with what they have given.
    mutating func takeCommittedCycles(at now: Timestamp) -> [CommittedCycle] {
        if !isComplete { return [] }
        var cycles: [CommittedCycle] = []
        var left = Self.percentilesPerReading
        for place in committedRates.indices {
            let isDue = committedRates[place].isDue(at: now)
            cycles += committedRates[place].advance(to: now, computes: left > 0)
            if isDue { left -= 1 }
        }
        records.note(cycles)
        return cycles
    }

    /// Takes what happened since the store was read.
    mutating func note(_ events: [QuotaEvent]) {
        records.note(events)
        for place in quotas.indices { quotas[place].note(events) }
    }

    /// Whether the event's program awaits its start is now as in `event`.
    mutating func setAwaitsProgram(as event: QuotaEvent) { records.setAwaitsProgram(as: event) }

    /// Events whose programs are yet to be started.
    package var waitingEvents: [QuotaEvent] { records.events.filter(\.awaitsProgram) }

    /// All is in it that the store has.
    package mutating func complete(at now: Timestamp) {
        isComplete = true
        for place in committedRates.indices { committedRates[place].refreshFigures(at: now) }
    }

    /// Goes on to this moment without telling anybody: for whoever looks only once.
    package mutating func advance(to now: Timestamp) {
        _ = takeEvents(at: now)
        _ = takeCommittedCycles(at: now)
        makeForecasts(at: now)
    }

    /// The quotas as they are now, in the order of the configuration; none while it isn't complete.
    package func quotaStates(at now: Timestamp) -> [QuotaState] { isComplete ? quotas.map { $0.state(at: now) } : [] }

    /// The rate limits as they are now, in the order of the configuration.
    package var rateLimitStates: [RateLimitState] { rateLimits.map(\.state) }

    /// Rate limits whose state has changed since this was asked last.
    mutating func takeRateLimitNews() -> [RateLimitState] {
        rateLimits.indices.compactMap { rateLimits[$0].takeNews() }
    }

    /// The committed rates as they are now, in the order of the configuration; none while it isn't complete.
    package var committedRateStates: [CommittedRateState] { isComplete ? committedRates.map(\.state) : [] }
}

extension QuotaBook {
    /// As far as edges are looked for; nothing is spread over more.
    private static let longestSearchSeconds: Int64 = 400 * 86_400

    /// Where its cycles and free windows begin and end.
    func addEdges(in span: Range<Timestamp>, to edges: inout Set<Timestamp>) {
        let first = max(span.lowerBound, span.upperBound.adding(seconds: -Self.longestSearchSeconds))
        let minutes = quota.free.edges
        // Most begin and end with a bucket: then there is nothing to look for.
        let isAligned = calendar.zone.offsetSeconds(at: first) % Int(Bucket.seconds) == 0
        if !isAligned || quota.cycle.rule.secondsOfDay % Int(Bucket.seconds) != 0 {
            var cycle = cycle(at: first)
            if span.contains(cycle.lowerBound) { edges.insert(cycle.lowerBound) }
            while cycle.upperBound < span.upperBound {
                edges.insert(cycle.upperBound)
                let next = self.cycle(at: cycle.upperBound)
                if next == cycle { break }
                cycle = next
            }
        }
        let unaligned = isAligned ? minutes.filter { $0 % 5 != 0 } : minutes
        if unaligned.isEmpty { return }
        var day = calendar.localTime(at: first).date.adding(days: -1)
        let last = calendar.localTime(at: span.upperBound).date
        while day <= last {
            for minute in unaligned {
                for edge in calendar.instants(on: day, secondsOfDay: minute * 60) where span.contains(edge) {
                    edges.insert(edge)
                }
            }
            day = day.adding(days: 1)
        }
    }
}
