@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// Commits made by hand.
extension Commit {
    static func make(
        _ sequence: Int64, accounts: [AccountRecord] = [], devices: [DeviceRecord] = [], removed: [UInt32] = [],
        folds: [(source: Int64, target: Int64)] = []
    ) -> Commit {
        let moment = Moment(
            wallNanoseconds: 1_795_219_200_000_000_000 + sequence, sinceBoot: BootTime(nanoseconds: sequence))
        return Commit(
            header: LedgerHeader(
                sequence: sequence, epoch: Epoch(bootID: "boot", networkNamespace: 1), boot: 1, lastReading: moment,
                isClean: false),
            folds: folds.map { .init(source: .init(rawValue: $0.source), target: .init(rawValue: $0.target)) },
            accounts: accounts, devices: devices, removedDevices: removed.map { DeviceIndex(rawValue: $0) },
            buckets: [:], days: [:], spreads: [], events: [], starts: [], adjustments: [], committedCycles: [],
            unread: [])
    }

    /// The same bytes to a bucket and the day of its start.
    mutating func book(
        _ account: Int64, _ received: UInt64, _ transmitted: UInt64, at seconds: Int64, _ calendar: LocalCalendar
    ) {
        let id = AccountID(rawValue: account)
        let total = Total(received: received, transmitted: transmitted)
        let moment = Timestamp(secondsSinceEpoch: seconds)
        buckets[.init(account: id, bucket: Bucket(containing: moment)), default: .zero] += total
        days[.init(account: id, day: calendar.day(containing: moment)), default: .zero] += total
    }

    /// Bytes of a gap: the store cuts them into buckets, the ledger has cut them into days.
    mutating func bookGap(_ account: Int64, _ delta: Delta, from: Int64, to: Int64, _ calendar: LocalCalendar) {
        let id = AccountID(rawValue: account)
        let spread = Spread(delta, from: Timestamp(secondsSinceEpoch: from), to: Timestamp(secondsSinceEpoch: to))
        spreads.append(.init(account: id, spread: spread))
        var day = calendar.day(containing: spread.start)
        while day <= calendar.day(containing: spread.end) {
            let span = calendar.span(ofDay: day)
            let share = spread.share(from: span.lowerBound, to: span.upperBound)
            if !share.isZero { days[.init(account: id, day: day), default: .zero] += Total(share) }
            day = calendar.nextDay(after: day)
        }
    }
}

extension AccountRecord {
    static func make(_ id: Int64, _ key: AccountKey, events: AccountEvents = AccountEvents()) -> AccountRecord {
        AccountRecord(
            id: AccountID(rawValue: id), key: key, counterOffset: Counters(received: .max, transmitted: UInt64(id)),
            offsetBoot: 1, events: events)
    }

    static func make(_ id: Int64, _ name: String, events: AccountEvents = AccountEvents()) -> AccountRecord {
        make(id, .device(DeviceName(name)), events: events)
    }
}

extension DeviceRecord {
    static func make(_ index: UInt32, _ name: String, account: Int64?) -> DeviceRecord {
        DeviceRecord(
            index: DeviceIndex(rawValue: index), name: DeviceName(name),
            account: account.map(AccountID.init(rawValue:)),
            counters: Counters(received: UInt64(index), transmitted: .max), state: account == nil ? .away : .metered,
            holdsUplink: index == 1)
    }
}

extension LedgerFile {
    /// The two halves of what the program does at once.
    func rezone(to calendar: LocalCalendar) throws(StoreError) {
        try checkIsInPlace()
        try translatingErrors { try connection.transaction { try rebookDays(by: calendar) } }
    }

    func load(daysFrom: CivilDate, names: Set<DeviceName>) throws(StoreError) -> StoredLedger {
        try translatingErrors { try contents(daysFrom: daysFrom, names: names) }
    }

    /// Everything in it.
    func loadAll() throws(StoreError) -> StoredLedger { try load(daysFrom: .earliest, names: []) }

    /// Applies a commit and lets no bucket go.
    @discardableResult
    func apply(_ commit: Commit, _ calendar: LocalCalendar = .utc) throws(StoreError) -> [AdoptedHistory] {
        try apply(commit, calendar: calendar, horizon: .earliest)
    }
}

extension LocalCalendar {
    static let utc = LocalCalendar(zone: .utc, weekStart: .monday)
}

extension StoredLedger {
    func account(_ id: Int64) -> StoredAccount? { accounts.first { $0.record.id.rawValue == id } }
}

/// 2026-11-21T00:00:00Z, where the tests begin.
let testStart: Int64 = 1_795_219_200
