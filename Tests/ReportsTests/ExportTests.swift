import Foundation
import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import Reports

@Suite("Exports")
struct ExportTests {
    private func written(_ query: ExportQuery, of world: ReportWorld) async throws -> String {
        var bytes: [UInt8] = []
        try await Export(query, of: world).write { bytes += $0 }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The rows of RFC 4180, read by the plainest parser there is.
    private func rows(_ csv: String) -> [[String]] {
        var rows: [[String]] = [[""]]
        var isQuoted = false
        for scalar in csv.unicodeScalars {
            switch scalar {
            case "\"":
                // Two quotes in a quoted field are one.
                if !isQuoted, rows[rows.count - 1].last?.isEmpty == false {
                    rows[rows.count - 1][rows[rows.count - 1].count - 1] += "\""
                }
                isQuoted.toggle()
            case "," where !isQuoted: rows[rows.count - 1].append("")
            case "\r" where !isQuoted: continue
            case "\n" where !isQuoted: rows.append([""])
            default: rows[rows.count - 1][rows[rows.count - 1].count - 1].unicodeScalars.append(scalar)
            }
        }
        return rows.dropLast()
    }

    private static let names = ["uplink", "eth0", "raw:e\\xff", "veth*", "wlan, \"0\""]

    private func sums(of world: ReportWorld) -> [String: UInt64] {
        let names = AccountNames(world.keys, collapse: world.basis().collapse)
        return Dictionary(
            uniqueKeysWithValues: world.keys.map {
                (names.name(of: $0), world.total(of: $0, in: .earliest ..< .latest).bytes)
            })
    }

    @Test(arguments: 0..<tries(20) as Range<UInt64>, ExportQuery.grains)
    func aCSVFileHasEveryByteOnce(seed: UInt64, grain: UsageQuery.Grain) async throws {
        let world = try ReportWorld(seed: seed)
        let rows = rows(try await written(ExportQuery(.csv, grain: grain), of: world))
        #expect(rows[0] == ["start", "end", "device", "kind", "received_bytes", "transmitted_bytes"])
        var sums: [String: UInt64] = [:]
        for row in rows.dropFirst() {
            try #require(row.count == 6)
            sums[row[2], default: 0] += try #require(UInt64(row[4])) + #require(UInt64(row[5]))
            #expect(row[0] < row[1] || row[0].suffix(6) != row[1].suffix(6), "\(row)")
        }
        #expect(sums == self.sums(of: world))
        #expect(Set(sums.keys) == Set(Self.names))
        let starts = rows.dropFirst().compactMap { world.calendar.moment($0[0], at: world.now) }
        #expect(starts == starts.sorted() && starts.count == rows.count - 1)
    }

    /// A day is exported whole, even if only a part of it is asked for; but not if the end comes before the beginning.
    @Test(arguments: [ExportQuery.Format.csv, .json], ExportQuery.grains)
    func aSpanThatEndsBeforeItBeginsHasNothing(format: ExportQuery.Format, grain: UsageQuery.Grain) async throws {
        let world = try ReportWorld(seed: 26)
        let day = world.calendar.day(containing: world.begin.adding(seconds: 86_400))
        func export(_ since: String, _ until: String) async throws -> String {
            var query = ExportQuery(format, grain: grain)
            query.usage.since = "\(day) \(since)"
            query.usage.until = "\(day) \(until)"
            return try await written(query, of: world)
        }
        let empty =
            format == .csv
            ? "start,end,device,kind,received_bytes,transmitted_bytes\r\n"
            : "{\"grain\":\"\(grain.rawValue)\",\"rows\":[\n]}\n"
        for (since, until) in [("13:00", "12:00"), ("12:02", "12:01"), ("12:02", "12:02"), ("23:59", "00:00")] {
            #expect(try await export(since, until) == empty, "\(since) to \(until)")
        }
        #expect(try await export("00:00", "23:59") != empty)
    }

    private struct JSONExport: Decodable {
        struct Row: Decodable {
            var device: String
            var kind: String
            var receivedBytes: UInt64
            var transmittedBytes: UInt64
        }
        var grain: String
        var rows: [Row]
    }

    @Test(arguments: 0..<tries(10) as Range<UInt64>, ExportQuery.grains)
    func aJSONFileHasEveryByteOnce(seed: UInt64, grain: UsageQuery.Grain) async throws {
        let world = try ReportWorld(seed: seed)
        let text = try await written(ExportQuery(.json, grain: grain), of: world)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let export = try decoder.decode(JSONExport.self, from: Data(text.utf8))
        #expect(export.grain == grain.rawValue)
        let sums = export.rows.reduce(into: [String: UInt64]()) {
            $0[$1.device, default: 0] += $1.receivedBytes + $1.transmittedBytes
        }
        #expect(sums == self.sums(of: world))
        #expect(Set(export.rows.map(\.kind)) == ["uplink", "device", "collapsed"])
    }

    /// Every family whose past is known comes out, for devices and for the uplink, and the last total is all there is.
    @Test(arguments: 0..<tries(10) as Range<UInt64>)
    func anOpenMetricsFileHasEveryFamilyOfThePast(seed: UInt64) async throws {
        let world = try ReportWorld(seed: seed)
        var query = ExportQuery(.openmetrics, grain: .hour)
        query.set(try #require(ExportQuery.Label("instance=box \"1\"")))
        let lines = try await written(query, of: world).split(separator: "\n").map(String.init)
        #expect(lines.last == "# EOF")
        let types = Set(lines.filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ")[2] }.map(String.init))
        var expected = Set(PeriodStartFamily.all.map(\.family.name))
        for family in TrafficFamily.all {
            switch family.value {
            case .counter, .peak: break
            case .rate, .total: expected.formUnion([family.ofDevices.name, family.ofUplink.name])
            }
        }
        #expect(types == expected)
        let series = "netusage_lifetime_receive_bytes{device=\"eth0\",job=\"netusage\",instance=\"box \\\"1\\\"\"} "
        let lifetimes = lines.filter { $0.hasPrefix(series) }.map { $0.dropFirst(series.count).split(separator: " ") }
        let values = lifetimes.compactMap { UInt64($0[0]) }
        #expect(values == values.sorted(), "a total never falls")
        let complete = Bucket(containing: world.now).start
        #expect(values.last == world.total(of: .device(DeviceName("eth0")), in: .earliest..<complete).received)
        let times = lifetimes.compactMap { Int64($0[1]) }
        #expect(times == times.sorted() && Set(times).count == times.count && times.count == lifetimes.count)
    }

    /// Applications alone: the uplink, which reports compare them with, is exported with the devices.
    @Test(arguments: 0..<tries(10) as Range<UInt64>, ExportQuery.Format.allCases)
    func anExportByApplicationHasEveryByteOnce(seed: UInt64, format: ExportQuery.Format) async throws {
        let curl = ApplicationName("curl, \"0\"")
        let keys = TrafficScope.allCases.map { AccountKey.application(curl, $0) }
        let world = try ReportWorld(seed: seed, keys: [.uplink, .device(DeviceName("eth0"))] + keys)
        var query = ExportQuery(format, grain: format == .openmetrics ? .hour : .fiveMinutes)
        query.usage.subject = .application
        let all = try await written(query, of: world)
        query.usage.scopes = [.lan]
        let lan = try await written(query, of: world)
        // The open day has no series yet.
        let today = world.calendar.start(of: world.calendar.day(containing: world.now))
        let end = format == .openmetrics ? today : .latest
        for scope in TrafficScope.allCases {
            let received = world.total(of: .application(curl, scope), in: .earliest..<end).received
            #expect(try sum(all, format, scope) == received)
            #expect(try sum(lan, format, scope) == (scope == .lan ? received : 0))
        }
        #expect(!all.contains("eth0") && !all.contains("uplink"))
    }

    /// The received bytes of curl in one scope.
    private func sum(_ text: String, _ format: ExportQuery.Format, _ scope: TrafficScope) throws -> UInt64 {
        switch format {
        case .csv:
            let rows = rows(text)
            #expect(rows[0] == ["start", "end", "application", "scope", "received_bytes", "transmitted_bytes"])
            return rows.filter { $0[2] == "curl, \"0\"" && $0[3] == scope.rawValue }.reduce(0) {
                $0 + (UInt64($1[4]) ?? 0)
            }
        case .json:
            struct Row: Decodable {
                var application: String
                var scope: String
                var receivedBytes: UInt64
            }
            struct Rows: Decodable { var rows: [Row] }
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(Rows.self, from: Data(text.utf8)).rows
                .filter { $0.application == "curl, \"0\"" && $0.scope == scope.rawValue }.reduce(0) {
                    $0 + $1.receivedBytes
                }
        case .openmetrics:
            // The world is not older than the month before.
            return ["month", "previous_month"].reduce(0) { sum, period in
                let series =
                    "netusage_application_\(period)_receive_bytes{application=\"curl, \\\"0\\\"\",scope=\"\(scope.rawValue)\","
                let last = text.split(separator: "\n").last { $0.hasPrefix(series) }
                let words = last.map { $0[($0.firstIndex(of: "}") ?? $0.endIndex)...].split(separator: " ") } ?? []
                return sum + (words.count == 3 ? UInt64(words[1]) ?? 0 : 0)
            }
        }
    }

    @Test func labelsThatPrometheusWouldRefuseAreErrors() {
        for text in ["", "=", "a", "1a=b", "a-b=c", "device=x", "application=x", "scope=x", "__name__=x", "é=x"] {
            #expect(ExportQuery.Label(text) == nil, "\(text)")
        }
        for text in ["a=", "a_1=b=c", "_a=é"] { #expect(ExportQuery.Label(text) != nil, "\(text)") }
    }

    @Test func aLabelIsSetOnce() throws {
        var query = ExportQuery(.openmetrics, grain: .day)
        query.set(try #require(ExportQuery.Label("job=other")))
        #expect(query.labels.map { "\($0.name)=\($0.value)" } == ["instance=localhost:10073", "job=other"])
    }
}
