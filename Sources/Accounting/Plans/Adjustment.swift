import CivilTime

/// What the owner tells the ledger about a quota, kept for good.
package struct Adjustment: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// The provider counted so much in the cycle up to then.
        case correction(usedBytes: UInt64)
        /// The limit of the cycle is so much higher.
        case topUp(bytes: UInt64)
    }

    package var id: Int64
    package var quota: String
    package var kind: Kind
    /// When it holds from; it belongs to the cycle that holds this moment.
    package var at: Timestamp
    package var enteredAt: Timestamp
    /// When it was taken back, if it was.
    package var undoneAt: Timestamp?

    package init(
        id: Int64, quota: String, kind: Kind, at: Timestamp, enteredAt: Timestamp, undoneAt: Timestamp? = nil
    ) {
        self.id = id
        self.quota = quota
        self.kind = kind
        self.at = at
        self.enteredAt = enteredAt
        self.undoneAt = undoneAt
    }
}

/// Something that happened to a quota, kept for good: it can't be told from the bytes alone.
package struct QuotaEvent: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable {
        /// A threshold was reached.
        case warning
        /// The limit was reached.
        case breach
        /// A breach was taken back by a correction, a top-up or another configuration.
        case lift
    }

    package var quota: String
    package var cycle: Range<Timestamp>
    package var kind: Kind
    package var share: Share
    /// When it was noticed.
    package var at: Timestamp
    package var usedBytes: UInt64
    package var limitBytes: UInt64
    /// Whether somebody is to be told: it is the first of its kind in its cycle. Not kept.
    package var isNews: Bool

    package init(
        quota: String, cycle: Range<Timestamp>, kind: Kind, share: Share, at: Timestamp, usedBytes: UInt64,
        limitBytes: UInt64, isNews: Bool = false
    ) {
        self.quota = quota
        self.cycle = cycle
        self.kind = kind
        self.share = share
        self.at = at
        self.usedBytes = usedBytes
        self.limitBytes = limitBytes
        self.isNews = isNews
    }
}

/// What the store keeps for plans besides bytes.
package struct PlanRecords: Sendable {
    package var adjustments: [Adjustment]
    /// Of cycles that aren't long past.
    package var events: [QuotaEvent]
    /// How many breaches each quota has had.
    package var breaches: [String: UInt64]
    /// What earlier cycles of committed rates have given.
    package var committedCycles: [CommittedCycle]
    /// Time in which nothing was read; ascending.
    package var unread: [Range<Timestamp>]

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

    /// As many events as are remembered: each quota has a few in a cycle.
    private static let maximumEvents = 20_000

    mutating func note(_ cycles: [CommittedCycle]) {
        committedCycles.removeAll { known in cycles.contains { $0.name == known.name && $0.cycle == known.cycle } }
        committedCycles += cycles
    }

    mutating func note(_ new: [QuotaEvent]) {
        events += new
        if events.count > Self.maximumEvents { events.removeFirst(events.count - Self.maximumEvents) }
        for event in new where event.kind == .breach {
            breaches[event.quota] = saturatingSum(breaches[event.quota] ?? 0, 1)
        }
    }
}
