import CivilTime

/// The samples of a committed rate: the bytes of each aligned five minutes of its cycle.
///
/// A sample belongs to the cycle in which it begins. Samples are in UTC, so an hour that the clocks repeat has its own.
struct CommittedRateBook: Sendable {
    /// One cycle's samples.
    private struct Cycle: Sendable {
        let span: Range<Timestamp>
        /// The first aligned moment of the cycle.
        let first: Timestamp
        /// The samples by place; two series for ``ByteDirection/greater``. Places after the end are 0.
        var series: [[UInt64]]
        /// Whether it changed since ``CommittedRateBook/advance(to:computes:)`` last returned its figures.
        var isChanged = false

        init(_ span: Range<Timestamp>, seriesCount: Int) {
            self.span = span
            let bucket = Bucket(containing: span.lowerBound)
            first = bucket.start < span.lowerBound ? bucket.end : bucket.start
            series = Array(repeating: [], count: seriesCount)
        }

        /// How many samples begin before this moment.
        func sampleCount(before end: Timestamp) -> Int {
            let seconds = min(end, span.upperBound).secondsSinceEpoch - first.secondsSinceEpoch
            return seconds <= 0 ? 0 : Int((seconds - 1) / Bucket.seconds + 1)
        }
    }

    /// The open cycle, the one before and, if the clock was wrong, one after.
    private static let rememberedCycles = 3

    let committedRate: CommittedRate
    let calendar: LocalCalendar
    /// Ascending.
    private var cycles: [Cycle] = []
    /// Time in which nothing was read; ascending.
    private var unread: [Range<Timestamp>] = []
    private var meteredFrom: Timestamp
    /// The figures of cycles that are over; ascending.
    private(set) var closed: [CommittedCycle]
    /// All samples from here on are known; an earlier cycle gets no figures.
    private var knownFrom = Timestamp.earliest
    /// The cycle that was open at the last ``advance(to:computes:)``.
    private var open: Range<Timestamp>
    /// The figures of the open cycle, and how many complete samples they cover.
    private var known: (samples: Int, figures: Figures)?
    /// Whether ``known`` is out of date.
    private var isStale = false

    private struct Figures {
        var samples = 0
        var missing = 0
        /// The 95th percentile in bytes of five minutes.
        var percentile: UInt64 = 0
        /// How many samples exceed the limit.
        var over = 0
    }

    init(_ committedRate: CommittedRate, calendar: LocalCalendar, records: PlanRecords, at now: Timestamp) {
        self.committedRate = committedRate
        self.calendar = calendar
        open = committedRate.cycle.rule.cycle(containing: now, in: calendar)
        closed = records.committedCycles.filter { $0.name == committedRate.name }
            .sorted { $0.cycle.lowerBound < $1.cycle.lowerBound }
        unread = records.unread
        meteredFrom = records.meteredFrom ?? .earliest
        knownFrom = historyFrom(at: now)
    }

    private func cycle(at moment: Timestamp) -> Range<Timestamp> {
        committedRate.cycle.rule.cycle(containing: moment, in: calendar)
    }

    /// The first moment whose stored buckets are needed: also the previous cycle's, unless its figures are known.
    func historyFrom(at now: Timestamp) -> Timestamp {
        let open = cycle(at: now)
        if committedRate.cycle.rule.isOver(at: now, in: calendar) {
            return closed.contains { $0.cycle == open } ? .latest : open.lowerBound
        }
        let previous = cycle(at: open.lowerBound.adding(seconds: -1))
        return closed.contains { $0.cycle == previous } ? open.lowerBound : previous.lowerBound
    }

    /// The first moment whose buckets the store must keep. A one-time cycle needs none a day after its end.
    func bucketsNeededFrom(at now: Timestamp) -> Timestamp {
        let rule = committedRate.cycle.rule
        return rule.isOver(at: now.adding(seconds: -86_400), in: calendar) ? .latest : historyFrom(at: now)
    }

    // MARK: - Booking

