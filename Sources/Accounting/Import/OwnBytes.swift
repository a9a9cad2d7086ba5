import CivilTime

/// The bytes of an account that the ledger has metered itself. Slots of an import use them up: each byte explains one.
package struct OwnBytes {
    /// Bytes of a span of time.
    package typealias Row = (span: Range<Timestamp>, total: Total)

    /// The end of the time for which bytes may be imported. It is the account's first reading, if that is known;
    /// otherwise the beginning of the first bucket, or the last second of the first day. It is the ledger's last
    /// reading if the account has nothing of its own, and the beginning of time if everything in it counts as its own.
    private(set) var openUntil: Timestamp
    /// Whether the ledger has metered anything of the account.
    private(set) var hasOwn = false
    /// The bucket of the first reading, if that bucket is kept: it may hold imported bytes, too.
    private(set) var edge: Bucket?
    /// Whether several devices may have bytes in the account.
    let isShared: Bool
    private let account: AccountID
    private let days: BookedDays
    private let kept: Timestamp
    /// Bytes that aren't used up yet. Starts ascend, and so do ends. A gap's row may overlap the rows beside it.
    private var rows: [Row] = []

    /// - Parameters:
    ///   - isNew: Whether the account has nothing yet; then nothing is looked up.
    ///   - end: ``openUntil`` if nothing was metered.
    init(
        of account: AccountID, isNew: Bool = false, in past: some BookedPast, by days: BookedDays,
        openUntil end: Timestamp, isUplink: Bool = false
    ) throws {
        self.account = account
        self.days = days
        kept = try past.keptFrom()
        isShared = try past.key(of: account)?.isShared ?? true
        openUntil = end
        defer {
            if Bucket(containing: openUntil).start >= kept, openUntil > .earliest {
                edge = Bucket(containing: openUntil)
            }
        }
        if isNew { return }
        let isNoted = try past.hasImport(account)
        let metered = try past.meteredFrom()
        // Bytes from before the ledger's first reading come from a clock that was wrong.
        let earliest = metered.flatMap { $0 <= end ? $0 : nil } ?? .earliest
        let allDays = isNoted ? [] : try ownDays(in: past, .earliest...days.calendar.day(containing: kept))
        if let noted = try past.ownFrom(of: account) {
            (openUntil, hasOwn) = (noted == .earliest ? noted : max(noted, earliest), true)
        } else if let day = allDays.first(where: { $0.span.upperBound > earliest })?.span {
            // Only the day is known.
            (openUntil, hasOwn) = (days.lastSecond(of: day), true)
        } else if !isNoted,
            let first = try past.firstBucket(of: account, from: max(kept, Bucket(containing: earliest).start))?.start
        {
            (openUntil, hasOwn) = (max(first, earliest), true)
        } else if try !isNoted && (!allDays.isEmpty || past.firstBucket(of: account, from: kept) != nil) {
            (openUntil, hasOwn) = (earliest, true)
        }
        // The uplink was metered before its first byte, too.
        if isUplink, hasOwn, let metered { openUntil = min(openUntil, metered) }
    }

    /// Reads the rows of the time that the parts report on.
    mutating func load(in past: some BookedPast, _ parts: [ImportedAccount]) throws {
        guard hasOwn, let hull = parts.flatMap(\.slots).hull else { return }
        var (start, end) = (hull.lowerBound.adding(seconds: -600), hull.upperBound.adding(seconds: 600))
        // Nobody knows which buckets of a gap had its bytes.
        let gaps = try past.gaps(in: start..<end)
        start = gaps.reduce(start) { min($0, $1.lowerBound) }
        end = gaps.reduce(end) { max($0, $1.upperBound) }
        if start < kept {
            for (span, own) in try ownDays(in: past, days.days(of: start..<min(end, kept))) {
                // If the own bytes begin at a day's last second, only the day is known.
                let isInside = span.contains(openUntil) && openUntil != days.lastSecond(of: span)
                rows.append((isInside ? openUntil..<span.upperBound : span, own))
            }
        }
        let from = max(start, kept)
        let buckets = try from < end ? past.bucketRows(of: account, from: from, before: end) : []
        for (span, own) in try buckets.isEmpty ? [] : withoutImports(buckets, in: past, from..<end) {
            let seam =
                edge?.start == span.lowerBound ? max(openUntil, span.lowerBound.adding(seconds: 1)) : span.lowerBound
            rows.append((seam..<span.upperBound, own))
        }
        for gap in gaps { unite(gap) }
        // Own bytes that explained another source can't explain these parts. That source may have its own account now.
        let sources = parts.map(\.source)
        var explained = try past.importedRows(.account(account), in: start..<end)
        // The own bytes of a class of devices may have explained rows in other accounts in part.
        if case .collapsed(let text)? = try past.key(of: account), let pattern = DevicePattern(text) {
            explained += try past.importedRows(.ownElsewhere(than: account), in: start..<end).filter {
                DeviceName(label: $0.source).map(pattern.matches) ?? false
            }
        }
        for row in explained where !sources.contains(row.source) {
            var used = row.own
            explain(&used, of: row.slot)
        }
    }

    /// Merges the rows over which a gap's bytes were spread.
    private mutating func unite(_ gap: Range<Timestamp>) {
        let first = rows.firstPlace { $0.span.lowerBound >= gap.lowerBound }
        let end = rows.firstPlace { $0.span.upperBound > gap.upperBound }
        if end <= first { return }
        let inside = rows[first].span.lowerBound..<rows[end - 1].span.upperBound
        let known = rows[first..<end].reduce(into: Total.zero) { $0 += $1.total }
        // The buckets at the gap's ends have an even share for the time that lies in the gap.
        let rate = Spread(
            Delta(received: known.received, transmitted: known.transmitted), from: inside.lowerBound,
            to: inside.upperBound)
        var total = known
        for place in [first - 1, end] where rows.indices.contains(place) {
            let part = rows[place].span.clamped(to: gap)
            let seconds = part.upperBound.secondsSinceEpoch - part.lowerBound.secondsSinceEpoch
            let start = inside.lowerBound
            if seconds == 0 { continue }
            // Rounding leaves up to 2 bytes of each direction there.
            let share = Total(rate.share(from: start, to: start.adding(seconds: seconds)))
                .adding(Total(received: 2, transmitted: 2))
            let moved = rows[place].total.without(rows[place].total.without(share))
            rows[place].total = rows[place].total.without(moved)
            total += moved
        }
        rows.replaceSubrange(first..<end, with: [(gap, total)])
    }

    /// Days with more bytes than were imported, and the rest; only from the time whose buckets aren't kept.
    private func ownDays(in past: some BookedPast, _ days: ClosedRange<CivilDate>) throws -> [Row] {
        let stored = try past.dayRows(of: account, days).map { (self.days.span(of: $0.day), $0.total) }
            .prefix { $0.0.lowerBound < kept }
        guard let first = stored.first?.0, let last = stored.last?.0 else { return [] }
        var own = stored.map { (span: $0.lowerBound..<min($0.upperBound, kept), total: $1) }
        let buckets = try past.bucketRows(of: account, from: max(kept, last.lowerBound), before: last.upperBound)
        own[own.count - 1].total = buckets.reduce(own[own.count - 1].total) { $0.without($1.total) }
        return try withoutImports(own, in: past, first.lowerBound..<last.upperBound)
    }

    /// Days or buckets with more bytes than were imported, and the rest.
    private func withoutImports(_ rows: [Row], in past: some BookedPast, _ span: Range<Timestamp>) throws -> [Row] {
        var rows = rows
        for spread in try past.importedRows(.account(account), in: span).map(\.spread) {
            var place = rows.firstPlace { $0.span.upperBound > spread.start }
            while place < rows.endIndex, rows[place].span.lowerBound <= spread.end {
                let share = spread.share(from: rows[place].span.lowerBound, to: rows[place].span.upperBound)
                rows[place].total = rows[place].total.without(Total(share))
                place += 1
            }
        }
        return rows.filter { !$0.total.isZero }
    }

    /// Uses up rows for a slot: first rows within the slot, then rows after the first reading, which no earlier slot
    /// can claim, then other rows that overlap the slot.
    ///
    /// - Parameters:
    ///   - slack: How many seconds a row may lie outside of the slot.
    ///   - hull: Rows that reach beyond it aren't used.
    mutating func explain(
        _ rest: inout Total, of span: Range<Timestamp>, slack: Int64 = 0, within hull: Range<Timestamp>? = nil
    ) {
        let wide = span.lowerBound.adding(seconds: -slack)..<span.upperBound.adding(seconds: slack)
        let first = rows.firstPlace { $0.span.upperBound > wide.lowerBound }
        for rank in 0...2 {
            var place = first
            while place < rows.endIndex, rows[place].span.lowerBound < wide.upperBound, !rest.isZero {
                let row = rows[place].span
                let isWhole = row.lowerBound >= wide.lowerBound && row.upperBound <= wide.upperBound
                let isMeant = hull.map { row.lowerBound >= $0.lowerBound && row.upperBound <= $0.upperBound } ?? true
                if isMeant, (isWhole ? 0 : row.lowerBound >= openUntil ? 1 : 2) == rank {
                    rows[place].total.explain(&rest)
                }
                place += 1
            }
        }
    }
}
