import Glibc

/// Where the ledger is when nobody says where.
package enum StoragePath {
    /// Root's, and that of the service.
    package static let system = "/var/lib/netusage/ledger.db"

    /// For root the system's place, for others theirs, by the XDG base directory specification.
    package static func standard() -> String {
        if geteuid() == 0 { return system }
        // The specification says to pass over relative paths.
        func path(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        let home = path("HOME") ?? getpwuid(geteuid()).map { String(cString: $0.pointee.pw_dir) } ?? "/"
        return (path("XDG_STATE_HOME") ?? home + "/.local/state") + "/netusage/ledger.db"
    }
}
