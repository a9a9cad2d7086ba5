import CivilTime

/// How a ledger that began without its store takes up what the store has.
extension Ledger {
    /// A ledger whose store can't be read yet. Bookings wait for ``takeUp(_:planBook:calendar:wasShown:)``.
    package static func awaitingStore(
        devices: [Presence], planBook: PlanBook = .empty, rules: AccountingRules, calendar: LocalCalendar, epoch: Epoch,
        now: Moment
    ) -> Ledger {
        let window = PeriodWindow(calendar, at: now.timestamp)
        var ledger = Ledger(
            stored: .empty(daysFrom: window.previousMonthStart), planBook: planBook, devices: devices, rules: rules,
            calendar: calendar, epoch: epoch, now: now, isPersistent: true)
        let claims = Dictionary(uniqueKeysWithValues: ledger.accounts.map { ($0.key, $0.id) })
        ledger.origin = Origin(devices: devices, rules: rules, moment: now, claims: claims)
        return ledger
    }

    /// What a ledger began with before its store could be read.
    struct Origin {
        let devices: [Presence]
        let rules: AccountingRules
        let moment: Moment
        /// The first account of each key. What the store has under that key is the account's past.
        var claims: [AccountKey: AccountID]
        /// Devices that left since. Other devices may have their indices now.
        var gone: Set<DeviceIndex> = []
    }

    /// Whether the store isn't read yet.
    package var isAwaitingStore: Bool { origin != nil }

    /// The names whose accounts to load from the store: those of present devices, and all seen since the start.
    package var namesWanted: Set<DeviceName> {
        var names = Set(devices.metered.values.map(\.name)).union(devices.excluded.values.map(\.name))
        for case .device(let name) in origin?.claims.keys ?? [:].keys { names.insert(name) }
        return names
    }

    /// Puts the store's history, and what was carried until this ledger began, before the bookings made here. A device
    /// that came back from another namespace meanwhile counts as new: the store's record of it came too late.
    ///
    /// - Parameters:
    ///   - planBook: What the plans counted of `stored`.
    ///   - calendar: The calendar by which stored days are booked.
    ///   - wasShown: Whether this ledger was exposed; then its counters continue. If it wasn't, it has no bookings.
    package mutating func takeUp(
        _ stored: StoredLedger, planBook: PlanBook = .empty, calendar: LocalCalendar, wasShown: Bool
    ) {
        guard let origin else { return }
        var whole = Ledger(
            stored: stored, planBook: planBook, devices: origin.devices, rules: origin.rules, calendar: calendar,
            epoch: epoch,
            now: origin.moment, isPersistent: true)
        if wasShown { whole.absorb(self) }
        if stored.header == nil { whole.applications.ledgerBeganAt = origin.moment.sinceBoot }
        self = whole
    }

    /// Continues without a store: everything is kept in memory only.
    package mutating func giveUpStore() {
        if let origin { applications.ledgerBeganAt = origin.moment.sinceBoot }
        origin = nil
        isPersistent = false
        planBook.isComplete = true
        planBook.takePastAsKnown()
        outbox.pending = Bookings()
        accounts.hidden = [:]
    }

    private mutating func absorb(_ later: Ledger) {
        let open = settleFalls(of: later)
        follow(later)
        devices.falls = later.devices.falls
        carryOn(open, at: later.lastReading.sinceBoot)
        var number: [AccountID: AccountID] = [:]
        for (laterPlace, account) in later.accounts.enumerated() where !account.isFolded {
            let place = self.account(for: account.key)
            number[account.id] = accounts[place].id
            accounts[place].absorb(account)
            accounts.hidden[place] = later.accounts.hidden[laterPlace]
        }
        var waiting = later.outbox.pending
        waiting.days = later.daysOfPending(by: calendar)
        outbox.pending.absorb(waiting) { number[$0] }
        let places = Dictionary(uniqueKeysWithValues: accounts.indices.map { (accounts[$0].id, $0) })
        for (key, total) in waiting.days {
            if let place = number[key.account].flatMap({ places[$0] }) { accounts[place].days.add(total, on: key.day) }
        }
        planBook.book(waiting, of: later.accounts.keys)
        if abs(later.lastReading.step(since: lastReading)) >= Double(Bucket.seconds) {
            noteClockStep(at: later.lastReading)
        }
        for span in later.outbox.pending.unread where span.lowerBound > .earliest {
            noteUnread(from: span.lowerBound, to: span.upperBound)
        }
        rules = later.rules
        devices.uplink = later.devices.uplink
        lastReading = later.lastReading
        previousSample = later.previousSample
        accounts.version = max(structureVersion, later.structureVersion) + 1
        window = PeriodWindow(calendar, at: lastReading.timestamp)
        recomputePeriods()
    }

