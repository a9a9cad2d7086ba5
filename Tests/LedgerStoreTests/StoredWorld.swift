import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// A machine, the program's ledger, and the real store beside a model of it: both get the same commits.
struct StoredWorld {
    private var random: SeededGenerator
    private var wallSeconds = Double(testStart)
    private var bootSeconds: Double = 1000
    private var bootID = "boot-1"
    private var kernel: [DeviceIndex: (name: DeviceName, counters: Counters)] = [:]
    private var nextIndex: UInt32 = 1
    private var ledger: Ledger
    private let rules = AccountingRules(
        exclude: [DevicePattern("lo")].compactMap { $0 }, collapse: [DevicePattern("veth*")].compactMap { $0 },
        samplingInterval: Span(seconds: 1))
    let calendar: LocalCalendar
    /// Buckets that are older than this may be removed; `nil` keeps all.
    let keepsBucketsSeconds: Int64?
    let path: String
    private var file: LedgerFile?
    private(set) var model = ModelStore()

    init(seed: UInt64, path: String, calendar: LocalCalendar, keepsBucketsSeconds: Int64?) throws {
        random = SeededGenerator(seed: seed)
        self.path = path
        self.calendar = calendar
        self.keepsBucketsSeconds = keepsBucketsSeconds
        file = try LedgerFile(path: path)
        let now = Moment(
            wallNanoseconds: testStart * 1_000_000_000, sinceBoot: BootTime(nanoseconds: 1_000_000_000_000))
        ledger = Ledger(
            stored: .empty(daysFrom: .earliest), devices: [], rules: rules, calendar: calendar,
            epoch: Epoch(bootID: "boot-1", networkNamespace: 1), now: now, isPersistent: true)
    }

    private var now: Moment {
        Moment(wallNanoseconds: Int64(wallSeconds * 1e9), sinceBoot: BootTime(nanoseconds: Int64(bootSeconds * 1e9)))
    }

    private var horizon: Timestamp { keepsBucketsSeconds.map { now.timestamp.adding(seconds: -$0) } ?? .earliest }
    private var anyDevice: DeviceIndex? { mutating get { kernel.keys.sorted().randomElement(using: &random) } }

    private mutating func pass(_ seconds: ClosedRange<Double>) {
        let seconds = Double.random(in: seconds, using: &random)
        wallSeconds += seconds
        bootSeconds += seconds
    }

