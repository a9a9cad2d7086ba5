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
    /// When the cycle began that a correction speaks of; `nil` where that wasn't noted.
    package var cycleStart: Timestamp?

    package init(
        id: Int64, quota: String, kind: Kind, at: Timestamp, enteredAt: Timestamp, undoneAt: Timestamp? = nil,
        cycleStart: Timestamp? = nil
    ) {
        self.id = id
        self.quota = quota
        self.kind = kind
        self.at = at
        self.enteredAt = enteredAt
        self.undoneAt = undoneAt
        self.cycleStart = cycleStart
    }
}

extension Adjustment {
    /// Whether bytes from before and after it weren't told apart when they were carried.
    var isOfThePast: Bool { isCorrection && at != enteredAt }

    var isCorrection: Bool {
        switch kind {
        case .correction: true
        case .topUp: false
        }
    }
}
