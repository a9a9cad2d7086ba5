import CivilTime

/// Which device belongs to which account, while devices come, go and change their names.
extension Ledger {
    /// The place of the account with this key; creates the account if there is none.
    mutating func account(for key: AccountKey) -> Int {
        if let place = accounts.places[key] { return place }
        let place = accounts.append(new: key)
        if origin?.claims[key] == nil { origin?.claims[key] = accounts[place].id }
        return place
    }

    /// Adds a device to the members of its account.
    mutating func join(_ device: MeteredDevice, as index: DeviceIndex) {
        devices[index] = device
        accounts[device.account].memberCount += 1
        accounts[device.account].hadMembers = true
        if device.phase == .counting { accounts[device.account].beginCounting(at: device.last) }
        accounts.version += 1
    }

    /// From here on, accounts that got members aren't fresh: the counters of later members aren't added to theirs.
    mutating func settleNewAccounts() {
        if accounts.settledVersion == structureVersion { return }
        accounts.settledVersion = structureVersion
        for device in devices.metered.values where device.phase == .counting {
            accounts[device.account].isFresh = false
        }
    }

    /// Stops booking a device; its account keeps its bytes.
    mutating func leave(_ index: DeviceIndex) {
        settleFalls(of: index)
        guard let device = devices.metered.removeValue(forKey: index) else { return }
        accounts[device.account].memberCount -= 1
        if accounts[device.account].memberCount == 0 {
            accounts[device.account].rate.stop()
            if accounts[device.account].lifetime.isZero { accounts.emptyDepartures += 1 }
        }
        devices.uplink.remove(index)
        accounts.version += 1
    }

    /// Starts to meter a device that was excluded: its next reading is the baseline.
    mutating func startMetering(_ device: Device) {
        guard let key = rules.account(for: device.name) else {
            devices.excluded[device.index] = device
            return
        }
        devices.excluded[device.index] = nil
        devices.away.remove(at: device.index)
        var metered = MeteredDevice(
            name: device.name, account: account(for: key), last: .zero, linkBytesPerSecond: device.linkBytesPerSecond,
            hardwareAddress: device.hardwareAddress)
        metered.phase = .awaitingBaseline
        join(metered, as: device.index)
    }

    /// Stops metering a device that is still there, but excluded now.
    mutating func stopMetering(_ index: DeviceIndex) {
        settleFalls(of: index)
        guard let device = devices[index] else { return }
        devices.excluded[index] = Device(
            index: index, name: device.name, linkBytesPerSecond: device.linkBytesPerSecond,
            hardwareAddress: device.hardwareAddress)
        devices.away.insert(
            .init(
                name: device.name, counters: device.last, hardwareAddress: device.hardwareAddress, isHere: true),
            at: index)
        leave(index)
    }

    /// Moves devices to the accounts with these keys. A device alone in its own account takes it along. A newcomer
    /// leaves a past that belongs to its previous name, and continues the account of its new name.
    mutating func move(_ moves: [(index: DeviceIndex, key: AccountKey)]) {
        var detached: [(account: Int, key: AccountKey)] = []
        for (index, key) in moves {
            guard var device = devices[index] else { continue }
            let previous = accounts[device.account].key
            let leavesPast = device.isNewcomer && (origin != nil || !accounts[device.account].lifetime.isZero)
            if device.isNewcomer, case .device = key, let predecessor = accounts.places[key] {
                accounts[predecessor].events.resets += 1
            }
            if case .device = previous, case .device = key, accounts[device.account].memberCount == 1, !leavesPast {
                if accounts.places[previous] == device.account { accounts.places[previous] = nil }
                accounts[device.account].key = key
                accounts.uncounted.insert(device.account)
                detached.append((device.account, key))
            } else {
                // The counters of both accounts continue without a step.
                accounts[device.account].memberCount -= 1
                if accounts[device.account].memberCount == 0 { accounts[device.account].rate.stop() }
                device.account = account(for: key)
                join(device, as: index)
            }
        }
        for (place, key) in detached { attach(place, as: key) }
        accounts.version += 1
    }

    /// Gives a renamed account its new key. The account that had this key before is merged into it.
    mutating func attach(_ place: Int, as key: AccountKey) {
        guard let previous = accounts.places[key], previous != place else {
            accounts.places[key] = place
            return
        }
        for (index, device) in devices.metered where device.account == previous { devices[index]?.account = place }
        accounts.fold(previous, into: place, in: window)
        outbox.pending.folds.append((accounts[previous].id, accounts[place].id))
        outbox.pending.applyFolds()
        accounts.places[key] = place
    }

    /// Applies other rules from now on. Bytes booked so far stay where they are.
    package mutating func apply(_ rules: AccountingRules) {
        self.rules = rules
        for device in devices.excluded.values.sorted(by: { $0.index < $1.index }) { startMetering(device) }
        var moves: [(index: DeviceIndex, key: AccountKey)] = []
        for (index, device) in devices.metered.sorted(by: { $0.key < $1.key }) {
            if let key = rules.account(for: device.name) {
                if accounts[device.account].key != key { moves.append((index, key)) }
            } else {
                stopMetering(index)
            }
        }
        move(moves)
        accounts.version += 1
    }

    /// More empty accounts of departed devices aren't kept until midnight: some hosts give each container a new device.
    private static let maximumEmptyDepartures = 256

    /// Evicts dormant accounts before midnight, if there may be many.
    mutating func evictEmptyAccounts() {
        if accounts.emptyDepartures > Self.maximumEmptyDepartures { evictDormantAccounts() }
    }

    /// Drops accounts without members that no open period shows; the store still has them.
    mutating func evictDormantAccounts() {
        // Until the store is read, these accounts carry the current names of the stored ones.
        if origin != nil { return }
        accounts.emptyDepartures = 0
        let busy = Set(outbox.pending.days.keys.map(\.account))
            .union(outbox.inFlight?.bookings.days.keys.map(\.account) ?? []).union(
                outbox.inFlight?.accounts.map(\.id) ?? [])
        let keeps = accounts.indices.map { index in
            let account = accounts[index]
            if index == accounts.uplink || account.memberCount > 0 || busy.contains(account.id) { return true }
            if account.isFolded { return false }
            if case .collapsed = account.key { return true }
            switch account.key {
            // Their counters go on even without bytes of their own.
            case .application(.other, _), .uplinkScope: return true
            default: break
            }
            if account.lifetime.isZero, !account.key.isShared { return false }
            return !isPersistent || window.totals(of: account.days) != PeriodTotals()
        }
        for index in accounts.indices where isPersistent {
            accounts[index].days.removeAll(before: window.previousMonthStart)
        }
        if isPersistent { historyFrom = max(historyFrom, window.previousMonthStart) }
        if keeps.allSatisfy({ $0 }) { return }
        // Accounts that never had a byte are removed from the store, too.
        for index in keeps.indices where !keeps[index] && isPersistent {
            let account = accounts[index]
            if !account.isFolded, !account.lifetime.isZero { planBook.storedAccounts.insert(account.key) }
            if account.persisted != nil, account.lifetime.isZero, account.events == AccountEvents(), !account.isFolded {
                outbox.pending.removedAccounts.append(account.id)
            }
        }
        let newPlace = accounts.keep(keeps.indices.filter { keeps[$0] })
        for (index, device) in devices.metered { devices[index]?.account = newPlace[device.account] ?? device.account }
    }
}
