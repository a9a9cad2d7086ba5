import Accounting
import CivilTime
import SQLite

/// Reading the ledger. The file may be damaged, so nothing in it is trusted.
extension LedgerFile {
    /// Reads what the program needs to go on. Books the days again first if a calendar begins them at other moments.
    ///
    /// - Parameters:
    ///   - calendar: The calendar of the days; `nil` for the days as they were booked, if the ledger is only read.
    ///   - daysFrom: The first day to return. The lifetimes also have the days before it.
    ///   - names: Devices whose accounts are returned even if they have no bytes since then.
    /// - Throws: `StoreError`. Then the file is unchanged.
    package func load(
        rezonedTo calendar: LocalCalendar?, daysFrom: CivilDate, names: Set<DeviceName>
    ) throws(StoreError) -> StoredLedger {
        // One transaction: if the caller doesn't get the new days, it goes on booking by the old ones.
        try inTransaction {
            if let calendar { try rebookDays(by: calendar) }
            return try contents(daysFrom: daysFrom, names: names)
        }
    }

    func contents(daysFrom: CivilDate, names: Set<DeviceName>) throws -> StoredLedger {
        var ledger = StoredLedger.empty(daysFrom: daysFrom)
        ledger.header = try loadHeader()
        ledger.devices = try loadDevices()
        ledger.applications = try loadApplications()
        var lifetimes: [AccountID: Total] = [:]
        try connection.forEach("SELECT day, account, received, transmitted FROM day") { row in
            let entry = try day(in: row)
            lifetimes[entry.account, default: .zero] += entry.total
            if entry.day >= daysFrom { ledger.days.append(entry) }
        }
        // Counters that go on even without any bytes of their own.
        let others = TrafficScope.allCases.map { AccountKey.application(.other, $0) }
        let scopes = UplinkScope.allCases.map { AccountKey.uplinkScope($0) }
        let named = Set(names.map { AccountKey.device($0) } + [.uplink] + others + scopes)
        let wanted = Set(ledger.days.map(\.account)).union(ledger.devices.compactMap(\.account))
        for record in try loadAccounts() {
            ledger.lastAccountID = max(ledger.lastAccountID, record.id)
            if named.contains(record.key) || wanted.contains(record.id) {
                ledger.accounts.append((record, lifetimes[record.id] ?? .zero))
            }
        }
        return ledger
    }

    /// The range of numbers that count up from 1, unless the file is damaged.
    static let plausibleNumbers: Range<Int64> = 0..<(1 << 62)

    func loadHeader() throws -> LedgerHeader? {
        let header = try connection.rows(
            "SELECT sequence, boot_id, netns, boot, read_at_ns, read_boot_ns, clean FROM ledger"
        ) { row in
            LedgerHeader(
                sequence: row[0], epoch: Epoch(bootID: row[1], networkNamespace: UInt64(bitPattern: row[2])),
                boot: row[3],
                lastReading: Moment(wallNanoseconds: row[4], sinceBoot: BootTime(nanoseconds: row[5])),
                isClean: row[6])
        }.first
        guard let header else { return nil }
        guard Self.plausibleNumbers.contains(header.sequence), Self.plausibleNumbers.contains(header.boot) else {
            throw damaged("its header has impossible numbers")
        }
        return header
    }

    private func loadDevices() throws -> [DeviceRecord] {
        var records = try connection.rows(
            "SELECT ifindex, name, account, received, transmitted, state, uplink, address FROM device"
        ) { row in
            guard let index = UInt32(exactly: row[0] as Int64), let state = DeviceRecord.State(rawValue: row[5]) else {
                throw damaged("it has an impossible device")
            }
            return DeviceRecord(
                index: DeviceIndex(rawValue: index), name: row[1], account: row[2], counters: row.counters(from: 3),
                state: state, holdsUplink: row[6], hardwareAddress: Array((row[7] as [UInt8]).prefix(32)))
        }
        try connection.forEach(
            """
            SELECT ifindex, direction, read_at_ns, read_boot_ns, seen_boot_ns, uplink, shown, first_shown, growth, held,
                held_uplink
            FROM fall
            """
        ) { row in
            guard let index = UInt32(exactly: row[0] as Int64), let direction = TrafficDirection(rawValue: row[1])
            else {
                throw damaged("it has an impossible fall of a counter")
            }
            guard let place = records.firstIndex(where: { $0.index.rawValue == index }) else { return }
            records[place].falls[direction] = FallRecord(
                beforeAt: Moment(wallNanoseconds: row[2], sinceBoot: BootTime(nanoseconds: row[3])),
                seenAt: BootTime(nanoseconds: row[4]), heldUplink: row[5], shown: UInt64(bitPattern: row[6]),
                firstShown: UInt64(bitPattern: row[7]), fastestGrowth: row[8], held: row[9], heldOfUplink: row[10])
        }
        return records
    }

    func loadAccounts() throws -> [AccountRecord] {
        // An index makes both unique, but it may be damaged.
        var ids: Set<AccountID> = []
        var keys: Set<AccountKey> = []
        return try connection.rows(
            """
            SELECT id, kind, name, scope, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes
            FROM account
            """
        ) { row in
            let id: AccountID = row[0]
            guard Self.plausibleNumbers.contains(id.rawValue), let key = AccountKey(row, from: 1),
                keys.insert(key).inserted, ids.insert(id).inserted
            else { throw damaged("it has an impossible account") }
            return AccountRecord(
                id: id, key: key, counterOffset: row.counters(from: 4), offsetBoot: row[6], events: row.events(from: 7))
        }
    }

    /// Reads `day`, `account`, `received` and `transmitted`.
    func day(in row: Row) throws -> StoredLedger.StoredDay {
        guard let day = Int32(exactly: row[0] as Int64), row[2] as Int64 >= 0, row[3] as Int64 >= 0 else {
            throw damaged("it has an impossible day")
        }
        return (row[1], CivilDate(daysSinceEpoch: day), row.total(from: 2))
    }
}
