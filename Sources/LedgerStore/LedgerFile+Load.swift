import Accounting
import CivilTime

/// Reading the ledger. Everything in the file is taken as it may be: damaged.
extension LedgerFile {
    /// Reads what the program needs to go on, after booking the days anew if this calendar begins them at other moments.
    ///
    /// - Parameters:
    ///   - calendar: By which the days are wanted.
    ///   - daysFrom: The first day whose bytes are wanted by themselves; earlier ones are in the lifetimes.
    ///   - names: Devices whose accounts are wanted even if they have no bytes since then.
    /// - Throws: `StoreError`; then the file is as it was before.
    package func load(
        rezonedTo calendar: LocalCalendar, daysFrom: CivilDate, names: Set<DeviceName>
    ) throws(StoreError) -> StoredLedger {
        try checkIsInPlace()
        return try translatingErrors {
            // Both or neither: whoever doesn't hear of the new days goes on booking by the old ones.
            try connection.transaction {
                try rebookDays(by: calendar)
                return try contents(daysFrom: daysFrom, names: names)
            }
        }
    }

    /// The same with the days as they were booked, for a ledger that is only looked at.
    ///
    /// - Throws: `StoreError`.
    package func contents(from daysFrom: CivilDate, names: Set<DeviceName>) throws(StoreError) -> StoredLedger {
        try checkIsInPlace()
        return try translatingErrors {
            try connection.transaction { try contents(daysFrom: daysFrom, names: names) }
        }
    }

    func contents(daysFrom: CivilDate, names: Set<DeviceName>) throws -> StoredLedger {
        var ledger = StoredLedger.empty(daysFrom: daysFrom)
        ledger.header = try loadHeader()
        ledger.devices = try loadDevices()
        let lifetimes = try loadDays(into: &ledger)
        var wanted = Set(ledger.days.map(\.account))
        for device in ledger.devices { if let account = device.account { wanted.insert(account) } }
        for record in try loadAccounts() {
            ledger.lastAccountID = max(ledger.lastAccountID, record.id)
            let isWanted =
                switch record.key {
                case .uplink: true
                case .device(let name): wanted.contains(record.id) || names.contains(name)
                case .collapsed: wanted.contains(record.id)
                }
            if isWanted { ledger.accounts.append(.init(record: record, lifetime: lifetimes[record.id] ?? .zero)) }
        }
        return ledger
    }

    /// What counts up from 1 never gets near the end of the integers, unless the file is damaged.
    static let plausibleNumbers: Range<Int64> = 0..<(1 << 62)

    func loadHeader() throws -> LedgerHeader? {
        let rows = try statement("SELECT sequence, boot_id, netns, boot, read_at_ns, read_boot_ns, clean FROM ledger")
        try rows.bind([])
        guard try rows.step() else { return nil }
        let header = LedgerHeader(
            sequence: rows.integer(0),
            epoch: Epoch(bootID: rows.text(1), networkNamespace: UInt64(bitPattern: rows.integer(2))),
            boot: rows.integer(3),
            lastReading: Moment(
                wallNanoseconds: rows.integer(4), sinceBoot: BootTime(nanoseconds: rows.integer(5))),
            isClean: rows.integer(6) == 1)
        guard Self.plausibleNumbers.contains(header.sequence), Self.plausibleNumbers.contains(header.boot) else {
            throw damaged("its header has impossible numbers")
        }
        while try rows.step() {}
        return header
    }

    private func loadDevices() throws -> [DeviceRecord] {
        let rows = try statement(
            "SELECT ifindex, name, account, received, transmitted, state, uplink, address FROM device")
        try rows.bind([])
        var records: [DeviceRecord] = []
        while try rows.step() {
            guard let index = UInt32(exactly: rows.integer(0)), let state = DeviceRecord.State(rawValue: rows.text(5))
            else {
                throw damaged("it has an impossible device")
            }
            records.append(
                DeviceRecord(
                    index: DeviceIndex(rawValue: index), name: DeviceName(bytes: rows.bytes(1)),
                    account: rows.isNull(2) ? nil : AccountID(rawValue: rows.integer(2)),
                    counters: Counters(
                        received: UInt64(bitPattern: rows.integer(3)), transmitted: UInt64(bitPattern: rows.integer(4))),
                    state: state, holdsUplink: rows.integer(6) == 1, hardwareAddress: Array(rows.bytes(7).prefix(32))))
        }
        for (index, direction, fall) in try loadFalls() {
            if let place = records.firstIndex(where: { $0.index == index }) {
                records[place].falls[direction] = fall
            }
        }
        return records
    }

