import CivilTime
import Foundation
import Testing

@testable import Exporter

@Suite("The machine's time zone")
struct SystemZoneTests {
    /// The zone of a machine where these are `TZ`, the directory of zones and where `/etc/localtime` leads.
    private func zone(variable: String? = nil, directory: String = "/usr/share/zoneinfo", link target: String? = nil)
        throws -> SystemZone
    {
        let place = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: place) }
        let link = place.appendingPathComponent("localtime").path
        if let target { try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target) }
        return try SystemZone.load(.local, from: .init(variable: variable, directory: directory, link: link))
    }

    private func isUTC(_ zone: SystemZone) -> Bool {
        let noon = Timestamp(secondsSinceEpoch: 1_780_000_000)
        return LocalCalendar(zone: zone.zone, weekStart: .monday).rfc3339(noon).hasSuffix("Z")
            || LocalCalendar(zone: zone.zone, weekStart: .monday).rfc3339(noon).hasSuffix("+00:00")
    }

    @Test(arguments: ["Europe/Berlin", ":Europe/Berlin", "Etc/GMT+5", "EST"])
    func aNameThatIsNotThereIsSaidToBeMissingWhereZonesAre(name: String) throws {
        let plain = name.hasPrefix(":") ? String(name.dropFirst()) : name
        #expect(throws: ZoneError.noSuchZone(name: plain, directory: "/nonexistent")) {
            try zone(variable: name, directory: "/nonexistent")
        }
    }

    @Test(arguments: ["EST5EDT", "CET-1CEST,M3.5.0/2,M10.5.0/3", "<+0330>-3:30", "UTC0"])
    func aRuleNeedsNoFile(rule: String) throws {
        #expect(try zone(variable: rule, directory: "/nonexistent").path == nil)
    }

    @Test func aRuleThatMakesNoSenseIsSaidToBeOne() throws {
        #expect(throws: ZoneError.self) { try zone(variable: "CET-1CEST,M13.5.0", directory: "/nonexistent") }
        do {
            _ = try zone(variable: "CET-1CEST,M13.5.0", directory: "/nonexistent")
        } catch let error as ZoneError {
            guard case .invalidRule = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test func utcNeedsNoFile() throws {
        #expect(try isUTC(zone(variable: "UTC", directory: "/nonexistent")))
        #expect(try isUTC(zone(variable: "")))
        #expect(try isUTC(zone()), "neither variable nor link")
        #expect(try isUTC(zone(link: "/nonexistent/Etc/UTC")), "Debian's smallest images have that")
    }

    @Test func aLinkThatLeadsNowhereIsNotUTC() throws {
        let target = "/nonexistent/Europe/Berlin"
        do {
            _ = try zone(link: target)
            Issue.record("taken")
        } catch let error as ZoneError {
            guard case .danglingLink(let path, target) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(error.description.contains(path) && error.description.contains(target))
        }
    }

    @Test func theRemedyNamesTZDIRWhereThatIsWrong() throws {
        let remedies = try [(Zone.usualDirectory, "install the package tzdata"), ("/nonexistent", "check TZDIR")].map {
            directory, remedy in
            let error = try #require(throws: ZoneError.self) {
                try zone(variable: "Europe/Nowhere", directory: directory)
            }
            return error.description.contains(remedy)
        }
        #expect(remedies == [true, true])
    }

    @Test func aWholePathIsNeverARule() throws {
        #expect(throws: ZoneError.unreadable(path: "/nonexistent/zone1")) { try zone(variable: "/nonexistent/zone1") }
    }
}
