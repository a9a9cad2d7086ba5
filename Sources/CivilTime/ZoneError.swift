/// Why bytes or a string don't describe a time zone.
package enum ZoneError: Error, Hashable, Sendable {
    /// There is no such file, or it can't be read.
    case unreadable(path: String)
    /// The directory of zone files has no file of this name.
    case noSuchZone(name: String, directory: String)
    /// A link to a zone file that doesn't exist.
    case danglingLink(path: String, target: String)
    /// More bytes than any real zone file has.
    case fileTooLarge(byteCount: Int, limit: Int)
    /// The bytes don't begin with "TZif".
    case notAZoneFile
    /// A version that this reader doesn't know: the byte in the file.
    case unknownVersion(UInt8)
    /// The file ends before the named part does.
    case truncated(part: String)
    /// The file breaks a rule of RFC 9636.
    case invalidFile(problem: String)
    /// A POSIX TZ string that can't be read, whether given directly or in a file's footer.
    case invalidRule(rule: String, problem: String)
}

extension ZoneError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unreadable(let path):
            "The zone file \(path) can't be read; install the package tzdata, or name another zone."
        case .noSuchZone(let name, let directory):
            "The zone \(name) isn't in \(directory); "
                + (directory == Zone.usualDirectory
                    ? "install the package tzdata, or check its name."
                    : "check TZDIR, which names that directory, and the zone's name.")
        case .danglingLink(let path, let target):
            "\(path) is a link to \(target), which isn't there; install the package tzdata (tzdata-legacy for old names), or link \(path) to a zone that is there."
        case .fileTooLarge(let byteCount, let limit):
            "The zone file has \(byteCount) bytes, more than the \(limit) allowed; is it the right file?"
        case .notAZoneFile:
            "This is not a compiled zone file: it doesn't begin with \"TZif\"; give one that zic has written."
        case .unknownVersion(let version):
            "The zone file has the unknown version byte \(version); versions 1 to 4 can be read."
        case .truncated(let part):
            "The zone file is cut off: it ends before its \(part); install the time zone data again."
        case .invalidFile(let problem):
            "The zone file is damaged: \(problem); install the time zone data again."
        case .invalidRule(let rule, let problem):
            "The POSIX time zone rule \"\(rule)\" can't be read: \(problem); write it like \"EST5EDT,M3.2.0,M11.1.0\"."
        }
    }
}
