import CivilTime

/// The store's records for plans, besides bytes.
package struct PlanRecords: Sendable {
    package var adjustments: [Adjustment] = []
    /// Events of recent cycles.
    package var events: [QuotaEvent] = []
    /// How many breaches each quota has had.
    package var breaches: [String: UInt64] = [:]
    /// Figures of earlier cycles of committed rates.
    package var committedCycles: [CommittedCycle] = []
    /// Time without readings. A span from `.earliest` on ends when metering began.
    package var unread: [Range<Timestamp>] = []
    /// The first moment of the imported time; `nil` if nothing was imported.
    package var importedFrom: Timestamp?
    /// The start of the last bucket.
    package var meteredUntil = Timestamp.earliest

    package static let none = PlanRecords()

    /// When metering began, if that was noted.
    package var meteredFrom: Timestamp? { unread.last { $0.lowerBound == .earliest }?.upperBound }

    /// When the first byte in the ledger may have been carried, if that is known.
    package var recordedFrom: Timestamp? {
        meteredFrom.map { min($0, importedFrom ?? $0) }
    }

    mutating func noteUnread(_ span: Range<Timestamp>) {
        if span.lowerBound == .earliest { unread.removeAll { $0.lowerBound == .earliest } }
        unread.append(span)
    }

    /// How many events are kept; each quota has a few in a cycle.
    private static let maximumEvents = 20_000

    /// Copies `awaitsProgram` of `event` to the recorded event.
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
        for var event in new {
            event.isNews = false
            events.append(event)
            if event.kind == .breach { breaches[event.quota] = saturatingSum(breaches[event.quota] ?? 0, 1) }
        }
        if events.count > Self.maximumEvents { events.removeFirst(events.count - Self.maximumEvents) }
    }
}
