import Accounting
import CivilTime
import Exposition
import Foundation
import Testing

@testable import Exporter
@testable import Machine
@testable import Netlink

/// A short life of a machine, told to the ledger and the link table as the meter tells it.
struct Scenario {
    var ledger: Ledger
    var links = LinkTable()
    var configuration = ConfigurationStatus(lastReloadSuccessSeconds: 1_795_219_200)
    var store = StoreStatus(isUp: true, lastCommitSeconds: 1_795_262_400.25, commitFailures: 1, sizeBytes: 20480)
    var kernel = KernelStatus(readSuccess: true, overruns: 2, clockSteps: 3)
    /// Quotas that count nothing.
    var countingNothing: Set<String> = []
    private var seconds: Int64 = 0

    /// 2026-11-21T12:00:00Z, a Saturday; 1,000 seconds after boot.
    private static let start = Moment(
        wallNanoseconds: 1_795_262_400_000_000_000, sinceBoot: BootTime(nanoseconds: 1_000_000_000_000))

    init(plans: Plans = .none) {
        let calendar = LocalCalendar(zone: .utc, weekStart: .monday)
        let rules = AccountingRules(
            exclude: ["lo"].compactMap { DevicePattern($0) }, collapse: ["veth*"].compactMap { DevicePattern($0) },
            samplingInterval: Span(seconds: 1))
        ledger = Ledger(
            stored: .empty(daysFrom: CivilDate(daysSinceEpoch: 0)), devices: [], rules: rules, calendar: calendar,
            epoch: Epoch(bootID: "boot", networkNamespace: 1), now: Self.start, isPersistent: false)
        ledger.useWithoutStore(
            PlanBook(
                plans, calendars: [.local: calendar], records: .none, meteredFrom: .earliest, at: Self.start.timestamp))
    }

    /// One breached, with all that there can be, and one that has only what it must.
    private static let plans = Plans(
        quotas: [
            Quota(
                name: "fibre \"1\"", count: .uplink, direction: .total, limitBytes: 1_000_000_000,
                cycle: Cycle(CycleRule(.month(day: 15), at: 23_400)),
                warnAt: [Share(millionths: 800_000), Share(millionths: 995_000)],
                price: Price(
                    currency: .euro, base: Money(millionths: 20_000_000), perGigabyte: Money(millionths: 7_500_000),
                    overLimit: nil)),
            Quota(
                name: "eth", count: .devices(["eth*", "wg0"].compactMap { DevicePattern($0) }), direction: .transmit,
                limitBytes: 1_000_000, cycle: Cycle(CycleRule(.day))),
        ],
        rateLimits: [
            RateLimit(
                name: "busy", count: .uplink, direction: .total, limitBitsPerSecond: 8_000_000, hold: Span(seconds: 1))
        ],
        committedRates: [
            CommittedRate(
                name: "transit", count: .uplink, direction: .receive, limitBitsPerSecond: 100_000_000,
                cycle: Cycle(CycleRule(.month(day: 1))), missing: .skip)
        ])

    var now: Moment {
        Moment(
            wallNanoseconds: Self.start.wallNanoseconds + seconds * 1_000_000_000,
            sinceBoot: BootTime(nanoseconds: Self.start.sinceBoot.nanoseconds + seconds * 1_000_000_000))
    }

    mutating func add(_ index: UInt32, _ name: [UInt8], kind: String? = nil, alias: [UInt8] = [], isUp: Bool = true) {
        let link = Link(
            index: index, name: name, alias: alias, driverKind: kind, operationalState: isUp ? 6 : 2)
        links.update(link)
        ledger.appear(Device(index: link.deviceIndex, name: link.deviceName))
    }

    mutating func remove(_ index: UInt32) {
        ledger.depart(DeviceIndex(rawValue: index), final: nil, movedAway: false, at: now)
        links.remove(index)
    }

    mutating func read(after: Int64 = 1, _ counters: [UInt32: (UInt64, UInt64)]) {
        seconds += after
        let readings = counters.sorted { $0.key < $1.key }.map {
            Reading(
                device: DeviceIndex(rawValue: $0.key), counters: Counters(received: $0.value.0, transmitted: $0.value.1)
            )
        }
        ledger.record(readings, at: now, endsInterval: true)
        _ = ledger.notePlanEvents(at: now.timestamp)
    }

