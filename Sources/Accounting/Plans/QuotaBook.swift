import CivilTime

/// What one quota has counted, cycle by cycle.
///
/// Bytes come in slots (``Bucket``), each of which lies in one cycle, is free or isn't, and lies before or after each
/// correction: the sums here are what adding up the ledger gives, whenever that is done.
struct QuotaBook: Sendable {
    /// A cycle's bytes; a correction divides what was carried before it from what was carried since.
    struct CycleUse: Sendable {
        let span: Range<Timestamp>
        /// Ascending; the first begins with the cycle.
        var segments: [(start: Timestamp, total: Total)]

        mutating func add(_ total: Total, at slot: Timestamp) {
            let index = segments.lastIndex { $0.start <= slot } ?? 0
            segments[index].total += total
        }

        /// What was carried from one moment to another, both of them the cycle's ends or corrections.
        func total(from start: Timestamp, before end: Timestamp = .latest) -> Total {
            segments.reduce(into: .zero) { if $1.start >= start && $1.start < end { $0 += $1.total } }
        }
    }

    /// Of how many cycles the bytes are remembered, and what is left over goes on.
    private static let rememberedCycles = 12

    let quota: Quota
    let calendar: LocalCalendar
    /// Ascending; cycles without bytes may be missing.
    private(set) var cycles: [CycleUse] = []
    /// Those that count, in the order of their moments: of corrections the last one of each cycle.
    let adjustments: [Adjustment]
    /// All that hold, in this order.
    let heldAdjustments: [Adjustment]
    /// Where a slot begins within its five minutes, and since when bytes have gone there.
    typealias Division = (slot: Timestamp, moment: Timestamp)

    /// Those in which a correction of the past lies, by their beginnings.
    var divisions: [Timestamp: [Division]] = [:]
    /// From when on the ledger has all: what it has of an earlier cycle isn't all that was used.
    private var meteredFrom: Timestamp
    /// Time in which nothing was read, where a whole cycle may lie in it.
    private var unread: [Range<Timestamp>]
    private(set) var log: QuotaLog
    /// The cycle that holds the moment up to which it has been looked at what happened.
    private(set) var current: Range<Timestamp>
    /// Whether what is carried now isn't counted.
    private var isFree: Bool
    /// What was left over for it, and since when that is counted.
    private(set) var rollover: UInt64?
    private var countedFrom: Timestamp?
    /// Cycles that were over when they got bytes, by their starts.
    private var lateCycles: Set<Timestamp> = []
    /// What was counted by the hour, for each of the direction's series.
    private var histories: [UseHistory]
    /// Whether that goes back as far as the ledger does.
    private(set) var knowsPast = false
    /// What is expected of each, if that was looked for yet, and since which hour.
    private var forecasts: [Forecast]
    private(set) var hasForecast = false
    private var forecastHour: Int64?
    /// When the limit will be reached in this cycle, and since which minute that is known.
    private(set) var exhaustion: Timestamp?
    private var exhaustionMinute: Int64?
    /// The last slot that was looked at, as most come many times.
    private var known: (slot: Timestamp, cycle: Int?)?

    init(
        _ quota: Quota, calendar: LocalCalendar, records: PlanRecords, meteredFrom: Timestamp, at now: Timestamp
    ) {
        self.quota = quota
        self.calendar = calendar
        let held = records.adjustments.filter { $0.quota == quota.name && $0.undoneAt == nil }
            .sorted { ($0.at, $0.id) < ($1.at, $1.id) }
        heldAdjustments = held
        adjustments = quota.counting(held, in: calendar)
        log = QuotaLog(records, of: quota.name)
        self.meteredFrom = records.meteredFrom ?? meteredFrom
        unread = quota.rolloverMaximumBytes == nil ? [] : records.unread.filter { Self.mayHoldCycle($0) }
        current = quota.cycle.rule.cycle(containing: now, in: calendar)
        isFree = quota.free.contains(now, in: calendar)
        histories = Array(repeating: UseHistory(), count: quota.direction.seriesCount)
        forecasts = Array(repeating: .none, count: quota.direction.seriesCount)
    }

    /// Nothing was read in this time.
    mutating func noteUnread(_ span: Range<Timestamp>) {
        if span.lowerBound == .earliest { meteredFrom = span.upperBound }
        if Self.mayHoldCycle(span), quota.rolloverMaximumBytes != nil { unread.append(span) }
        rollover = nil
    }

