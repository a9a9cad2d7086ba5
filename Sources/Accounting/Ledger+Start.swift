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
        accounts = AccountTable(lastID: stored.lastAccountID.rawValue)
        outbox = Outbox(sequence: stored.header?.sequence ?? 0)
        let sameBoot = stored.header.map { epoch.isSameBoot(as: $0, at: now) } ?? false
        boot = (stored.header?.boot ?? 0) + (sameBoot ? 0 : 1)
        lastReading = now
        previousSample = now.sinceBoot
        load(stored)
        if let known = stored.applications {
            applications = ApplicationBook(
                known, readAt: sameBoot ? stored.header?.lastReading : nil,
                isUnclean: sameBoot && stored.header?.isClean == false)
        }
        begin(planBook)
        accounts.uplink = account(for: .uplink)
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

    private mutating func load(_ stored: StoredLedger) {
        var place: [AccountID: Int] = [:]
        for entry in stored.accounts {
            place[entry.record.id] = accounts.append(Account(entry, boot: boot))
        }
        for entry in stored.days {
            if let index = place[entry.account] { accounts[index].days.add(entry.total, on: entry.day) }
        }
        for record in stored.devices {
            outbox.storedDevices[record.index] = record
            guard stored.header?.boot == boot, record.state == .metered,
                let index = record.account.flatMap({ place[$0] })
            else { continue }
            accounts[index].countUp(Delta(sinceCreation: record.counters))
            accounts[index].isFresh = false
            if record.holdsUplink, let uplink = accounts.places[.uplink] {
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
            devices.away.insert(entry(record), at: record.index)
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
            guard isSameEpoch, let record = outbox.storedDevices[device.index], !reused.contains(device.index) else {
                continue
            }
            survivors.insert(device.index)
            take(device, counters, past: .same(record), over: span, since: previous, at: now, renames: &renames)
        }
        move(renames)
        for (device, counters) in sorted where !survivors.contains(device.index) {
            let isNameKnown = accounts.places[.device(device.name)] != nil
            let past = previousRecord(for: device).map { Past.reborn($0) } ?? (isNameKnown ? .remembered : .unknown)
            take(device, counters, past: past, over: span, since: previous, at: now, renames: &renames)
        }
        let lost = stored.devices.filter { $0.state == .metered && !survivors.contains($0.index) }
        for record in lost.sorted(by: { $0.index < $1.index }) where isSameEpoch {
            devices.away.insert(.init(name: record.name, counters: record.counters, isMissing: true), at: record.index)
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
        record.falls = [:]
    }

    private mutating func take(
        _ device: Device, _ counters: Counters, past: Past, over span: BookingSpan, since previous: Moment,
        at now: Moment, renames: inout [(index: DeviceIndex, key: AccountKey)]
    ) {
        guard let key = rules.account(for: device.name) else {
            devices.excluded[device.index] = device
            if case .unknown = past { return }
            devices.away.insert(
                .init(name: device.name, counters: counters, hardwareAddress: device.hardwareAddress, isHere: true),
                at: device.index)
            return
        }
        var metered = MeteredDevice(
            name: device.name, account: 0, last: counters, linkBytesPerSecond: device.linkBytesPerSecond,
            hardwareAddress: device.hardwareAddress)
        var isUplink = false
        switch past {
        case .unknown: metered.account = account(for: key)
        case .same(let record) where record.state == .away:
            devices.away.remove(at: device.index)
            metered.account = account(for: key)
        case .same(let record):
            let known = record.account.flatMap { id in accounts.firstIndex { $0.id == id } }
            metered.account = known ?? account(for: key)
            metered.last = record.counters
            isUplink = record.holdsUplink
            for (direction, fall) in record.falls {
                devices.falls[device.index, default: [:]][direction] = CounterFall(
                    fall, from: record.counters[direction], over: lookedAt(fall, until: previous),
                    readAt: previous.sinceBoot, linkBytesPerSecond: device.linkBytesPerSecond)
            }
            if accounts[metered.account].key != key { renames.append((device.index, key)) }
        case .reborn(let record):
            var entry = record.state == .away ? devices.away.entries[record.index] : nil
            if entry?.isOther(than: device) == true { entry = nil }
            metered.account = account(for: key)
            metered.last =
                entry.map { counters.baseline(leftWith: record.counters, isSame: $0.isSame(as: device)) } ?? .zero
            if entry == nil || !counters.continues(record.counters) { accounts[metered.account].events.resets += 1 }
            if entry != nil { devices.away.remove(at: record.index) }
            isUplink = record.holdsUplink
        case .remembered:
            metered.account = account(for: key)
            metered.last = .zero
            accounts[metered.account].events.resets += 1
        }
        join(metered, as: device.index)
        // A commit follows every start. Where the baseline is what the counters show now, there is nothing to count.
        _ = count(counters, of: device.index, isUplink: isUplink, over: span, since: previous, at: now)
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
                accounts[index].counter = devices.metered.values.first { $0.account == index }?.last ?? .zero
            }
            if record.holdsUplink { accounts[accounts.uplink].counter = .zero }
        }
    }
}
