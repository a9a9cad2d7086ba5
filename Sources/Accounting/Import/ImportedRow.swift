import CivilTime

/// A span of another meter's history as the ledger keeps it: what that meter reported, and what of it was booked.
package struct ImportedRow: Hashable, Sendable {
    /// The time that the other meter reported.
    package let slot: Range<Timestamp>
    /// The end of the time over which the bytes are booked evenly.
    package let bookedUntil: Timestamp
    /// What was booked.
    package var total: Total
    /// Everything that the other meter reported, including what the ledger had.
    package let reported: Total
    /// The part of it that the ledger had metered itself, in an account of several devices.
    package let own: Total
    /// The device that the other meter counted; `""` if it is all of the account.
    package let source: String

    package init(
        slot: Range<Timestamp>, bookedUntil: Timestamp, total: Total, reported: Total, own: Total, source: String
    ) {
        self.slot = slot
        self.bookedUntil = bookedUntil
        self.total = total
        self.reported = reported
        self.own = own
        self.source = source
    }

    package var booked: Range<Timestamp> { min(slot.lowerBound, bookedUntil.adding(seconds: -1))..<bookedUntil }

    package var spread: Spread {
        Spread(
            Delta(received: total.received, transmitted: total.transmitted), from: booked.lowerBound,
            to: booked.upperBound)
    }
}
