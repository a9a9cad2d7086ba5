import Accounting
import CivilTime

/// Taking over what another meter has counted.
extension LedgerFile {
    /// Books what was carried before the ledger began to meter an account, as far as it isn't there: nothing counts twice,
    /// and what is there stays.
    ///
    /// - Parameters:
    ///   - calendar: Tells when days begin.
    ///   - now: Of an account for which nothing was metered yet, all that was carried before is taken.
    ///   - horizon: Buckets that end before it aren't made.
    ///   - isTrial: Whether everything stays as it was.
    /// - Throws: `StoreError`; then the file is as it was before.
    package func takeOver(
        _ accounts: [ImportedAccount], calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp, isTrial: Bool
    ) throws(StoreError) -> [ImportOutcome] {
        struct Trial: Error {
            var outcomes: [ImportOutcome]
        }
        try checkIsInPlace()
        return try translatingErrors {
            do {
                return try connection.transaction {
                    let forgotten = try forget(accounts.filter(\.replaces), calendar)
                    var outcomes = try takeOver(accounts, by: BookedDays(of: self, calendar), at: now, horizon)
                    var rest = forgotten
                    for place in outcomes.indices {
                        if let total = rest.removeValue(forKey: outcomes[place].key) {
                            outcomes[place].forgotten = .init(total)
                        }
                    }
                    for (key, total) in rest {
                        var outcome = ImportOutcome(key)
                        outcome.forgotten = .init(total)
                        outcomes.append(outcome)
                    }
                    if isTrial { throw Trial(outcomes: outcomes) }
                    return outcomes
                }
            } catch let trial as Trial {
                return trial.outcomes
            }
        }
    }

    private func takeOver(
        _ accounts: [ImportedAccount], by days: BookedDays, at now: Timestamp, _ horizon: Timestamp
    ) throws -> [ImportOutcome] {
        // By another clock the same bytes have other times: nobody could tell which of them are there.
        let others = try accounts.compactMap { account -> ImportOutcome? in
            guard let clock = account.clock, let number = try number(of: account.key),
                let former = try self.clock(of: number), former != clock
            else { return nil }
            var outcome = ImportOutcome(account.key)
            outcome.otherClock = former
            return outcome
        }
        if !others.isEmpty { return others }
        return try ImportedAccount.byKey(accounts).map { parts in
            try takeOver(parts, of: parts[0].key, by: days, at: now, horizon)
        }
    }

    /// - Parameter parts: Of one account, each from another source.
    private func takeOver(
        _ parts: [ImportedAccount], of key: AccountKey, by days: BookedDays, at now: Timestamp, _ horizon: Timestamp
    ) throws -> ImportOutcome {
        var outcome = ImportOutcome(key)
        if parts.allSatisfy(\.slots.isEmpty), try number(of: key) == nil { return outcome }
        let isNew = try number(of: key) == nil
        let account = try account(of: key)
        var known = try KnownBytes(of: account, isNew: isNew, key, in: self, by: days, at: now, parts)
        var taken = TakenRows([])
        if let hull = parts.flatMap(\.slots).hull {
            var entries = try takenEntries(.account(account), in: hull)
            // Of a device it may be in the account of a class that it belonged to.
            for part in parts where key != .uplink && !part.source.isEmpty {
                entries += try takenEntries(.sourceElsewhere(part.source, than: account), in: hull)
            }
            taken = TakenRows(entries)
        }
        for entry in known.unexplained(parts, by: &taken) {
            try book(entry, of: account, by: days, horizon)
            if entry.total.isZero { continue }
            outcome.taken = .init(outcome.taken.total.adding(entry.total))
            outcome.from = min(outcome.from ?? .max, entry.booked.lowerBound.secondsSinceEpoch)
            outcome.until = max(outcome.until ?? .min, entry.booked.upperBound.secondsSinceEpoch)
        }
        try noteImport(of: account, ownFrom: known.ownFrom)
        if let clock = parts.lazy.compactMap(\.clock).first {
            try statement(
                "UPDATE import SET clock = ?2 WHERE account = ?1 AND EXISTS (SELECT 1 FROM taken WHERE account = ?1)"
            ).run(.integer(account.rawValue), .text(clock))
        }
        let all = parts.reduce(into: Total.zero) { sum, part in for slot in part.slots { sum += slot.total } }
        outcome.late = .init(known.late)
        outcome.missed = .init(known.missed)
        outcome.known = .init(all.without(outcome.taken.total).without(known.late).without(known.missed))
        return outcome
    }

    private func number(of key: AccountKey) throws -> AccountID? {
        let (kind, name) = key.columns
        let rows = try statement("SELECT id FROM account WHERE kind = ?1 AND name = ?2")
        try rows.bind([kind, name])
        defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
        return try rows.step() ? AccountID(rawValue: rows.integer(0)) : nil
    }

    fileprivate func key(of account: AccountID) throws -> AccountKey? {
        let rows = try statement("SELECT kind, name FROM account WHERE id = ?1")
        try rows.bind([.integer(account.rawValue)])
        defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
        return try rows.step() ? AccountKey(kind: rows.text(0), name: rows.bytes(1)) : nil
    }