    /// A day has 23 hours at least, but where a zone moves over the date line; a day that is skipped has none.
    private static func mayHoldCycle(_ span: Range<Timestamp>) -> Bool {
        span.upperBound.adding(seconds: -20 * 3600) > span.lowerBound
    }

    func cycle(at moment: Timestamp) -> Range<Timestamp> { quota.cycle.rule.cycle(containing: moment, in: calendar) }

    /// From when on the store's bytes are wanted: of the open cycle and, for what was left over, of those before.
    func historyFrom(at now: Timestamp) -> Timestamp {
        let open = cycle(at: now)
        if quota.rolloverMaximumBytes == nil { return open.lowerBound }
        return cycles(before: open).first?.lowerBound ?? open.lowerBound
    }

    /// Whether its only cycle is over.
    func isOver(at now: Timestamp) -> Bool { quota.cycle.rule.isOver(at: now, in: calendar) }

    /// From when on the store's buckets must be kept: where local days don't tell what has been used.
    ///
    /// - Parameter local: By which days are booked.
    func bucketsNeededFrom(at now: Timestamp, local: LocalCalendar?) -> Timestamp {
        if isOver(at: now) { return .latest }
        let from = countedFrom ?? historyFrom(at: now)
        if !quota.free.isEmpty || quota.cycle.rule.secondsOfDay != 0 || calendar != local { return from }
        // The day of a correction is needed as a whole.
        let correction = heldAdjustments.first { $0.isCorrection && $0.at >= from }
        return correction.map { $0.at.adding(seconds: -2 * 86_400) } ?? .latest
    }

    // MARK: - Booking

    mutating func add(_ total: Total, at slot: Timestamp) {
        if count(total, at: slot) { remember(total, at: slot) }
    }

    /// Takes what the store has: it counts, but isn't remembered by the hour.
    mutating func restore(_ total: Total, at slot: Timestamp) {
        _ = count(total, at: slot)
        lateCycles = []  // What was so before the program started is no news.
    }

    /// Remembers by the hour what has been counted already.
    mutating func rememberOnly(_ total: Total, at slot: Timestamp) {
        if quota.free.isEmpty || place(of: slot) != nil { remember(total, at: slot) }
    }

    mutating func forgetHistories() { histories = Array(repeating: UseHistory(), count: histories.count) }

    mutating func takePastAsKnown() { knowsPast = true }

    /// Whether both remember the same bytes.
    func remembersLike(_ other: QuotaBook) -> Bool {
        quota.count == other.quota.count && quota.direction == other.quota.direction && quota.free == other.quota.free
            && calendar == other.calendar
    }

    /// Takes the past from a book that remembers the same bytes.
    mutating func adoptHistories(of other: QuotaBook) {
        histories = other.histories
        knowsPast = true
        forecasts = other.forecasts
        hasForecast = other.hasForecast
        forecastHour = nil
        exhaustion = other.exhaustion
    }

    /// Puts what was found in the store before what has been remembered since.
    mutating func prependHistories(of other: QuotaBook, before moment: Timestamp) {
        for number in histories.indices { histories[number].prepend(other.histories[number], before: moment) }
        knowsPast = true
        forecastHour = nil
    }

    private mutating func remember(_ total: Total, at slot: Timestamp) {
        for (number, bytes) in quota.direction.series(of: total).enumerated() { histories[number].add(bytes, at: slot) }
    }

    /// A slot that holds a moment which was corrected afterwards is divided there by time, as its bytes weren't told apart.
    private func parts(of total: Total, at slot: Timestamp) -> [(start: Timestamp, total: Total)] {
        guard let divisions = divisions[Bucket(containing: slot).start] else { return [(slot, total)] }
        let end = divisions.filter { $0.slot > slot }.map(\.moment).reduce(Bucket(start: slot).end, min)
        guard let correction = adjustments.last(where: { $0.isOfThePast && $0.at > slot && $0.at < end })
        else { return [(slot, total)] }
        let delta = Delta(received: total.received, transmitted: total.transmitted)
        let spread = Spread(delta, from: divisions.first { $0.slot == slot }?.moment ?? slot, to: end)
        return [
            (slot, Total(spread.share(from: slot, to: correction.at))),
            (correction.at, Total(spread.share(from: correction.at, to: .latest))),
        ]
    }

