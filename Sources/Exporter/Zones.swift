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

    /// Whether a zone's file isn't the one that was read.
    var hasChanged: Bool { local.hasChanged || others.values.contains(where: \.hasChanged) }

    /// A zone file that was read and isn't there now, as happens for a moment while it is replaced.
    var missingPath: String? {
        ([local] + others.values).first(where: \.isFileMissing).map { $0.path ?? "" }
    }

    /// The calendars that plans go by; their `local` is the ledger's own.
    func calendars(weekStart: Weekday) -> [TimeZoneSetting: LocalCalendar] {
        var zones = others
        zones[.local] = local
        return zones.mapValues { LocalCalendar(zone: $0.zone, weekStart: weekStart) }
    }
}