    /// By which clock the last file without offsets was read, if one was.
    private func clock(of account: AccountID) throws -> String? {
        let rows = try statement("SELECT clock FROM import WHERE account = ?1 AND clock IS NOT NULL")
        try rows.bind([.integer(account.rawValue)])
        defer { try? rows.bind([]) }  // Only resets the statement, so that no read stays open.
        return try rows.step() ? rows.text(0) : nil
    }

    /// The number of an account; a new one if there is none. Numbers of the program count up from 1: one that is drawn far
    /// above is in nobody's way, also if the program gives one at the same moment.
    private func account(of key: AccountKey) throws -> AccountID {
        if let known = try number(of: key) { return known }
        let (kind, name) = key.columns
        let id = Int64.random(in: (1 << 40)..<(1 << 61))
        try statement(
            """
            INSERT INTO account
                (id, kind, name, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes)
            VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0)
            """
        ).run(.integer(id), kind, name)
        return AccountID(rawValue: id)
    }

    // MARK: - What was taken over

    private func book(
        _ entry: TakenEntry, of account: AccountID, by days: BookedDays, _ horizon: Timestamp
    ) throws {
        let spread = entry.spread
        if spread.start < horizon, !entry.total.isZero {
            try omitBuckets(before: min(Bucket(containing: horizon).start, Bucket(containing: spread.end).end))
        }
        // Nor are there any that may be gone.
        try spread.forEachBucket(since: max(horizon, try keptFrom())) { bucket, share in
            try add(Total(share), to: account, at: bucket)
        }
        for (day, share) in days.shares(of: spread) {
            try add(share, to: account, on: day, calendar: days.calendar)
        }
        try statement(
            """
            INSERT INTO taken (account, source, start_at, end_at, booked_until, received, transmitted, \(Self.toldColumns))
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT (account, source, start_at, end_at, booked_until) DO UPDATE SET \(Self.takenAddition)
            """
        ).run(
            .integer(account.rawValue), .text(entry.source), .integer(entry.slot.lowerBound.secondsSinceEpoch),
            .integer(entry.slot.upperBound.secondsSinceEpoch), .integer(entry.until.secondsSinceEpoch),
            .integer(Int64(clamping: entry.total.received)), .integer(Int64(clamping: entry.total.transmitted)),
            .integer(Int64(clamping: entry.told.received)), .integer(Int64(clamping: entry.told.transmitted)),
            .integer(Int64(clamping: entry.own.received)), .integer(Int64(clamping: entry.own.transmitted)))
    }

    /// Takes away again what was taken over.
    private func forget(_ accounts: [ImportedAccount], _ calendar: LocalCalendar) throws -> [AccountKey: Total] {
        if accounts.isEmpty { return [:] }
        let days = try BookedDays(of: self, calendar)
        var forgotten: [AccountKey: Total] = [:]
        for account in accounts {
            var numbers = try [number(of: account.key)].compactMap { $0 }
            if account.key != .uplink, !account.source.isEmpty { numbers += try owners(of: account.source) }
            for number in Set(numbers) {
                let total = try forget(account.source, of: number, by: days)
                if let key = try key(of: number), !total.isZero { forgotten[key, default: .zero] += total }
            }
        }
        for table in ["bucket", "day"] {
            try statement("DELETE FROM \(table) WHERE received = 0 AND transmitted = 0").run()
        }
        // Days that have nothing any more begin as they do now.
        try statement("DELETE FROM day_start WHERE day NOT IN (SELECT day FROM day)").run()
        return forgotten
    }

    /// - Returns: What was taken away.
    private func forget(_ source: String, of account: AccountID, by days: BookedDays) throws -> Total {
        let id = SQLValue.integer(account.rawValue)
        /// - Returns: What isn't there.
        func subtract(_ share: Total, _ table: String, _ column: String, _ place: Int64) throws -> Total {
            let row = try statement("SELECT received, transmitted FROM \(table) WHERE \(column) = ?1 AND account = ?2")
            try row.bind([.integer(place), id])
            defer { try? row.bind([]) }  // Only resets the statement, so that no read stays open.
            guard try row.step() else { return share }
            let there = total(in: row, from: 0)
            let rest = there.without(share)
            try statement(
                "UPDATE \(table) SET received = ?3, transmitted = ?4 WHERE \(column) = ?1 AND account = ?2"
            ).run(
                .integer(place), id, .integer(Int64(clamping: rest.received)),
                .integer(Int64(clamping: rest.transmitted)))
            return share.without(there)
        }
        var forgotten = Total.zero
        let kept = try keptFrom()
        let isMeant = source.isEmpty ? TakenBy.account(account) : .source(source, in: account)
        for entry in try takenEntries(isMeant, in: .earliest ..< .latest) {
            let spread = entry.spread
            forgotten += entry.total
            try spread.forEachBucket(since: kept) { bucket, share in
                _ = try subtract(Total(share), "bucket", "start", bucket.start.secondsSinceEpoch)
            }
            var missing = Total.zero
            for (day, share) in days.shares(of: spread) {
                missing += try subtract(share, "day", "day", Int64(day.daysSinceEpoch))
            }
            // Days may have begun otherwise when it was booked: then it is in those beside them, the nearest first.
            let (first, last) = (days.calendar.day(containing: spread.start), days.calendar.day(containing: spread.end))
            for distance in 0...2 where !missing.isZero {
                for day in [first.adding(days: -distance), last.adding(days: distance)] {
                    missing = try subtract(missing, "day", "day", Int64(day.daysSinceEpoch))
                }
            }
        }
        try statement("DELETE FROM taken WHERE account = ?1 AND ?2 IN (source, '')").run(id, .text(source))
        if try connection.integer("SELECT 1 FROM import WHERE account = \(account.rawValue)") != nil {
            try noteImport(of: account, ownFrom: try ownFrom(of: account))
            // Where nothing is left, what is taken over next may be by another one.
            try statement(
                "UPDATE import SET clock = NULL WHERE account = ?1 AND NOT EXISTS (SELECT 1 FROM taken WHERE account = ?1)"
            ).run(id)
        }
        return forgotten
    }

