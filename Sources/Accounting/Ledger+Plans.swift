import CivilTime

/// What plans count of the ledger.
extension Ledger {
    /// Another book holds from now on, which has what the store has: what waits for the store is added here.
    ///
    /// - Precondition: No commit is under way, and none was since the store was read for it.
    package mutating func use(_ book: PlanBook) {
        precondition(inFlight == nil, "a plan book can't be replaced while a commit is under way")
        begin(book)
        for span in pending.unread where planBook.noteUnread(span) { isPlanBookOutdated = true }
        replay(pending)
        planBook.note(pending.events)
        for event in pending.starts { planBook.setAwaitsProgram(as: event) }
    }

    /// A book that needs nothing added.
    mutating func begin(_ book: PlanBook) {
        let previous = planBook
        planBook = book
        planBook.adoptRates(of: previous)
        // What was counted by another name, or another clock, isn't what the quotas have.
        if !isPlanBookOutdated { planBook.adoptHistories(of: previous) }
        isPlanBookOutdated = false
        cutsSpan = .earliest ..< .earliest
        uncounted = []
        for index in accounts.indices {
            let account = accounts[index]
            accounts[index].counting = account.isFolded ? .init() : planBook.counting(account.key)
            // The store doesn't know of a new name yet: what plans have of the account is by its previous one.
            guard let previous = book.keys[account.id], account.isFolded || previous != account.key else { continue }
            if accounts[index].counting != planBook.counting(previous) { isPlanBookOutdated = true }
        }
        planBook.storedAccounts = Set(book.keys.values)
        planBook.keys = [:]
    }

    /// Has the plans count what waits for the store.
    mutating func replay(_ waiting: Pending) {
        replay(waiting, by: Dictionary(uniqueKeysWithValues: accounts.map { ($0.id, $0.key) }))
    }

    /// Has the plans count what waits in another ledger.
    mutating func replay(_ waiting: Pending, of other: Ledger) {
        replay(waiting, by: Dictionary(uniqueKeysWithValues: other.accounts.map { ($0.id, $0.key) }))
    }

    private mutating func replay(_ waiting: Pending, by keys: [AccountID: AccountKey]) {
        for (key, total) in waiting.buckets {
            guard let account = keys[key.account] else { continue }
            planBook.book(total, at: key.bucket.start, for: planBook.counting(account))
        }
        for entry in waiting.spreads {
            guard let account = keys[entry.account] else { continue }
            planBook.book(entry.spread, for: planBook.counting(account))
        }
    }

    /// Accounts learn which plans count them, if any has come or has another name.
    mutating func refreshCountings() {
        if uncounted.isEmpty { return }
        defer { uncounted = [] }
        for index in uncounted.sorted() where !accounts[index].isFolded {
            let counting = planBook.counting(accounts[index].key)
            if counting == accounts[index].counting { continue }
            accounts[index].counting = counting
            // One that had bytes under another name: some plan has them that shouldn't, or hasn't that should.
            if !accounts[index].lifetime.isZero { isPlanBookOutdated = true }
        }
    }

    /// How far ahead it is known where buckets are cut.
    private static let cutsAheadSeconds: Int64 = 86_400

    /// Finds out where buckets are cut, once a day.
    mutating func refreshCuts(at now: Timestamp) {
        if cutsSpan.contains(now) { return }
        let first = now.adding(seconds: -3600)
        let known = planBook.cuts(in: first..<now.adding(seconds: 2 * Self.cutsAheadSeconds))
        // A cut that was made stays, whatever plans there are now: bytes must not go back to before it.
        let made = cuts.filter { $0 >= first && $0 <= now && !known.contains($0) }
        cuts = made.isEmpty ? known : (known + made).sorted()
        cutsSpan = first..<now.adding(seconds: Self.cutsAheadSeconds)
    }

    /// From this moment on bytes go to another bucket than before: everything up to it is booked.
    package mutating func cut(at moment: Timestamp) {
        if Bucket(containing: moment).start == moment || cuts.contains(moment) { return }
        cuts = (cuts + [moment]).sorted()
    }

