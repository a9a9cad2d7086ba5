import CivilTime

/// What a quota carried by the hour, and what is expected of its open cycle.
struct QuotaForecast: Sendable {
    private let direction: ByteDirection
    /// Counted bytes by the hour, for each of the direction's series.
    private var histories: [UseHistory]
    /// Whether ``histories`` go back as far as the ledger.
    var knowsPast = false
    /// A forecast for each series, or none before they are made; and in which hour they were made.
    private var forecasts: [Forecast] = []
    private var hour: Int64?
    /// When the limit will be reached in this cycle, and in which minute that was computed.
    fileprivate(set) var exhaustion: Timestamp?
    fileprivate var exhaustionMinute: Int64?

    init(_ direction: ByteDirection) {
        self.direction = direction
        histories = Array(repeating: UseHistory(), count: direction.seriesCount)
    }

    mutating func remember(_ total: Total, _ sign: Selection.Sign, at slot: Timestamp) {
        for (number, bytes) in direction.series(of: total).enumerated() {
            histories[number].add(sign == .adds ? Float(bytes) : -Float(bytes), at: slot)
        }
    }

    /// Takes the hourly past from a book that remembers the same bytes.
    mutating func adopt(_ other: QuotaForecast) {
        self = other
        knowsPast = true
        (hour, exhaustionMinute) = (nil, nil)
    }

    /// Puts the past that a scan found before what was remembered since.
    mutating func prepend(_ other: QuotaForecast, before moment: Timestamp) {
        for number in histories.indices { histories[number].prepend(other.histories[number], before: moment) }
        knowsPast = true
        hour = nil
    }

    /// Another cycle is open now.
    mutating func outdate() { hour = nil }

    /// Whether a forecast was made yet.
    var isMade: Bool { !forecasts.isEmpty }

    /// Whether there is a newer hour than when the forecast was made.
    func isDue(at now: Timestamp) -> Bool { knowsPast && hour != UseHistory.hour(of: now) }

    /// Makes the forecast again, which takes about a tenth of a millisecond.
    ///
    /// - Parameter before: The hours of the cycle before metering began, and the bytes of each according to a correction.
    mutating func make(for cycle: Range<Timestamp>, before: (hours: Range<Int64>, bytes: Float)?, at now: Timestamp) {
        let hour = UseHistory.hour(of: now)
        self.hour = hour
        let remaining = (cycle.upperBound.secondsSinceEpoch - now.secondsSinceEpoch + 3599) / 3600
        let elapsed = hour - UseHistory.hour(of: cycle.lowerBound)
        forecasts = histories.map { history in
            var (firstHour, values) = history.complete(at: now)
            if let before, before.hours.lowerBound < firstHour, values.count < UseHistory.hours {
                let first = max(before.hours.lowerBound, firstHour - Int64(UseHistory.hours - values.count))
                values.insert(
                    contentsOf: (first..<firstHour).map { before.hours.contains($0) ? before.bytes : 0 }, at: 0)
                firstHour = first
            }
            return Forecast(
                values, firstHour: firstHour, elapsed: Int(min(max(0, elapsed), Int64(UseHistory.hours))),
                remaining: Int(min(max(0, remaining), 366 * 24 * 10)))
        }
        exhaustionMinute = nil
    }

    /// The bytes expected in each series from one moment to a later one, in hours since 1970.
    func bytes(from start: Double, to end: Double) -> [Double] { forecasts.map { $0.bytes(from: start, to: end) } }
}

/// The expected use of the open cycle.
extension QuotaBook {
    mutating func makeForecast(at now: Timestamp) { forecast.make(for: current, before: usedBefore, at: now) }

    /// The hours of the open cycle before metering began, and the bytes of each hour according to a correction.
    private var usedBefore: (hours: Range<Int64>, bytes: Float)? {
        guard let (used, metered, at) = correction(of: current) else { return nil }
        let start = UseHistory.hour(of: current.lowerBound)
        let end = UseHistory.hour(of: min(meteredFrom, at))
        return start < end && used > metered ? (start..<end, Float(used - metered) / Float(end - start)) : nil
    }

    /// Computes ``QuotaForecast/exhaustion`` again, once a minute.
    mutating func refreshExhaustion(at now: Timestamp) {
        let minute = now.secondsSinceEpoch / 60
        if !forecast.isMade || forecast.exhaustionMinute == minute { return }
        forecast.exhaustionMinute = minute
        forecast.exhaustion = expectedExhaustion(at: now)
    }

    /// When the limit will be reached, to the minute: that is finer than any forecast.
    private func expectedExhaustion(at now: Timestamp) -> Timestamp? {
        let limit = limitBytes(in: current)
        guard usedBytes(in: current) < limit, projectedBytes(until: current.upperBound, from: now) >= limit else {
            return nil
        }
        var (early, late) = (now, current.upperBound)
        while late.secondsSinceEpoch - early.secondsSinceEpoch > 60 {
            let middle = early.adding(seconds: (late.secondsSinceEpoch - early.secondsSinceEpoch) / 2)
            if projectedBytes(until: middle, from: now) >= limit { late = middle } else { early = middle }
        }
        return late
    }

    /// The use that is expected at a moment of the open cycle.
    func projectedBytes(until end: Timestamp, from now: Timestamp) -> UInt64 {
        let (stated, before, _) = correction(of: current) ?? (0, 0, now)
        let metered = use(in: current)?.total() ?? .zero
        let start = Double(max(now, current.lowerBound).secondsSinceEpoch) / 3600
        let expected = expectedBytes(from: start, to: Double(end.secondsSinceEpoch) / 3600, now: now)
        let future = zip(quota.direction.series(of: metered), expected).map { Double($0) + $1 }
        let grown = min(max(0, (future.max() ?? 0) - Double(before)), Double(saturationLimit / 2))
        return max(usedBytes(in: current), saturatingSum(stated, UInt64(grown)))
    }

    /// The bytes expected in each series from one moment to a later one, in hours since 1970.
    private func expectedBytes(from start: Double, to end: Double, now: Timestamp) -> [Double] {
        if UseHistory.hour(of: now) - UseHistory.hour(of: meteredFrom) >= 2 || usedBefore != nil {
            return forecast.bytes(from: start, to: end)
        }
        // No hour is complete yet, so the mean so far is used; over 15 minutes at least, because less means little.
        let begin = max(current.lowerBound, meteredFrom)
        let seconds = max(now.secondsSinceEpoch - begin.secondsSinceEpoch, Self.leastSecondsOfMean)
        let soFar = use(in: current)?.total() ?? .zero
        return quota.direction.series(of: soFar).map { Double($0) / Double(seconds) * max(0, end - start) * 3600 }
    }

    private static let leastSecondsOfMean: Int64 = 900
}
