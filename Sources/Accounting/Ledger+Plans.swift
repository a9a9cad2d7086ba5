import CivilTime

/// How plans count the ledger's bytes.
extension Ledger {
    /// Replaces the plan book by one made from the store, and adds the bookings that wait for the store.
    ///
    /// - Precondition: No commit is under way, and none was made since the store was read.
    package mutating func use(_ book: PlanBook) {
        precondition(outbox.inFlight == nil, "a plan book can't be replaced while a commit is under way")
        begin(book)
        for span in outbox.pending.unread where planBook.noteUnread(span) { isPlanBookOutdated = true }
        planBook.book(outbox.pending, of: accounts.keys)
        planBook.note(outbox.pending.events)
        for event in outbox.pending.starts { planBook.records.setAwaitsProgram(as: event) }
    }

    /// Replaces the plan book without adding bookings.
    mutating func begin(_ book: PlanBook) {
        let previous = planBook
        planBook = book
        planBook.adoptRates(of: previous)
        // Hourly histories that were counted under another name or clock don't belong to the quotas.
        if !isPlanBookOutdated { planBook.adoptHistories(of: previous) }
        isPlanBookOutdated = false
        cutsSpan = .earliest ..< .earliest
        accounts.uncounted = []
        for index in accounts.indices {
            let account = accounts[index]
            accounts[index].counting = account.isFolded ? .init() : planBook.counting(account.key)
            // The store doesn't know the new name yet, so the book counted the account under the previous one.
            guard let previous = book.keys[account.id], account.isFolded || previous != account.key else { continue }
            if accounts[index].counting != planBook.counting(previous) { isPlanBookOutdated = true }
        }
        planBook.storedAccounts = Set(book.keys.values)
        planBook.keys = [:]
    }

    /// Finds the plans that count accounts with a new key.
    mutating func refreshCountings() {
        if accounts.uncounted.isEmpty { return }
        defer { accounts.uncounted = [] }
        for index in accounts.uncounted.sorted() where !accounts[index].isFolded {
            let counting = planBook.counting(accounts[index].key)
            if counting == accounts[index].counting { continue }
            accounts[index].counting = counting
            // It has bytes from another name, so a plan has counted too much or too little.
            if !accounts[index].lifetime.isZero { isPlanBookOutdated = true }
        }
    }

    /// How far ahead cuts are known.
    private static let cutsAheadSeconds: Int64 = 86_400

    /// Finds out where buckets are cut, once a day.
    mutating func refreshCuts(at now: Timestamp) {
        if cutsSpan.contains(now) { return }
        let first = now.adding(seconds: -3600)
        let known = planBook.cuts(in: first..<now.adding(seconds: 2 * Self.cutsAheadSeconds))
        // A past cut stays, whatever the plans are now: new bytes must not go before it.
        let made = cuts.filter { $0 >= first && $0 <= now && !known.contains($0) }
        cuts = made.isEmpty ? known : (known + made).sorted()
        cutsSpan = first..<now.adding(seconds: Self.cutsAheadSeconds)
    }

    /// Begins another bucket at this moment; everything up to it must be booked already.
    package mutating func cut(at moment: Timestamp) {
        if Bucket(containing: moment).start == moment || cuts.contains(moment) { return }
        cuts = (cuts + [moment]).sorted()
    }

    /// Whether a slot begins at this moment. It may have bytes of this very second already.
    package func hasSlot(from moment: Timestamp) -> Bool {
        Bucket(containing: moment).start == moment || cuts.contains(moment)
    }

    /// Has the plan book rebuilt.
    package mutating func outdatePlanBook() { isPlanBookOutdated = true }

    /// The first cut after this moment.
    package func nextCut(after moment: Timestamp) -> Timestamp? { cuts.first { $0 > moment } }

    /// Collects quota events since the last call. They are announced once they are stored.
    ///
    /// - Parameter makesForecasts: Whether there is time for forecasts.
    /// - Returns: Whether to commit at once: there are events, or a cycle or free window begins or ends here.
    package mutating func notePlanEvents(at now: Timestamp, makesForecasts: Bool = true) -> Bool {
        refreshCountings()
        let isTurning = planBook.isTurning(at: now)
        let events = planBook.takeEvents(at: now)
        if makesForecasts { planBook.refreshForecasts(at: now) }
        let cycles = planBook.takeCommittedCycles(at: now)
        outbox.pending.events += events
        outbox.pending.committedCycles += cycles
        return isTurning || !events.isEmpty || !cycles.isEmpty
    }

    /// Notes a time without readings, unless it lies in one bucket. One from `.earliest` on ends when metering began.
    mutating func noteUnread(from start: Timestamp, to end: Timestamp) {
        if start >= end || Bucket(containing: start).end >= end { return }
        if isPersistent { outbox.pending.unread.append(start..<end) }
        if planBook.noteUnread(start..<end) { isPlanBookOutdated = true }
    }

    /// Corrects the noted times without readings after the wall clock was set.
    mutating func noteClockStep(at now: Moment) {
        // By this clock, other cycles may be open than those that the book was made for.
        isPlanBookOutdated = true
        let previous = now.timestamp(before: now.sinceBoot.elapsed(since: lastReading.sinceBoot))
        outbox.pending.unread = outbox.pending.unread.map { span in
            span.lowerBound == .earliest ? span : span.clamped(to: .earliest..<max(span.lowerBound, previous))
        }.filter { !$0.isEmpty }
        if let begunAt, now.sinceBoot.elapsed(since: begunAt) < Self.longestStart {
            noteUnread(from: .earliest, to: now.timestamp(before: now.sinceBoot.elapsed(since: begunAt)))
        } else {
            // A clock that was behind for a while comes back to time that was read.
            noteUnread(from: max(meteredUntil, planBook.records.meteredUntil), to: previous)
        }
    }

    /// A clock that is set this soon after metering began was wrong at its beginning.
    private static let longestStart = Span(seconds: 3600)

    /// Takes the quotas' use of the last weeks that a scan found in the store.
    package mutating func adopt(_ scan: HistoryScan) { planBook.adopt(scan) }

    /// Notes the start of an event's program, which starts once this is stored.
    package mutating func noteStart(for event: QuotaEvent) {
        var event = event
        event.awaitsProgram = false
        planBook.records.setAwaitsProgram(as: event)
        if isPersistent { outbox.pending.starts.append(event) }
    }

    /// Takes back starts that no commit has taken yet.
    package mutating func withdrawStarts() {
        for place in outbox.pending.starts.indices {
            outbox.pending.starts[place].awaitsProgram = true
            planBook.records.setAwaitsProgram(as: outbox.pending.starts[place])
        }
    }

    /// Takes back starts of the commit under way, which failed. As it may succeed later, the next commit does it.
    package mutating func withdrawStartsUnderWay() {
        for var event in outbox.inFlight?.bookings.starts ?? [] {
            event.awaitsProgram = true
            planBook.records.setAwaitsProgram(as: event)
            outbox.pending.starts.append(event)
        }
    }

    /// Rate limits whose state changed since the last call.
    package mutating func takeRateLimitNews() -> [RateLimitState] { planBook.takeRateLimitNews() }

    /// Events that may be announced: they are stored, or there is no store.
    package mutating func takeNews() -> [QuotaEvent] {
        if !isPersistent {
            outbox.news += outbox.pending.events.filter(\.isNews)
            outbox.pending.events = []
        }
        defer { outbox.news = [] }
        return outbox.news
    }
}