    mutating func add(_ total: Total, at slot: Timestamp) {
        let start = Bucket(containing: slot).start
        guard let index = index(ofCycleAt: start) else { return }
        let place = Int((start.secondsSinceEpoch - cycles[index].first.secondsSinceEpoch) / Bucket.seconds)
        for (number, bytes) in committedRate.direction.series(of: total).enumerated() {
            let missing = place + 1 - cycles[index].series[number].count
            if missing > 0 { cycles[index].series[number] += repeatElement(0, count: missing) }
            let sum = saturatingSum(cycles[index].series[number][place], bytes)
            cycles[index].series[number][place] = sum
        }
        cycles[index].isChanged = true
        // The open sample isn't part of the figures.
        if let known, cycles[index].span == open, place < known.samples { isStale = true }
    }

    /// Nothing was read in this time.
    mutating func noteUnread(_ span: Range<Timestamp>) {
        if span.lowerBound == .earliest {
            unread.removeAll { $0.lowerBound == .earliest }
            meteredFrom = span.upperBound
        }
        unread.append(span)
        isStale = true
        let oldest = cycles.first?.span.lowerBound ?? .earliest
        unread.removeAll { $0.upperBound <= oldest }
    }

    /// The place of the cycle that holds a moment; `nil` if that is too old, or in no cycle.
    private mutating func index(ofCycleAt moment: Timestamp) -> Int? {
        if let index = cycles.lastIndex(where: { $0.span.contains(moment) }) { return index }
        let span = cycle(at: moment)
        guard span.contains(moment) else { return nil }
        let place = cycles.firstIndex { $0.span.lowerBound > span.lowerBound } ?? cycles.count
        if cycles.count == Self.rememberedCycles, place == 0 { return nil }
        cycles.insert(Cycle(span, seriesCount: committedRate.direction.seriesCount), at: place)
        if cycles.count <= Self.rememberedCycles { return place }
        cycles.removeFirst()
        return place - 1
    }

    // MARK: - Figures

    private func figures(of cycle: Cycle, before end: Timestamp) -> Figures {
        var figures = Figures()
        let count = cycle.sampleCount(before: end)
        let isMissing = missingSamples(of: cycle, count: count)
        figures.missing = isMissing.reduce(0) { $0 + ($1 ? 1 : 0) }
        let limit = committedRate.limitBitsPerSecond.multipliedFullWidth(by: UInt64(Bucket.seconds))
        for series in cycle.series {
            var samples = (0..<count).filter { !isMissing[$0] || committedRate.missing == .zero }
                .map { $0 < series.count ? series[$0] : 0 }
            figures.samples = samples.count
            let over = samples.reduce(0) { count, bytes in
                let bits = bytes.multipliedFullWidth(by: 8)
                return (bits.high, bits.low) > (limit.high, limit.low) ? count + 1 : count
            }
            figures.over = max(figures.over, over)
            figures.percentile = max(figures.percentile, Self.percentile(&samples))
        }
        return figures
    }

    /// The smallest sample that at least 95 % of all don't exceed: the nearest rank, ⌈0.95 n⌉ in ascending order.
    private static func percentile(_ samples: inout [UInt64]) -> UInt64 {
        if samples.isEmpty { return 0 }
        samples.sort()
        return samples[rank(of: samples.count) - 1]
    }

    private static func rank(of count: Int) -> Int { (19 * count + 19) / 20 }

    /// Whether each sample is missing: nothing was read in its time, and it has no bytes.
    private func missingSamples(of cycle: Cycle, count: Int) -> [Bool] {
        var isMissing = Array(repeating: false, count: count)
        for span in unread where span.upperBound > cycle.first {
            let start = max(span.lowerBound, cycle.first).secondsSinceEpoch - cycle.first.secondsSinceEpoch
            let end = min(span.upperBound, cycle.span.upperBound).secondsSinceEpoch - cycle.first.secondsSinceEpoch
            let first = Int((start + Bucket.seconds - 1) / Bucket.seconds)
            let last = min(count, Int(end / Bucket.seconds))
            for place in stride(from: first, to: last, by: 1) { isMissing[place] = true }
        }
        for series in cycle.series {
            for (place, bytes) in series.prefix(count).enumerated() where bytes > 0 { isMissing[place] = false }
        }
        return isMissing
    }

