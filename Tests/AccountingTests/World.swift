import CivilTime

@testable import Accounting

/// Random numbers that a seed repeats (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A store in memory: what the real one does, in the plainest form.
struct ModelStore {
    var header: LedgerHeader?
    var accounts: [AccountID: AccountRecord] = [:]
    var devices: [DeviceIndex: DeviceRecord] = [:]
    var buckets: [Commit.BucketKey: Total] = [:]
    var days: [Commit.DayKey: Total] = [:]

    mutating func apply(_ commit: Commit) -> [AdoptedHistory] {
        for fold in commit.folds { move(fold.source, into: fold.target) }
        var adopted: [AdoptedHistory] = []
        for record in commit.accounts { accounts[record.id] = nil }
        for var record in commit.accounts {
            if let former = accounts.values.first(where: { $0.key == record.key }) {
                let history = days.filter { $0.key.account == former.id }
                adopted.append(
                    AdoptedHistory(
                        account: record.id, lifetime: history.values.reduce(.zero) { $0.adding($1) },
                        events: former.events,
                        days: history.map { .init(account: record.id, day: $0.key.day, total: $0.value) }))
                record.events.add(former.events)
                move(former.id, into: record.id)
            }
            accounts[record.id] = record
        }
        for index in commit.removedDevices { devices[index] = nil }
        for record in commit.devices { devices[record.index] = record }
        buckets.merge(commit.buckets) { $0.adding($1) }
        for gap in commit.spreads {
            gap.spread.forEachBucket(since: .earliest) { bucket, delta in
                let share = Total(received: delta.received, transmitted: delta.transmitted)
                buckets[.init(account: gap.account, bucket: bucket), default: .zero] += share
            }
        }
        days.merge(commit.days) { $0.adding($1) }
        header = commit.header
        return adopted
    }

    private mutating func move(_ source: AccountID, into target: AccountID) {
        for (key, total) in buckets where key.account == source {
            buckets[key] = nil
            buckets[.init(account: target, bucket: key.bucket), default: .zero] += total
        }
        for (key, total) in days where key.account == source {
            days[key] = nil
            days[.init(account: target, day: key.day), default: .zero] += total
        }
        accounts[source] = nil
    }

    func load(daysFrom: CivilDate, names: Set<DeviceName>) -> StoredLedger {
        var stored = StoredLedger.empty(daysFrom: daysFrom)
        stored.header = header
        stored.devices = Array(devices.values)
        stored.days = days.filter { $0.key.day >= daysFrom }.map {
            .init(account: $0.key.account, day: $0.key.day, total: $0.value)
        }
        stored.lastAccountID = accounts.keys.max() ?? AccountID(rawValue: 0)
        let recent = Set(stored.days.map(\.account)).union(stored.devices.compactMap(\.account))
        stored.accounts = accounts.values.compactMap { record in
            switch record.key {
            case .uplink: break
            case .collapsed: if !recent.contains(record.id) { return nil }
            case .device(let name): if !recent.contains(record.id) && !names.contains(name) { return nil }
            }
            return .init(record: record, lifetime: total(of: record.id))
        }
        return stored
    }

    func total(of account: AccountID) -> Total {
        days.filter { $0.key.account == account }.values.reduce(.zero) { $0.adding($1) }
    }

    func bucketTotal(of account: AccountID) -> Total {
        buckets.filter { $0.key.account == account }.values.reduce(.zero) { $0.adding($1) }
    }
}

/// A machine with devices and clocks, a program that meters it, and a store: the whole pipeline without any input or
/// output.
struct World {
    var wallSeconds: Double = 1_795_219_200  // 2026-11-21T00:00:00Z
    var bootSeconds: Double = 1000
    var bootID = "boot-1"
    var kernel: [DeviceIndex: (name: DeviceName, counters: Counters)] = [:]
    var uplink: DeviceIndex?
    var store = ModelStore()
    var ledger: Ledger
    var rules: AccountingRules
    var calendar: LocalCalendar
    private var nextIndex: UInt32 = 1

    init(rules: AccountingRules = World.rules(), zone: Zone = .utc) {
        self.rules = rules
        calendar = LocalCalendar(zone: zone, weekStart: .monday)
        let now = Moment(
            wallNanoseconds: 1_795_219_200_000_000_000, sinceBoot: BootTime(nanoseconds: 1_000_000_000_000))
        ledger = Ledger(
            stored: .empty(daysFrom: CivilDate(daysSinceEpoch: 0)), devices: [], rules: rules, calendar: calendar,
            epoch: Epoch(bootID: "boot-1", networkNamespace: 1), now: now, isPersistent: false)
        start()
    }

