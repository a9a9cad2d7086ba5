import CivilTime

/// What the store keeps for plans besides bytes.
package struct PlanRecords: Sendable {
    package var adjustments: [Adjustment]
    /// Of cycles that aren't long past.
    package var events: [QuotaEvent]
    /// How many breaches each quota has had.
    package var breaches: [String: UInt64]
    /// What earlier cycles of committed rates have given.
    package var committedCycles: [CommittedCycle]
    /// Time in which nothing was read. What begins with all time ends when metering began.
    package var unread: [Range<Timestamp>]

    /// The first moment of the time that was imported; `nil` if nothing was.
    package var importedFrom: Timestamp?
    /// The beginning of the last bucket that there is.
    package var meteredUntil = Timestamp.earliest

    package static let none = PlanRecords(
        adjustments: [], events: [], breaches: [:], committedCycles: [], unread: [])

    package init(
        adjustments: [Adjustment], events: [QuotaEvent], breaches: [String: UInt64], committedCycles: [CommittedCycle],
        unread: [Range<Timestamp>]
    ) {
        self.committedCycles = committedCycles
        self.unread = unread
        self.adjustments = adjustments
        self.events = events
        self.breaches = breaches
    }

    /// When metering began, if that was noted.
    package var meteredFrom: Timestamp? { unread.last { $0.lowerBound == .earliest }?.upperBound }

    /// When the first byte was carried that may be in the ledger, if that is known.
    package var recordedFrom: Timestamp? {
        meteredFrom.map { min($0, importedFrom ?? $0) }
    }

    mutating func noteUnread(_ span: Range<Timestamp>) {
        if span.lowerBound == .earliest { unread.removeAll { $0.lowerBound == .earliest } }
        unread.append(span)
    }

    /// As many events as are remembered: each quota has a few in a cycle.
    private static let maximumEvents = 20_000

    /// Whether the event's program awaits its start is now as in `event`.
    mutating func setAwaitsProgram(as event: QuotaEvent) {
        for index in events.indices where events[index].isSame(as: event) {
            events[index].awaitsProgram = event.awaitsProgram
        }
    }

    mutating func note(_ cycles: [CommittedCycle]) {
        committedCycles.removeAll { known in cycles.contains { $0.name == known.name && $0.cycle == known.cycle } }
        committedCycles += cycles
    }

    mutating func note(_ new: [QuotaEvent]) {
        events += new.map(\.asNoted)
        if events.count > Self.maximumEvents { events.removeFirst(events.count - Self.maximumEvents) }
        for event in new where event.kind == .breach {
            breaches[event.quota] = saturatingSum(breaches[event.quota] ?? 0, 1)
        }
    }
}
