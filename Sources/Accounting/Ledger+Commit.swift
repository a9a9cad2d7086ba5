import CivilTime

/// What goes to the store and what comes back. At most one commit is under way.
extension Ledger {
    /// A commit of everything that the store lacks. Until it is acknowledged, the same commit is returned: by its
    /// number the store knows whether it has it.
    ///
    /// - Parameter isFinal: Whether the program ends with this commit, if it is a new one.
    /// - Returns: `nil` if there is no store, or it isn't read yet.
    package mutating func takeCommit(isFinal: Bool = false) -> Commit? {
        guard isPersistent, origin == nil else { return nil }
        if let inFlight = outbox.inFlight { return inFlight }
        settleNewAccounts()
        evictEmptyAccounts()
        let records = deviceRecords()
        var commit = Commit(
            header: LedgerHeader(
                sequence: outbox.sequence + 1, epoch: epoch, boot: boot, lastReading: lastReading, isClean: isFinal))
        commit.bookings = outbox.pending
        commit.accounts = changedAccounts()
        commit.devices = records.values.filter { outbox.storedDevices[$0.index] != $0 }.sorted { $0.index < $1.index }
        commit.removedDevices = outbox.storedDevices.keys.filter { records[$0] == nil }.sorted()
        commit.applications = applications.takeChanges()
        outbox.pending = Bookings()
        accounts.hiddenInFlight = accounts.hidden
        accounts.hidden = [:]
        outbox.inFlight = commit
        return commit
    }

    /// Whether a commit isn't acknowledged yet.
    package var hasCommitUnderWay: Bool { outbox.inFlight != nil }

    /// Whether accounts were merged, and no commit has that yet.
    package var hasFolds: Bool { !outbox.pending.folds.isEmpty }

    /// Whether the store needs a commit before its history is read, because what waits changes how stored bytes count.
    /// Without that commit, the history would be outdated as soon as it is read.
    package var needsCommitBeforeHistory: Bool {
        hasFolds || outbox.pending.unread.contains { planBook.isAffected(byUnread: $0) }
    }