    // MARK: - State

    /// Advances to the cycle that holds this moment.
    ///
    /// - Parameter computes: Whether there is time to compute the percentile, if it is due.
    /// - Returns: The figures of cycles that are over, if they are new or have changed.
    mutating func advance(to now: Timestamp, computes: Bool) -> [CommittedCycle] {
        let span = cycle(at: Bucket(containing: now).start)
        if span != open {
            open = span
            known = nil
        }
        if let index = index(ofCycleAt: Bucket(containing: now).start), !closed.contains(where: { $0.cycle == span }) {
            cycles[index].isChanged = true  // Without bytes, too, it gets figures.
        }
        var news: [CommittedCycle] = []
        for index in cycles.indices where cycles[index].isChanged && cycles[index].span.upperBound <= now {
            cycles[index].isChanged = false
            let span = cycles[index].span
            if span.lowerBound < knownFrom || span.upperBound <= meteredFrom { continue }
            // By another clock, the cycle has its figures already.
            if closed.contains(where: { $0.cycle != span && $0.cycle.isMostly(span) }) { continue }
            let figures = figures(of: cycles[index], before: span.upperBound)
            let cycle = CommittedCycle(
                name: committedRate.name, cycle: span, limitBitsPerSecond: committedRate.limitBitsPerSecond,
                percentileBytes: figures.percentile, samples: figures.samples, missing: figures.missing)
            closed.removeAll { $0.cycle == span }
            closed.append(cycle)
            closed.sort { $0.cycle.lowerBound < $1.cycle.lowerBound }
            news.append(cycle)
        }
        if computes { refreshFigures(at: now) }
        return news
    }

    /// Computes the percentile of the open cycle's complete samples, unless it is known.
    mutating func refreshFigures(at now: Timestamp) {
        guard isDue(at: now), let cycle = cycles.last(where: { $0.span == open }) else { return }
        let end = Bucket(containing: now).start
        known = (cycle.sampleCount(before: end), figures(of: cycle, before: end))
        isStale = false
    }

    /// Whether the figures are out of date.
    func isDue(at now: Timestamp) -> Bool {
        guard let cycle = cycles.last(where: { $0.span == open }) else { return false }
        return isStale || known?.samples != cycle.sampleCount(before: Bucket(containing: now).start)
    }

    /// The committed rate's figures at the last ``advance(to:computes:)``.
    var state: CommittedRateState {
        var figures = known?.figures ?? Figures()
        if let stored = closed.last(where: { $0.cycle == open }) {
            // A one-time cycle that is over: its final figures count, not the samples that are left.
            figures = Figures(
                samples: stored.samples, missing: stored.missing, percentile: stored.percentileBytes, over: .max / 2)
        }
        var total = Cycle(open, seriesCount: 1).sampleCount(before: open.upperBound)
        if committedRate.missing == .skip { total -= min(total, figures.missing) }
        let allowed = total - Self.rank(of: total)
        return CommittedRateState(
            committedRate: committedRate, cycle: open,
            percentileBytesPerSecond: Double(figures.percentile) / Double(Bucket.seconds), samples: figures.samples,
            missing: figures.missing,
            burstRemainingSeconds: Int64(max(0, allowed - figures.over)) * Bucket.seconds, closed: closed)
    }
}

/// The figures of a committed rate at one moment.
package struct CommittedRateState: Sendable {
    package var committedRate: CommittedRate
    package var cycle: Range<Timestamp>
    /// The 95th percentile of the complete samples so far.
    package var percentileBytesPerSecond: Double
    package var samples: Int
    package var missing: Int
    /// How much longer the rate may exceed the limit before the cycle's percentile does.
    package var burstRemainingSeconds: Int64
    /// The cycles that are over; ascending.
    package var closed: [CommittedCycle]
}
