import CivilTime

/// What has happened to a quota so far.
struct QuotaLog: Sendable {
    private struct CycleLog {
        /// When each threshold was reached first.
        var reached: [Share: Timestamp] = [:]
        /// When the current breach began; `nil` if there is none.
        var breachedAt: Timestamp?
        var wasEverBreached = false

        var isBreached: Bool { breachedAt != nil }
    }

    /// By cycle, with the span that it had at its first event.
    private var cycles: [Range<Timestamp>: CycleLog] = [:]
    private(set) var breaches: UInt64

    init(_ records: PlanRecords, of quota: String) {
        breaches = records.breaches[quota] ?? 0
        for event in records.events where event.quota == quota { note(event) }
    }

    /// Adds this quota's events since the records were read.
    mutating func note(_ events: [QuotaEvent], of quota: String) {
        for event in events where event.quota == quota {
            note(event)
            if event.kind == .breach { breaches = saturatingSum(breaches, 1) }
        }
    }

    private mutating func note(_ event: QuotaEvent) {
        let span = key(of: event.cycle)
        var log = cycles[span] ?? CycleLog()
        switch event.kind {
        case .warning: log.reached[event.share] = log.reached[event.share] ?? event.at
        case .breach:
            log.breachedAt = event.at
            log.wasEverBreached = true
        case .lift: log.breachedAt = nil
        }
        cycles[span] = log
    }

    /// The logged span of the same cycle. In another zone a cycle begins and ends some hours earlier or later, but its
    /// events don't happen again.
    private func key(of span: Range<Timestamp>) -> Range<Timestamp> {
        if cycles[span] != nil { return span }
        return cycles.keys.filter { $0.isMostly(span) }.max { $0.lowerBound < $1.lowerBound } ?? span
    }

    /// When a threshold was first reached in a cycle.
    func reachedAt(_ share: Share, in span: Range<Timestamp>) -> Timestamp? { cycles[key(of: span)]?.reached[share] }

    /// When the current breach of a cycle began.
    func breachedAt(in span: Range<Timestamp>) -> Timestamp? { cycles[key(of: span)]?.breachedAt }

    mutating func takeEvents(
        of quota: Quota, in span: Range<Timestamp>, used: UInt64, limit: UInt64, at now: Timestamp
    ) -> [QuotaEvent] {
        let log = cycles[key(of: span)]
        func event(_ kind: QuotaEvent.Kind, _ share: Share) -> QuotaEvent {
            let isFirst =
                switch kind {
                case .warning: true
                case .breach: log?.wasEverBreached != true
                case .lift: false
                }
            return QuotaEvent(
                quota: quota.name, cycle: span, kind: kind, share: share, at: now, usedBytes: used, limitBytes: limit,
                isNews: true, isFirst: isFirst, awaitsProgram: isFirst && !quota.run.isEmpty)
        }
        var events = quota.warnAt.filter { log?.reached[$0] == nil && $0.isReached(by: used, of: limit) }
            .map { event(.warning, $0) }
        let isBreached =
            used >= limit || log?.isBreached == true && saturatingSum(used, quota.count.slackBytes(of: limit)) >= limit
        if isBreached != log?.isBreached ?? false { events.append(event(isBreached ? .breach : .lift, .whole)) }
        if isBreached, log?.isBreached != true { breaches = saturatingSum(breaches, 1) }
        for event in events { note(event) }
        return events
    }
}

extension Range<Timestamp> {
    /// Whether more than half of the longer span is in the other: the same cycle by two clocks.
    func isMostly(_ other: Range<Timestamp>) -> Bool {
        func length(_ span: Range<Timestamp>) -> Int64 {
            let (length, overflow) = span.upperBound.secondsSinceEpoch.subtractingReportingOverflow(
                span.lowerBound.secondsSinceEpoch)
            return overflow ? .max : length
        }
        return overlaps(other) && length(clamped(to: other)) > Swift.max(length(self), length(other)) / 2
    }
}
