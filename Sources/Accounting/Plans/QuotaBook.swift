import CivilTime

/// What one quota has counted, cycle by cycle.
///
/// Bytes come in slots (``Bucket``). Each slot lies in one cycle, is free or not, and lies before or after each
/// correction. So adding up the ledger gives the same sums at any time.
struct QuotaBook: Sendable {
    /// A cycle's bytes, with a new segment at each correction.
    struct CycleUse: Sendable {
        let span: Range<Timestamp>
        /// Ascending; the first begins with the cycle.
        var segments: [Segment]

        struct Segment {
            let start: Timestamp
            var total = Total.zero
            /// Bytes of ``total`` that don't count. They may come first.
            var exceptions = Total.zero
        }

        mutating func add(_ total: Total, _ sign: Selection.Sign, at slot: Timestamp) {
            let index = segments.lastIndex { $0.start <= slot } ?? 0
            switch sign {
            case .adds: segments[index].total += total
            case .subtracts: segments[index].exceptions += total
            }
        }

        /// The bytes before a moment, which is a correction or the end of the cycle.
        func total(before end: Timestamp = .latest) -> Total {
            var (total, exceptions) = (Total.zero, Total.zero)
            for segment in segments where segment.start < end {
                total += segment.total
                exceptions += segment.exceptions
            }
            return total.without(exceptions)
        }
    }

    /// How many past cycles are kept, and so how far rollover reaches.
    private static let rememberedCycles = 12

    let quota: Quota
    let calendar: LocalCalendar
    /// Ascending; cycles without bytes may be missing.
    private(set) var cycles: [CycleUse] = []
    /// The adjustments that count, by their moments: each cycle's last correction, and all top-ups.
    let adjustments: [Adjustment]
    /// All adjustments that weren't undone, by their moments.
    let heldAdjustments: [Adjustment]
    /// Where a slot begins within its five minutes, and from when on bytes went to it.
    typealias Division = (slot: Timestamp, moment: Timestamp)