    /// - Returns: Whether it isn't free.
    private mutating func count(_ total: Total, at slot: Timestamp) -> Bool {
        if total.isZero { return false }
        guard let place = place(of: slot) else { return false }
        if divisions.isEmpty {
            cycles[place].add(total, at: slot)
        } else {
            for (start, part) in parts(of: total, at: slot) { cycles[place].add(part, at: start) }
        }
        let span = cycles[place].span
        if span == current { return true }
        rollover = nil
        if span.upperBound <= current.lowerBound { lateCycles.insert(span.lowerBound) }
        return true
    }

    /// - Returns: The place of the slot's cycle; `nil` if what is carried in it isn't counted.
    private mutating func place(of slot: Timestamp) -> Int? {
        if let known, known.slot == slot { return known.cycle }
        var place = cycles.lastIndex { $0.span.contains(slot) }
        if place == nil {
            let span = cycle(at: slot)
            // A cycle that comes once has a before and an after, which aren't counted.
            if span.contains(slot) { place = index(ofCycle: span) }
        }
        if quota.free.contains(slot, in: calendar) { place = nil }
        known = (slot, place)
        return place
    }

    /// The place of a cycle; `nil` if it is older than those that are remembered.
    private mutating func index(ofCycle span: Range<Timestamp>) -> Int? {
        var index = cycles.lastIndex { $0.span.lowerBound <= span.lowerBound } ?? -1
        if index >= 0, cycles[index].span == span { return index }
        let divisions = adjustments.filter(\.isCorrection).map(\.at).filter {
            span.contains($0) && $0 > span.lowerBound
        }
        let starts = [span.lowerBound] + Set(divisions).sorted()
        // The open one, those before, and one after, should the clock have been wrong.
        if cycles.count > Self.rememberedCycles + 1 {
            if index < 0 { return nil }
            cycles.removeFirst()
            index -= 1
        }
        cycles.insert(CycleUse(span: span, segments: starts.map { ($0, .zero) }), at: index + 1)
        return index + 1
    }

    // MARK: - State

    /// The bytes of a cycle, as they are known.
    private func use(in span: Range<Timestamp>) -> CycleUse? { cycles.last { $0.span == span } }

    /// What was used in a cycle: what the last correction said, and by how much all that was metered in the cycle has
    /// grown since. The direction counts the cycle as a whole, so which one is the greater may change.
    func usedBytes(in span: Range<Timestamp>) -> UInt64 {
        guard let (told, metered) = correction(of: span) else { return measuredBytes(in: span) }
        return saturatingSum(told, measuredBytes(in: span) - metered)
    }

    /// What the last correction of a cycle said, and what was metered until then.
    private func correction(of span: Range<Timestamp>) -> (told: UInt64, metered: UInt64)? {
        guard let correction = adjustments.last(where: { $0.isCorrection && span.contains($0.at) }),
            case .correction(let told) = correction.kind
        else { return nil }
        return (told, measuredBytes(in: span, before: correction.at))
    }

    /// What was metered in a cycle, whatever the provider said.
    func measuredBytes(in span: Range<Timestamp>, from start: Timestamp = .earliest, before end: Timestamp = .latest)
        -> UInt64
    {
        use(in: span).map { quota.direction.bytes(of: $0.total(from: start, before: end)) } ?? 0
    }

    /// The limit of a cycle, with what was left over before and top-ups.
    func limitBytes(in span: Range<Timestamp>) -> UInt64 {
        let carried = span == current ? rollover : nil
        return saturatingSum(ownLimitBytes(in: span), carried ?? rolloverBytes(into: span))
    }

    private func ownLimitBytes(in span: Range<Timestamp>) -> UInt64 {
        adjustments.reduce(quota.limitBytes) { limit, adjustment in
            guard case .topUp(let bytes) = adjustment.kind, span.contains(adjustment.at) else {
                return limit
            }
            return saturatingSum(limit, bytes)
        }
    }

    /// What was left over in the cycles before: of each that was metered as a whole, or corrected.
    func rolloverBytes(into span: Range<Timestamp>) -> UInt64 {
        guard let maximum = quota.rolloverMaximumBytes else { return 0 }
        return cycles(before: span).reduce(0) { carried, past in
            let limit = saturatingSum(ownLimitBytes(in: past), carried)
            let used = usedBytes(in: past)
            let isMetered =
                past.lowerBound >= meteredFrom && (used > 0 || !unread.contains { $0.clamped(to: past) == past })
            let isKnown = isMetered || adjustments.contains { $0.isCorrection && past.contains($0.at) }
            return isKnown && limit > used ? min(maximum, limit - used) : 0
        }
    }