    private func loadFalls() throws -> [(DeviceIndex, TrafficDirection, FallRecord)] {
        let rows = try statement(
            """
            SELECT ifindex, direction, read_at_ns, read_boot_ns, seen_boot_ns, uplink, shown, first_shown, growth, held,
                held_uplink
            FROM fall
            """)
        try rows.bind([])
        var falls: [(DeviceIndex, TrafficDirection, FallRecord)] = []
        while try rows.step() {
            guard let index = UInt32(exactly: rows.integer(0)), let direction = TrafficDirection(rawValue: rows.text(1))
            else { throw damaged("it has an impossible fall of a counter") }
            let beforeAt = Moment(
                wallNanoseconds: rows.integer(2), sinceBoot: BootTime(nanoseconds: rows.integer(3)))
            let fall = FallRecord(
                beforeAt: beforeAt, seenAt: BootTime(nanoseconds: rows.integer(4)), heldUplink: rows.integer(5) == 1,
                shown: UInt64(bitPattern: rows.integer(6)), firstShown: UInt64(bitPattern: rows.integer(7)),
                fastestGrowth: UInt64(max(0, rows.integer(8))), held: UInt64(max(0, rows.integer(9))),
                heldOfUplink: UInt64(max(0, rows.integer(10))))
            falls.append((DeviceIndex(rawValue: index), direction, fall))
        }
        return falls
    }

    func loadAccounts() throws -> [AccountRecord] {
        let rows = try statement(
            """
            SELECT id, kind, name, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes FROM account
            """)
        try rows.bind([])
        var records: [AccountRecord] = []
        // Both are unique by an index, which may be damaged.
        var ids: Set<Int64> = []
        var keys: Set<AccountKey> = []
        while try rows.step() {
            guard Self.plausibleNumbers.contains(rows.integer(0)),
                let key = AccountKey(kind: rows.text(1), name: rows.bytes(2)), keys.insert(key).inserted,
                ids.insert(rows.integer(0)).inserted
            else { throw damaged("it has an impossible account") }
            records.append(
                AccountRecord(
                    id: AccountID(rawValue: rows.integer(0)), key: key,
                    counterOffset: Counters(
                        received: UInt64(bitPattern: rows.integer(3)), transmitted: UInt64(bitPattern: rows.integer(4))),
                    offsetBoot: rows.integer(5), events: events(in: rows, from: 6)))
        }
        return records
    }

    /// Reads `resets`, `gap_bytes` and `suspect_bytes` from this column on.
    func events(in rows: Statement, from column: CInt) -> AccountEvents {
        AccountEvents(
            resets: UInt64(max(0, rows.integer(column))), gapBytes: UInt64(max(0, rows.integer(column + 1))),
            suspectBytes: UInt64(max(0, rows.integer(column + 2))))
    }

    /// - Returns: Each account's sum over all days.
    private func loadDays(into ledger: inout StoredLedger) throws -> [AccountID: Total] {
        let rows = try statement("SELECT day, account, received, transmitted FROM day")
        try rows.bind([])
        var lifetimes: [AccountID: Total] = [:]
        while try rows.step() {
            guard let entry = storedDay(in: rows) else { throw damaged("it has an impossible day") }
            lifetimes[entry.account, default: .zero] += entry.total
            if entry.day >= ledger.daysFrom { ledger.days.append(entry) }
        }
        return lifetimes
    }

    /// Reads `day`, `account`, `received` and `transmitted`; `nil` when they make no sense.
    func storedDay(in rows: Statement) -> StoredLedger.StoredDay? {
        guard let day = Int32(exactly: rows.integer(0)), rows.integer(2) >= 0, rows.integer(3) >= 0 else { return nil }
        return .init(
            account: AccountID(rawValue: rows.integer(1)), day: CivilDate(daysSinceEpoch: day),
            total: total(in: rows, from: 2))
    }

    /// Reads `received` and `transmitted` from this column on.
    func total(in rows: Statement, from column: CInt) -> Total {
        Total(received: UInt64(max(0, rows.integer(column))), transmitted: UInt64(max(0, rows.integer(column + 1))))
    }
}

extension AccountKey {
    /// How the table `account` names this key.
    var columns: (kind: SQLValue, name: SQLValue) {
        switch self {
        case .device(let name): (.text("device"), name.sqlValue)
        case .collapsed(let pattern): (.text("collapsed"), .text(pattern))
        case .uplink: (.text("uplink"), .text(""))
        }
    }

    init?(kind: String, name: [UInt8]) {
        switch kind {
        case "device": self = .device(DeviceName(bytes: name))
        case "collapsed": self = .collapsed(String(decoding: name, as: UTF8.self))
        case "uplink": self = .uplink
        default: return nil
        }
    }
}

extension DeviceName {
    /// Text where it is valid UTF-8, so that it reads well in the `sqlite3` shell; otherwise its bytes.
    var sqlValue: SQLValue {
        String(validating: bytes, as: UTF8.self).map { .text($0) } ?? .blob(bytes)
    }
}