    /// The divisions of each bucket that holds a correction of the past, by the bucket's start.
    var divisions: [Timestamp: [Division]] = [:]
    /// The ledger has all bytes from here on; for an earlier cycle it lacks some.
    private(set) var meteredFrom: Timestamp
    /// Time without readings, if it is long enough for a whole cycle.
    private var unread: [Range<Timestamp>]
    private(set) var log: QuotaLog
    /// The cycle that ``takeEvents(at:)`` last looked at.
    private(set) var current: Range<Timestamp>
    /// Whether bytes are free now.
    private var isFree: Bool
    /// The rollover into ``current``, and the first moment that it counts from.
    private(set) var rollover: UInt64?
    private var countedFrom: Timestamp?
    /// Starts of cycles that got bytes after their end.
    private var lateCycles: Set<Timestamp> = []
    /// What is expected of the open cycle.
    var forecast: QuotaForecast
    /// The slot that was looked up last, because most come many times in a row.
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
        forecast = QuotaForecast(quota.direction)
    }

    /// Nothing was read in this time.
    mutating func noteUnread(_ span: Range<Timestamp>) {
        if span.lowerBound == .earliest { meteredFrom = span.upperBound }
        if Self.mayHoldCycle(span), quota.rolloverMaximumBytes != nil { unread.append(span) }
        rollover = nil
    }

    /// Whether a span may hold a whole cycle. A day has at least 23 hours, unless its zone crosses the date line.
    private static func mayHoldCycle(_ span: Range<Timestamp>) -> Bool {
        span.upperBound.adding(seconds: -20 * 3600) > span.lowerBound
    }

    func cycle(at moment: Timestamp) -> Range<Timestamp> { quota.cycle.rule.cycle(containing: moment, in: calendar) }

    /// The first moment whose stored bytes are needed: of the open cycle and, for rollover, of the cycles before.
    func historyFrom(at now: Timestamp) -> Timestamp {
        let open = cycle(at: now)
        if quota.rolloverMaximumBytes == nil { return open.lowerBound }
        return cycles(before: open).first?.lowerBound ?? open.lowerBound
    }

    /// Whether its only cycle is over.
    func isOver(at now: Timestamp) -> Bool { quota.cycle.rule.isOver(at: now, in: calendar) }

    /// The first moment whose buckets the store must keep, because local days don't give the use.
    ///
    /// - Parameter local: The calendar by which days are booked.
    func bucketsNeededFrom(at now: Timestamp, local: LocalCalendar?) -> Timestamp {
        if isOver(at: now) { return .latest }
        let from = countedFrom ?? historyFrom(at: now)
        if !quota.free.isEmpty || quota.cycle.rule.secondsOfDay != 0 || calendar != local { return from }
        // The day of a correction is needed as a whole.
        let correction = heldAdjustments.first { $0.isCorrection && $0.at >= from }
        return correction.map { $0.at.adding(seconds: -2 * 86_400) } ?? .latest
    }

    // MARK: - Booking

    mutating func add(_ total: Total, _ sign: Selection.Sign = .adds, at slot: Timestamp) {
        if count(total, sign, at: slot) { forecast.remember(total, sign, at: slot) }
    }

    /// Counts stored bytes, but doesn't remember them by the hour.
    mutating func restore(_ total: Total, _ sign: Selection.Sign = .adds, at slot: Timestamp) {
        _ = count(total, sign, at: slot)
        lateCycles = []  // Events from before the start are no news.
    }

    /// Remembers bytes by the hour that are counted already.
    mutating func rememberOnly(_ total: Total, _ sign: Selection.Sign = .adds, at slot: Timestamp) {
        if quota.free.isEmpty || place(of: slot) != nil { forecast.remember(total, sign, at: slot) }
    }

    /// Whether both books remember the same bytes by the hour.
    func remembersLike(_ other: QuotaBook) -> Bool {
        quota.count == other.quota.count && quota.direction == other.quota.direction && quota.free == other.quota.free
            && calendar == other.calendar
    }

    /// Divides a slot at a correction that was entered later, in proportion to time.
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

    /// - Returns: Whether the bytes count.
    private mutating func count(_ total: Total, _ sign: Selection.Sign, at slot: Timestamp) -> Bool {
        if total.isZero { return false }
        guard let place = place(of: slot) else { return false }
        if divisions.isEmpty {
            cycles[place].add(total, sign, at: slot)
        } else {
            for (start, part) in parts(of: total, at: slot) { cycles[place].add(part, sign, at: start) }
        }
        let span = cycles[place].span
        if span == current { return true }
        rollover = nil
        if span.upperBound <= current.lowerBound { lateCycles.insert(span.lowerBound) }
        return true
    }

    /// - Returns: The place of the slot's cycle; `nil` if its bytes don't count.
    private mutating func place(of slot: Timestamp) -> Int? {
        if let known, known.slot == slot { return known.cycle }
        var place = cycles.lastIndex { $0.span.contains(slot) }
        if place == nil {
            let span = cycle(at: slot)
            // Time before and after a one-time cycle doesn't count.
            if span.contains(slot) { place = index(ofCycle: span) }
        }
        if quota.free.contains(slot, in: calendar) { place = nil }
        known = (slot, place)
        return place
    }

    /// The place of a cycle; `nil` if it is too old to be kept.
    private mutating func index(ofCycle span: Range<Timestamp>) -> Int? {
        var index = cycles.lastIndex { $0.span.lowerBound <= span.lowerBound } ?? -1
        if index >= 0, cycles[index].span == span { return index }
        let divisions = adjustments.filter(\.isCorrection).map(\.at).filter {
            span.contains($0) && $0 > span.lowerBound
        }
        let starts = [span.lowerBound] + Set(divisions).sorted()
        // The open one, those before, and one after, in case the clock was wrong.
        if cycles.count > Self.rememberedCycles + 1 {
            if index < 0 { return nil }
            cycles.removeFirst()
            index -= 1
        }
        cycles.insert(CycleUse(span: span, segments: starts.map { .init(start: $0) }), at: index + 1)
        return index + 1
    }

    // MARK: - State

    func use(in span: Range<Timestamp>) -> CycleUse? { cycles.last { $0.span == span } }

    /// The use of a cycle: its last correction, plus how much the metered bytes have grown since. The greater direction
    /// is that of the whole cycle, so it may change.
    func usedBytes(in span: Range<Timestamp>) -> UInt64 {
        guard let (stated, metered, _) = correction(of: span) else { return measuredBytes(in: span) }
        let measured = measuredBytes(in: span)
        return measured > metered ? saturatingSum(stated, measured - metered) : stated
    }

    /// The last correction of a cycle, the bytes metered before it, and its moment.
    func correction(of span: Range<Timestamp>) -> (stated: UInt64, metered: UInt64, at: Timestamp)? {
        guard let correction = adjustments.last(where: { $0.isCorrection && span.contains($0.at) }),
            case .correction(let stated) = correction.kind
        else { return nil }
        return (stated, measuredBytes(in: span, before: correction.at), correction.at)
    }

    /// The bytes metered in a cycle, whatever the provider counted.
    func measuredBytes(in span: Range<Timestamp>, before end: Timestamp = .latest) -> UInt64 {
        use(in: span).map { quota.direction.bytes(of: $0.total(before: end)) } ?? 0
    }

    /// The limit of a cycle, with rollover and top-ups.
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

    /// The unused bytes of the cycles before that were metered as a whole, or corrected.
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

    /// The kept cycles before this one, in order; none before a one-time cycle.
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

    // MARK: - Events

    mutating func note(_ events: [QuotaEvent]) { log.note(events, of: quota.name) }

    /// Whether another cycle has begun since the last call, or a free window has begun or ended. If the program is
    /// killed, only the store can separate the bytes before from those after.
    mutating func isTurning(at now: Timestamp) -> Bool {
        let wasFree = isFree
        isFree = quota.free.contains(now, in: calendar)
        return isFree != wasFree || hasTurned(at: now)
    }

    /// Whether another cycle is open now. A one-time cycle stays open before and after its time.
    private func hasTurned(at now: Timestamp) -> Bool { !current.contains(now) && cycle(at: now) != current }

    /// The events since the last call, each only once for a cycle, even if its bytes were forgotten meanwhile.
    mutating func takeEvents(at now: Timestamp) -> [QuotaEvent] {
        // A one-time cycle has had its events; of its bytes only whole days may be left.
        if isOver(at: now.adding(seconds: -86_400)) { return [] }
        var spans = lateCycles.isEmpty ? [] : cycles.map(\.span).filter { lateCycles.contains($0.lowerBound) }
        lateCycles = []
        if hasTurned(at: now) {
            // A cycle's last bytes are read when the next has begun; after a gap there may be some between.
            let previous = current
            current = cycle(at: now)
            spans.append(previous)
            spans += cycles.map(\.span).filter {
                $0.lowerBound > previous.lowerBound && $0.upperBound <= current.lowerBound
            }
            rollover = nil
            forecast.outdate()
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
    /// A correction still applies if a change of zone moved its cycle's start by up to this much. Zones are up to 26
    /// hours apart (UTC-12 to UTC+14), but a larger move may be another billing day.
    private static let widestMoveSeconds: Int64 = 14 * 3600

    /// Whether a correction is about this cycle. For another billing day, nobody knows what the provider counted.
    private func isMeant(_ correction: Adjustment, _ cycle: Range<Timestamp>) -> Bool {
        guard let start = correction.cycleStart else { return true }
        return abs(start.secondsSinceEpoch - cycle.lowerBound.secondsSinceEpoch) <= Self.widestMoveSeconds
    }

    /// Leaves out corrections that a later one of the same cycle replaced, and those that are about another cycle.
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