    /// As many cycles before this one as are remembered, in order; none for one that comes once.
    private func cycles(before span: Range<Timestamp>) -> [Range<Timestamp>] {
        var spans: [Range<Timestamp>] = []
        var next = span
        while spans.count < Self.rememberedCycles, next.upperBound > meteredFrom {
            let earlier = cycle(at: next.lowerBound.adding(seconds: -1))
            if earlier.lowerBound >= next.lowerBound { break }
            spans.append(earlier)
            next = earlier
        }
        return spans.reversed()
    }

    // MARK: - Forecast

    /// Whether there is more to go by than when the forecast was made.
    func isForecastDue(at now: Timestamp) -> Bool { knowsPast && forecastHour != UseHistory.hour(of: now) }

    /// Makes the forecast again, which takes about a tenth of a millisecond.
    mutating func makeForecast(at now: Timestamp) {
        let hour = UseHistory.hour(of: now)
        forecastHour = hour
        hasForecast = true
        let remaining = (current.upperBound.secondsSinceEpoch - now.secondsSinceEpoch + 3599) / 3600
        let elapsed = hour - UseHistory.hour(of: current.lowerBound)
        let before = before
        for number in histories.indices {
            var (firstHour, values) = histories[number].complete(at: now)
            if let before, before.hours.lowerBound < firstHour, values.count < UseHistory.hours {
                let first = max(before.hours.lowerBound, firstHour - Int64(UseHistory.hours - values.count))
                values.insert(
                    contentsOf: (first..<firstHour).map { before.hours.contains($0) ? before.bytes : 0 }, at: 0)
                firstHour = first
            }
            forecasts[number] = Forecast(
                values, firstHour: firstHour, elapsed: Int(min(max(0, elapsed), Int64(UseHistory.hours))),
                remaining: Int(min(max(0, remaining), 366 * 24 * 10)))
        }
        exhaustionMinute = nil
    }

    /// The hours of the open cycle before anything was metered, and what each has had by what the provider said since.
    private var before: (hours: Range<Int64>, bytes: Float)? {
        guard let correction = adjustments.last(where: { $0.isCorrection && current.contains($0.at) }),
            case .correction(let used) = correction.kind
        else { return nil }
        let start = UseHistory.hour(of: current.lowerBound)
        let end = UseHistory.hour(of: min(meteredFrom, correction.at))
        let metered = measuredBytes(in: current, before: correction.at)
        return start < end && used > metered ? (start..<end, Float(used - metered) / Float(end - start)) : nil
    }

    /// Finds out when the limit will be reached, once a minute.
    mutating func refreshExhaustion(at now: Timestamp) {
        let minute = now.secondsSinceEpoch / 60
        if !hasForecast || exhaustionMinute == minute { return }
        exhaustionMinute = minute
        let limit = limitBytes(in: current)
        exhaustion = nil
        guard usedBytes(in: current) < limit, projectedBytes(until: current.upperBound, from: now) >= limit else {
            return
        }
        var (early, late) = (now, current.upperBound)
        // To the minute: that is finer than any forecast.
        while late.secondsSinceEpoch - early.secondsSinceEpoch > 60 {
            let middle = early.adding(seconds: (late.secondsSinceEpoch - early.secondsSinceEpoch) / 2)
            if projectedBytes(until: middle, from: now) >= limit { late = middle } else { early = middle }
        }
        exhaustion = late
    }

    /// What is expected to be used at a moment of the open cycle.
    func projectedBytes(until end: Timestamp, from now: Timestamp) -> UInt64 {
        let (told, before) = correction(of: current) ?? (0, 0)
        let metered = use(in: current)?.total(from: .earliest) ?? .zero
        let start = Double(max(now, current.lowerBound).secondsSinceEpoch) / 3600
        let expected = expectedBytes(from: start, to: Double(end.secondsSinceEpoch) / 3600, now: now)
        let future = zip(quota.direction.series(of: metered), expected).map { Double($0) + $1 }
        let grown = min(max(0, (future.max() ?? 0) - Double(before)), Double(saturationLimit / 2))
        return max(usedBytes(in: current), saturatingSum(told, UInt64(grown)))
    }