    /// Whose entries are meant.
    fileprivate enum TakenBy {
        case account(AccountID)
        case source(String, in: AccountID)
        /// Other accounts but the uplink.
        case sourceElsewhere(String, than: AccountID)
        /// Those of other accounts but the uplink that own bytes have explained in part.
        case seamsElsewhere(than: AccountID)
    }

    /// What was taken over, by when it begins.
    ///
    /// - Parameter span: In which it was told, or booked.
    fileprivate func takenEntries(_ owner: TakenBy, in span: Range<Timestamp>) throws -> [TakenEntry] {
        let (isMeant, account, source) =
            switch owner {
            case .account(let account): ("account = ?1 AND ?2 = ''", account, "")
            case .source(let source, in: let account): ("account = ?1 AND source = ?2", account, source)
            case .sourceElsewhere(let source, than: let account):
                (
                    "source = ?2 AND account <> ?1 AND \(Self.isNoUplink)",
                    account, source
                )
            case .seamsElsewhere(let account):
                (
                    """
                    ?2 = '' AND account <> ?1 AND (own_received > 0 OR own_transmitted > 0) AND \(Self.isNoUplink)
                    """, account, ""
                )
            }
        let rows = try statement(
            """
            SELECT start_at, end_at, booked_until, received, transmitted, \(Self.toldColumns), source FROM taken
            WHERE \(isMeant) AND min(start_at, booked_until - 1) < ?4 AND max(end_at, booked_until) > ?3 ORDER BY start_at
            """)
        try rows.bind([
            .integer(account.rawValue), .text(source), .integer(span.lowerBound.secondsSinceEpoch),
            .integer(span.upperBound.secondsSinceEpoch),
        ])
        var found: [TakenEntry] = []
        while try rows.step() {
            let (start, end, until) = (rows.integer(0), rows.integer(1), rows.integer(2))
            guard start < end else { throw damaged("it has an impossible time of what was taken over") }
            found.append(
                TakenEntry(
                    slot: Timestamp(secondsSinceEpoch: start)..<Timestamp(secondsSinceEpoch: end),
                    until: Timestamp(secondsSinceEpoch: until), total: total(in: rows, from: 3),
                    told: total(in: rows, from: 5), own: total(in: rows, from: 7), source: rows.text(9)))
        }
        return found
    }

    /// The accounts in which a device may have been, those of single devices first.
    fileprivate func accounts(ofSource source: String) throws -> [AccountID] {
        guard let name = DeviceName(label: source) else { return [] }
        var found = try [number(of: .device(name))].compactMap { $0 }
        let rows = try statement("SELECT id, name FROM account WHERE kind = 'collapsed' ORDER BY id")
        try rows.bind([])
        while try rows.step() {
            let isOfClass = DevicePattern(rows.text(1))?.matches(name) ?? false
            if isOfClass { found.append(AccountID(rawValue: rows.integer(0))) }
        }
        return found
    }

    /// Of devices that belong to a class, what its bytes have explained for accounts of their own.
    fileprivate func usedElsewhere(than account: AccountID, in span: Range<Timestamp>) throws -> [TakenEntry] {
        guard case .collapsed(let text)? = try key(of: account), let pattern = DevicePattern(text) else { return [] }
        return try takenEntries(.seamsElsewhere(than: account), in: span).filter {
            DeviceName(label: $0.source).map(pattern.matches) ?? false
        }
    }

    /// Of a row of `taken`. Looked up row by row: a list of all accounts would be made for each source.
    private static let isNoUplink = "(SELECT kind FROM account WHERE id = taken.account) <> 'uplink'"

    private func owners(of source: String) throws -> [AccountID] {
        let rows = try statement(
            "SELECT DISTINCT account FROM taken WHERE source = ?1 AND \(Self.isNoUplink)"
        )
        try rows.bind([.text(source)])
        var found: [AccountID] = []
        while try rows.step() { found.append(AccountID(rawValue: rows.integer(0))) }
        return found
    }

    // MARK: - What is there