    /// Whether a slot begins at this moment, so that it may have bytes of this very second already.
    package func hasSlot(from moment: Timestamp) -> Bool {
        Bucket(containing: moment).start == moment || cuts.contains(moment)
    }

    /// The book is to be made again.
    package mutating func outdatePlanBook() { isPlanBookOutdated = true }

    /// The first moment after this one at which a bucket is cut.
    package func nextCut(after moment: Timestamp) -> Timestamp? { cuts.first { $0 > moment } }

    /// What happened to the quotas since the last time; it waits for the store until it is told to anybody.
    ///
    /// - Parameter makesForecasts: Whether there is time for that.
    /// - Returns: Whether there must be a commit at once: something did, or bytes count otherwise from here on.
    package mutating func notePlanEvents(at now: Timestamp, makesForecasts: Bool = true) -> Bool {
        refreshCountings()
        let isTurning = planBook.isTurning(at: now)
        let events = planBook.takeEvents(at: now)
        if makesForecasts { planBook.refreshForecasts(at: now) }
        let cycles = planBook.takeCommittedCycles(at: now)
        pending.events += events
        pending.committedCycles += cycles
        return isTurning || !events.isEmpty || !cycles.isEmpty
    }

    /// Notes that nothing was read from one moment to another, if any five minutes lie in between. From the beginning of
    /// all time it says when metering began.
    mutating func noteUnread(from start: Timestamp, to end: Timestamp) {
        if start >= end || Bucket(containing: start).end >= end { return }
        if isPersistent { pending.unread.append(start..<end) }
        if planBook.noteUnread(start..<end) { isPlanBookOutdated = true }
    }

    /// The clock was set: what it said until now of time in which nothing was read was wrong.
    mutating func noteClockStep(at now: Moment) {
        // Other cycles may be open by this clock than those that the book was made for.
        isPlanBookOutdated = true
        let previous = now.timestamp(before: now.sinceBoot.elapsed(since: lastReading.sinceBoot))
        pending.unread = pending.unread.map { span in
            span.lowerBound == .earliest ? span : span.clamped(to: .earliest..<max(span.lowerBound, previous))
        }.filter { !$0.isEmpty }
        if let begunAt, now.sinceBoot.elapsed(since: begunAt) < Self.longestStart {
            noteUnread(from: .earliest, to: now.timestamp(before: now.sinceBoot.elapsed(since: begunAt)))
        } else {
            // A clock that was behind for a while comes back to time that was read.
            noteUnread(from: max(meteredUntil, planBook.records.meteredUntil), to: previous)
        }
    }

    /// A clock that is set so soon after metering began was wrong when it began.
    private static let longestStart = Span(seconds: 3600)

    /// Takes what the quotas carried in the last weeks, as the store has it.
    package mutating func adopt(_ scan: HistoryScan) { planBook.adopt(scan) }

    /// The program of an event is to be started once the store knows.
    package mutating func noteStart(for event: QuotaEvent) {
        let event = event.awaitingProgram(false)
        planBook.setAwaitsProgram(as: event)
        if isPersistent { pending.starts.append(event) }
    }

    /// Programs whose start isn't on its way to the store yet aren't started now.
    package mutating func withdrawStarts() {
        pending.starts = pending.starts.map { $0.awaitingProgram(true) }
        for event in pending.starts { planBook.setAwaitsProgram(as: event) }
    }

    /// Nor are those of the commit under way, which failed. It may succeed when it is tried again, so the next one takes
    /// them back.
    package mutating func withdrawStartsUnderWay() {
        for event in (inFlight?.starts ?? []).map({ $0.awaitingProgram(true) }) {
            planBook.setAwaitsProgram(as: event)
            pending.starts.append(event)
        }
    }

    /// Rate limits whose state has changed since this was asked last.
    package mutating func takeRateLimitNews() -> [RateLimitState] { planBook.takeRateLimitNews() }

    /// What may be told because it is in the store by now; or because there is none.
    package mutating func takeNews() -> [QuotaEvent] {
        if !isPersistent {
            news += pending.events.filter(\.isNews)
            pending.events = []
        }
        defer { news = [] }
        return news
    }
}
