import CivilTime

/// What another meter has counted for one account.
package struct ImportedAccount: Codable, Sendable {
    /// Nothing carries more than this in a second: a hundred terabits. A bucket of ours may hold a whole day's bytes, where
    /// the finer grain was lost.
    package static let mostBytesPerSecond: UInt64 = 12_500_000_000_000
    /// No link carries more than this in a second: a terabit. IEEE 802.3df ends at 800 Gbit/s.
    package static let mostLinkBytesPerSecond: UInt64 = 125_000_000_000

    /// Bytes of a span of time; how they lie within it isn't known.
    package struct Slot: Codable, Hashable, Sendable {
        /// POSIX seconds.
        package let start: Int64
        /// POSIX seconds, later than `start`.
        package let end: Int64
        package let received: UInt64
        package let transmitted: UInt64

        /// - Parameter span: A second at least is made of it.
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

        /// Whether so many bytes a second can carry it.
        package func isPossible(at bytesPerSecond: UInt64) -> Bool {
            max(received, transmitted) / UInt64(end - start) <= bytesPerSecond
        }
    }

    package let key: AccountKey
    /// The device that it was counted for, as several may share an account; `""` if it is all of the account.
    package let source: String
    /// Each byte is in one of them.
    package var slots: [Slot]
    /// Whether earlier imports of this source are forgotten first.
    package let replaces: Bool
    /// The wall clock that tells its times, if these have no offsets of their own; see ``LocalCalendar/clockText``.
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

    /// The sources of each account, in the order in which accounts come first.
    package static func byKey(_ accounts: [ImportedAccount]) -> [[ImportedAccount]] {
        var places: [AccountKey: Int] = [:]
        var groups: [[ImportedAccount]] = []
        for account in accounts {
            if let place = places[account.key] {
                groups[place].append(account)
            } else {
                places[account.key] = groups.count
                groups.append([account])
            }
        }
        return groups
    }

    /// Accounts in pieces of about so many slots, each to be imported by itself: no slot reaches into the time of another
    /// piece of its account, whatever its source, and days are whole unless they have too many slots.
    package static func pieces(
        of accounts: [ImportedAccount], ofSlots count: Int, by calendar: LocalCalendar
    ) -> [[ImportedAccount]] {
        var pieces: [[ImportedAccount]] = []
        var piece: [ImportedAccount] = []
        var size = 0
        for sources in byKey(accounts) {
            let none = sources.map { source -> ImportedAccount in
                var none = source
                none.slots = []
                return none
            }
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
            // Also one without any slots is told of.
            piece += parts.filter { !$0.slots.isEmpty || slots.isEmpty }
        }
        return pieces + [piece]
    }
}

/// What became of an import, account by account.
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
    /// What the ledger has of it now that it hadn't.
    package var taken = Bytes(.zero)
    /// What the ledger has already, metered by itself or imported before.
    package var known = Bytes(.zero)
    /// What the ledger doesn't have of the time in which it was to meter it itself.
    package var missed = Bytes(.zero)
    /// What the ledger may yet read itself: it was carried after its last reading, or perhaps so.
    package var late = Bytes(.zero)
    /// POSIX seconds; absent if nothing was taken.
    package var from: Int64?
    package var until: Int64?
    /// What was imported before and is forgotten.
    package var forgotten = Bytes(.zero)
    /// The clock of an earlier import. It is another one, so nothing was imported.
    package var otherClock: String?

    package init(_ key: AccountKey) {
        self.key = key
    }

    /// The outcome of two pieces of one account.
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