    /// The commit under way is in the store for good.
    package mutating func acknowledgeCommit() {
        guard let commit = outbox.inFlight else { return }
        outbox.inFlight = nil
        outbox.sequence = commit.header.sequence
        outbox.isClosed = commit.header.isClean
        if let changes = commit.applications { applications.storedAttachment = changes.attachment }
        accounts.hiddenInFlight = [:]
        outbox.news += commit.bookings.events.filter(\.isNews)
        for index in commit.removedDevices { outbox.storedDevices[index] = nil }
        for record in commit.devices { outbox.storedDevices[record.index] = record }
        let records = Dictionary(commit.accounts.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        for index in accounts.indices {
            if records.isEmpty { break }
            if let record = records[accounts[index].id] { accounts[index].persisted = record }
        }
    }

    /// Prepares a commit of everything that is known here, for a new file that replaces a damaged one.
    package mutating func recommitEverything() {
        let untold = ((outbox.inFlight?.bookings.events ?? []) + outbox.pending.events).filter(\.isNews)
        // In the book their programs have started, but these starts may be taken back.
        let starts = (outbox.inFlight?.bookings.starts ?? []) + outbox.pending.starts
        outbox.inFlight = nil
        accounts.hidden.merge(accounts.hiddenInFlight) { $0.adding($1) }
        accounts.hiddenInFlight = [:]
        outbox.storedDevices = [:]
        applications.recommit()
        outbox.pending = Bookings()
        outbox.pending.isWhole = true
        outbox.pending.starts = starts
        outbox.pending.events =
            planBook.records.events.filter { event in !untold.contains { $0.isSame(as: event) } } + untold
        outbox.pending.adjustments = planBook.records.adjustments
        outbox.pending.committedCycles = planBook.records.committedCycles
        // The buckets of all earlier time are lost.
        let known = planBook.records.meteredFrom ?? firstBooking
        let begin = max(known, calendar.start(of: window.previousMonthStart))
        outbox.pending.unread = [
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

    /// A second after the first known day with bytes began, because it may have been metered only in part.
    private var firstBooking: Timestamp {
        let first = accounts.compactMap { $0.days.entries.first?.day }.min()
        return first.map { calendar.start(of: $0).adding(seconds: 1) } ?? lastReading.timestamp
    }

    /// Keeps the use and the limit of quotas as corrections and top-ups, where whole days don't give them.
    private mutating func keepUse() {
        let now = lastReading.timestamp
        // A day's bytes are all in its first slot. At the day's start, that would count after the correction.
        if now == calendar.start(of: calendar.day(containing: now)) { return }
        var restored = planBook.emptied(unread: outbox.pending.unread, at: now)
        restored.book(outbox.pending, of: accounts.keys)
        let adjustments = planBook.adjustments(of: restored, at: now)
        if adjustments.isEmpty { return }
        outbox.pending.adjustments += adjustments
        cut(at: now)
    }

    /// Books a day's bytes for a new file in the day's first bucket; the other buckets are lost.
    private mutating func recommit(_ total: Total, of account: AccountID, on day: CivilDate) {
        outbox.pending.days[.init(account: account, day: day), default: .zero] += total
        let bucket = Bucket(containing: calendar.start(of: day))
        outbox.pending.buckets[.init(account: account, bucket: bucket), default: .zero] += total
    }

    /// Adds the earlier history that the store found under an account's name.
    package mutating func adopt(_ history: AdoptedHistory) {
        // The account may have been merged since.
        let account = outbox.pending.foldTargets[history.account] ?? history.account
        guard let index = accounts.firstIndex(where: { $0.id == account }) else { return }
        accounts[index].events.add(history.events)
        for entry in history.days {
            accounts[index].lifetime += entry.total
            accounts[index].days.add(entry.total, on: entry.day)
        }
        accounts[index].periods = window.totals(of: accounts[index].days)
    }

    /// Takes the days from the store again, by another calendar or from an earlier day on.
    ///
    /// - Precondition: No commit is under way, none was made since `stored` was read, and no account was merged.
    package mutating func replaceHistory(_ stored: StoredLedger, calendar: LocalCalendar, at now: Timestamp) {
        precondition(outbox.inFlight == nil && !hasFolds, "history can't be replaced while a commit is under way")
        self.calendar = calendar
        rezoneFalls()
        window = PeriodWindow(calendar, at: now)
        historyFrom = stored.daysFrom
        outbox.pending.days = daysOfPending(by: calendar)
        var place: [AccountID: Int] = [:]
        for index in accounts.indices {
            accounts[index].days = DayTotals()
            place[accounts[index].id] = index
        }
        for entry in stored.accounts where place[entry.record.id] == nil && accounts.places[entry.record.key] == nil {
            place[entry.record.id] = accounts.append(Account(entry, boot: boot))
        }
        // Imported bytes are part of an account's lifetime.
        for entry in stored.accounts {
            if let index = place[entry.record.id] { accounts[index].lifetime = entry.lifetime }
        }
        let isStored = Set(stored.accounts.map(\.record.id))
        for (key, total) in outbox.pending.days {
            guard let index = place[key.account] else { continue }
            if isStored.contains(key.account) { accounts[index].lifetime += total }
            accounts[index].days.add(total, on: key.day)
        }
        for entry in stored.days {
            if let index = place[entry.account] { accounts[index].days.add(entry.total, on: entry.day) }
        }
        recomputePeriods()
    }

    /// Sets another calendar if there is no store; days booked before keep their dates.
    package mutating func useWithoutStore(_ calendar: LocalCalendar, at now: Timestamp) {
        self.calendar = calendar
        rezoneFalls()
        window = PeriodWindow(calendar, at: now)
        recomputePeriods()
    }

    /// Sets other plans if there is no store; of the past only days are known.
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

    /// The days of the waiting bookings by another calendar, from their buckets.
    func daysOfPending(by calendar: LocalCalendar) -> [Bookings.DayKey: Total] {
        var days: [Bookings.DayKey: Total] = [:]
        for (key, total) in outbox.pending.buckets {
            let day = calendar.day(containing: key.bucket.start)
            days[.init(account: key.account, day: day), default: .zero] += total
        }
        for gap in outbox.pending.spreads {
            for part in gap.spread.days(by: calendar) {
                days[.init(account: gap.account, day: part.day), default: .zero] += part.share
            }
        }
        return days
    }

    private func changedAccounts() -> [AccountRecord] {
        var membersShow: [Int: Counters] = [:]
        for (index, device) in devices.metered {
            for place in accountPlaces(of: device, isUplink: devices.uplink.contains(index)) {
                membersShow[place, default: .zero].received &+= device.last.received
                membersShow[place, default: .zero].transmitted &+= device.last.transmitted
            }
        }
        // Most records are stored already. There may be thousands, so each account is compared in place.
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
            let record = AccountRecord(
                id: accounts[index].id, key: accounts[index].key, counterOffset: offset, offsetBoot: offsetBoot,
                events: accounts[index].events)
            if record != accounts[index].persisted { records.append(record) }
        }
        return records
    }

    private func deviceRecords() -> [DeviceIndex: DeviceRecord] {
        var records: [DeviceIndex: DeviceRecord] = [:]
        for (index, entry) in devices.away.entries where !entry.isMissing {
            records[index] = DeviceRecord(
                index: index, name: entry.name, account: nil, counters: entry.counters, state: .away,
                holdsUplink: false, hardwareAddress: entry.hardwareAddress)
        }
        for (index, device) in devices.metered {
            var record = DeviceRecord(
                index: index, name: device.name, account: accounts[device.account].id, counters: device.last,
                state: .metered, holdsUplink: devices.uplink.contains(index), hardwareAddress: device.hardwareAddress)
            if let falls = devices.falls[index] { record.falls = falls.mapValues(\.record) }
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