    /// What each series of the direction is expected to carry from one moment to a later one, in hours since 1970.
    private func expectedBytes(from start: Double, to end: Double, now: Timestamp) -> [Double] {
        if UseHistory.hour(of: now) - UseHistory.hour(of: meteredFrom) >= 2 || before != nil {
            return forecasts.map { $0.bytes(from: start, to: end) }
        }
        // No hour is complete yet, so there is the mean so far. Of some minutes nobody should make too much.
        let begin = max(current.lowerBound, meteredFrom)
        let seconds = max(now.secondsSinceEpoch - begin.secondsSinceEpoch, Self.leastSecondsOfMean)
        let soFar = use(in: current)?.total(from: .earliest) ?? .zero
        return quota.direction.series(of: soFar).map { Double($0) / Double(seconds) * max(0, end - start) * 3600 }
    }

    private static let leastSecondsOfMean: Int64 = 900

    // MARK: - Events

    mutating func note(_ events: [QuotaEvent]) { log.note(events, of: quota.name) }

    /// Whether bytes count otherwise from here on than the last time: another cycle has begun, or a free window has begun
    /// or ended. Should the program be killed, what was counted until then is told from what came later only if it is
    /// in the store.
    mutating func isTurning(at now: Timestamp) -> Bool {
        let wasFree = isFree
        isFree = quota.free.contains(now, in: calendar)
        return isFree != wasFree || hasTurned(at: now)
    }

    /// Whether another cycle is open now; one that comes once stays, before and after.
    private func hasTurned(at now: Timestamp) -> Bool { !current.contains(now) && cycle(at: now) != current }

    /// What happened since the last time, each only once for a cycle, whatever was forgotten meanwhile.
    mutating func takeEvents(at now: Timestamp) -> [QuotaEvent] {
        // What came once has been told; of its past only whole days may be left.
        if isOver(at: now.adding(seconds: -86_400)) { return [] }
        var spans = lateCycles.isEmpty ? [] : cycles.map(\.span).filter { lateCycles.contains($0.lowerBound) }
        lateCycles = []
        if hasTurned(at: now) {
            // The last bytes of a cycle are read when the next one has begun; after a gap there may be some between.
            let previous = current
            current = cycle(at: now)
            spans.append(previous)
            spans += cycles.map(\.span).filter {
                $0.lowerBound > previous.lowerBound && $0.upperBound <= current.lowerBound
            }
            rollover = nil
            forecastHour = nil
        }
        if rollover == nil {
            rollover = rolloverBytes(into: current)
            countedFrom = historyFrom(at: current.lowerBound)
        }
        spans.append(current)
        var events: [QuotaEvent] = []
        for (index, span) in spans.enumerated() where !spans[..<index].contains(span) {
            let used = usedBytes(in: span)
            let limit = limitBytes(in: span)
            events += log.takeEvents(of: quota, in: span, used: used, limit: limit, at: now)
        }
        return events
    }
}

extension Quota {
    /// A correction still holds for a cycle whose beginning has moved by this much, as a change of the zone moves it. Zones
    /// are up to 26 hours apart (UTC-12 to UTC+14), but a move by more than this may as well be another billing day.
    private static let widestMoveSeconds: Int64 = 14 * 3600

    /// Whether a correction says something of this cycle: of one with another billing day nobody knows what the provider
    /// counted.
    private func isMeant(_ correction: Adjustment, _ cycle: Range<Timestamp>) -> Bool {
        guard let start = correction.cycleStart else { return true }
        return abs(start.secondsSinceEpoch - cycle.lowerBound.secondsSinceEpoch) <= Self.widestMoveSeconds
    }

    /// Without the corrections that later ones of the same cycle have replaced, and those that meant another one.
    fileprivate func counting(_ held: [Adjustment], in calendar: LocalCalendar) -> [Adjustment] {
        var counting: [Adjustment] = []
        var last: (place: Int, cycle: Range<Timestamp>)?
        for adjustment in held {
            guard adjustment.isCorrection else {
                counting.append(adjustment)
                continue
            }
            let cycle = cycle.rule.cycle(containing: adjustment.at, in: calendar)
            if !isMeant(adjustment, cycle) { continue }
            if let known = last, known.cycle == cycle {
                counting.remove(at: known.place)
            }
            last = (counting.count, cycle)
            counting.append(adjustment)
        }
        return counting
    }
}
