import CivilTime
import Configuration
import Glibc

/// A time zone as the machine's files have it now, and how to notice that they changed.
struct SystemZone: Sendable {
    let zone: Zone
    let path: String?
    private let stamp: FileStamp?

    /// The zone of a setting.
    ///
    /// `local` is what `TZ` names, as for any C program, or else `/etc/localtime`; UTC when neither is there.
    ///
    /// - Throws: `ZoneError` when the zone's file is missing or makes no sense.
    static func load(_ setting: TimeZoneSetting) throws(ZoneError) -> SystemZone {
        switch setting {
        case .fixed(let seconds): return SystemZone(zone: Zone(fixedOffsetSeconds: seconds), path: nil, stamp: nil)
        case .named(let name): return try fromFile(zoneDirectory + "/" + name)
        case .local: return try local(environment: getenv("TZ").map { String(cString: $0) })
        }
    }

    /// Whether the zone's file isn't the one that was read.
    var hasChanged: Bool {
        guard let path else { return false }
        return FileStamp(path: path) != stamp
    }

    /// Whether the file that was read isn't there now, as happens for a moment while it is replaced.
    var isFileMissing: Bool {
        guard let path, stamp != nil else { return false }
        return FileStamp(path: path) == nil
    }

    /// Where zone files are: `TZDIR`, as for any C program, or the usual place.
    private static var zoneDirectory: String { getenv("TZDIR").map { String(cString: $0) } ?? "/usr/share/zoneinfo" }

    private static func local(environment: String?) throws(ZoneError) -> SystemZone {
        guard let environment else {
            return FileStamp(path: "/etc/localtime") == nil
                ? SystemZone(zone: .utc, path: "/etc/localtime", stamp: nil) : try fromFile("/etc/localtime")
        }
        let name = environment.hasPrefix(":") ? String(environment.dropFirst()) : environment
        if name.isEmpty { return SystemZone(zone: .utc, path: nil, stamp: nil) }
        let path = name.hasPrefix("/") ? name : zoneDirectory + "/" + name
        if FileStamp(path: path) != nil { return try fromFile(path) }
        return SystemZone(zone: try Zone(posix: name), path: nil, stamp: nil)
    }

    private static func fromFile(_ path: String) throws(ZoneError) -> SystemZone {
        let stamp = FileStamp(path: path)
        guard let bytes = try? SmallFile.read(path, limit: 256 * 1024) else {
            throw ZoneError.unreadable(path: path)  // Whatever the reason is, the remedy is the same.
        }
        return SystemZone(zone: try Zone(tzif: bytes), path: path, stamp: stamp)
    }
}
