import CivilTime

/// Finds what is new in an import: it adds only traffic from before the ledger's first reading of a device. You can
/// import the same history again, and nothing is counted twice.
///
/// Three things explain the bytes of a slot: earlier imports of the same source, the ledger's own bytes of the same
/// time, and, near the first reading, own bytes beside it, because two meters don't read at the same moment. The
/// shortest slots come first. The rest was carried before the first reading if the slot begins before it or just after.
package struct Reconciliation {
    /// Rows to book, and to keep as imported.
    package private(set) var rows: [ImportedRow] = []
    package private(set) var outcome: ImportOutcome
    private let days: BookedDays
    private let isUplink: Bool
    /// The ledger's last reading. Bytes that were carried later are booked when netusage runs.
    private let readUntil: Timestamp
    /// The own bytes of the account, then those of other accounts that the same devices may have been in.
    private var own: [OwnBytes] = []
    /// The places in ``own`` where a source's bytes may be. Single devices come first: classes have others' bytes, too.
    private var homes: [String: [Int]] = [:]

    /// - Parameters:
    ///   - parts: What other meters reported for one account, a part for each source.
    ///   - account: The account's number.
    ///   - key: The account's key.
    ///   - isNew: Whether the account has nothing yet.
    ///   - now: Everything before it may be new to an account of which nothing was metered.
    /// - Throws: What `past` throws.
    package init(
        _ parts: [ImportedAccount], of account: AccountID, _ key: AccountKey, isNew: Bool, in past: some BookedPast,
        by days: BookedDays, at now: Timestamp
    ) throws {
        self.days = days
        isUplink = key == .uplink
        outcome = ImportOutcome(key)
        readUntil = try past.lastReading() ?? now
        try load(parts, of: account, isNew: isNew, in: past, openUntil: min(now, readUntil))
        var imported: [ImportedRow] = []
        if let hull = parts.flatMap(\.slots).hull {
            imported = try past.importedRows(.account(account), in: hull)
            // A device may have been in the account of a class when it was imported.
            for part in parts where !isUplink && !part.source.isEmpty {
                imported += try past.importedRows(.sourceElsewhere(part.source, than: account), in: hull)
            }
        }
        var earlier = EarlierImports(imported)
        for item in explained(parts, by: &earlier) {
            guard let row = row(for: item) else { continue }
            rows.append(row)
            if row.total.isZero { continue }
            outcome.taken = .init(outcome.taken.total.adding(row.total))
            outcome.from = min(outcome.from ?? .max, row.booked.lowerBound.secondsSinceEpoch)
            outcome.until = max(outcome.until ?? .min, row.booked.upperBound.secondsSinceEpoch)
        }
        let all = parts.reduce(into: Total.zero) { sum, part in for slot in part.slots { sum += slot.total } }
        let new = outcome.taken.total.adding(outcome.late.total).adding(outcome.missed.total)
        outcome.known = .init(all.without(new))
    }

    private mutating func load(
        _ parts: [ImportedAccount], of account: AccountID, isNew: Bool, in past: some BookedPast,
        openUntil: Timestamp
    ) throws {
        own = [
            try OwnBytes(of: account, isNew: isNew, in: past, by: days, openUntil: openUntil, isUplink: isUplink)
        ]
        var places = [account: 0]
        for part in parts {
            // With another configuration its bytes were booked to another account.
            let others = part.source.isEmpty ? [] : try past.accounts(ofSource: part.source)
            for other in others where places[other] == nil {
                places[other] = own.count
                own.append(try OwnBytes(of: other, in: past, by: days, openUntil: openUntil))
            }
            let known = others.compactMap { places[$0] }.filter { $0 == 0 || own[$0].hasOwn }
            // The uplink has other devices' bytes, too.
            homes[part.source] = known.contains(0) || isUplink && !known.isEmpty ? known : known + [0]
        }
        for (place, bytes) in own.enumerated() where bytes.hasOwn {
            try own[place].load(in: past, parts.filter { homes[$0.source]?.contains(place) ?? false })
        }
    }

    /// When the account's own bytes begin; `nil` if it has none.
    package var ownFrom: Timestamp? { own[0].hasOwn ? own[0].openUntil : nil }

    /// A slot of one of the parts.
    private struct Item {
        let span: Range<Timestamp>
        let total: Total
        let source: String
        /// The day that it lies in; `nil` if it crosses midnight.
        let day: CivilDate?
        let seam: Seam
        /// Bytes that aren't explained yet.
        var rest: Total
        /// Bytes that the own bytes of a class or of the uplink have explained.
        var own = Total.zero

        var isEarly: Bool { span.lowerBound < seam.earlyUntil }
    }

    /// Where the ledger's own bytes of a source begin.
    private struct Seam {
        let homes: [Int]
        let openUntil: Timestamp
        let edge: Bucket?
        let hasOwn: Bool
        /// A slot that begins before it may have bytes from before the first reading.
        let earlyUntil: Timestamp
        /// The time of the source's slots, in whole buckets.
        let hull: Range<Timestamp>
    }

    private func seam(of part: ImportedAccount, _ hull: Range<Timestamp>) -> Seam {
        let homes = homes[part.source] ?? [0]
        let beginnings = isUplink ? [own[0]] : homes.map { own[$0] }
        let first = beginnings.min { $0.openUntil < $1.openUntil } ?? own[0]
        // Slots of the next day don't count, because they may come in another piece of the import.
        let earlyUntil = first.edge.map { edge in
            min(
                edge.end.adding(seconds: Bucket.seconds),
                days.span(of: days.calendar.day(containing: edge.start)).upperBound)
        }
        return Seam(
            homes: homes, openUntil: first.openUntil, edge: first.edge, hasOwn: first.hasOwn,
            earlyUntil: earlyUntil ?? first.openUntil,
            hull: Bucket(containing: hull.lowerBound)
                .start..<Bucket(containing: hull.upperBound.adding(seconds: -1)).end)
    }

    /// The parts' slots, after known bytes have explained what they can.
    private mutating func explained(_ parts: [ImportedAccount], by earlier: inout EarlierImports) -> [Item] {
        var items: [Item] = []
        // The time that the file reports on: ascending, disjoint spans.
        var reported: [String: [Range<Timestamp>]] = [:]
        for part in parts {
            guard let hull = part.slots.hull else { continue }
            let seam = seam(of: part, hull)
            reported[part.source] = Array(RangeSet(part.slots.map(\.span)).ranges)
            items += part.slots.map {
                Item(
                    span: $0.span, total: $0.total, source: part.source, day: day(of: $0.span), seam: seam,
                    rest: $0.total)
            }
        }
        items.sort { Self.rank($0) < Self.rank($1) }
        for place in items.indices {
            earlier.explain(&items[place].rest, ofSlot: items[place].span, from: items[place].source)
        }
        for place in items.indices where !items[place].rest.isZero {
            let (span, source) = (items[place].span, items[place].source)
            earlier.explain(&items[place].rest, of: span, from: source) {
                $0.lowerBound >= span.lowerBound && $0.upperBound <= span.upperBound
            }
            explain(&items[place])
            earlier.explain(&items[place].rest, of: span, from: source) { _ in true }
        }
        // Meters read at different times, and files differ in grain. So a day in a file gets only bytes that it lacks.
        for place in items.indices where !items[place].rest.isZero {
            guard let day = items[place].day, let reported = reported[items[place].source] else { continue }
            earlier.explain(&items[place].rest, of: days.span(of: day), from: items[place].source) { slot in
                let span = reported.firstPlace { $0.upperBound > slot.lowerBound }
                return span < reported.endIndex && slot.clamped(to: reported[span]) == slot
            }
        }
        // Bytes that came a bucket late in one of the two meters may have used up those of the next bucket, and so on.
        for slack in [Bucket.seconds, 3 * Bucket.seconds] {
            for place in items.indices {
                let seam = items[place].seam
                // If only the bucket of the first reading is known, the bucket before may have carried its bytes.
                let near = seam.openUntil.adding(seconds: seam.openUntil == seam.edge?.start ? -Bucket.seconds : 0)
                if items[place].span.upperBound > near { explain(&items[place], slack: slack) }
            }
        }
        return items
    }

    /// Slots that only own bytes can explain come before slots that may be from before the first reading.
    private static func rank(_ item: Item) -> (Int, Int, Int64, Timestamp) {
        let length = item.span.upperBound.secondsSinceEpoch - item.span.lowerBound.secondsSinceEpoch
        return (item.isEarly ? 1 : 0, item.day == nil ? 1 : 0, length, item.span.lowerBound)
    }

    /// The row to keep for a slot; `nil` if there is nothing to keep.
    private mutating func row(for item: Item) -> ImportedRow? {
        let (span, seam) = (item.span, item.seam)
        // If both meters may have counted the same bytes, the report is kept while buckets can separate the two.
        let isOfBoth =
            seam.edge != nil && item.isEarly && span.upperBound > seam.openUntil && !item.total.isZero
        let own = item.isEarly ? item.own : .zero
        if item.rest.isZero, own.isZero, !isOfBoth { return nil }
        if span.upperBound > readUntil, item.isEarly || !seam.hasOwn || span.lowerBound >= readUntil {
            outcome.late = .init(outcome.late.total.adding(item.rest))
            return nil
        }
        if !item.isEarly {
            outcome.missed = .init(outcome.missed.total.adding(item.rest))
            return nil
        }
        let end = min(span.upperBound, max(seam.openUntil, seam.edge?.start.adding(seconds: 1) ?? seam.openUntil))
        return ImportedRow(
            slot: span, bookedUntil: end, total: item.rest, reported: isOfBoth ? item.total : item.rest, own: own,
            source: item.source)
    }

    /// The day that a span lies in; `nil` for a span that crosses midnight.
    private func day(of span: Range<Timestamp>) -> CivilDate? {
        let day = days.calendar.day(containing: span.lowerBound)
        return span.upperBound <= days.span(of: day).upperBound ? day : nil
    }

    private mutating func explain(_ item: inout Item, slack: Int64 = 0) {
        for home in item.seam.homes {
            let before = item.rest
            own[home].explain(&item.rest, of: item.span, slack: slack, within: slack == 0 ? nil : item.seam.hull)
            if own[home].isShared { item.own += before.without(item.rest) }
        }
    }
}

extension [ImportedAccount.Slot] {
    /// From the first slot's beginning to the last one's end.
    var hull: Range<Timestamp>? {
        guard let start = self.map(\.span.lowerBound).min(), let end = self.map(\.span.upperBound).max() else {
            return nil
        }
        return start..<end
    }
}
