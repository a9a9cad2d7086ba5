import Accounting
import SQLite

/// The counters of applications.
extension LedgerFile {
    func apply(_ changes: ApplicationChanges) throws {
        let stored: Int64? = try connection.value("SELECT attachment FROM ledger")
        let attachment = Int64(bitPattern: changes.attachment)
        if stored != attachment {
            try connection.run("DELETE FROM application_counter")
            try connection.run("UPDATE ledger SET attachment = ?1", attachment)
        }
        for (key, baseline) in changes.baselines {
            let (wire, saved) = (baseline.counter.wire, baseline.counter.saved)
            try connection.run(
                """
                INSERT OR REPLACE INTO application_counter (cgroup, process, scope, transport, other_namespace, application,
                    received, transmitted, saved_received, saved_transmitted)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                """, Int64(bitPattern: key.cgroup), key.process, key.scope.rawValue, Int64(key.transport),
                key.isForeign, baseline.application, Int64(bitPattern: wire.received),
                Int64(bitPattern: wire.transmitted), Int64(bitPattern: saved.received),
                Int64(bitPattern: saved.transmitted))
        }
    }

    func loadApplications() throws -> StoredApplications? {
        guard let attachment: Int64 = try connection.value("SELECT attachment FROM ledger") else { return nil }
        var stored = StoredApplications(attachment: UInt64(bitPattern: attachment), baselines: [:])
        try connection.forEach(
            """
            SELECT cgroup, process, scope, transport, other_namespace, application, received, transmitted, saved_received,
                saved_transmitted
            FROM application_counter
            """
        ) { row in
            guard let scope = TrafficScope(rawValue: row[2]), let transport = UInt8(exactly: row[3] as Int64) else {
                throw damaged("it has an impossible counter of an application")
            }
            let key = ApplicationCounterKey(
                cgroup: UInt64(bitPattern: row[0]), process: row[1], scope: scope, transport: transport,
                isForeign: row[4])
            stored.baselines[key] = ApplicationBaseline(
                counter: ApplicationCounter(wire: row.counters(from: 6), saved: row.counters(from: 8)),
                application: row[5])
        }
        return stored
    }
}
