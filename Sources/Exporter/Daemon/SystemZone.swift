import CivilTime
import Glibc
import Machine

/// A time zone from the machine's files, which knows whether they have changed.
struct SystemZone: Sendable {
    let zone: Zone
    let path: String?
    private let stamp: FileStamp?

    /// Where a machine states its time zone.
    struct Places {
        /// `TZ`, as for any C program; `nil` if it isn't set.
        var variable = getenv("TZ").map { String(cString: $0) }
        /// Where zone files are: `TZDIR`, as for any C program, or the usual place.
        var directory = getenv("TZDIR").map { String(cString: $0) } ?? Zone.usualDirectory
        var link = "/etc/localtime"
    }

    /// The zone of a setting.
    ///
    /// `local` is what `TZ` names, as for any C program, or else `/etc/localtime`; UTC when neither is there. An
    /// unknown name or a dangling link is an error, not UTC, because days would be booked by the wrong clock unnoticed.
    ///
    /// - Throws: `ZoneError` when the zone's file is missing or makes no sense.
    static func load(_ setting: TimeZoneSetting, from places: Places = Places()) throws(ZoneError) -> SystemZone {
        switch setting {
        case .fixed(let seconds): return SystemZone(zone: Zone(fixedOffsetSeconds: seconds), path: nil, stamp: nil)
        case .named(let name): return try named(name, in: places.directory)
        case .local:
            guard let variable = places.variable else { return try linked(places.link) }
            return try fromVariable(variable, in: places.directory)
        }
    }

    /// Whether the zone's file has changed since it was read.
    var hasChanged: Bool { path.map { FileStamp(path: $0) != stamp } ?? false }

    /// Whether the file is missing now, as happens for a moment while it is replaced.
    var isFileMissing: Bool { path.map { stamp != nil && FileStamp(path: $0) == nil } ?? false }

    private static func linked(_ path: String) throws(ZoneError) -> SystemZone {
        if FileStamp(path: path) != nil { return try fromFile(path) }
        // Systems without zone files have a link to UTC all the same.
        if let target = target(ofLink: path), target.split(separator: "/").last != "UTC" {
            throw .danglingLink(path: path, target: target)
        }
        return SystemZone(zone: .utc, path: path, stamp: nil)
    }

    /// A link's target, which may be missing; `nil` if the path isn't a link.
    private static func target(ofLink path: String) -> String? {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func fromVariable(_ text: String, in directory: String) throws(ZoneError) -> SystemZone {
        let name = text.hasPrefix(":") ? String(text.dropFirst()) : text
        if name.isEmpty { return SystemZone(zone: .utc, path: nil, stamp: nil) }
        if name.hasPrefix("/") { return try fromFile(name) }
        if FileStamp(path: directory + "/" + name) == nil, isRule(name) {
            return SystemZone(zone: try Zone(posix: name), path: nil, stamp: nil)
        }
        return try named(name, in: directory)
    }

    /// Whether a text is a POSIX rule, such as `CET-1CEST,M3.5.0/2,M10.5.0`, and not a name: it has a digit, and
    /// slashes only after a comma.
    private static func isRule(_ text: String) -> Bool {
        text.utf8.contains { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            && !text.utf8.prefix { $0 != UInt8(ascii: ",") }.contains(UInt8(ascii: "/"))
    }

    private static func named(_ name: String, in directory: String) throws(ZoneError) -> SystemZone {
        let path = directory + "/" + name
        if FileStamp(path: path) != nil { return try fromFile(path) }
        if name == "UTC" { return SystemZone(zone: .utc, path: path, stamp: nil) }
        throw .noSuchZone(name: name, directory: directory)
    }

    private static func fromFile(_ path: String) throws(ZoneError) -> SystemZone {
        let stamp = FileStamp(path: path)
        guard let bytes = try? WholeFile.read(path, limit: 256 * 1024) else {
            throw ZoneError.unreadable(path: path)  // All reasons have the same remedy.
        }
        return SystemZone(zone: try Zone(tzif: bytes), path: path, stamp: stamp)
    }
}
