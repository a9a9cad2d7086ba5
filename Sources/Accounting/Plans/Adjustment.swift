import CivilTime

/// The owner's correction or top-up of a quota, kept for good.
package struct Adjustment: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// The provider counted this much in the cycle up to ``at``.
        case correction(usedBytes: UInt64)
        /// The limit of the cycle is this much higher.
        case topUp(bytes: UInt64)
    }

    package var id: Int64
    package var quota: String
    package var kind: Kind
    /// The moment from which it applies. It belongs to the cycle that holds this moment.
    package var at: Timestamp
    package var enteredAt: Timestamp
    /// When it was taken back, if it was.
    package var undoneAt: Timestamp?
    /// The start of the cycle that a correction is about; `nil` if it wasn't noted.
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
    /// Whether it was entered later than ``at``, when bytes before and after it were already booked together.
    var isOfThePast: Bool { isCorrection && at != enteredAt }

    var isCorrection: Bool {
        switch kind {
        case .correction: true
        case .topUp: false
        }
    }
}
