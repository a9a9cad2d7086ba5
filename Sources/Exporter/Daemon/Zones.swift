import CivilTime
import Configuration

/// The local zone and the zones of plans, from the machine's files.
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

    /// Reads the zones again if their files have changed.
    ///
    /// - Returns: `nil` if they haven't.
    /// - Throws: `ZoneError` when a file makes no sense or isn't there, as happens for a moment while it is replaced.
    func changed(_ configuration: Configuration) throws(ZoneError) -> Zones? {
        guard all.contains(where: \.hasChanged) else { return nil }
        if let missing = all.first(where: \.isFileMissing) { throw .unreadable(path: missing.path ?? "") }
        return try .load(configuration)
    }

    private var all: [SystemZone] { [local] + others.values }

    /// The calendars of plans; their `local` is the ledger's own.
    func calendars(weekStart: Weekday) -> [TimeZoneSetting: LocalCalendar] {
        var zones = others
        zones[.local] = local
        return zones.mapValues { LocalCalendar(zone: $0.zone, weekStart: weekStart) }
    }
}