    /// Time in which nothing was read, without that before the first reading; in order.
    fileprivate func gaps(in span: Range<Timestamp>) throws -> [Range<Timestamp>] {
        let rows = try statement(
            "SELECT start_at, end_at FROM unread WHERE start_at > ?1 AND start_at < ?3 AND end_at > ?2 ORDER BY start_at"
        )
        try rows.bind([
            .integer(Timestamp.earliest.secondsSinceEpoch), .integer(span.lowerBound.secondsSinceEpoch),
            .integer(span.upperBound.secondsSinceEpoch),
        ])
        var found: [Range<Timestamp>] = []
        while try rows.step() {
            let start = Timestamp(secondsSinceEpoch: rows.integer(0))
            found.append(start..<max(start, Timestamp(secondsSinceEpoch: rows.integer(1))))
        }
        return found
    }

    /// An account's buckets, ascending.
    fileprivate func bucketRows(
        of account: AccountID, from start: Timestamp, before end: Timestamp
    ) throws -> [OwnBytes.Row] {
        // From one start to the next, as each may have thousands of accounts.
        let rows = try statement(
            """
            WITH RECURSIVE slot (start) AS (
                SELECT min(start) FROM bucket WHERE start >= ?1
                UNION ALL
                SELECT (SELECT min(start) FROM bucket WHERE start > slot.start) FROM slot WHERE slot.start < ?2
            )
            SELECT bucket.start, received, transmitted FROM slot CROSS JOIN bucket
            WHERE slot.start < ?2 AND bucket.start = slot.start AND account = ?3
            """)
        try rows.bind([
            .integer(start.secondsSinceEpoch), .integer(end.secondsSinceEpoch), .integer(account.rawValue),
        ])
        var found: [OwnBytes.Row] = []
        while try rows.step() {
            let start = Timestamp(secondsSinceEpoch: rows.integer(0))
            found.append((start..<Bucket(start: start).end, total(in: rows, from: 1)))
        }
        return found
    }

    /// An account's days, ascending.
    fileprivate func dayRows(of account: AccountID, _ days: ClosedRange<CivilDate>) throws -> [StoredLedger.StoredDay] {
        let rows = try statement(
            """
            WITH RECURSIVE date (day) AS (
                SELECT min(day) FROM day WHERE day >= ?1
                UNION ALL
                SELECT (SELECT min(day) FROM day WHERE day > date.day) FROM date WHERE date.day <= ?2
            )
            SELECT day.day, account, received, transmitted FROM date CROSS JOIN day
            WHERE date.day <= ?2 AND day.day = date.day AND account = ?3
            """)
        try rows.bind([
            .integer(Int64(days.lowerBound.daysSinceEpoch)), .integer(Int64(days.upperBound.daysSinceEpoch)),
            .integer(account.rawValue),
        ])
        var found: [StoredLedger.StoredDay] = []
        while try rows.step() {
            guard let entry = storedDay(in: rows) else { throw damaged("it has an impossible day") }
            found.append(entry)
        }
        return found
    }
}

extension Range<Timestamp> {
    /// With all of the buckets at its ends.
    fileprivate var wholeBuckets: Self {
        Bucket(containing: lowerBound).start..<Bucket(containing: upperBound.adding(seconds: -1)).end
    }
}

extension [ImportedAccount.Slot] {
    /// From the first one's beginning to the last one's end.
    fileprivate var hull: Range<Timestamp>? {
        guard let start = self.map(\.span.lowerBound).min(), let end = self.map(\.span.upperBound).max() else {
            return nil
        }
        return start..<end
    }
}

/// Something that was taken over, or is to be.
private struct TakenEntry {
    /// The time that the other meter told.
    let slot: Range<Timestamp>
    /// It is booked up to here, evenly.
    let until: Timestamp
    var total: Total
    /// All that the other meter told, also what was there.
    let told: Total
    /// What of that the ledger has metered itself in an account of several devices.
    let own: Total
    let source: String

    var booked: Range<Timestamp> { min(slot.lowerBound, until.adding(seconds: -1))..<until }

    var spread: Spread {
        Spread(
            Delta(received: total.received, transmitted: total.transmitted), from: booked.lowerBound,
            to: booked.upperBound)
    }
}

/// When local days begin: those that have bytes as they were booked, whatever the zone is now.
private struct BookedDays {
    let calendar: LocalCalendar
    private var starts: [CivilDate: Timestamp] = [:]

    init(of file: LedgerFile, _ calendar: LocalCalendar) throws {
        self.calendar = calendar
        let rows = try file.statement("SELECT day, start FROM day_start")
        try rows.bind([])
        while try rows.step() {
            starts[CivilDate(daysSinceEpoch: Int32(clamping: rows.integer(0)))] = Timestamp(
                secondsSinceEpoch: rows.integer(1))
        }
    }

    func span(of day: CivilDate) -> Range<Timestamp> {
        let start = start(of: day)
        return start..<max(start, self.start(of: calendar.nextDay(after: day)))
    }

    /// Of the day in which a part of a day lies.
    func lastSecond(of part: Range<Timestamp>) -> Timestamp {
        span(of: calendar.day(containing: part.lowerBound)).upperBound.adding(seconds: -1)
    }

    private func start(of day: CivilDate) -> Timestamp { starts[day] ?? calendar.start(of: day) }

    /// The days that hold any of a span, and some more at either end: zones are up to 26 hours apart.
    func days(of span: Range<Timestamp>) -> ClosedRange<CivilDate> {
        let (first, last) = (calendar.day(containing: span.lowerBound), calendar.day(containing: span.upperBound))
        return first.adding(days: -2)...last.adding(days: 2)
    }

