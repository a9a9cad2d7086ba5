import CivilTime

/// What all plans have counted. Each booking updates it; it can be rebuilt from the ledger.
package struct PlanBook: Sendable {
    package let plans: Plans
    /// Whether it has counted everything in the store. Until then it shows nothing.
    package internal(set) var isComplete = false
    private let calendars: [TimeZoneSetting: LocalCalendar]
    /// The store's records about plans, and what has happened since.
    package internal(set) var records: PlanRecords
    var quotas: [QuotaBook]
    private(set) var rateLimits: [RateLimitBook]
    var committedRates: [CommittedRateBook]
    /// The keys under which the store's accounts were counted, until the ledger has checked them.
    package var keys: [AccountID: AccountKey] = [:]
    /// The store's accounts when the book was made, including those of devices long gone.
    package internal(set) var storedAccounts: Set<AccountKey> = []
    private let selections: (quotas: SelectionIndex, rateLimits: SelectionIndex, committedRates: SelectionIndex)
    /// The plans that count each account: a cache.
    private var countings: [AccountKey: Counting] = [:]

    package static let empty = PlanBook(
        .none, calendars: [:], records: .none, meteredFrom: .latest, at: Timestamp(secondsSinceEpoch: 0))

    /// - Parameters:
    ///   - calendars: The calendars of all cycles' zones.
    ///   - records: The store's records about these and other plans.
    ///   - meteredFrom: When the first byte was booked; `.latest` if none was.
    package init(
        _ plans: Plans, calendars: [TimeZoneSetting: LocalCalendar], records: PlanRecords, meteredFrom: Timestamp,
        at now: Timestamp
    ) {
        self.plans = plans
        self.calendars = calendars
        self.records = records
        func calendar(of cycle: Cycle) -> LocalCalendar {
            calendars[cycle.timezone] ?? LocalCalendar(zone: .utc, weekStart: .monday)
        }
        quotas = plans.quotas.map {
            QuotaBook($0, calendar: calendar(of: $0.cycle), records: records, meteredFrom: meteredFrom, at: now)
        }
        selections = (
            SelectionIndex(plans.quotas.map(\.count)), SelectionIndex(plans.rateLimits.map(\.count)),
            SelectionIndex(plans.committedRates.map(\.count))
        )
        rateLimits = plans.rateLimits.map { RateLimitBook($0) }
        committedRates = plans.committedRates.map {
            CommittedRateBook($0, calendar: calendar(of: $0.cycle), records: records, at: now)
        }
        let corrected = quotas.flatMap { quota in
            quota.adjustments.filter(\.isOfThePast).map { Bucket(containing: $0.at) }
        }
        if corrected.isEmpty { return }
        let found = Dictionary(uniqueKeysWithValues: Set(corrected).map { ($0.start, divisions(of: $0)) })
        for place in quotas.indices { quotas[place].divisions = found }
    }

    /// Where slots begin within a bucket, according to corrections, cycles and free windows.
    private func divisions(of bucket: Bucket) -> [QuotaBook.Division] {
        let span = bucket.start.adding(seconds: 1)..<bucket.end
        var edges: Set<Timestamp> = []
        for quota in quotas { quota.addEdges(in: span, to: &edges) }
        let corrections = records.adjustments.filter { $0.isCorrection && span.contains($0.at) }
        return edges.map { ($0, $0) }
            + corrections.map { correction in
                // A gap that ended after the correction was entered was booked in two parts.
                let isGap = records.unread.contains {
                    $0.contains(bucket.start) && $0.upperBound >= max(bucket.end, correction.enteredAt)
                }
                return (correction.at, isGap ? correction.at : max(correction.at, correction.enteredAt))
            }
    }

    /// The places of the plans that count an account.
    package struct Counting: Hashable, Sendable {
        var quotas: [Int] = []
        /// Quotas from whose use its bytes are subtracted.
        var quotasWithout: [Int] = []
        var rateLimits: [Int] = []
        var committedRates: [Int] = []

        /// Whether no plan counts bytes.
        var isEmpty: Bool { quotas.isEmpty && quotasWithout.isEmpty && committedRates.isEmpty }

        /// The quotas that an account's bytes matter to, and how.
        var shares: [(quota: Int, sign: Selection.Sign)] {
            quotas.map { ($0, .adds) } + quotasWithout.map { ($0, .subtracts) }
        }
    }

    /// More names than any machine has at a time.
    private static let maximumCountings = 10_000

    mutating func counting(_ key: AccountKey) -> Counting {
        if let known = countings[key] { return known }
        if countings.count >= Self.maximumCountings { countings = [:] }
        let quotas = selections.quotas.places(for: key)
        let counting = Counting(
            quotas: quotas.adding, quotasWithout: quotas.subtracting,
            rateLimits: selections.rateLimits.places(for: key).adding,
            committedRates: selections.committedRates.places(for: key).adding)
        countings[key] = counting
        return counting
    }

    // MARK: - Booking

    mutating func book(_ total: Total, at slot: Timestamp, for counting: Counting) {
        for place in counting.quotas { quotas[place].add(total, at: slot) }
        for place in counting.quotasWithout { quotas[place].add(total, .subtracts, at: slot) }
        for place in counting.committedRates { committedRates[place].add(total, at: slot) }
    }

    mutating func book(_ spread: Spread, for counting: Counting) {
        spread.forEachBucket(since: .earliest) { bucket, delta in book(Total(delta), at: bucket.start, for: counting) }
    }

    /// Counts bookings that wait for the store.
    ///
    /// - Parameter keys: The keys of their accounts.
    mutating func book(_ waiting: Bookings, of keys: [AccountID: AccountKey]) {
        for (key, total) in waiting.buckets {
            if let account = keys[key.account] { book(total, at: key.bucket.start, for: counting(account)) }
        }
        for entry in waiting.spreads {
            if let account = keys[entry.account] { book(entry.spread, for: counting(account)) }
        }
    }

    /// Counts one of the store's bookings, without events.
    package mutating func restore(_ total: Total, of key: AccountKey, at slot: Timestamp) {
        let counting = counting(key)
        for (place, sign) in counting.shares { quotas[place].restore(total, sign, at: slot) }
        for place in counting.committedRates { committedRates[place].add(total, at: slot) }
    }

    /// Nothing was read in this time.
    ///
    /// - Returns: Whether bytes that are already booked count differently now, so that the book must be rebuilt.
    @discardableResult
    package mutating func noteUnread(_ span: Range<Timestamp>) -> Bool {
        if span.isEmpty { return false }
        records.noteUnread(span)
        for place in committedRates.indices { committedRates[place].noteUnread(span) }
        for place in quotas.indices { quotas[place].noteUnread(span) }
        return isAffected(byUnread: span)
    }

    /// Whether bytes that are already booked count differently if nothing was read in this time.
    func isAffected(byUnread span: Range<Timestamp>) -> Bool {
        quotas.first?.divisions.keys.contains { span.contains($0) } ?? false
    }

    /// Samples from before this moment are missing, because their buckets may be gone.
    package mutating func omitSamples(before moment: Timestamp) {
        // A span from `.earliest` on would say when metering began.
        let span = Timestamp.earliest.adding(seconds: 1)..<max(moment, Timestamp.earliest.adding(seconds: 1))
        if !span.isEmpty { for place in committedRates.indices { committedRates[place].noteUnread(span) } }
    }

    /// Adds the mean rates of an interval to the rate limits.
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

    /// Takes the state of rate limits from another book, because it can't be rebuilt.
    mutating func adoptRates(of previous: PlanBook) {
        rateLimits = rateLimits.map { new in previous.rateLimits.first { $0.rateLimit == new.rateLimit } ?? new }
    }

    /// A book of the same plans without bytes.
    ///
    /// - Parameter unread: Time in which nothing was read.
    func emptied(unread: [Range<Timestamp>], at now: Timestamp) -> PlanBook {
        var records = records
        records.unread = unread
        return PlanBook(plans, calendars: calendars, records: records, meteredFrom: .latest, at: now)
    }

    /// Corrections and top-ups that make another book of the same plans show what this one shows.
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
        for (known, restored) in zip(quotas, other.quotas) where known.current.contains(now) {
            let used = known.usedBytes(in: known.current)
            if used != restored.usedBytes(in: known.current) { add(.correction(usedBytes: used), to: known) }
            let limit = known.limitBytes(in: known.current)
            let restoredLimit = restored.limitBytes(in: known.current)
            if limit > restoredLimit { add(.topUp(bytes: limit - restoredLimit), to: known) }
        }
        return adjustments
    }

    // MARK: - What is usual

    /// Whether the hourly past of a quota must still be read from the store.
    package var needsHistories: Bool { quotas.contains { !$0.forecast.knowsPast } }

    /// Takes the hourly past as complete, because there is no store.
    package mutating func takePastAsKnown() {
        for place in quotas.indices { quotas[place].forecast.knowsPast = true }
    }

    /// Takes the quotas' hourly past from another book that knows it.
    mutating func adoptHistories(of previous: PlanBook) {
        let byName = Dictionary(previous.quotas.map { ($0.quota.name, $0) }, uniquingKeysWith: { first, _ in first })
        for place in quotas.indices {
            guard let known = byName[quotas[place].quota.name], known.forecast.knowsPast,
                quotas[place].remembersLike(known)
            else { continue }
            quotas[place].forecast.adopt(known.forecast)
        }
    }

    /// Takes the hourly past that a scan found in the store.
    package mutating func adopt(_ scan: HistoryScan) {
        let found = scan.book.quotas
        guard found.map(\.quota) == quotas.map(\.quota) else { return }  // The plans have changed since.
        for place in quotas.indices where !quotas[place].forecast.knowsPast {
            quotas[place].forecast.prepend(found[place].forecast, before: scan.end)
        }
    }

    /// The first moment whose buckets of applications the store must keep.
    package func applicationBucketsNeededFrom(at now: Timestamp) -> Timestamp {
        let counting = quotas.filter(\.quota.count.needsApplications)
        if counting.isEmpty { return .latest }
        // After a start, forecasts learn from the same weeks as while the program ran.
        let learning = now.adding(seconds: -Int64(UseHistory.hours) * 3600)
        return counting.map { $0.bucketsNeededFrom(at: now, local: calendars[.local]) }.reduce(learning, min)
    }

    /// The first moment whose buckets the store must keep, because days don't give the use of a cycle.
    package func bucketsNeededFrom(at now: Timestamp) -> Timestamp {
        let ofQuotas = quotas.map { $0.bucketsNeededFrom(at: now, local: calendars[.local]) }
        return (ofQuotas + committedRates.map { $0.bucketsNeededFrom(at: now) }).min() ?? .latest
    }

    /// Whether it counts these plans, in these zones.
    package func isOf(_ plans: Plans, _ calendars: [TimeZoneSetting: LocalCalendar]) -> Bool {
        self.plans == plans && (plans == .none || self.calendars == calendars)
    }

    // MARK: - Cuts

    /// The cuts in a span, ascending: where a cycle or a free window begins or ends, or a correction applies from,
    /// unless a bucket begins there anyway.
    func cuts(in span: Range<Timestamp>) -> [Timestamp] {
        // Also those of quotas that aren't configured now: they may come back.
        var cuts = Set(records.adjustments.filter { $0.isCorrection && span.contains($0.at) }.map(\.at))
        for quota in quotas { quota.addEdges(in: span, to: &cuts) }
        return cuts.filter { Bucket(containing: $0).start != $0 }.sorted()
    }

    // MARK: - State

    /// Whether a cycle or free window of a quota begins or ends here. Call it before ``takeEvents(at:)``.
    mutating func isTurning(at now: Timestamp) -> Bool {
        var isTurning = false
        for place in quotas.indices where quotas[place].isTurning(at: now) { isTurning = true }
        return isTurning
    }

    /// Quota events since the last call.
    mutating func takeEvents(at now: Timestamp) -> [QuotaEvent] {
        if !isComplete { return [] }
        let events = quotas.indices.flatMap { quotas[$0].takeEvents(at: now) }
        records.note(events)
        return events
    }

    /// How many forecasts a reading makes: a few milliseconds, however many quotas there are.
    private static let forecastsPerReading = 16

    /// Makes some of the forecasts that are due.
    mutating func refreshForecasts(at now: Timestamp) {
        if !isComplete { return }
        var made = 0
        for place in quotas.indices {
            if made < Self.forecastsPerReading, quotas[place].forecast.isDue(at: now) {
                quotas[place].makeForecast(at: now)
                made += 1
            }
            quotas[place].refreshExhaustion(at: now)
        }
    }

    /// How many percentiles a reading computes: a millisecond or two.
    private static let percentilesPerReading = 4

    /// The figures of committed rates' cycles that are over.
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

    /// Adds events since the store was read.
    mutating func note(_ events: [QuotaEvent]) {
        records.note(events)
        for place in quotas.indices { quotas[place].note(events) }
    }

    /// Events whose programs are yet to be started.
    package var waitingEvents: [QuotaEvent] { records.events.filter(\.awaitsProgram) }

    /// Everything in the store is counted now.
    package mutating func complete(at now: Timestamp) {
        isComplete = true
        for place in committedRates.indices { committedRates[place].refreshFigures(at: now) }
    }

    /// Advances to this moment and drops the events, for a single look.
    package mutating func advance(to now: Timestamp) {
        _ = takeEvents(at: now)
        _ = takeCommittedCycles(at: now)
        for place in quotas.indices {
            quotas[place].makeForecast(at: now)
            quotas[place].refreshExhaustion(at: now)
        }
    }

    /// The quotas as they are now, in the order of the configuration; empty until the book is complete.
    package func quotaStates(at now: Timestamp) -> [QuotaState] { isComplete ? quotas.map { $0.state(at: now) } : [] }

    /// The rate limits as they are now, in the order of the configuration.
    package var rateLimitStates: [RateLimitState] { rateLimits.map(\.state) }

    /// Rate limits whose state changed since the last call.
    mutating func takeRateLimitNews() -> [RateLimitState] {
        rateLimits.indices.compactMap { rateLimits[$0].takeNews() }
    }

    /// The committed rates as they are now, in the order of the configuration; empty until the book is complete.
    package var committedRateStates: [CommittedRateState] { isComplete ? committedRates.map(\.state) : [] }
}

extension QuotaBook {
    /// How far back edges are searched; nothing is spread over more.
    private static let longestSearchSeconds: Int64 = 400 * 86_400

    /// Adds the moments within buckets at which its cycles and free windows begin or end.
    func addEdges(in span: Range<Timestamp>, to edges: inout Set<Timestamp>) {
        let first = max(span.lowerBound, span.upperBound.adding(seconds: -Self.longestSearchSeconds))
        let minutes = quota.free.edges
        // Most begin and end with a bucket, so there is nothing to search.
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
