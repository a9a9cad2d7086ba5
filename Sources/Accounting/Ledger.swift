import CivilTime

/// All accounts: how many bytes each device carried on each day. The rules of counting are here.
///
/// Pure: readings and times are passed in, commits for the store come out. Call it in the order of events.
package struct Ledger: Sendable {
    package internal(set) var rules: AccountingRules
    package internal(set) var calendar: LocalCalendar
    package internal(set) var window: PeriodWindow
    /// The moment up to which everything is booked.
    package internal(set) var lastReading: Moment
    var accounts: AccountTable
    var devices = KnownDevices()
    var applications = ApplicationBook()
    var outbox: Outbox
    var epoch: Epoch
    var boot: Int64
    var previousSample: BootTime
    /// Earlier days are in the store only.
    var historyFrom: CivilDate
    /// Whether there is a store. Without one, bookings don't wait.
    package internal(set) var isPersistent: Bool
    /// What the plans have counted.
    package internal(set) var planBook = PlanBook.empty
    /// Whether the plan book must be rebuilt, for example because an account with bytes got another name.
    package internal(set) var isPlanBookOutdated = false
    /// Moments near the present at which buckets are cut, and the time for which they are known.
    var cuts: [Timestamp] = []
    var cutsSpan = Timestamp.earliest..<Timestamp.earliest
    /// When metering began, if the store was empty then.
    var begunAt: BootTime?
    /// The latest wall-clock time of any reading, right or wrong.
    var meteredUntil = Timestamp.earliest
    /// How this ledger began, until the store is read.
    var origin: Origin?

    /// Changes whenever an account or a member comes, goes or changes its name.
    package var structureVersion: UInt64 { accounts.version }

    /// Whether the last stored commit was the program's final one.
    package var isClosed: Bool { outbox.isClosed }

    // MARK: - What happens to devices

    /// A device was created while the program runs; everything that it will show is booked.
    ///
    /// - Returns: Whether to commit at once: after a crash, an unknown device gets a baseline and loses its bytes.
    @discardableResult
    package mutating func appear(_ device: Device) -> Bool {
        if devices[device.index] != nil || devices.excluded[device.index] != nil {
            return rename([device.index: device.name])
        }
        guard let key = rules.account(for: device.name) else {
            devices.excluded[device.index] = device
            // The name may have a history. If the device is metered later, its bytes until then aren't part of that.
            devices.away.insert(
                .init(name: device.name, counters: .zero, hardwareAddress: device.hardwareAddress, isHere: true),
                at: device.index)
            return accounts.places[.device(device.name)] != nil
        }
        var metered = MeteredDevice(
            name: device.name, account: 0, last: .zero, linkBytesPerSecond: device.linkBytesPerSecond,
            hardwareAddress: device.hardwareAddress)
        let isAddressShared = devices.metered.values.contains { $0.hardwareAddress == device.hardwareAddress }
        let isNameKnown = accounts.places[.device(device.name)] != nil
        if let (candidate, isSame) = devices.away.candidate(
            for: device, isAddressShared: isAddressShared, isNameKnown: isNameKnown),
            let entry = devices.away.entries[candidate]
        {
            metered.phase = .perhapsReturned(with: entry.counters, from: candidate, isSame: isSame)
        }
        let known = accounts.places[key]
        metered.isNewcomer = metered.phase == .counting
        metered.account = account(for: key)
        if known != nil, case .device = key, metered.phase == .counting {
            accounts[metered.account].events.resets += 1
        }
        join(metered, as: device.index)
        return true
    }

    /// The kernel's link speed of a device changed.
    package mutating func setLinkSpeed(_ bytesPerSecond: UInt64?, of index: DeviceIndex) {
        devices[index]?.linkBytesPerSecond = bytesPerSecond
        devices.excluded[index]?.linkBytesPerSecond = bytesPerSecond
    }

    /// A device got another hardware address. netusage knows it by this one if it leaves and comes back.
    package mutating func setHardwareAddress(_ address: [UInt8], of index: DeviceIndex) {
        let address = Device.known(address)
        devices[index]?.hardwareAddress = address
        devices.excluded[index]?.hardwareAddress = address
        if var entry = devices.away.entries[index], entry.isHere {
            entry.hardwareAddress = address
            devices.away.insert(entry, at: index)
        }
    }

    /// Devices got other names at the same moment, so two may have swapped theirs. Their histories continue under them.
    ///
    /// - Returns: Whether anything changed.
    @discardableResult
    package mutating func rename(_ names: [DeviceIndex: DeviceName]) -> Bool {
        var changed = false
        var moves: [(index: DeviceIndex, key: AccountKey)] = []
        for (index, name) in names.sorted(by: { $0.key < $1.key }) {
            if var device = devices.excluded[index], device.name != name {
                changed = true
                device.name = name
                startMetering(device)
            }
            guard let device = devices[index], device.name != name else { continue }
            changed = true
            devices[index]?.name = name
            if let key = rules.account(for: name) {
                if accounts[device.account].key != key { moves.append((index, key)) }
            } else {
                stopMetering(index)
            }
        }
        move(moves)
        if changed { accounts.version += 1 }
        return changed
    }

    /// A device was deleted or moved to another namespace; `final` is what its counters showed last, if known.
    ///
    /// A direction below the last reading is ignored: a veth's receive side reads 0 once its peer is cut off.
    package mutating func depart(_ index: DeviceIndex, final: Counters?, movedAway: Bool, at now: Moment) {
        if devices.excluded.removeValue(forKey: index) != nil, var entry = devices.away.entries[index], entry.isHere {
            devices.away.remove(at: index)
            entry.isHere = false
            if movedAway { devices.away.insert(entry, at: index) }
        }
        origin?.gone.insert(index)
        guard var device = devices[index] else { return }
        if let final { device = settlePhase(of: device, at: index, counters: final) }
        if devices.falls[index] != nil {
            settleFalls(of: index, final: final, at: now)
            device.last = devices[index]?.last ?? device.last
        }
        let delta = device.phase == .counting ? final?.growth(since: device.last) ?? .zero : .zero
        let span = bookingSpan(until: now)
        let isUplink = devices.uplink.contains(index)
        if !delta.isZero {
            withhold(delta, of: device, isUplink: isUplink)
            book(delta, from: device, isUplink: isUplink, over: span)
            accounts[device.account].isFresh = false
        }
        device.last.received += delta.received
        device.last.transmitted += delta.transmitted
        if movedAway {
            devices.away.insert(
                .init(name: device.name, counters: device.last, hardwareAddress: device.hardwareAddress), at: index)
        }
        leave(index)
    }

    /// These devices are the uplink from now on; everything up to now must be booked already.
    ///
    /// - Returns: Whether the uplink changed. Commit at once then, or a crash could book bytes to the wrong account.
    @discardableResult
    package mutating func setUplink(_ indices: Set<DeviceIndex>) -> Bool {
        let previous = devices.uplink
        devices.uplink = indices.filter { devices[$0] != nil }
        return previous != devices.uplink
    }

    // MARK: - Readings

    /// Books what the kernel's counters show.
    ///
    /// The bytes go to the bucket of the last reading, so a reading at a boundary closes what lies before it. Bytes of
    /// a late reading are spread. Unknown devices are skipped.
    ///
    /// - Parameter endsInterval: Whether a sampling interval ends here, so that rates are computed.
    /// - Returns: Whether to commit at once: a counter fell, or a fall ended, or a device got its first baseline.
    @discardableResult
    package mutating func record(_ readings: [Reading], at now: Moment, endsInterval: Bool) -> Bool {
        refreshCuts(at: now.timestamp)
        if abs(now.step(since: lastReading)) >= Double(Bucket.seconds) { noteClockStep(at: now) }
        let span = bookingSpan(until: now)
        if span.isGap, case .spread(let from, let to, _) = span.place { noteUnread(from: from, to: to) }
        var isUrgent = false
        for reading in readings where record(reading, over: span, at: now) { isUrgent = true }
        lastReading = now
        meteredUntil = max(meteredUntil, now.timestamp)
        settleNewAccounts()
        advance(to: now.timestamp)
        if endsInterval { sampleRates(at: now.sinceBoot) }
        return isUrgent
    }

    /// Books one device's counters between two full readings, before the device continues under another name.
    ///
    /// - Returns: Whether to commit at once.
    @discardableResult
    package mutating func record(_ reading: Reading, at now: Moment) -> Bool {
        record(reading, over: bookingSpan(until: now), at: now)
    }

    private mutating func record(_ reading: Reading, over span: BookingSpan, at now: Moment) -> Bool {
        guard let place = devices.metered.index(forKey: reading.device) else { return false }
        // Most devices carry nothing most of the time.
        if devices.metered.values[place].shows(reading.counters), devices.falls.isEmpty { return false }
        var isUrgent = false
        if devices.metered.values[place].phase != .counting {
            let settled = settlePhase(of: devices.metered.values[place], at: reading.device, counters: reading.counters)
            devices.metered.values[place] = settled
            isUrgent = true
        }
        let isUplink = devices.uplink.contains(reading.device)
        return count(
            reading.counters, of: reading.device, isUplink: isUplink, over: span, since: lastReading, at: now)
            || isUrgent
    }

    /// Opens the periods that hold this moment, if they aren't open yet.
    package mutating func advance(to moment: Timestamp) {
        if window.daySpan.contains(moment) { return }
        window = PeriodWindow(calendar, at: moment)
        evictDormantAccounts()
        recomputePeriods()
    }

    /// Whether the open periods include days that are in the store only.
    package var needsHistory: Bool { isPersistent && origin == nil && window.previousMonthStart < historyFrom }

    /// A reading may come early, at the end of a bucket or because the clock was set. Less than half an interval is too
    /// short for a rate, so it becomes part of the next one.
    private mutating func sampleRates(at time: BootTime) {
        let elapsed = time.elapsed(since: previousSample)
        guard elapsed.times(2) >= rules.samplingInterval else { return }
        previousSample = time
        var rates: [(rate: Rate, counting: PlanBook.Counting)] = []
        for index in accounts.indices where accounts[index].memberCount > 0 || index == accounts.uplink {
            accounts[index].rate.sample(at: time, elapsed: elapsed)
            if !accounts[index].counting.rateLimits.isEmpty {
                rates.append((accounts[index].rate.current, accounts[index].counting))
            }
        }
        planBook.sample(rates, over: elapsed)
    }

    /// Decides what a device's first reading means, if its arrival left that open.
    private mutating func settlePhase(
        of device: MeteredDevice, at index: DeviceIndex, counters: Counters
    ) -> MeteredDevice {
        var device = device
        switch device.phase {
        case .counting: return device
        case .awaitingBaseline: device.last = counters
        case .perhapsReturned(let carried, let candidate, let isSame):
            device.last = counters.baseline(leftWith: carried, isSame: isSame)
            if device.last != .zero || candidate == index { devices.away.remove(at: candidate) }
            if !counters.continues(carried), !accounts[device.account].lifetime.isZero {
                accounts[device.account].events.resets += 1
            }
        }
        device.phase = .counting
        accounts.version += 1
        accounts[device.account].beginCounting(at: device.last)
        return device
    }

    // MARK: - Booking

    /// - Parameter countsAsRate: Whether the bytes were carried in the open sampling interval.
    mutating func book(
        _ delta: Delta, from device: MeteredDevice, isUplink: Bool, over span: BookingSpan, countsAsRate: Bool = true
    ) {
        if delta.isZero { return }
        let suspect = device.suspectBytes(in: delta, within: span.elapsed)
        accounts[device.account].events.add(
            AccountEvents(gapBytes: span.isGap ? delta.bytes : 0, suspectBytes: suspect))
        for place in accountPlaces(of: device, isUplink: isUplink) {
            if countsAsRate { accounts[place].rate.add(delta) }
            book(delta, to: place, over: span)
        }
    }

    mutating func book(_ delta: Delta, to index: Int, over span: BookingSpan) {
        accounts[index].countUp(delta)
        accounts[index].lifetime += delta
        let id = accounts[index].id
        refreshCountings()
        let counting = accounts[index].counting
        switch span.place {
        case .within(let bucket, let day):
            if isPersistent { outbox.pending.add(delta, to: id, bucket: bucket, day: day) }
            if !counting.isEmpty { planBook.book(Total(delta), at: bucket.start, for: counting) }
            add(delta, on: day, to: index)
        case .spread(let from, let to, let cuts):
            let spread = Spread(delta, from: from, to: to, cutAt: cuts)
            if !counting.isEmpty { planBook.book(spread, for: counting) }
            let days = spread.days(by: calendar)
            if isPersistent { outbox.pending.add(spread, to: id, days: days) }
            for part in days { add(part.share, on: part.day, to: index) }
        }
    }

    private mutating func add(_ delta: Delta, on day: CivilDate, to index: Int) {
        accounts[index].days.add(Total(delta), on: day)
        if day == window.today {
            accounts[index].periods.day += delta
            accounts[index].periods.week += delta
            accounts[index].periods.month += delta
        } else {
            accounts[index].periods = window.totals(of: accounts[index].days)
        }
    }

    /// Hides the last bytes of a departed device until they are stored.
    mutating func withhold(_ delta: Delta, of device: MeteredDevice, isUplink: Bool) {
        if !isPersistent { return }
        for place in accountPlaces(of: device, isUplink: isUplink) { accounts.hidden[place, default: .zero] += delta }
    }

    /// The accounts to which a device's bytes go.
    @inline(__always)
    func accountPlaces(of device: MeteredDevice, isUplink: Bool) -> [Int] {
        isUplink ? [device.account, accounts.uplink] : [device.account]
    }

    mutating func recomputePeriods() {
        for index in accounts.indices { accounts[index].periods = window.totals(of: accounts[index].days) }
    }
}
