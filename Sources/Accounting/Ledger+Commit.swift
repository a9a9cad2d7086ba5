import CivilTime

/// What goes to the store and what comes back. At most one commit is under way.
extension Ledger {
    /// Everything that the store doesn't have yet; or the commit under way, unchanged, until it is acknowledged: whether it
    /// failed or only seemed to, its number tells the store.
    ///
    /// - Parameter isFinal: Whether the program ends with it, if it is a new one.
    /// - Returns: `nil` when there is no store, or none yet.
    package mutating func takeCommit(isFinal: Bool = false) -> Commit? {
        guard isPersistent, origin == nil else { return nil }
        if let inFlight { return inFlight }
        settleNewAccounts()
        evictEmptyAccounts()
        let records = deviceRecords()
        var commit = Commit(
            header: LedgerHeader(
                sequence: sequence + 1, epoch: epoch, boot: boot, lastReading: lastReading, isClean: isFinal))
        commit.folds = pending.folds
        commit.accounts = changedAccounts()
        commit.removedAccounts = pending.removedAccounts
        commit.buckets = pending.buckets
        commit.days = pending.days
        commit.spreads = pending.spreads
        commit.events = pending.events
        commit.starts = pending.starts
        commit.adjustments = pending.adjustments
        commit.committedCycles = pending.committedCycles
        commit.unread = pending.unread
        commit.isWhole = pending.isWhole
        commit.devices = records.values.filter { persistedDevices[$0.index] != $0 }.sorted { $0.index < $1.index }
        commit.removedDevices = persistedDevices.keys.filter { records[$0] == nil }.sorted()
        pending = Pending()
        unexposedInFlight = unexposed
        unexposed = [:]
        inFlight = commit
        return commit
    }

    /// Whether a commit was taken that isn't acknowledged yet.
    package var hasCommitUnderWay: Bool { inFlight != nil }

    /// Whether accounts became part of others without the store knowing.
    package var hasFolds: Bool { !pending.folds.isEmpty }

