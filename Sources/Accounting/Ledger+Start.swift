import CivilTime

/// How a ledger continues where the last run of the program ended.
extension Ledger {
    /// A device with its counters when the program starts.
    package typealias Presence = (device: Device, counters: Counters)

    /// Continues a stored ledger and books what was carried since its last commit.
    ///
    /// - Parameters:
    ///   - stored: The store's content, including the accounts of all `devices` that it knows.
    ///   - planBook: What the plans counted of the stored bytes.
    ///   - devices: Every device of the kernel, all read at `now`.
    ///   - isPersistent: Whether a store takes commits.
    package init(
        stored: StoredLedger, planBook: PlanBook = .empty, devices present: [Presence], rules: AccountingRules,
        calendar: LocalCalendar, epoch: Epoch, now: Moment, isPersistent: Bool
    ) {
        self.planBook = planBook
        self.rules = rules
        self.calendar = calendar
        self.epoch = epoch
        self.isPersistent = isPersistent
        window = PeriodWindow(calendar, at: now.timestamp)
        historyFrom = stored.daysFrom
        lastAccountID = stored.lastAccountID.rawValue
        sequence = stored.header?.sequence ?? 0
        let sameBoot = stored.header.map { epoch.isSameBoot(as: $0, at: now) } ?? false
        boot = (stored.header?.boot ?? 0) + (sameBoot ? 0 : 1)
        lastReading = now
        previousSample = now.sinceBoot
        load(stored)
        begin(planBook)
        uplinkAccount = account(for: .uplink)
        refreshCuts(at: now.timestamp)
        takeUp(present, from: stored, at: now)
        settleNewAccounts()
        for index in accounts.indices {
            // The uplink and classes begin at 0 or where they were in this boot, whatever their members show.
            if accounts[index].key.isShared { accounts[index].isFresh = false }
            accounts[index].rate = RateGauge()
        }
        recomputePeriods()
    }

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
        var names = Set(devices.values.map(\.name)).union(excluded.values)
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
        self = whole
    }

    /// Continues without a store: everything is kept in memory only.
    package mutating func giveUpStore() {
        origin = nil
        isPersistent = false
        planBook.isComplete = true
        planBook.takePastAsKnown()
        pending = Pending()
        unexposed = [:]
    }

    private mutating func absorb(_ later: Ledger) {
        let open = settleFalls(of: later)
        follow(later)
        falls = later.falls
        carryOn(open, at: later.lastReading.sinceBoot)
        var number: [AccountID: AccountID] = [:]
        for (laterPlace, account) in later.accounts.enumerated() where !account.isFolded {
            let place = self.account(for: account.key)
            number[account.id] = accounts[place].id
            accounts[place].absorb(account)
            unexposed[place] = later.unexposed[laterPlace]
        }
        var waiting = later.pending
        waiting.days = later.daysOfPending(by: calendar)
        pending.absorb(waiting, numberedAs: number)
        let places = Dictionary(uniqueKeysWithValues: accounts.indices.map { (accounts[$0].id, $0) })
        for (key, total) in waiting.days {
            if let place = number[key.account].flatMap({ places[$0] }) { accounts[place].days.add(total, on: key.day) }
        }
        replay(waiting, of: later)
        if abs(later.lastReading.step(since: lastReading)) >= Double(Bucket.seconds) {
            noteClockStep(at: later.lastReading)
        }
        for span in later.pending.unread where span.lowerBound > .earliest {
            noteUnread(from: span.lowerBound, to: span.upperBound)
        }
        rules = later.rules
        uplinkDevices = later.uplinkDevices
        lastReading = later.lastReading
        previousSample = later.previousSample
        structureVersion = max(structureVersion, later.structureVersion) + 1
        window = PeriodWindow(calendar, at: lastReading.timestamp)
        recomputePeriods()
    }

    /// Settles counters that fell while the program wasn't running: `later` doesn't know what they showed before. Those
    /// that are still lower may come back; the others have restarted.
    ///
    /// - Returns: The falls of counters that may come back.
    private mutating func settleFalls(of later: Ledger) -> [DeviceIndex: CounterFalls] {
        var open: [DeviceIndex: CounterFalls] = [:]
        for (index, falls) in falls.sorted(by: { $0.key < $1.key }) {
            for direction in TrafficDirection.allCases {
                guard let fall = falls[direction] else { continue }
                if isOpen(fall, direction, of: index, in: later) {
                    open[index, default: CounterFalls()][direction] = fall
                } else {
                    takeAsRestart(direction, of: index)
                }
            }
        }
        return open
    }

    private mutating func carryOn(_ open: [DeviceIndex: CounterFalls], at now: BootTime) {
        for (index, falls) in open {
            for direction in TrafficDirection.allCases {
                guard var fall = falls[direction], let shown = devices[index]?.last[direction] else { continue }
                fall.goOn(from: shown, at: now)
                self.falls[index, default: CounterFalls()][direction] = fall
                devices[index]?.last[direction] = fall.before
            }
        }
    }

    private func isOpen(
        _ fall: CounterFall, _ direction: TrafficDirection, of index: DeviceIndex, in later: Ledger
    ) -> Bool {
        guard let device = later.devices[index], later.falls[index]?[direction] == nil,
            later.origin?.gone.contains(index) != true,
            later.accounts[device.account].key == devices[index].map({ accounts[$0.account].key })
        else { return false }
        return verdict(on: fall, of: device, showing: device.last[direction], at: later.lastReading) == .open
    }

    /// Repeats what happened in `later`: accounts change their names, and devices leave, move and come.
    private mutating func follow(_ later: Ledger) {
        renameAccounts(as: later)
        let gone = later.origin?.gone ?? []
        for index in devices.keys.sorted() where later.devices[index] == nil || gone.contains(index) { leave(index) }
        var moves: [(index: DeviceIndex, key: AccountKey)] = []
        for (index, device) in later.devices.sorted(by: { $0.key < $1.key }) {
            let key = later.accounts[device.account].key
            if let former = devices[index]?.account, accounts[former].key != key { moves.append((index, key)) }
        }
        move(moves)
        for (index, device) in later.devices.sorted(by: { $0.key < $1.key }) {
            var device = device
            device.account = account(for: later.accounts[device.account].key)
            if devices.updateValue(device, forKey: index) == nil { accounts[device.account].memberCount += 1 }
            away.remove(at: index)
        }
        excluded = later.excluded
        for (index, entry) in later.away.entries.sorted(by: { $0.key < $1.key }) { away.insert(entry, at: index) }
    }

    /// Renames each stored account as `later` renamed the account that first had its name.
    private mutating func renameAccounts(as later: Ledger) {
        let target = later.pending.foldTargets
        let keys = Dictionary(uniqueKeysWithValues: later.accounts.map { ($0.id, $0.key) })
        var detached: [(place: Int, key: AccountKey)] = []
        for (first, id) in later.origin?.claims ?? [:] {
            guard let place = accountIndex[first], let key = keys[target[id] ?? id], key != first else { continue }
            detached.append((place, key))
        }
        detached.sort { $0.place < $1.place }
        for (place, key) in detached {
            accountIndex[accounts[place].key] = nil
            accounts[place].key = key
            uncounted.insert(place)
        }
        for (place, key) in detached { attach(place, as: key) }
    }

    private mutating func load(_ stored: StoredLedger) {
        var place: [AccountID: Int] = [:]
        for entry in stored.accounts {
            let record = entry.record
            var account = Account(id: record.id, key: record.key, events: record.events)
            account.lifetime = entry.lifetime
            account.persisted = record
            account.isFresh = record.offsetBoot != boot
            if !account.isFresh { account.counter = record.counterOffset }
            place[record.id] = accounts.count
            accountIndex[record.key] = accounts.count
            accounts.append(account)
        }
        for entry in stored.days {
            if let index = place[entry.account] { accounts[index].days.add(entry.total, on: entry.day) }
        }
        for record in stored.devices {
            persistedDevices[record.index] = record
            guard stored.header?.boot == boot, record.state == .metered,
                let index = record.account.flatMap({ place[$0] })
            else { continue }
            accounts[index].countUp(Delta(sinceCreation: record.counters))
            accounts[index].isFresh = false
            if record.holdsUplink, let uplink = accountIndex[.uplink] {
                accounts[uplink].countUp(Delta(sinceCreation: record.counters))
                accounts[uplink].isFresh = false
            }
        }
    }

    /// What the store knows about a device of the kernel.
    private enum Past {
        /// The record's device, in the same life.
        case same(DeviceRecord)
        /// Another life of the record's device, or another device with its name.
        case reborn(DeviceRecord)
        /// The name has an account, but no record of a device.
        case remembered
        case unknown
    }

    private mutating func takeUp(_ present: [Presence], from stored: StoredLedger, at now: Moment) {
        let isSameEpoch =
            stored.header?.boot == boot && stored.header?.epoch.networkNamespace == epoch.networkNamespace
        let span = catchUpSpan(since: stored.header, at: now)
        let previous = stored.header?.lastReading ?? now
        noteUnread(from: stored.header?.lastReading.timestamp ?? .earliest, to: now.timestamp)
        if stored.header == nil { begunAt = now.sinceBoot }
        meteredUntil = max(stored.header?.lastReading.timestamp ?? .earliest, now.timestamp)
        // The clock was ahead when the ledger was written. The first commit corrects the times.
        if let header = stored.header, header.lastReading.timestamp > now.timestamp { isPlanBookOutdated = true }
        let metered = Set(present.filter { rules.account(for: $0.device.name) != nil }.map(\.device.index))
        var stored = stored
        for place in stored.devices.indices where !isSameEpoch || !metered.contains(stored.devices[place].index) {
            settleFalls(of: &stored.devices[place], readAt: previous)
        }
        let here = Dictionary(present.map { ($0.device.index, $0.device) }, uniquingKeysWith: { $1 })
        func entry(_ record: DeviceRecord) -> AwayDevices.Entry {
            .init(name: record.name, counters: record.counters, hardwareAddress: record.hardwareAddress)
        }
        func isStillHere(_ record: DeviceRecord) -> Bool {
            guard let device = here[record.index] else { return false }
            return record.state == .metered || !entry(record).isReplaced(by: device)
        }
        let gone = stored.devices.filter { !isSameEpoch || !isStillHere($0) }
        let byName = Dictionary(grouping: gone, by: \.name)
        // Indices of away devices that other devices have now.
        var reused: Set<DeviceIndex> = []
        for record in gone where isSameEpoch && record.state == .away {
            if here[record.index] != nil { reused.insert(record.index) }
            away.insert(entry(record), at: record.index)
        }
        /// The record under a device's name: of the same device by its address, else of a metered one, else the last.
        func previousRecord(for device: Device) -> DeviceRecord? {
            let records = byName[device.name] ?? []
            return records.first { entry($0).isSame(as: device) } ?? records.first { $0.state == .metered }
                ?? records.last
        }
        var survivors: Set<DeviceIndex> = []
        var renames: [(index: DeviceIndex, key: AccountKey)] = []
        let sorted = present.sorted { $0.device.index < $1.device.index }
        // Devices that are still there take their accounts along first: another device may have one of their old names.
        for (device, counters) in sorted {
            guard isSameEpoch, let record = persistedDevices[device.index], !reused.contains(device.index) else {
                continue
            }
            survivors.insert(device.index)
            take(device, counters, past: .same(record), over: span, since: previous, at: now, renames: &renames)
        }
        move(renames)
        for (device, counters) in sorted where !survivors.contains(device.index) {
            var past = Past.unknown
            if let record = previousRecord(for: device) {
                past = .reborn(record)
            } else if accountIndex[.device(device.name)] != nil {
                past = .remembered
            }
            take(device, counters, past: past, over: span, since: previous, at: now, renames: &renames)
        }
        let lost = stored.devices.filter { $0.state == .metered && !survivors.contains($0.index) }
        if isSameEpoch {
            for record in lost.sorted(by: { $0.index < $1.index }) {
                away.insert(.init(name: record.name, counters: record.counters, isMissing: true), at: record.index)
            }
        }
        if stored.header?.isClean == false, stored.header?.boot == boot { restartCounters(of: lost) }
    }

    /// The time in which a stored fall was observed. It is no gap.
    private func lookedAt(_ fall: FallRecord, until lastReading: Moment) -> BookingSpan {
        bookingSpan(from: fall.beforeAt, until: lastReading).withoutGap
    }

    /// Takes a device's falls as restarts, because it won't be read again.
    private mutating func settleFalls(of record: inout DeviceRecord, readAt lastReading: Moment) {
        for direction in TrafficDirection.allCases {
            guard let fall = record.falls[direction] else { continue }
            record.counters[direction] = fall.shown
            guard let account = accounts.firstIndex(where: { $0.id == record.account }) else { continue }
            let device = MeteredDevice(name: record.name, account: account, last: record.counters)
            let held = CounterFall(
                fall, from: 0, over: lookedAt(fall, until: lastReading), readAt: lastReading.sinceBoot,
                linkBytesPerSecond: nil
            ).held
            for part in held {
                book(Delta(part.bytes, direction), from: device, isUplink: part.isUplink, over: part.span)
            }
        }
        record.falls = FallenDirections()
    }

    private mutating func take(
        _ device: Device, _ counters: Counters, past: Past, over span: BookingSpan, since previous: Moment,
        at now: Moment, renames: inout [(index: DeviceIndex, key: AccountKey)]
    ) {
        guard let key = rules.account(for: device.name) else {
            excluded[device.index] = device.name
            if case .unknown = past {
            } else {
                away.insert(
                    .init(
                        name: device.name, counters: counters, hardwareAddress: device.hardwareAddress, isHere: true),
                    at: device.index)
            }
            return
        }
        var metered = MeteredDevice(
            name: device.name, account: 0, last: counters, linkBytesPerSecond: device.linkBytesPerSecond,
            hardwareAddress: device.hardwareAddress)
        switch past {
        case .unknown:
            metered.account = account(for: key)
            join(metered, as: device.index)
        case .same(let record) where record.state == .away:
            away.remove(at: device.index)
            metered.account = account(for: key)
            join(metered, as: device.index)
        case .same(let record):
            let former = record.account.flatMap { id in accounts.firstIndex { $0.id == id } }
            metered.account = former ?? account(for: key)
            metered.last = record.counters
            join(metered, as: device.index)
            for direction in TrafficDirection.allCases {
                guard let fall = record.falls[direction] else { continue }
                falls[device.index, default: CounterFalls()][direction] = CounterFall(
                    fall, from: record.counters[direction], over: lookedAt(fall, until: previous),
                    readAt: previous.sinceBoot, linkBytesPerSecond: device.linkBytesPerSecond)
            }
            if accounts[metered.account].key != key { renames.append((device.index, key)) }
            // A commit follows every start.
            _ = count(
                counters, of: device.index, isUplink: record.holdsUplink, over: span, since: previous, at: now)
        case .reborn(let record):
            var entry = record.state == .away ? away.entries[record.index] : nil
            if entry?.isOther(than: device) == true { entry = nil }
            metered.account = account(for: key)
            metered.last =
                entry.map { counters.baseline(leftWith: record.counters, isSame: $0.isSame(as: device)) } ?? .zero
            if entry == nil || !counters.continues(record.counters) { accounts[metered.account].events.resets += 1 }
            if entry != nil { away.remove(at: record.index) }
            join(metered, as: device.index)
            _ = count(
                counters, of: device.index, isUplink: record.holdsUplink, over: span, since: previous, at: now)
        case .remembered:
            metered.account = account(for: key)
            metered.last = .zero
            accounts[metered.account].events.resets += 1
            join(metered, as: device.index)
            _ = count(counters, of: device.index, isUplink: false, over: span, since: previous, at: now)
        }
    }

    /// The time without readings: since the last commit or, if the machine booted after it, since the boot.
    private func catchUpSpan(since header: LedgerHeader?, at now: Moment) -> BookingSpan {
        guard let header else { return bookingSpan(from: now, until: now) }
        if header.boot == boot { return bookingSpan(from: header.lastReading, until: now) }
        let uptime = now.sinceBoot.nanoseconds
        let (sinceReading, overflow) = now.wallNanoseconds.subtractingReportingOverflow(
            header.lastReading.wallNanoseconds)
        let isPlausible = !overflow && sinceReading >= 0 && sinceReading < uptime
        let elapsed = Span(nanoseconds: isPlausible ? sinceReading : uptime)
        return bookingSpan(from: now.timestamp(before: elapsed), until: now, elapsed: elapsed)
    }

    /// After a crash, the last bytes of a device that is gone are lost, though they may have been exposed. A counter
    /// that continued from the store would step back a little, and Prometheus would add all of it. So it restarts.
    private mutating func restartCounters(of lost: [DeviceRecord]) {
        for record in lost {
            guard let id = record.account, let index = accounts.firstIndex(where: { $0.id == id }) else { continue }
            if case .collapsed = accounts[index].key {
                accounts[index].counter = .zero
            } else {
                accounts[index].counter = devices.values.first { $0.account == index }?.last ?? .zero
            }
            if record.holdsUplink { accounts[uplinkAccount].counter = .zero }
        }
    }
}