    static func rules(exclude: [String] = ["lo"], collapse: [String] = ["veth*"]) -> AccountingRules {
        AccountingRules(
            exclude: exclude.compactMap { DevicePattern($0) }, collapse: collapse.compactMap { DevicePattern($0) },
            samplingInterval: Span(seconds: 1))
    }

    var now: Moment {
        Moment(
            wallNanoseconds: Int64(wallSeconds * 1e9), sinceBoot: BootTime(nanoseconds: Int64(bootSeconds * 1e9)))
    }

    // MARK: - The machine

    /// Time passes on both clocks.
    mutating func pass(_ seconds: Double) {
        wallSeconds += seconds
        bootSeconds += seconds
    }

    mutating func create(_ name: String, index: DeviceIndex? = nil, seen: Bool = true) -> DeviceIndex {
        let new = index ?? DeviceIndex(rawValue: nextIndex)
        nextIndex = max(nextIndex, new.rawValue) + 1
        kernel[new] = (DeviceName(name), .zero)
        if seen {
            if ledger.appear(Device(index: new, name: DeviceName(name))) { commit() }
        }
        return new
    }

    mutating func carry(_ index: DeviceIndex, received: UInt64 = 0, transmitted: UInt64 = 0) {
        kernel[index]?.counters.received &+= received
        kernel[index]?.counters.transmitted &+= transmitted
    }

    mutating func delete(_ index: DeviceIndex, movedAway: Bool = false) {
        let final = kernel.removeValue(forKey: index)?.counters
        if uplink == index { uplink = nil }
        ledger.depart(index, final: final, movedAway: movedAway, at: now)
        commit()
    }

    mutating func rename(_ index: DeviceIndex, to name: String) {
        kernel[index]?.name = DeviceName(name)
        if ledger.rename(index, to: DeviceName(name)) { commit() }
    }

    // MARK: - The program

    mutating func read(endsInterval: Bool = true) {
        ledger.record(
            kernel.map { Reading(device: $0.key, counters: $0.value.counters) }, at: now, endsInterval: endsInterval)
        if ledger.setUplink(uplink) { commit() }
    }

    /// Time passes with a reading every second.
    mutating func run(seconds: Int) {
        for _ in 0..<seconds {
            pass(1)
            read()
        }
    }

    mutating func commit(isFinal: Bool = false) {
        guard let commit = ledger.takeCommit(isFinal: isFinal) else { return }
        let adopted = store.apply(commit)
        ledger.acknowledgeCommit()
        for history in adopted { ledger.adopt(history) }
    }

    /// The program starts, with what the store has.
    mutating func start() {
        let window = PeriodWindow(calendar, at: now.timestamp)
        let stored = store.load(daysFrom: window.previousMonthStart, names: Set(kernel.values.map(\.name)))
        ledger = Ledger(
            stored: stored, devices: kernel.map { (Device(index: $0.key, name: $0.value.name), $0.value.counters) },
            rules: rules, calendar: calendar, epoch: Epoch(bootID: bootID, networkNamespace: 1), now: now,
            isPersistent: true)
        ledger.setUplink(uplink)
        commit()
    }

    mutating func stop() {
        read(endsInterval: false)
        commit(isFinal: true)
    }

    mutating func reboot(_ id: String) {
        bootID = id
        bootSeconds = 10
        let names = kernel.values.map(\.name)
        kernel = [:]
        uplink = nil
        nextIndex = 1
        for name in names.sorted() {
            kernel[DeviceIndex(rawValue: nextIndex)] = (name, .zero)
            nextIndex += 1
        }
    }

    // MARK: - What can be seen

    func view(_ key: AccountKey) -> AccountView? {
        ledger.accountIndex[key].flatMap { ledger.view(at: $0) }
    }

    func view(_ name: String) -> AccountView? { view(.device(DeviceName(name))) }

    /// What all accounts but the uplink have booked.
    var lifetime: Total {
        (0..<ledger.accountCount).reduce(into: Total.zero) { sum, place in
            if place != ledger.uplinkPlace, let view = ledger.view(at: place) { sum += view.lifetime }
        }
    }
}