    /// The commit under way is in the store for good.
    package mutating func acknowledgeCommit() {
        guard let commit = inFlight else { return }
        inFlight = nil
        sequence = commit.header.sequence
        isClosed = commit.header.isClean
        unexposedInFlight = [:]
        news += commit.events.filter(\.isNews)
        for index in commit.removedDevices { persistedDevices[index] = nil }
        for record in commit.devices { persistedDevices[record.index] = record }
        let records = Dictionary(commit.accounts.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        for index in accounts.indices {
            if records.isEmpty { break }
            if let record = records[accounts[index].id] { accounts[index].persisted = record }
        }
    }

    /// The store has been begun again, because the old file was damaged: it needs everything that is known here.
    package mutating func recommitEverything() {
        let untold = ((inFlight?.events ?? []) + pending.events).filter(\.isNews)
        // The book says of these that they are started, but they may be taken back.
        let starts = (inFlight?.starts ?? []) + pending.starts
        inFlight = nil
        unexposed.merge(unexposedInFlight) { $0.adding($1) }
        unexposedInFlight = [:]
        persistedDevices = [:]
        pending = Pending()
        pending.isWhole = true
        pending.starts = starts
        pending.events = planBook.records.events.filter { event in !untold.contains { $0.isSame(as: event) } } + untold
        pending.adjustments = planBook.records.adjustments
        pending.committedCycles = planBook.records.committedCycles
        // The finer grain of all that was before is lost.
        let known = planBook.records.meteredFrom ?? firstBooking
        let begin = max(known, calendar.start(of: window.previousMonthStart))
        pending.unread = [
            .earliest..<begin, begin.adding(seconds: 1)..<max(begin.adding(seconds: 1), lastReading.timestamp),
        ]
        for index in accounts.indices {
            accounts[index].persisted = nil
            let id = accounts[index].id
            for entry in accounts[index].days.entries { recommit(entry.total, of: id, on: entry.day) }
            let known = accounts[index].days.entries.reduce(into: Total.zero) { $0 += $1.total }
            let earlier = accounts[index].lifetime.without(known)
            guard !earlier.isZero else { continue }
            let first = accounts[index].days.entries.first?.day ?? window.previousMonthStart
            let day = min(first, window.previousMonthStart).adding(days: -1)
            recommit(earlier, of: id, on: day)
        }
        keepUse()
    }

    /// When the first day with bytes that is known began; it may have been metered in part only.
    private var firstBooking: Timestamp {
        let first = accounts.compactMap { $0.days.entries.first?.day }.min()
        return first.map { calendar.start(of: $0).adding(seconds: 1) } ?? lastReading.timestamp
    }

    /// What quotas have used, and may use, goes on as corrections and top-ups where whole days don't tell it.
    private mutating func keepUse() {
        let now = lastReading.timestamp
        // All that a day has is in its first slot: nothing of it must come after the correction.
        if now == calendar.start(of: calendar.day(containing: now)) { return }
        var told = planBook.emptied(unread: pending.unread, at: now)
        let keys = Dictionary(uniqueKeysWithValues: accounts.map { ($0.id, $0.key) })
        for (key, total) in pending.buckets {
            if let account = keys[key.account] { told.book(total, at: key.bucket.start, for: told.counting(account)) }
        }
        let adjustments = planBook.adjustments(of: told, at: now)
        if adjustments.isEmpty { return }
        pending.adjustments += adjustments
        cut(at: now)
    }

    /// A day's bytes for a new file, all in its first bucket: the finer grain is lost with the old one.
    private mutating func recommit(_ total: Total, of account: AccountID, on day: CivilDate) {
        pending.days[.init(account: account, day: day), default: .zero] += total
        let bucket = Bucket(containing: calendar.start(of: day))
        pending.buckets[.init(account: account, bucket: bucket), default: .zero] += total
    }

    /// An account's earlier history, found by the store under its name, becomes part of it.
    package mutating func adopt(_ history: AdoptedHistory) {
        // The account may have become part of another one since.
        let account = pending.foldTargets[history.account] ?? history.account
        guard let index = accounts.firstIndex(where: { $0.id == account }) else { return }
        accounts[index].lifetime += history.lifetime
        accounts[index].events.add(history.events)
        for entry in history.days { accounts[index].days.add(entry.total, on: entry.day) }
        accounts[index].periods = window.totals(of: accounts[index].days)
    }

    /// Takes the days from the store again, under another calendar or from an earlier day on.
    ///
    /// - Precondition: No commit is under way, none was since `stored` was read, and no account became part of another.
    package mutating func replaceHistory(_ stored: StoredLedger, calendar: LocalCalendar, at now: Timestamp) {
        precondition(inFlight == nil && !hasFolds, "history can't be replaced while a commit is under way")
        self.calendar = calendar
        rezoneFalls()
        window = PeriodWindow(calendar, at: now)
        historyFrom = stored.daysFrom
        pending.days = daysOfPending(by: calendar)
        var place: [AccountID: Int] = [:]
        for index in accounts.indices {
            accounts[index].days = DayTotals()
            place[accounts[index].id] = index
        }
        for entry in stored.accounts where place[entry.record.id] == nil && accountIndex[entry.record.key] == nil {
            place[entry.record.id] = restore(entry)
        }
        // Imported bytes are a part of what an account has carried.
        for entry in stored.accounts {
            if let index = place[entry.record.id] { accounts[index].lifetime = entry.lifetime }
        }
        let isStored = Set(stored.accounts.map(\.record.id))
        for (key, total) in pending.days where isStored.contains(key.account) {
            if let index = place[key.account] { accounts[index].lifetime += total }
        }
        for entry in stored.days {
            if let index = place[entry.account] { accounts[index].days.add(entry.total, on: entry.day) }
        }
        for (key, total) in pending.days {
            if let index = place[key.account] { accounts[index].days.add(total, on: key.day) }
        }
        recomputePeriods()
    }

    /// Another calendar, for a ledger that has no store: days that were booked before keep their dates.
    package mutating func useWithoutStore(_ calendar: LocalCalendar, at now: Timestamp) {
        self.calendar = calendar
        rezoneFalls()
        window = PeriodWindow(calendar, at: now)
        recomputePeriods()
    }

    /// Other plans, for a ledger that has no store: what it knows of the past are days.
    package mutating func useWithoutStore(_ book: PlanBook) {
        begin(book)
        for account in accounts where !account.isFolded {
            for entry in account.days.entries {
                planBook.restore(entry.total, of: account.key, at: calendar.start(of: entry.day))
            }
        }
        planBook.isComplete = !isPersistent
        if !isPersistent { planBook.takePastAsKnown() }
    }

    private mutating func restore(_ entry: StoredLedger.StoredAccount) -> Int {
        var account = Account(id: entry.record.id, key: entry.record.key, events: entry.record.events)
        account.lifetime = entry.lifetime
        account.persisted = entry.record
        account.isFresh = entry.record.offsetBoot != boot
        if !account.isFresh { account.counter = entry.record.counterOffset }
        accounts.append(account)
        accountIndex[entry.record.key] = accounts.count - 1
        uncounted.insert(accounts.count - 1)
        structureVersion += 1
        return accounts.count - 1
    }

    /// The waiting bookings by a calendar's days, from their buckets.
    func daysOfPending(by calendar: LocalCalendar) -> [Commit.DayKey: Total] {
        var days: [Commit.DayKey: Total] = [:]
        for (key, total) in pending.buckets {
            let day = calendar.day(containing: key.bucket.start)
            days[.init(account: key.account, day: day), default: .zero] += total
        }
        for gap in pending.spreads {
            for part in gap.spread.days(by: calendar) {
                days[.init(account: gap.account, day: part.day), default: .zero] += part.share
            }
        }
        return days
    }

    private func changedAccounts() -> [AccountRecord] {
        var membersShow: [Int: Counters] = [:]
        for (index, device) in devices {
            for place in uplinkDevices.contains(index) ? [device.account, uplinkAccount] : [device.account] {
                membersShow[place, default: .zero].received &+= device.last.received
                membersShow[place, default: .zero].transmitted &+= device.last.transmitted
            }
        }
        // Most are as the store has them: each is looked at in place, for there may be thousands.
        var records: [AccountRecord] = []
        for index in accounts.indices where !accounts[index].isFolded {
            let shown = membersShow[index] ?? .zero
            var offset = Counters(
                received: accounts[index].counter.received &- shown.received,
                transmitted: accounts[index].counter.transmitted &- shown.transmitted)
            var offsetBoot = boot
            if accounts[index].isFresh {
                offset = accounts[index].persisted?.counterOffset ?? .zero
                offsetBoot = accounts[index].persisted?.offsetBoot ?? 0
            }
            if accounts[index].isStored(offset, offsetBoot) { continue }
            records.append(
                AccountRecord(
                    id: accounts[index].id, key: accounts[index].key, counterOffset: offset, offsetBoot: offsetBoot,
                    events: accounts[index].events))
        }
        return records
    }

    private func deviceRecords() -> [DeviceIndex: DeviceRecord] {
        var records: [DeviceIndex: DeviceRecord] = [:]
        for (index, entry) in away.entries where !entry.isMissing {
            records[index] = DeviceRecord(
                index: index, name: entry.name, account: nil, counters: entry.counters, state: .away,
                holdsUplink: false, hardwareAddress: entry.hardwareAddress)
        }
        for (index, device) in devices {
            var record = DeviceRecord(
                index: index, name: device.name, account: accounts[device.account].id, counters: device.last,
                state: .metered, holdsUplink: uplinkDevices.contains(index), hardwareAddress: device.hardwareAddress)
            if let falls = falls[index] {
                for direction in TrafficDirection.allCases { record.falls[direction] = falls[direction]?.record }
            }
            switch device.phase {
            case .counting: break
            case .awaitingBaseline: record.state = .away
            case .perhapsReturned(let carried, _, _):
                record.state = .away
                record.counters = carried
            }
            records[index] = record
        }
        return records
    }
}