    func body(_ format: ExpositionFormat, showsCreated: Bool = false) -> String {
        let series = Series(ledger, links)
        let snapshot = Snapshot(
            series: series, devices: series.snapshots(of: ledger), uplink: ledger.uplinkView,
            plans: PlanSeries(ledger.planBook.plans).snapshot(
                of: ledger.planBook, countingNothing: countingNothing, at: now.timestamp),
            isOnline: !ledger.currentUplink.isEmpty,
            window: ledger.window,
            store: store, kernel: kernel, configuration: configuration,
            process: .sample)
        var writer = ExpositionWriter()
        writer.begin(format)
        Catalogue(version: "1.2.3", revision: "abc").render(snapshot, showsCreated: showsCreated, into: &writer)
        return writer.withBytes { String(decoding: $0, as: UTF8.self) }
    }

    /// Some devices of each kind, one of them gone, with traffic on two days.
    static func household() -> Scenario {
        var scenario = Scenario(plans: Self.plans)
        scenario.add(2, Array("eth0".utf8), alias: Array("the \"fibre\"\\\n".utf8))
        scenario.add(3, Array("wg0".utf8), kind: "wireguard")
        scenario.add(4, Array("veth1".utf8), kind: "veth")
        scenario.add(5, Array("veth2".utf8), kind: "veth", isUp: false)
        scenario.add(6, [0x65, 0xFF], kind: "bridge")
        scenario.add(7, Array("wwan0".utf8), kind: "wwan")
        scenario.links.insert(InterfaceAddress(index: 2, family: .ipv4, text: "192.0.2.7", prefixLength: 24, peer: []))
        // The same one again.
        scenario.links.insert(
            InterfaceAddress(index: 2, family: .ipv4, text: "192.0.2.7", prefixLength: 16, peer: []))
        scenario.links.insert(
            InterfaceAddress(index: 2, family: .ipv6, text: "2001:db8::7", prefixLength: 64, peer: []))
        scenario.links.insert(InterfaceAddress(index: 4, family: .ipv4, text: "10.0.0.1", prefixLength: 8, peer: []))
        scenario.read([2: (0, 0)])
        scenario.ledger.setUplink([DeviceIndex(rawValue: 2)])
        scenario.read([2: (1000, 200), 3: (900, 100), 4: (5, 6), 5: (7, 8), 7: (11, 12)])
        scenario.remove(7)
        scenario.read(after: 86400, [2: (9_007_199_254_740_993, 400), 3: (950, 150), 4: (5, 6), 5: (7, 8)])
        scenario.read([2: (100, 200), 3: (950, 150), 4: (6, 6), 5: (7, 8), 6: (1, 0)])
        return scenario
    }

    /// Nothing works: there is no route, no device has an account, the disk and the kernel fail, and the configuration is
    /// wrong.
    static func broken() -> Scenario {
        var scenario = Scenario(plans: Self.plans)
        scenario.store = StoreStatus(isUp: false, lastCommitSeconds: nil, commitFailures: 7, sizeBytes: 0)
        scenario.kernel = KernelStatus(readSuccess: false, overruns: 0, clockSteps: 0)
        scenario.configuration.lastReloadSuccessful = false
        scenario.countingNothing = ["eth"]
        return scenario
    }

    /// Two devices whose counters fall, and a time in which nothing was read.
    static func disturbed() -> Scenario {
        var scenario = Scenario.household()
        scenario.read([2: (50, 100), 3: (2_000, 300), 4: (6, 6), 5: (7, 8), 6: (1, 0)])
        scenario.read(after: 3 * 86_400, [2: (5_000_000, 100), 3: (1_000, 200), 4: (60, 6), 5: (7, 8), 6: (2, 0)])
        scenario.ledger.setUplink([])
        scenario.read([2: (5_000_100, 100), 3: (1_000, 200), 4: (60, 6), 5: (7, 8), 6: (2, 0)])
        return scenario
    }
}

