import CivilTime

/// Something that happened to a quota, kept for good because bytes alone don't show it.
package struct QuotaEvent: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
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
    /// Whether it isn't announced yet. Not kept.
    package var isNews: Bool
    /// Whether the quota's program runs for it: for each warning and a cycle's first breach, never for a lift. Not kept.
    package var isFirst: Bool
    /// Whether a program must still be started for it.
    package var awaitsProgram: Bool

    package init(
        quota: String, cycle: Range<Timestamp>, kind: Kind, share: Share, at: Timestamp, usedBytes: UInt64,
        limitBytes: UInt64, isNews: Bool = false, isFirst: Bool = false,
        awaitsProgram: Bool = false
    ) {
        self.quota = quota
        self.cycle = cycle
        self.kind = kind
        self.share = share
        self.at = at
        self.usedBytes = usedBytes
        self.limitBytes = limitBytes
        self.isNews = isNews
        self.isFirst = isFirst
        self.awaitsProgram = awaitsProgram
    }

    /// Whether both are the same event, whatever its progress.
    func isSame(as other: QuotaEvent) -> Bool {
        quota == other.quota && cycle == other.cycle && kind == other.kind && share == other.share && at == other.at
    }
}