    mutating func step() throws {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<32: carry()
        case 32..<35: fall()
        case 35..<50:
            pass(0.1...9)
            read()
        case 50..<60: try commit()
        case 60..<70: try create()
        case 70..<75: try delete()
        case 75..<82: try rename()
        case 82..<86: if ledger.setUplink(Set([anyDevice].compactMap { $0 })) { try commit() }
        case 86..<90:
            pass(20...200_000)
            read()
        case 90..<95: try restart()
        case 95..<97:
            reboot()
            try restart()
        default:
            wallSeconds += Double.random(in: -4_000_000...4_000_000, using: &random)
            read()
        }
    }

    private mutating func carry() {
        guard let index = anyDevice else { return }
        let amount: ClosedRange<UInt64> = Bool.random(using: &random) ? 0...2000 : 0...3_000_000_000
        kernel[index]?.counters.received &+= UInt64.random(in: amount, using: &random)
        kernel[index]?.counters.transmitted &+= UInt64.random(in: amount, using: &random)
    }

    /// A counter restarts, and goes on.
    private mutating func fall() {
        guard let index = anyDevice else { return }
        read()
        if Bool.random(using: &random) { kernel[index]?.counters.received = 0 }
        kernel[index]?.counters.transmitted /= 2
        carry()
        read()
    }

    private mutating func read() {
        let readings = kernel.sorted { $0.key < $1.key }.map { Reading(device: $0.key, counters: $0.value.counters) }
        ledger.record(readings, at: now, endsInterval: true)
    }

    /// Names that nobody has now; one isn't UTF-8.
    private mutating func freeName() -> DeviceName? {
        let names = ["eth0", "eth1", "wwan0", "veth1", "veth2", "lan0", "lo"].map { DeviceName($0) }
        let taken = kernel.values.map(\.name)
        return (names + [DeviceName(bytes: [0x65, 0xFF, 0x30])]).filter { !taken.contains($0) }
            .randomElement(using: &random)
    }

    private mutating func create() throws {
        guard let name = freeName() else { return }
        let index = DeviceIndex(rawValue: nextIndex)
        nextIndex += 1
        kernel[index] = (name, .zero)
        if ledger.appear(Device(index: index, name: name)) { try commit() }
    }

    private mutating func delete() throws {
        guard let index = anyDevice else { return }
        let final = kernel.removeValue(forKey: index)?.counters
        ledger.depart(index, final: final, movedAway: Bool.random(using: &random), at: now)
        try commit()
    }

    /// One device gets a free name, or two swap theirs.
    private mutating func rename() throws {
        read()
        guard let first = anyDevice, let second = anyDevice, let name = freeName() else { return }
        if first != second, let one = kernel[first]?.name, let other = kernel[second]?.name {
            kernel[first]?.name = other
            kernel[second]?.name = one
            if ledger.rename([first: other, second: one]) { try commit() }
        } else {
            kernel[first]?.name = name
            if ledger.rename([first: name]) { try commit() }
        }
    }

    mutating func commit(isFinal: Bool = false) throws {
        guard let file else { return }
        let first: CivilDate? =
            Int.random(in: 0..<4, using: &random) == 0
            ? calendar.day(containing: now.timestamp).adding(days: -Int.random(in: 0...400, using: &random)) : nil
        var reports = try [first.map { try reported(by: file, from: $0) }]
        guard let commit = ledger.takeCommit(isFinal: isFinal) else { return }
        reports.append(try first.map { try reported(by: file, from: $0) })
        let stale = try file.days(from: .earliest)
        let adopted = try file.apply(commit, calendar: calendar, horizon: horizon)
        let expected = model.apply(commit, horizon: horizon)
        #expect(adopted.map(Normalized.init) == expected.map(Normalized.init))
        reports.append(try first.map { try reported(by: file, from: $0) })
        ledger.acknowledgeCommit()
        for history in adopted { ledger.adopt(history) }
        #expect(ledger.history(with: stale) == nil, "what was read before a commit must be read again")
        // Bytes that are held because of a fall aren't in the file's days.
        if let first, ledger.devices.falls.isEmpty { try check(reports.compactMap { $0 }, file, from: first) }
    }

    private mutating func reboot() {
        bootID = "boot-\(UInt64.random(in: 0 ... .max, using: &random))"
        bootSeconds = 10
        let names = kernel.values.map(\.name).sorted()
        kernel = [:]
        for name in names { kernel[DeviceIndex(rawValue: UInt32(kernel.count + 1))] = (name, .zero) }
        nextIndex = UInt32(kernel.count + 1)
    }

    /// The program ends, by itself or by a kill, and starts again: the file must give the same ledger as the model.
    private mutating func restart() throws {
        if Bool.random(using: &random) {
            read()
            try commit(isFinal: true)
        }
        file = nil
        let reopened = try LedgerFile(path: path)
        let daysFrom = PeriodWindow(calendar, at: now.timestamp).previousMonthStart
        let names = Set(kernel.values.map(\.name))
        let stored = try reopened.load(daysFrom: daysFrom, names: names)
        #expect(Normalized(stored) == Normalized(model.load(daysFrom: daysFrom, names: names)))
        file = reopened
        ledger = Ledger(
            stored: stored,
            devices: kernel.sorted { $0.key < $1.key }
                .map { (Device(index: $0.key, name: $0.value.name), $0.value.counters) },
            rules: rules, calendar: calendar, epoch: Epoch(bootID: bootID, networkNamespace: 1), now: now,
            isPersistent: true)
        try commit()
    }

    /// Plans must count the same from the file, which uses whole days where it can, and from all buckets of the model,
    /// whatever was corrected, topped up, free or left over.
    mutating func checkPlans(_ comment: Comment) throws {
        guard let file else { return }
        read()
        try commit()
        let zone = Zone(fixedOffsetSeconds: 20_700)
        let calendars: [TimeZoneSetting: LocalCalendar] = [
            .local: calendar, .fixed(seconds: 20_700): LocalCalendar(zone: zone, weekStart: .monday),
        ]
        let rules: [CycleRule] = [
            .init(.day), .init(.week(.sunday)), .init(.month(day: 31)), .init(.month(day: 5), at: 23_400),
            .init(.days(3, from: .init(daysSinceEpoch: 1))),
            .init(.year(month: 2, day: 29)),
        ]
        let quotas = rules.enumerated().flatMap { number, rule in
            [ByteDirection.total, .greater].map { direction in
                Quota(
                    name: "\(number) \(direction)",
                    count: number == 1 ? .uplink : .devices(["*"].compactMap { DevicePattern($0) }),
                    direction: direction, limitBytes: 10_000_000_000,
                    cycle: Cycle(rule, timezone: number == 2 ? .fixed(seconds: 20_700) : .local),
                    free: number == 4 ? FreeTime([0..<500, 4000..<6000]) : .none,
                    rolloverMaximumBytes: number == 0 ? 5_000_000_000 : nil)
            }
        }
        for quota in quotas where Bool.random(using: &random) {
            let bytes = UInt64.random(in: 0...20_000_000_000, using: &random)
            let kind: Adjustment.Kind =
                Bool.random(using: &random) ? .topUp(bytes: bytes) : .correction(usedBytes: bytes)
            let moment = now.timestamp.adding(seconds: -300 * Int64.random(in: 0...2000, using: &random))
            model.adjustments.append(try file.adjust(quota.name, kind, at: moment, enteredAt: now.timestamp))
        }
        let plans = Plans(quotas: quotas, rateLimits: [], committedRates: [])
        let stored = try file.planBook(plans, calendars: calendars, at: now.timestamp)
        let expected = model.planBook(plans, calendars: calendars, at: now.timestamp)
        for (mine, theirs) in zip(stored.quotas, expected.quotas) {
            #expect(
                mine.usedBytes(in: mine.current) == theirs.usedBytes(in: theirs.current),
                "\(mine.quota.name): \(comment)")
            #expect(
                mine.measuredBytes(in: mine.current) == theirs.measuredBytes(in: theirs.current),
                "\(mine.quota.name): \(comment)")
            #expect(
                mine.limitBytes(in: mine.current) == theirs.limitBytes(in: theirs.current),
                "\(mine.quota.name): \(comment)")
        }
    }

    /// Reports must be the same before a commit, while it was under way, and from the file alone.
    private func check(_ reports: [Reported], _ file: LedgerFile, from first: CivilDate) throws {
        let after = try reported(by: file, from: first)
        for report in reports {
            #expect(report.days == after.days || report.hidesBytes)
            #expect(report.lifetimes == after.lifetimes || report.hidesBytes)
            if keepsBucketsSeconds == nil { #expect(report.buckets == after.buckets) }
        }
        let inMemory = Reported(ledger.history(), from: ledger.daysInMemoryFrom)
        for (key, days) in inMemory.days {
            #expect(
                days.filter { $0.key >= first } == after.days[key]?.filter { $0.key >= ledger.daysInMemoryFrom } ?? [:])
            #expect(inMemory.lifetimes[key] == after.lifetimes[key])
        }
        let alone = Reported(DayHistory(try file.days(from: first)), from: first)
        #expect(alone.days == after.days)
        #expect(alone.lifetimes == after.lifetimes)
    }

    private struct Reported {
        /// Whether the last bytes of a device aren't shown yet.
        var hidesBytes = false
        var days: [AccountKey: [CivilDate: Total]] = [:]
        var lifetimes: [AccountKey: Total] = [:]
        var buckets: [AccountKey: [Timestamp: Total]] = [:]

        init(_ history: DayHistory, from first: CivilDate) {
            for entry in history.entries where !entry.lifetime.isZero {
                #expect(lifetimes[entry.key] == nil, "an account comes once")
                lifetimes[entry.key] = entry.lifetime
                #expect(entry.days.map(\.day) == entry.days.map(\.day).sorted())
                for (day, total) in entry.days where day >= first && !total.isZero {
                    days[entry.key, default: [:]][day] = total
                }
            }
        }
    }

    private func reported(by file: LedgerFile, from first: CivilDate) throws -> Reported {
        let history = try #require(ledger.history(with: try file.days(from: first)))
        var reported = Reported(history, from: first)
        reported.hidesBytes = !ledger.accounts.hidden.isEmpty || !ledger.accounts.hiddenInFlight.isEmpty
        for entry in try #require(ledger.history(with: try file.days(from: .earliest))).entries {
            #expect(entry.days.reduce(into: Total.zero) { $0 += $1.total } == entry.lifetime, "days tile the lifetime")
        }
        var start = Timestamp.earliest
        while start < .latest {
            let page = try file.buckets(from: start, before: .latest, rowsPerPage: 100)
            for row in try #require(ledger.buckets(with: page)) {
                #expect(row.start >= start && row.start < page.until)
                reported.buckets[row.key, default: [:]][row.start, default: .zero] += row.total
            }
            start = page.until
        }
        return reported
    }

    mutating func close() throws {
        read()
        try commit(isFinal: true)
        file = nil
    }
}

/// Stored data in a fixed order, so that it can be compared.
struct Normalized: Equatable {
    private var header: LedgerHeader?
    private var accounts: [AccountID: [AccountRecord: Total]] = [:]
    private var devices: [DeviceIndex: [DeviceRecord]] = [:]
    private var days: [Bookings.DayKey: [Total]] = [:]
    private var events = AccountEvents()
    private var numbers: [Int64] = []

    init(_ stored: StoredLedger) {
        header = stored.header
        for entry in stored.accounts { accounts[entry.record.id, default: [:]][entry.record] = entry.lifetime }
        for record in stored.devices { devices[record.index, default: []].append(record) }
        for entry in stored.days {
            days[.init(account: entry.account, day: entry.day), default: []].append(entry.total)
        }
        numbers = [stored.lastAccountID.rawValue, Int64(stored.daysFrom.daysSinceEpoch), Int64(stored.accounts.count)]
    }

    init(_ history: AdoptedHistory) {
        events = history.events
        for entry in history.days {
            days[.init(account: entry.account, day: entry.day), default: []].append(entry.total)
        }
        numbers = [history.account.rawValue]
    }
}
