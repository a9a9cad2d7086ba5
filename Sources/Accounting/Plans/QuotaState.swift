import CivilTime

/// The figures of a quota at one moment.
package struct QuotaState: Sendable {
    package struct Threshold: Sendable {
        package var share: Share
        package var isReached: Bool
        /// When it was first reached in this cycle.
        package var reachedAt: Timestamp?
    }

    package var quota: Quota
    package var cycle: Range<Timestamp>
    package var usedBytes: UInt64
    /// The bytes metered in the cycle, whatever the provider counted.
    package var measuredBytes: UInt64
    package var limitBytes: UInt64
    package var rolloverBytes: UInt64
    package var topUpBytes: UInt64
    package var isBreached: Bool
    /// When the current breach began.
    package var breachedAt: Timestamp?
    package var breaches: UInt64
    package var thresholds: [Threshold]
    /// The use that is expected at the end of the cycle; `nil` before there is a forecast.
    package var projectedBytes: UInt64?
    /// When the limit will be reached, if that is in this cycle and still ahead.
    package var exhaustion: Timestamp?
    package var cost: Money?
    /// Corrections and top-ups of this cycle, in the order of their moments.
    package var adjustments: [Adjustment]
    /// The last correction minus the bytes metered until then.
    package var driftBytes: Int64?

    package var leftBytes: UInt64 { limitBytes > usedBytes ? limitBytes - usedBytes : 0 }

    /// How much may be used each day so that the limit isn't reached before the cycle ends.
    package func safeBytesPerDay(at now: Timestamp) -> UInt64 {
        let left = cycle.upperBound.secondsSinceEpoch - max(now, cycle.lowerBound).secondsSinceEpoch
        if left <= 0 { return 0 }
        // If less than a day is left of the cycle, all of it is safe.
        let (high, low) = leftBytes.multipliedFullWidth(by: 86_400)
        return left <= 86_400 ? leftBytes : UInt64(left).dividingFullWidth((high, low)).quotient
    }
}

extension QuotaBook {
    /// The figures now; ``takeEvents(at:)`` must have been called for this moment.
    func state(at now: Timestamp) -> QuotaState {
        let used = usedBytes(in: current)
        let limit = limitBytes(in: current)
        let own = heldAdjustments.filter { current.contains($0.at) }
        let rollover = rollover ?? rolloverBytes(into: current)
        let correction = own.last(where: \.isCorrection)
        let isOver = isOver(at: now)
        return QuotaState(
            quota: quota, cycle: current, usedBytes: used, measuredBytes: measuredBytes(in: current), limitBytes: limit,
            rolloverBytes: rollover, topUpBytes: limit - min(limit, saturatingSum(quota.limitBytes, rollover)),
            isBreached: used >= limit && !isOver, breachedAt: isOver ? nil : log.breachedAt(in: current),
            breaches: log.breaches,
            thresholds: quota.warnAt.map {
                .init(
                    share: $0, isReached: $0.isReached(by: used, of: limit) && !isOver,
                    reachedAt: log.reachedAt($0, in: current))
            },
            projectedBytes: forecast.isMade ? projectedBytes(until: current.upperBound, from: now) : nil,
            exhaustion: used >= limit ? nil : forecast.exhaustion,
            cost: quota.price?.cost(ofUsed: used, limit: limit), adjustments: own,
            driftBytes: correction.map { drift(of: $0) })
    }

    private func drift(of correction: Adjustment) -> Int64 {
        guard case .correction(let stated) = correction.kind else { return 0 }
        let metered = measuredBytes(in: current, before: correction.at)
        return Int64(clamping: stated) - Int64(clamping: metered)
    }
}
