import CivilTime
import TestSupport

@testable import Accounting

/// A machine with devices and clocks, a program that meters it, and a store: the whole pipeline without any input or
/// output.
struct World {
    var wallSeconds: Double = 1_795_219_200  // 2026-11-21T00:00:00Z
    var bootSeconds: Double = 1000
    var bootID = "boot-1"
    var kernel: [DeviceIndex: (name: DeviceName, counters: Counters)] = [:]
    private var hardwareAddresses: [DeviceIndex: [UInt8]] = [:]
    var uplink: DeviceIndex?
    var secondUplink: DeviceIndex?
    var store = ModelStore()
    var ledger: Ledger
    var rules: AccountingRules
    var calendar: LocalCalendar
    var plans = Plans.none
    private var nextIndex: UInt32 = 1

    init(rules: AccountingRules = World.rules(), zone: Zone = .utc, plans: Plans = .none) {
        self.rules = rules
        self.plans = plans
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

    mutating func create(
        _ name: String, index: DeviceIndex? = nil, seen: Bool = true, hardwareAddress: [UInt8] = [],
        counters: Counters = .zero
    ) -> DeviceIndex {
        let new = index ?? DeviceIndex(rawValue: nextIndex)
        nextIndex = max(nextIndex, new.rawValue) + 1
        kernel[new] = (DeviceName(name), counters)
        hardwareAddresses[new] = hardwareAddress
        if seen {
            let device = Device(index: new, name: DeviceName(name), hardwareAddress: hardwareAddress)
            if ledger.appear(device) { commit() }
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
        if ledger.rename([index: DeviceName(name)]) { commit() }
    }

    // MARK: - The program

    mutating func read(endsInterval: Bool = true) {
        let readings = kernel.map { Reading(device: $0.key, counters: $0.value.counters) }
        let isUrgent = ledger.record(readings, at: now, endsInterval: endsInterval)
        let hasPlanNews = ledger.notePlanEvents(at: now.timestamp, makesForecasts: false)
        if ledger.setUplink(Set([uplink, secondUplink].compactMap { $0 })) || isUrgent || hasPlanNews { commit() }
        if ledger.isPlanBookOutdated { renewPlanBook() }
    }

    /// The book is made anew from the store, as for other plans.
    mutating func renewPlanBook() {
        if ledger.isAwaitingStore { return }
        commit()
        ledger.use(storedPlanBook)
    }

    var storedPlanBook: PlanBook { store.planBook(plans, calendars: calendars, at: now.timestamp) }

    /// For the zones that the tests' plans use.
    var calendars: [TimeZoneSetting: LocalCalendar] {
        [
            .local: calendar,
            .fixed(seconds: 20_700): LocalCalendar(zone: Zone(fixedOffsetSeconds: 20_700), weekStart: .monday),
        ]
    }

    private var newPlanBook: PlanBook {
        PlanBook(plans, calendars: calendars, records: .none, meteredFrom: .latest, at: now.timestamp)
    }

    /// The owner tells something about a quota.
    mutating func adjust(
        _ quota: String, _ kind: Adjustment.Kind, at moment: Timestamp? = nil, cycleStart: Timestamp? = nil
    ) {
        read()
        if case .correction = kind, moment == nil { ledger.cut(at: now.timestamp) }
        commit()
        store.adjustments.append(
            Adjustment(
                id: Int64(store.adjustments.count + 1), quota: quota, kind: kind, at: moment ?? now.timestamp,
                enteredAt: now.timestamp, cycleStart: cycleStart))
        ledger.use(storedPlanBook)
    }

    /// What a quota shows now.
    func quota(_ name: String) -> QuotaState? {
        ledger.planBook.quotaStates(at: now.timestamp).first { $0.quota.name == name }
    }

    /// Time passes with a reading every second.
    mutating func run(seconds: Int) {
        for _ in 0..<seconds {
            pass(1)
            read()
        }
    }

    mutating func commit(isFinal: Bool = false) {
        let isRetry = ledger.outbox.inFlight != nil
        guard let commit = ledger.takeCommit(isFinal: isFinal) else { return }
        let adopted = store.apply(commit)
        ledger.acknowledgeCommit()
        for history in adopted { ledger.adopt(history) }
        if isRetry { self.commit(isFinal: isFinal) }
    }

    /// The program starts, with what the store has.
    mutating func start() {
        startWithoutStore()
        ledger.takeUp(stored, planBook: storedPlanBook, calendar: calendar, wasShown: false)
        ledger.setUplink(Set([uplink, secondUplink].compactMap { $0 }))
        commit()
    }

    /// The program starts, and can't read what the store has.
    mutating func startWithoutStore() {
        ledger = .awaitingStore(
            devices: kernel.map { index, link in
                (
                    Device(index: index, name: link.name, hardwareAddress: hardwareAddresses[index] ?? []),
                    link.counters
                )
            },
            planBook: newPlanBook, rules: rules,
            calendar: calendar, epoch: Epoch(bootID: bootID, networkNamespace: 1), now: now)
        ledger.setUplink(Set([uplink, secondUplink].compactMap { $0 }))
    }

    /// The store, which couldn't be read when the program started, can be read now.
    mutating func storeReturns() {
        read()
        ledger.takeUp(stored, planBook: storedPlanBook, calendar: calendar, wasShown: true)
        commit()
        read()
    }

    private var stored: StoredLedger {
        let window = PeriodWindow(calendar, at: now.timestamp)
        return store.load(daysFrom: window.previousMonthStart, names: ledger.namesWanted)
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
        ledger.accounts.places[key].flatMap { ledger.view(at: $0) }
    }

    func view(_ name: String) -> AccountView? { view(.device(DeviceName(name))) }

    /// What all accounts but the uplink have booked.
    var lifetime: Total {
        ledger.views.reduce(into: Total.zero) { sum, account in
            if account.place != ledger.uplinkPlace { sum += account.view.lifetime }
        }
    }
}
