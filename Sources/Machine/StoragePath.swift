import Glibc

/// The ledger's path when the user names none.
package enum StoragePath {
    /// The path for root and for the service.
    package static let system = "/var/lib/netusage/ledger.db"

    /// ``system`` for root; for others a path in their home, by the XDG base directory specification.
    package static func standard() -> String {
        if geteuid() == 0 { return system }
        // The specification says to ignore relative paths.
        func path(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        let home = path("HOME") ?? getpwuid(geteuid()).map { String(cString: $0.pointee.pw_dir) } ?? "/"
        return (path("XDG_STATE_HOME") ?? home + "/.local/state") + "/netusage/ledger.db"
    }
}
