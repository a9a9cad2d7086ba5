import CivilTime

/// Another meter's history of one account.
package struct ImportedAccount: Codable, Sendable {
    /// No slot holds more than this in a second: a hundred terabits. It is so much because a bucket of ours may hold a
    /// whole day's bytes, if the finer grain was lost.
    package static let mostBytesPerSecond: UInt64 = 12_500_000_000_000
    /// No link carries more than this in a second: a terabit. IEEE 802.3df ends at 800 Gbit/s.
    package static let mostLinkBytesPerSecond: UInt64 = 125_000_000_000

    /// Bytes of a span of time. How they are distributed in it isn't known.
    package struct Slot: Codable, Hashable, Sendable {
        /// POSIX seconds.
        package let start: Int64
        /// POSIX seconds, later than `start`.
        package let end: Int64
        package let received: UInt64
        package let transmitted: UInt64

        /// - Parameter span: An empty span becomes one second.
        package init(_ span: Range<Timestamp>, _ total: Total) {
            start = span.lowerBound.secondsSinceEpoch
            end = max(start + 1, span.upperBound.secondsSinceEpoch)
            received = total.received
            transmitted = total.transmitted
        }

        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            let start = try values.decode(Int64.self, forKey: .start)
            let end = try values.decode(Int64.self, forKey: .end)
            guard Self.plausible.contains(start), Self.plausible.contains(end) else {
                throw DecodingError.dataCorruptedError(
                    forKey: .start, in: values, debugDescription: "no time of this world")
            }
            self.init(
                Timestamp(secondsSinceEpoch: start)..<Timestamp(secondsSinceEpoch: max(start, end)),
                Total(
                    received: try values.decode(UInt64.self, forKey: .received),
                    transmitted: try values.decode(UInt64.self, forKey: .transmitted)))
        }

        /// Years 1970 to 9999.
        private static let plausible: Range<Int64> = 0..<253_402_300_800

        package var span: Range<Timestamp> {
            Timestamp(secondsSinceEpoch: start)..<Timestamp(secondsSinceEpoch: end)
        }

        package var total: Total { Total(received: received, transmitted: transmitted) }

        /// Whether a link of this speed can carry it in each direction.
        package func isPossible(at bytesPerSecond: UInt64) -> Bool {
            max(received, transmitted) / UInt64(end - start) <= bytesPerSecond
        }
    }

    package let key: AccountKey
    /// The device that was counted, because several may share an account; `""` for the whole account.
    package let source: String
    /// Each byte is in one slot.
    package var slots: [Slot]
    /// Whether earlier imports of this source are removed first.
    package let replaces: Bool
    /// The wall clock of its times, if they have no offsets; see ``LocalCalendar/clockText``.
    package let clock: String?

    package init(
        _ key: AccountKey, from source: String = "", slots: [Slot], replaces: Bool = false, clock: String? = nil
    ) {
        self.key = key
        self.source = source
        self.slots = slots
        self.replaces = replaces
        self.clock = clock
    }

    /// The sources of each account; accounts keep the order in which they first appear.
    package static func byKey(_ accounts: [ImportedAccount]) -> [[ImportedAccount]] {
        let groups = Dictionary(grouping: accounts, by: \.key)
        var seen: Set<AccountKey> = []
        return accounts.compactMap { seen.insert($0.key).inserted ? groups[$0.key] : nil }
    }

    /// Divides accounts into pieces of about `count` slots, each to be imported by itself. Pieces of one account don't
    /// overlap in time, and a day is divided only if it has too many slots.
    package static func pieces(
        of accounts: [ImportedAccount], ofSlots count: Int, by calendar: LocalCalendar
    ) -> [[ImportedAccount]] {
        var pieces: [[ImportedAccount]] = []
        var piece: [ImportedAccount] = []
        var size = 0
        for sources in byKey(accounts) {
            var none = sources
            for place in none.indices { none[place].slots = [] }
            var parts = none
            var end = Timestamp.earliest
            let slots = sources.enumerated().flatMap { number, source in source.slots.map { (number, $0) } }
            for (number, slot) in slots.sorted(by: { ($0.1.start, $0.0) < ($1.1.start, $1.0) }) {
                let start = slot.span.lowerBound
                let isNewDay = calendar.day(containing: start) > calendar.day(containing: end.adding(seconds: -1))
                if size >= count,
                    parts.allSatisfy(\.slots.isEmpty) || start >= end && (isNewDay || size >= 2 * count)
                {
                    pieces.append(piece + parts.filter { !$0.slots.isEmpty })
                    (piece, parts, size) = ([], none, 0)
                }
                parts[number].slots.append(slot)
                size += 1
                end = max(end, slot.span.upperBound)
            }
            // A source without slots is in the report, too.
            piece += parts.filter { !$0.slots.isEmpty || slots.isEmpty }
        }
        return pieces + [piece]
    }
}

/// The outcome of an import for one account.
package struct ImportOutcome: Codable, Sendable {
    package struct Bytes: Codable, Sendable {
        package var received: UInt64
        package var transmitted: UInt64

        package init(_ total: Total) {
            received = total.received
            transmitted = total.transmitted
        }

        package var total: Total { Total(received: received, transmitted: transmitted) }
    }

    package let key: AccountKey
    /// Bytes that are new to the ledger.
    package var taken = Bytes(.zero)
    /// Bytes that the ledger already had, metered by itself or imported before.
    package var known = Bytes(.zero)
    /// Bytes that the ledger lacks from the time in which it was to meter them itself.
    package var missed = Bytes(.zero)
    /// Bytes that the ledger may yet read itself: they may have been carried after its last reading.
    package var late = Bytes(.zero)
    /// POSIX seconds; absent if nothing was new.
    package var from: Int64?
    package var until: Int64?
    /// Bytes of earlier imports that were removed.
    package var forgotten = Bytes(.zero)
    /// The clock of an earlier import, if it is another one. Then nothing was imported.
    package var otherClock: String?

    package init(_ key: AccountKey) {
        self.key = key
    }

    /// Adds the outcome of another piece of the same account.
    package mutating func add(_ other: ImportOutcome) {
        taken = Bytes(taken.total.adding(other.taken.total))
        known = Bytes(known.total.adding(other.known.total))
        missed = Bytes(missed.total.adding(other.missed.total))
        late = Bytes(late.total.adding(other.late.total))
        forgotten = Bytes(forgotten.total.adding(other.forgotten.total))
        from = [from, other.from].compactMap { $0 }.min()
        until = [until, other.until].compactMap { $0 }.max()
    }
}