    /// What falls to each day; those without bytes are left out.
    func shares(of spread: Spread) -> [(day: CivilDate, share: Total)] {
        let days = days(of: spread.start..<spread.end)
        var shares: [(CivilDate, Total)] = []
        var day = days.lowerBound
        while day <= days.upperBound {
            let span = span(of: day)
            let share = spread.share(from: span.lowerBound, to: span.upperBound)
            if !share.isZero { shares.append((day, Total(share))) }
            day = calendar.nextDay(after: day)
        }
        return shares
    }
}

/// What was taken over, as far as it isn't used up yet to explain slots.
private struct TakenRows {
    /// By when they begin; they may overlap.
    private var rows: [TakenEntry]
    private var places: [Range<Timestamp>: [Int]] = [:]
    /// The latest end of the rows up to each one.
    private let ends: [Timestamp]

    init(_ rows: [TakenEntry]) {
        let rows = rows.sorted { $0.slot.lowerBound < $1.slot.lowerBound }
        self.rows = rows
        for (place, row) in rows.enumerated() { places[row.slot, default: []].append(place) }
        var latest = Timestamp.earliest
        ends = rows.map { row in
            latest = max(latest, row.slot.upperBound)
            return latest
        }
    }

    /// Uses up what was taken over of a slot itself. One that told no more then has nothing new.
    mutating func explain(_ rest: inout Total, ofAlso span: Range<Timestamp>, _ source: String) {
        for place in places[span] ?? [] where rows[place].source == source {
            let isKnown = rest.without(rows[place].told).isZero
            use(place, for: &rest)
            if isKnown { rest = .zero }
        }
    }

    /// Uses up what is there in a span of time from a source, or from one that may have had the same bytes: `""` is all of the
    /// account.
    mutating func explain(
        _ rest: inout Total, of span: Range<Timestamp>, _ source: String, where isMeant: (Range<Timestamp>) -> Bool
    ) {
        var place = ends.firstPlace { $0 > span.lowerBound }
        while place < rows.endIndex, rows[place].slot.lowerBound < span.upperBound, !rest.isZero {
            let row = rows[place]
            let isOfSource = row.source == source || row.source.isEmpty || source.isEmpty
            if isOfSource, row.slot.overlaps(span), !row.total.isZero, isMeant(row.slot) { use(place, for: &rest) }
            place += 1
        }
    }

    private mutating func use(_ place: Int, for rest: inout Total) {
        let there = rows[place].total
        rows[place].total = there.without(rest)
        rest = rest.without(there)
    }
}

/// The time that a file tells of.
private struct ToldTime {
    /// Ascending, and apart from each other.
    private var spans: [Range<Timestamp>] = []

    init(_ slots: [ImportedAccount.Slot]) {
        for span in slots.map(\.span).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = spans.last, span.lowerBound <= last.upperBound {
                spans[spans.count - 1] = last.lowerBound..<max(last.upperBound, span.upperBound)
            } else {
                spans.append(span)
            }
        }
    }

    func contains(_ span: Range<Timestamp>) -> Bool {
        let place = spans.firstPlace { $0.upperBound > span.lowerBound }
        return place < spans.endIndex && spans[place].lowerBound <= span.lowerBound
            && spans[place].upperBound >= span.upperBound
    }
}