    /// Settles counters that fell while the program wasn't running: `later` doesn't know what they showed before. Those
    /// that are still lower may come back; the others have restarted.
    ///
    /// - Returns: The falls of counters that may come back.
    private mutating func settleFalls(of later: Ledger) -> [DeviceIndex: CounterFalls] {
        var open: [DeviceIndex: CounterFalls] = [:]
        for (index, falls) in devices.falls.sorted(by: { $0.key < $1.key }) {
            for direction in TrafficDirection.allCases {
                guard let fall = falls[direction] else { continue }
                if isOpen(fall, direction, of: index, in: later) {
                    open[index, default: [:]][direction] = fall
                } else {
                    takeAsRestart(direction, of: index)
                }
            }
        }
        return open
    }

    private mutating func carryOn(_ open: [DeviceIndex: CounterFalls], at now: BootTime) {
        for (index, falls) in open {
            for (direction, var fall) in falls {
                guard let shown = devices[index]?.last[direction] else { continue }
                fall.goOn(from: shown, at: now)
                devices.falls[index, default: [:]][direction] = fall
                devices[index]?.last[direction] = fall.before
            }
        }
    }

    private func isOpen(
        _ fall: CounterFall, _ direction: TrafficDirection, of index: DeviceIndex, in later: Ledger
    ) -> Bool {
        guard let device = later.devices[index], later.devices.falls[index]?[direction] == nil,
            later.origin?.gone.contains(index) != true,
            later.accounts[device.account].key == devices[index].map({ accounts[$0.account].key })
        else { return false }
        return verdict(on: fall, of: device, showing: device.last[direction], at: later.lastReading) == .open
    }

    /// Repeats what happened in `later`: accounts change their names, and devices leave, move and come.
    private mutating func follow(_ later: Ledger) {
        renameAccounts(as: later)
        let gone = later.origin?.gone ?? []
        for index in devices.metered.keys.sorted() where later.devices[index] == nil || gone.contains(index) {
            leave(index)
        }
        var moves: [(index: DeviceIndex, key: AccountKey)] = []
        for (index, device) in later.devices.metered.sorted(by: { $0.key < $1.key }) {
            let key = later.accounts[device.account].key
            if let previous = devices[index]?.account, accounts[previous].key != key { moves.append((index, key)) }
        }
        move(moves)
        for (index, device) in later.devices.metered.sorted(by: { $0.key < $1.key }) {
            var device = device
            device.account = account(for: later.accounts[device.account].key)
            if devices.metered.updateValue(device, forKey: index) == nil { accounts[device.account].memberCount += 1 }
            devices.away.remove(at: index)
        }
        devices.excluded = later.devices.excluded
        for (index, entry) in later.devices.away.entries.sorted(by: { $0.key < $1.key }) {
            devices.away.insert(entry, at: index)
        }
    }

    /// Renames each stored account as `later` renamed the account that first had its name.
    private mutating func renameAccounts(as later: Ledger) {
        let target = later.outbox.pending.foldTargets
        let keys = later.accounts.keys
        var detached: [(place: Int, key: AccountKey)] = []
        for (first, id) in later.origin?.claims ?? [:] {
            guard let place = accounts.places[first], let key = keys[target[id] ?? id], key != first else { continue }
            detached.append((place, key))
        }
        detached.sort { $0.place < $1.place }
        for (place, key) in detached {
            accounts.places[accounts[place].key] = nil
            accounts[place].key = key
            accounts.uncounted.insert(place)
        }
        for (place, key) in detached { attach(place, as: key) }
    }
}
