import Glibc

/// Where the ledger is when nobody says where.
package enum StoragePath {
    /// For root the system's place, for others theirs, by the XDG base directory specification.
    package static func standard() -> String {
        if geteuid() == 0 { return "/var/lib/netusage/ledger.db" }
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        let home = variable("HOME") ?? "."
        return (variable("XDG_STATE_HOME") ?? home + "/.local/state") + "/netusage/ledger.db"
    }
}