extension Array {
    /// The first place of which something holds that holds of all behind it too.
    fileprivate func firstPlace(where holds: (Element) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = (low + high) / 2
            if holds(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// What the ledger has metered of an account itself.
private struct OwnBytes {
    /// Bytes of a span of time.
    typealias Row = (span: Range<Timestamp>, total: Total)

    /// Before it something may be booked: the account's first reading, as far as that is known; otherwise the beginning of its
    /// bucket, or the last second of its day. If there is none it is the ledger's last; if all that it has is claimed as its
    /// own, the beginning of time.
    private(set) var openUntil: Timestamp
    /// Whether the ledger has anything of its own.
    private(set) var hasOwn = false
    /// The bucket of the first reading, if buckets tell of it: it may hold something that was taken over, too.
    private(set) var edge: Bucket?
    /// Whether it may have bytes of several devices.
    let isShared: Bool
    private let account: AccountID
    private let days: BookedDays
    private let kept: Timestamp
    /// What isn't used up yet to explain slots: beginnings and ends ascend. A gap's row may reach into those beside it.
    private var rows: [Row] = []

    /// - Parameters:
    ///   - isNew: Whether the account has nothing yet, so that nothing need be looked for.
    ///   - end: Up to where something may be booked if nothing was metered.
    init(
        of account: AccountID, isNew: Bool = false, in file: LedgerFile, by days: BookedDays, openUntil end: Timestamp,
        isUplink: Bool = false
    ) throws {
        self.account = account
        self.days = days
        kept = try file.keptFrom()
        if case .device? = try file.key(of: account) { isShared = false } else { isShared = true }
        openUntil = end
        defer {
            if Bucket(containing: openUntil).start >= kept, openUntil > .earliest {
                edge = Bucket(containing: openUntil)
            }
        }
        if isNew { return }
        let isNoted = try file.connection.integer("SELECT 1 FROM import WHERE account = \(account.rawValue)") != nil
        let metered = try file.connection.integer(
            "SELECT end_at FROM unread WHERE start_at = \(Timestamp.earliest.secondsSinceEpoch) ORDER BY end_at DESC LIMIT 1"
        ).map { Timestamp(secondsSinceEpoch: $0) }
        // What lies before the ledger's first reading comes of a clock that was wrong.
        let earliest = metered.flatMap { $0 <= end ? $0 : nil } ?? .earliest
        let allDays = isNoted ? [] : try ownDays(in: file, .earliest...days.calendar.day(containing: kept))
        if let noted = try file.ownFrom(of: account) {
            (openUntil, hasOwn) = (noted == .earliest ? noted : max(noted, earliest), true)
        } else if let day = allDays.first(where: { $0.span.upperBound > earliest })?.span {
            // Nothing is known but the day.
            (openUntil, hasOwn) = (days.lastSecond(of: day), true)
        } else if !isNoted,
            let first = try file.firstBucket(of: account, from: max(kept, Bucket(containing: earliest).start))?.start
        {
            (openUntil, hasOwn) = (max(first, earliest), true)
        } else if try !isNoted && (!allDays.isEmpty || file.firstBucket(of: account, from: kept) != nil) {
            (openUntil, hasOwn) = (earliest, true)
        }
        // Until its first byte, the uplink had none.
        if isUplink, hasOwn, let metered { openUntil = min(openUntil, metered) }
    }

    /// Reads what there is in the time of these slots.
    mutating func load(in file: LedgerFile, _ parts: [ImportedAccount]) throws {
        guard hasOwn, let hull = parts.flatMap(\.slots).hull else { return }
        var (start, end) = (hull.lowerBound.adding(seconds: -600), hull.upperBound.adding(seconds: 600))
        // Where nothing was read, nobody knows which of its buckets had the bytes.
        let gaps = try file.gaps(in: start..<end)
        start = gaps.reduce(start) { min($0, $1.lowerBound) }
        end = gaps.reduce(end) { max($0, $1.upperBound) }
        if start < kept {
            for (span, own) in try ownDays(in: file, days.days(of: start..<min(end, kept))) {
                // Of a day at whose last second it begins nothing finer is known.
                let isInside = span.contains(openUntil) && openUntil != days.lastSecond(of: span)
                rows.append((isInside ? openUntil..<span.upperBound : span, own))
            }
        }
        for (span, own) in try ownBuckets(in: file, from: max(start, kept), before: end) {
            let seam =
                edge?.start == span.lowerBound ? max(openUntil, span.lowerBound.adding(seconds: 1)) : span.lowerBound
            rows.append((seam..<span.upperBound, own))
        }
        for gap in gaps { unite(gap) }
        // What explains another source's bytes doesn't explain these: it may be in the account of the device itself now.
        let sources = parts.map(\.source)
        for entry in try file.takenEntries(.account(account), in: start..<end)
            + file.usedElsewhere(than: account, in: start..<end)
        where !sources.contains(entry.source) {
            var used = entry.own
            explain(&used, of: entry.slot)
        }
    }

    /// Makes one row of those in which what was spread over a span lies.
    private mutating func unite(_ span: Range<Timestamp>) {
        let first = rows.firstPlace { $0.span.lowerBound >= span.lowerBound }
        let end = rows.firstPlace { $0.span.upperBound > span.upperBound }
        if end <= first { return }
        let inside = rows[first].span.lowerBound..<rows[end - 1].span.upperBound
        let known = rows[first..<end].reduce(into: Total.zero) { $0 += $1.total }
        // It was spread evenly: the buckets at its ends have as much of it as their time in it.
        let rate = Spread(
            Delta(received: known.received, transmitted: known.transmitted), from: inside.lowerBound,
            to: inside.upperBound)
        var total = known
        for place in [first - 1, end] where rows.indices.contains(place) {
            let part = rows[place].span.clamped(to: span)
            let seconds = part.upperBound.secondsSinceEpoch - part.lowerBound.secondsSinceEpoch
            let start = inside.lowerBound
            if seconds == 0 { continue }
            // And what rounding has left there.
            let share = Total(rate.share(from: start, to: start.adding(seconds: seconds)))
                .adding(Total(received: 2, transmitted: 2))
            let moved = rows[place].total.without(rows[place].total.without(share))
            rows[place].total = rows[place].total.without(moved)
            total += moved
        }
        rows.replaceSubrange(first..<end, with: [(span, total)])
    }

    /// Days without what was taken over, as far as they have anything then, and without the time whose buckets are kept.
    private func ownDays(in file: LedgerFile, _ days: ClosedRange<CivilDate>) throws -> [Row] {
        let stored = try file.dayRows(of: account, days).map { (self.days.span(of: $0.day), $0.total) }
            .prefix { $0.0.lowerBound < kept }
        guard let first = stored.first?.0, let last = stored.last?.0 else { return [] }
        var own = stored.map { (span: $0.lowerBound..<min($0.upperBound, kept), total: $1) }
        let buckets = try file.bucketRows(of: account, from: max(kept, last.lowerBound), before: last.upperBound)
        own[own.count - 1].total = buckets.reduce(own[own.count - 1].total) { $0.without($1.total) }
        for spread in try file.takenEntries(.account(account), in: first.lowerBound..<last.upperBound).map(\.spread) {
            var place = own.firstPlace { $0.span.upperBound > spread.start }
            while place < own.endIndex, own[place].span.lowerBound <= spread.end {
                let share = spread.share(from: own[place].span.lowerBound, to: own[place].span.upperBound)
                own[place].total = own[place].total.without(Total(share))
                place += 1
            }
        }
        return own.filter { !$0.total.isZero }
    }

    /// Buckets without what was taken over, as far as they have anything then.
    private func ownBuckets(in file: LedgerFile, from start: Timestamp, before end: Timestamp) throws -> [Row] {
        if start >= end { return [] }
        var buckets = try file.bucketRows(of: account, from: start, before: end)
        for spread in try file.takenEntries(.account(account), in: start..<end).map(\.spread) {
            var place = buckets.firstPlace { $0.span.upperBound > spread.start }
            while place < buckets.endIndex, buckets[place].span.lowerBound <= spread.end {
                let span = buckets[place].span
                let share = Total(spread.share(from: span.lowerBound, to: span.upperBound))
                buckets[place].total = buckets[place].total.without(share)
                place += 1
            }
        }
        return buckets.filter { !$0.total.isZero }
    }

    /// Uses up what there is in a slot's time; what reaches over its ends comes last.
    mutating func explain(
        _ rest: inout Total, of span: Range<Timestamp>, slack: Int64 = 0, within hull: Range<Timestamp>? = nil
    ) {
        let wide = span.lowerBound.adding(seconds: -slack)..<span.upperBound.adding(seconds: slack)
        let first = rows.firstPlace { $0.span.upperBound > wide.lowerBound }
        // Whole ones first, then those behind the first reading, which no earlier slot can mean.
        for rank in 0...2 {
            var place = first
            while place < rows.endIndex, rows[place].span.lowerBound < wide.upperBound, !rest.isZero {
                let row = rows[place].span
                let isWhole = row.lowerBound >= wide.lowerBound && row.upperBound <= wide.upperBound
                let isMeant = hull.map { row.lowerBound >= $0.lowerBound && row.upperBound <= $0.upperBound } ?? true
                if isMeant, (isWhole ? 0 : row.lowerBound >= openUntil ? 1 : 2) == rank {
                    let there = rows[place].total
                    rows[place].total = there.without(rest)
                    rest = rest.without(there)
                }
                place += 1
            }
        }
    }
}

/// What the ledger has metered itself of an account, and of others in which the same devices may have been.
private struct KnownBytes {
    /// What slots have that the ledger may yet read itself.
    private(set) var late = Total.zero
    /// What slots have that the ledger doesn't, of the time in which it was to meter it itself.
    private(set) var missed = Total.zero
    private let days: BookedDays
    private let isUplink: Bool
    /// The last reading: what was carried since is booked when netusage runs.
    private let readUntil: Timestamp
    /// The account's own bytes come first.
    private var own: [OwnBytes] = []
    /// By source, where among them its bytes may be: single devices first, as classes have others' too.
    private var homes: [String: [Int]] = [:]

    /// - Parameters:
    ///   - isNew: Whether the account has nothing yet.
    ///   - key: The account's.
    init(
        of account: AccountID, isNew: Bool, _ key: AccountKey, in file: LedgerFile, by days: BookedDays,
        at now: Timestamp, _ parts: [ImportedAccount]
    ) throws {
        self.days = days
        isUplink = key == .uplink
        readUntil = try file.loadHeader()?.lastReading.timestamp ?? now
        let openUntil = min(now, readUntil)
        own = [
            try OwnBytes(
                of: account, isNew: isNew, in: file, by: days, openUntil: openUntil, isUplink: key == .uplink)
        ]
        var places = [account: 0]
        for part in parts {
            // By another configuration, what it carried was booked elsewhere.
            let others = part.source.isEmpty ? [] : try file.accounts(ofSource: part.source)
            for other in others where places[other] == nil {
                places[other] = own.count
                own.append(try OwnBytes(of: other, in: file, by: days, openUntil: openUntil))
            }
            let known = others.compactMap { places[$0] }.filter { $0 == 0 || own[$0].hasOwn }
            // The uplink has other devices' bytes, too.
            homes[part.source] = known.contains(0) || key == .uplink && !known.isEmpty ? known : known + [0]
        }
        for (place, bytes) in own.enumerated() where bytes.hasOwn {
            try own[place].load(in: file, parts.filter { homes[$0.source]?.contains(place) ?? false })
        }
    }

    /// The first reading of the account itself.
    var ownFrom: Timestamp? { own[0].hasOwn ? own[0].openUntil : nil }

    /// A slot of one of the parts.
    private struct Item {
        let span: Range<Timestamp>
        let total: Total
        let source: String
        /// The day that it lies in; `nil` if it reaches over midnight.
        let day: CivilDate?
        let seam: Seam
        var rest: Total
        /// What the own bytes of a class, or of the uplink, have explained of it.
        var own = Total.zero

        var isEarly: Bool { span.lowerBound < seam.earlyUntil }
    }

    /// Where the ledger's own bytes of a source begin.
    private struct Seam {
        let homes: [Int]
        let openUntil: Timestamp
        let edge: Bucket?
        let hasOwn: Bool
        /// What begins before may have been carried before the first reading.
        let earlyUntil: Timestamp
        /// The time of the source's slots, in whole buckets.
        let hull: Range<Timestamp>
    }

    private func seam(of part: ImportedAccount, _ hull: Range<Timestamp>) -> Seam {
        let homes = homes[part.source] ?? [0]
        let beginnings = isUplink ? [own[0]] : homes.map { own[$0] }
        let first = beginnings.min { $0.openUntil < $1.openUntil } ?? own[0]
        // Not those of the next day, which may come in another piece.
        let earlyUntil = first.edge.map { edge in
            min(
                edge.end.adding(seconds: Bucket.seconds),
                days.span(of: days.calendar.day(containing: edge.start)).upperBound)
        }
        return Seam(
            homes: homes, openUntil: first.openUntil, edge: first.edge, hasOwn: first.hasOwn,
            earlyUntil: earlyUntil ?? first.openUntil, hull: hull.wholeBuckets)
    }

    /// What of the parts' slots isn't there, and is to be booked.
    ///
    /// What was taken over from the same source before, and what the ledger has metered since, explains what slots of the same
    /// time have, the shortest first; near the first reading also, for meters that read at different moments, what is
    /// left of a slot's neighbours. What isn't explained was carried before the first reading, if the slot begins
    /// before it or right behind it.
    mutating func unexplained(_ parts: [ImportedAccount], by taken: inout TakenRows) -> [TakenEntry] {
        var items: [Item] = []
        var told: [String: ToldTime] = [:]
        for part in parts {
            guard let hull = part.slots.hull else { continue }
            let seam = seam(of: part, hull)
            told[part.source] = ToldTime(part.slots)
            items += part.slots.map {
                Item(
                    span: $0.span, total: $0.total, source: part.source, day: day(of: $0.span), seam: seam,
                    rest: $0.total)
            }
        }
        // Those that only own bytes can explain come before those that may have been carried earlier.
        func rank(_ item: Item) -> (Int, Int, Int64, Timestamp) {
            let length = item.span.upperBound.secondsSinceEpoch - item.span.lowerBound.secondsSinceEpoch
            return (item.isEarly ? 1 : 0, item.day == nil ? 1 : 0, length, item.span.lowerBound)
        }
        items.sort { rank($0) < rank($1) }
        for place in items.indices {
            taken.explain(&items[place].rest, ofAlso: items[place].span, items[place].source)
        }
        for place in items.indices where !items[place].rest.isZero {
            let (span, source) = (items[place].span, items[place].source)
            taken.explain(&items[place].rest, of: span, source) {
                $0.lowerBound >= span.lowerBound && $0.upperBound <= span.upperBound
            }
            explain(&items[place])
            taken.explain(&items[place].rest, of: span, source) { _ in true }
        }
        // Meters differ in when they read, and files in how fine they are: the time of a day that a file tells of gets what
        // it lacks, and no more.
        for place in items.indices where !items[place].rest.isZero {
            guard let day = items[place].day, let told = told[items[place].source] else { continue }
            taken.explain(&items[place].rest, of: days.span(of: day), items[place].source) { told.contains($0) }
        }
        // What lies outside of the file's time is meant by none of its slots. Whose bytes came a bucket late in one of the two
        // may have taken those of the next, and so on.
        for slack in [Bucket.seconds, 3 * Bucket.seconds] {
            for place in items.indices {
                let seam = items[place].seam
                // Where the first reading isn't known but by its bucket, its bytes may have been carried in the one before.
                let near = seam.openUntil.adding(seconds: seam.openUntil == seam.edge?.start ? -Bucket.seconds : 0)
                if items[place].span.upperBound > near { explain(&items[place], slack: slack) }
            }
        }
        return items.compactMap { entry(for: $0) }
    }

    /// What is to be booked of a slot; `nil` if there is nothing to be kept of it.
    private mutating func entry(for item: Item) -> TakenEntry? {
        let (span, seam) = (item.span, item.seam)
        // Of what both may have metered it is noted what was told, as long as buckets tell them apart.
        let isOfBoth =
            seam.edge != nil && item.isEarly && span.upperBound > seam.openUntil && !item.total.isZero
        let own = item.isEarly ? item.own : .zero
        if item.rest.isZero, own.isZero, !isOfBoth { return nil }
        if span.upperBound > readUntil, item.isEarly || !seam.hasOwn || span.lowerBound >= readUntil {
            late += item.rest
            return nil
        }
        if !item.isEarly {
            missed += item.rest
            return nil
        }
        let end = min(span.upperBound, max(seam.openUntil, seam.edge?.start.adding(seconds: 1) ?? seam.openUntil))
        return TakenEntry(
            slot: span, until: end, total: item.rest, told: isOfBoth ? item.total : item.rest, own: own,
            source: item.source)
    }

    /// The day that a span lies in; `nil` for one that reaches over midnight.
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
