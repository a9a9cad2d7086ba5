import CivilTime
import Configuration
import Logging

/// Reads the configuration and the zone's file, at start and again when somebody asks or a file changes.
actor Reloader {
    private let path: String
    private let isRequired: Bool
    private let meter: Meter
    private let manager: ServiceManager
    private let logger: Logger
    private var configuration: Configuration
    private var zones: Zones
    private var zoneProblem: ZoneError?

    init(
        path: String, isRequired: Bool, configuration: Configuration, zones: Zones, meter: Meter,
        manager: ServiceManager, logger: Logger
    ) {
        self.path = path
        self.isRequired = isRequired
        self.configuration = configuration
        self.zones = zones
        self.meter = meter
        self.manager = manager
        self.logger = logger
    }

    /// Takes up what the file says now; an error in it leaves everything as it was.
    ///
    /// - Returns: What is wrong with the file, for people, or `nil`.
    func reload() async -> String? {
        manager.reloading()
        defer { manager.ready() }
        do {
            let configuration = try ConfigurationFile.load(path, isRequired: isRequired)
            let zones = try Zones.load(configuration)
            self.configuration = configuration
            self.zones = zones
            await meter.apply(MeterSettings(configuration, zones))
            logger.notice("the configuration was read again", metadata: ["file": "\(path)"])
            logger.note(configuration.notes)
            await meter.logPlanProblems()
            return nil
        } catch {
            await meter.reloadFailed()
            logger.tell("the configuration has errors; the former one goes on", error)
            return "\(error)\n"
        }
    }

    /// Takes up the zone's file if it has changed. The last good one holds while it is missing or makes no sense.
    func followZoneFile() async {
        guard zones.hasChanged else {
            zoneProblem = nil
            return
        }
        do throws(ZoneError) {
            if let path = zones.missingPath { throw .unreadable(path: path) }
            zones = try Zones.load(configuration)
            zoneProblem = nil
            logger.notice("the time zone has changed; days are booked by the new one")
            await meter.useCalendars(of: MeterSettings(configuration, zones))
        } catch {
            if error == zoneProblem { return }
            zoneProblem = error
            logger.warning("the time zone's file can't be used; the former zone holds", metadata: ["error": "\(error)"])
        }
    }
}
