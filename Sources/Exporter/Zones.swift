import CivilTime
import Configuration

/// Local time, and the zones of plans, as the machine's files have them now.
struct Zones: Sendable {
    let local: SystemZone
    private let others: [TimeZoneSetting: SystemZone]

    /// - Throws: `ZoneError` when a zone's file is missing or makes no sense.
    static func load(_ configuration: Configuration) throws(ZoneError) -> Zones {
        var others: [TimeZoneSetting: SystemZone] = [:]
        for setting in configuration.plans.timezones where setting != .local {
            others[setting] = try SystemZone.load(setting)
        }
        return Zones(local: try SystemZone.load(configuration.timezone), others: others)
    }

    /// The files that the zones come from.
    var paths: [String] { all.compactMap(\.path) }

    /// The zones as the files have them now.
    ///
    /// - Returns: `nil` when they are the ones that were read.
    /// - Throws: `ZoneError` when a file makes no sense or isn't there, as happens for a moment while it is replaced.
    func changed(_ configuration: Configuration) throws(ZoneError) -> Zones? {
        guard all.contains(where: \.hasChanged) else { return nil }
        if let missing = all.first(where: \.isFileMissing) { throw .unreadable(path: missing.path ?? "") }
        return try .load(configuration)
    }

    private var all: [SystemZone] { [local] + others.values }

    /// The calendars that plans go by; their `local` is the ledger's own.
    func calendars(weekStart: Weekday) -> [TimeZoneSetting: LocalCalendar] {
        var zones = others
        zones[.local] = local
        return zones.mapValues { LocalCalendar(zone: $0.zone, weekStart: weekStart) }
    }
}
