import Accounting
import SQLite

/// The counters of the kernel programs.
extension LedgerFile {
    private static let counterColumns =
        "received, transmitted, saved_received, saved_transmitted, withheld_received, withheld_transmitted"

    func apply(_ changes: ApplicationChanges) throws {
        let stored: Int64? = try connection.value("SELECT attachment FROM ledger")
        let attachment = Int64(bitPattern: changes.attachment)
        if stored != attachment {
            for table in ["application_counter", "uplink_counter"] { try connection.run("DELETE FROM \(table)") }
            try connection.run("UPDATE ledger SET attachment = ?1", attachment)
        }
        for key in changes.retired {
            try connection.run(
                """
                DELETE FROM application_counter
                WHERE cgroup = ?1 AND process = ?2 AND scope = ?3 AND passage = ?4
                """, Int64(bitPattern: key.cgroup), key.process, key.scope.rawValue, key.passage.rawValue)
        }
        for key in changes.retiredLanes {
            try connection.run(
                "DELETE FROM uplink_counter WHERE ifindex = ?1 AND scope = ?2", key.device, key.scope.rawValue)
        }
        if let bases = changes.bases {
            try connection.run("DELETE FROM uplink_basis")
            for (device, basis) in bases {
                try connection.run(
                    "INSERT INTO uplink_basis (ifindex, received, transmitted) VALUES (?1, ?2, ?3)", device,
                    basis.received?.rawValue, basis.transmitted?.rawValue)
            }
        }
        for (key, baseline) in changes.baselines {
            let columns = baseline.booked.columns
            try connection.run(
                """
                INSERT OR REPLACE INTO application_counter
                    (cgroup, process, scope, passage, application, \(Self.counterColumns))
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                """, Int64(bitPattern: key.cgroup), key.process, key.scope.rawValue, key.passage.rawValue,
                baseline.application, columns[0], columns[1], columns[2], columns[3], columns[4],
                columns[5])
        }
        for (key, baseline) in changes.lanes {
            let columns = baseline.columns
            try connection.run(
                """
                INSERT OR REPLACE INTO uplink_counter (ifindex, scope, \(Self.counterColumns))
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                """, key.device, key.scope.rawValue, columns[0], columns[1], columns[2], columns[3], columns[4],
                columns[5])
        }
    }

    func loadApplications() throws -> StoredApplications? {
        guard let attachment: Int64 = try connection.value("SELECT attachment FROM ledger") else { return nil }
        var stored = StoredApplications(attachment: UInt64(bitPattern: attachment))
        try connection.forEach(
            """
            SELECT \(Self.counterColumns), cgroup, process, scope, passage, application
            FROM application_counter
            """
        ) { row in
            guard let scope = TrafficScope(rawValue: row[8]),
                let passage = ApplicationCounterKey.Passage(rawValue: row[9])
            else {
                throw damaged("it has an impossible counter of an application")
            }
            let key = ApplicationCounterKey(
                cgroup: UInt64(bitPattern: row[6]), process: row[7], scope: scope, passage: passage)
            stored.baselines[key] = ApplicationBaseline(booked: PacketBaseline(row), application: row[10])
        }
        try connection.forEach("SELECT \(Self.counterColumns), ifindex, scope FROM uplink_counter") { row in
            guard let index = UInt32(exactly: row[6] as Int64), let scope = UplinkScope(rawValue: row[7]) else {
                throw damaged("it has an impossible counter of an uplink")
            }
            stored.lanes[LaneKey(device: DeviceIndex(rawValue: index), scope: scope)] = PacketBaseline(row)
        }
        try connection.forEach("SELECT ifindex, received, transmitted FROM uplink_basis") { row in
            guard let index = UInt32(exactly: row[0] as Int64) else {
                throw damaged("it has an impossible number of a device")
            }
            func basis(_ text: String?) -> CountingBasis? { text.flatMap { CountingBasis(rawValue: $0) } }
            stored.bases[DeviceIndex(rawValue: index)] = LinkBasis(received: basis(row[1]), transmitted: basis(row[2]))
        }
        return stored
    }
}

extension PacketBaseline {
    /// As in `LedgerFile.counterColumns`.
    fileprivate var columns: [Int64] {
        [counter.wire, counter.saved, withheld].flatMap {
            [Int64(bitPattern: $0.received), Int64(bitPattern: $0.transmitted)]
        }
    }

    fileprivate init(_ row: Row) {
        self.init(
            counter: PacketCounter(wire: row.counters(from: 0), saved: row.counters(from: 2)),
            withheld: row.counters(from: 4))
    }
}