extension ProcessStatus {
    static let sample = ProcessStatus(
        statistics: ProcessStatistics(
            processorSeconds: 0.25, residentBytes: 9_000_000, virtualBytes: 90_000_000, openDescriptors: 30,
            maximumDescriptors: 1024), startTime: 1_795_262_399.5, bootTime: 1_795_261_400)
}

/// Test logs show the arguments of a test; a whole ledger has a hundred kilobytes.
extension Scenario: CustomTestStringConvertible {
    var testDescription: String { "…" }
}

@Suite("The catalogue")
struct CatalogueTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()

    @Test(arguments: [
        ("household.prom", Scenario.household(), ExpositionFormat.prometheusText, false),
        ("household.om", Scenario.household(), .openMetrics, false),
        ("created.om", Scenario.household(), .openMetrics, true),
        ("broken.prom", Scenario.broken(), .prometheusText, false),
        ("disturbed.prom", Scenario.disturbed(), .prometheusText, false),
    ])
    func aScrapeIsWhatTheGoldenFileSays(
        file: String, scenario: Scenario, format: ExpositionFormat, showsCreated: Bool
    ) throws {
        let golden = Self.folder.appendingPathComponent("Golden/\(file)")
        let body = scenario.body(format, showsCreated: showsCreated)
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try body.write(to: golden, atomically: true, encoding: .utf8)
        }
        let expected = try String(contentsOf: golden, encoding: .utf8)
        for (line, wanted) in zip(body.split(separator: "\n"), expected.split(separator: "\n")) where line != wanted {
            Issue.record("\(file): \(line) instead of \(wanted)")
            return
        }
        #expect(body == expected, "\(file): UPDATE_GOLDEN=1 writes it anew; look at the difference")
    }

    @Test func atMostFiftyGoneDevicesAreShownAndTheRestIsSummedUp() {
        var scenario = Scenario()
        for number: UInt32 in 1...60 { scenario.add(number, Array("usb\(number)".utf8)) }
        scenario.read(Dictionary(uniqueKeysWithValues: (1...60).map { (UInt32($0), (UInt64($0) * 100, 1)) }))
        for number: UInt32 in 1...60 { scenario.remove(number) }
        let lines = scenario.body(.prometheusText).split(separator: "\n").filter {
            $0.hasPrefix("netusage_month_receive_bytes{")
        }
        #expect(lines.count == 51)
        #expect(
            lines.contains("netusage_month_receive_bytes{device=\"(other)\"} \((1...10).reduce(0) { $0 + $1 * 100 })"))
        #expect(lines.contains("netusage_month_receive_bytes{device=\"usb60\"} 6000"))
        #expect(!lines.contains { $0.contains("usb10\"") })
    }

    @Test func ratesAndAddressesCanBeSwitchedOff() {
        var scenario = Scenario.household()
        scenario.configuration.showsRates = false
        scenario.configuration.showsAddresses = false
        let body = scenario.body(.openMetrics)
        #expect(!body.contains("receive_bytes_per_second") && !body.contains("address"))
    }

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.folder.appendingPathComponent("../../\(path)").standardized, encoding: .utf8)
    }

    @Test func theManualNamesEveryMetricAndNoOther() throws {
        let manual = try text("deploy/manual/metrics.md")
        let known = Set(Catalogue(version: "", revision: "").metrics.map(\.family.name))
        for match in try (manual + text("README.md")).matches(of: /netusage_[a-z_]+[a-z]/) {
            #expect(known.contains(String(match.output)), "the manual names \(match.output), which isn't a metric")
        }
        let table = manual.split(separator: "\n").filter { $0.hasPrefix("| `") }.joined()
        for name in known where name.hasPrefix("netusage_") && !name.hasPrefix("netusage_uplink_") {
            let short = name.dropFirst("netusage_".count)
            // "transmit_…" and "week_…" stand for the families that differ in that word only.
            let stem = short.replacing("transmit_", with: "receive_").replacing(
                /^((application_)?(week|month|previous_month|previous_day|lifetime))_.*/
            ) { "\($0.output.1)_…" }
            .replacing(/^(week|month)_start_.*/) { "\($0.output.1)_start_…" }
            #expect(
                table.contains("`\(short)`") || table.contains("`\(stem)`") || short.contains("_start_"),
                "metrics.md doesn't name \(name)")
        }
    }
}
