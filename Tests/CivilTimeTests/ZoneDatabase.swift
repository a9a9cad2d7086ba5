import Foundation

@testable import CivilTime

/// The machine's compiled zone files.
enum ZoneDatabase {
    static let directory = ProcessInfo.processInfo.environment["TZDIR"] ?? "/usr/share/zoneinfo"

    static func has(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(directory)/\(name)")
    }

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Foundation.Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)")))
    }

    static func calendar(_ name: String, weekStart: Weekday = .monday) throws -> LocalCalendar {
        LocalCalendar(zone: try Zone(tzif: try bytes(name)), weekStart: weekStart)
    }

    /// One name for each distinct compiled zone file under a folder, sorted.
    static func distinctNames(under folder: String = "") throws -> [String] {
        let root = URL(fileURLWithPath: directory).appendingPathComponent(folder).path
        var seen: Set<[UInt8]> = []
        return try FileManager.default.subpathsOfDirectory(atPath: root).sorted().map { folder + $0 }.filter { name in
            // A folder can't be read.
            guard let content = try? bytes(name), content.starts(with: "TZif".utf8) else { return false }
            return seen.insert(content).inserted
        }
    }
}

extension LocalCalendar {
    /// When the day containing an instant ends and the next begins.
    func nextDayStart(after moment: Timestamp) -> Timestamp { span(ofDay: day(containing: moment)).upperBound }
}

/// A moment written in RFC 3339 in UTC, as "2026-11-20T23:42:00Z"; for constants of tests.
func moment(_ rfc3339: String) -> Timestamp {
    let parts = rfc3339.dropLast().split(separator: "T")
    let time = parts[1].split(separator: ":").map { Int64($0)! }
    let days = Int64(date(String(parts[0])).daysSinceEpoch)
    return Timestamp(secondsSinceEpoch: days * 86_400 + time[0] * 3600 + time[1] * 60 + time[2])
}

/// A date written in ISO 8601; for constants of tests.
func date(_ iso: String) -> CivilDate {
    CivilDate(iso)!
}
