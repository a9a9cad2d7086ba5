import TestSupport

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

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
    /// The first half of ``load(rezonedTo:daysFrom:names:)``; the second is `load(daysFrom:names:)`.
    func rezone(to calendar: LocalCalendar) throws(StoreError) {
        try checkIsInPlace()
        try translatingErrors { try connection.transaction { try rebookDays(by: calendar) } }
    }

    func load(daysFrom: CivilDate, names: Set<DeviceName>) throws(StoreError) -> StoredLedger {
        try translatingErrors { try contents(daysFrom: daysFrom, names: names) }
    }

    /// Everything in it.
    func loadAll() throws(StoreError) -> StoredLedger { try load(daysFrom: .earliest, names: []) }

    /// Applies a commit and removes no bucket.
    @discardableResult
    func apply(_ commit: Commit, _ calendar: LocalCalendar = .utc) throws(StoreError) -> [AdoptedHistory] {
        try apply(commit, calendar: calendar, horizon: .earliest)
    }
}

extension StoredLedger {
    func account(_ id: Int64) -> StoredAccount? { accounts.first { $0.record.id.rawValue == id } }
}
