import CivilTime
import Exposition
import Foundation
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

@testable import Accounting
@testable import Reports
@testable import Web

@Suite("The API and the routes")
struct APITests {
    private static let router = HTTPRouter(telemetryPath: "/metrics", isLifecycleEnabled: false)

    private static func route(
        _ uri: String, _ method: HTTPMethod = .GET, _ headers: [(String, String)] = [], by router: HTTPRouter = router
    ) -> HTTPRoute {
        let head = HTTPRequestHead(
            version: .http1_1, method: method, uri: uri, headers: HTTPHeaders([("Host", "localhost")] + headers))
        return router.route(HTTPRequest(head: head), isLoopback: true)
    }

    /// The request to the API at an address.
    private static func request(
        _ uri: String, _ method: HTTPMethod = .GET, _ headers: [(String, String)] = [], by router: HTTPRouter = router
    ) throws -> APIRequest {
        guard case .api(let request) = route(uri, method, headers, by: router) else { throw Unexpected() }
        return request
    }

    /// What the router answers by itself.
    private static func refusal(_ route: HTTPRoute) throws -> (status: HTTPResponseStatus, text: String, HTTPHeaders) {
        guard case .answer(let answer) = route else { throw Unexpected() }
        return (answer.status, text(answer), answer.headers)
    }

    private static func text(_ answer: HTTPAnswer) -> String {
        if case .bytes(let body) = answer.body { String(buffer: body) } else { "" }
    }

    private static func answer(_ uri: String, _ questions: FakeQuestions = FakeQuestions()) async throws -> [String:
        Any]
    {
        let answer = await API(questions).answer(to: try request(uri))
        return try #require(JSONSerialization.jsonObject(with: Data(text(answer).utf8)) as? [String: Any])
    }

    private struct Unexpected: Error {}

    @Test func eachAddressAnswersItsQuestion() async throws {
        let status = try await Self.answer("/api/v1/status")
        #expect(status["version"] as? String == "1.2.3" && status["uplink_device"] as? String == "eth0")
        let live = try await Self.answer("/api/v1/live")
        #expect((live["accounts"] as? [[String: Any]])?.map { $0["name"] as? String } == ["uplink", "eth0"])
        let quotas = try await Self.answer("/api/v1/quotas")
        #expect((quotas["quotas"] as? [[String: Any]])?.first?["limit_bytes"] as? Int == 1000)
        let usage = try await Self.answer("/api/v1/usage?device=eth0")
        let account = (usage["accounts"] as? [[String: Any]])?.first
        #expect(account?["total_bytes"] as? Int == 11 && account?["name"] as? String == "eth0")
        guard case .export(let query) = try Self.request("/api/v1/export?format=json&device=eth0") else {
            throw Unexpected()
        }
        #expect(query.format == .json && query.usage.devices == ["eth0"])
    }

    /// Everything in a quota's answer is on one level, whatever parts it has inside.
    @Test func aQuotaIsOneObject() async throws {
        let quotas = try await Self.answer("/api/v1/quotas")
        let quota = try #require((quotas["quotas"] as? [[String: Any]])?.first)
        let keys = [
            "name", "count", "direction", "cycle", "cycle_start", "cycle_end", "cycle_seconds_left",
            "cycle_seconds_ahead", "limit_bytes", "rollover_bytes", "top_up_bytes", "used_bytes", "left_bytes",
            "measured_bytes", "breached", "breaches", "condition", "thresholds", "adjustments",
        ]
        for key in keys { #expect(quota[key] != nil, "\(key) is missing") }
        let report = FakeQuestions().plans().quotas[0]
        let parts: [any Encodable] = [report.plan, report.cycle, report.use, report.breach, report.outlook]
        let count = try parts.reduce(0) { sum, part in
            try sum + #require(JSONSerialization.jsonObject(with: Data(json(part))) as? [String: Any]).count
        }
        #expect(quota.count == count, "two parts have the same key")
    }

    @Test(arguments: [
        ("usage?grain=fortnight", "grain: fortnight is none of"), ("usage?period=eon", "period: eon is none of"),
        ("usage?colour=red", "there is no parameter colour"), ("status?device=eth0", "this address takes none"),
        ("usage?last=3&last=4", "last is given twice"), ("usage?last=three", "last: three is not a number"),
        ("usage?device=%FF", "isn't UTF-8 with %-escapes"), ("usage?device=%4", "isn't UTF-8 with %-escapes"),
        ("usage?since=yesterday-ish", "yesterday-ish"), ("export?grain=week", "grain: week is none of 5m, hour, day"),
        ("export?grain=year", "none of 5m, hour, day"),
        ("export?label=device=x", "label: device=x isn't name=value"), ("export?format=xml", "format: xml is none of"),
    ])
    func aRequestThatMakesNoSenseIsAnsweredWithTheReason(query: String, reason: String) throws {
        let (status, text, _) = try Self.refusal(Self.route("/api/v1/" + query))
        #expect(status == .badRequest && text.contains(reason), "\(text)")
    }

    @Test func whatIsNotThereIsNotFound() async throws {
        #expect(try Self.refusal(Self.route("/api/v1/nothing")).text.hasPrefix("{\"error\":"))
        #expect(try Self.refusal(Self.route("/nothing")).status == .notFound)
        let answer = await API(FakeQuestions()).answer(to: try Self.request("/api/v1/usage?device=wlan9"))
        #expect(answer.status == .notFound && Self.text(answer).contains("wlan9"))
    }

    /// A client that has the answer about a span that is over needs it again only if that has changed.
    @Test func theTagChangesWithTheContentOnly() async throws {
        let span = "since=2026-11-21T10:00:00Z&until=2026-11-21T11:30:00Z"
        for uri in ["/api/v1/usage?\(span)", "/api/v1/quotas"] {
            var answers: [HTTPAnswer] = []
            for questions in [FakeQuestions(), FakeQuestions(later: 30), FakeQuestions(device: "wlan0")] {
                answers.append(await API(questions).answer(to: try Self.request(uri)))
            }
            let tag = try #require(answers[0].headers["ETag"].first)
            let head = HTTPRequestHead(
                version: .http1_1, method: .GET, uri: uri, headers: ["If-None-Match": "\"x\", \(tag)"])
            #expect(answers.map { $0.isKnown(to: head) } == [true, true, false], "\(uri)")
        }
        #expect(await API(FakeQuestions()).answer(to: try Self.request("/api/v1/live")).headers["ETag"].isEmpty)
    }

    @Test func liveIsAStreamForThoseWhoAskForOne() throws {
        let accepts = [
            ("text/event-stream", true), ("application/json", false), ("text/event-stream, application/json", true),
            ("application/json, text/event-stream", false), ("*/*", false),
        ]
        for (accept, isStream) in accepts {
            for (query, subject) in [("", UsageQuery.Subject.device), ("?by=application", .application)] {
                switch try Self.request("/api/v1/live\(query)", .GET, [("Accept", accept)]) {
                case .liveEvents(subject): #expect(isStream, "\(accept)")
                case .live(subject): #expect(!isStream, "\(accept)")
                default: Issue.record("\(accept)")
                }
            }
        }
    }

    @Test func metricsComeInTheFormatThatTheClientLikesBest() throws {
        guard case .metrics(let plain) = Self.route("/metrics") else { throw Unexpected() }
        #expect(plain == Scraper.Variant(format: .prometheusText, isCompressed: false))
        let headers = [("Accept", "application/openmetrics-text;version=1.0.0"), ("Accept-Encoding", "gzip")]
        guard case .metrics(let open) = Self.route("/metrics?x=1", .GET, headers) else { throw Unexpected() }
        #expect(open == Scraper.Variant(format: .openMetrics, isCompressed: true))
        // The absolute form, as clients write it for a proxy.
        guard case .metrics = Self.route("http://localhost/metrics") else { throw Unexpected() }
    }

    @Test func onlyWhatReadsIsAllowedBesidesAReload() throws {
        for path in ["/", "/metrics", "/api/v1/usage", "/-/healthy"] {
            let (status, _, headers) = try Self.refusal(Self.route(path, .POST))
            #expect(status == .methodNotAllowed && headers["Allow"] == ["GET, HEAD"])
        }
        #expect(try Self.refusal(Self.route("/-/reload")).2["Allow"] == ["POST, PUT"])
        let (status, text, _) = try Self.refusal(Self.route("/-/reload", .POST))
        #expect(status == .forbidden && text.contains("--web.enable-lifecycle"))
        let router = HTTPRouter(telemetryPath: "/metrics", isLifecycleEnabled: true)
        guard case .reload = Self.route("/-/reload", .PUT, by: router) else { throw Unexpected() }
    }

    /// Only who may use the daemon's own socket changes the ledger; at other listeners there is nothing of it.
    @Test func theLedgerIsChangedWhereChangesAreTakenOnly() throws {
        var local = Self.router
        local.takesChanges = true
        for (path, method) in [("orders", HTTPMethod.POST), ("imports", .POST), ("booking", .GET)] {
            let uri = "/api/v1/\(path)"
            #expect(try Self.refusal(Self.route(uri, method)).status == .notFound, "\(path)")
            guard case .change = try Self.request(uri, method, by: local) else { throw Unexpected() }
            #expect(try Self.refusal(Self.route(uri + "?dry_run=1", method, by: local)).status == .badRequest)
        }
        #expect(try Self.refusal(Self.route("/api/v1/orders", by: local)).2["Allow"] == ["POST"])
    }

    /// Takes every order, and no import.
    private struct FakeChanges: LedgerChanges {
        func carryOut(_ order: QuotaRequest) throws -> AdjustmentReport {
            let adjustment = Adjustment(
                id: 7, quota: order.quota, kind: .topUp(bytes: 5), at: .earliest, enteredAt: .earliest)
            return AdjustmentReport(adjustment, calendar: .utc)
        }

        func carryOut(_ piece: ImportPiece) throws -> [ImportOutcome] {
            throw ChangeRefusal("the disk is full", isTemporary: true)
        }

        func bookingBasis() throws -> BookingBasis {
            throw ChangeRefusal("there is no quota q", isTemporary: false)
        }
    }

    @Test func aChangeIsCarriedOutOrRefusedWithTheReason() async throws {
        let api = API(FakeQuestions(), changes: FakeChanges())
        let body = "{\"quota\":\"home\",\"kind\":{\"top_up\":{\"bytes\":5}}}"
        let kept = await api.answer(to: .change(.order(ByteBuffer(string: body))))
        #expect(kept.status == .ok && Self.text(kept).contains("\"id\":7"))
        for body in ["", "[]", "{\"quota\":\"home\"}", "{\"quota\":\"home\",\"kind\":{\"top_up\":{\"bytes\":-5}}}"] {
            let refused = await api.answer(to: .change(.order(ByteBuffer(string: body))))
            #expect(refused.status == .badRequest && Self.text(refused).contains("openapi.yaml"), "\(body)")
        }
        let piece = ByteBuffer(bytes: json(ImportPiece(accounts: [], isTrial: true)))
        #expect(await api.answer(to: .change(.piece(piece))).status == .serviceUnavailable)
        #expect(await api.answer(to: .change(.basis)).status == .conflict)
    }

    /// What the daemon answers is what the command has.
    @Test func anAnswerSurvivesTheWayFromTheDaemon() async throws {
        func survives<Value: Codable>(_ value: Value) throws {
            let bytes = json(value)
            #expect(json(try decoded(Value.self, fromJSON: bytes)) == bytes, "\(Value.self)")
        }
        let questions = FakeQuestions(device: "wlan_0 \u{1B}[2J")
        try survives(questions.live(by: .device))
        try survives(questions.plans())
        try survives(try await questions.usage(UsageQuery(.day)))
        try survives(try FakeChanges().carryOut(QuotaRequest(quota: "a_b", kind: .undo(id: nil))))
        try survives(QuotaRequest(quota: "a_b", kind: .correct(usedBytes: .max, at: "09:00")))
        let patterns = ["veth*", "wg_*"].compactMap { DevicePattern($0) }
        for zone in ["<+0330>-3:30<+0430>,J79/24,J263/24", "CET-1CEST,M3.5.0,M10.5.0/3", "UTC0"] {
            let calendar = LocalCalendar(zone: try Zone(posix: zone), weekStart: .sunday)
            let rules = AccountingRules(
                exclude: patterns, collapse: patterns, counted: patterns, samplingInterval: Span(seconds: 1))
            let basis = BookingBasis(calendar: calendar, rules: rules)
            let read = try decoded(BookingBasis.self, fromJSON: json(basis))
            #expect(read.calendar == calendar && read.rules == rules)
        }
        let span = Timestamp(secondsSinceEpoch: 1_795_262_400)..<Timestamp(secondsSinceEpoch: 1_795_262_700)
        let slot = ImportedAccount.Slot(span, Total(received: .max, transmitted: 0))
        var outcomes: [ImportOutcome] = []
        for key in [AccountKey.uplink, .device(DeviceName(bytes: [0xFF, 0x5F, 0x30])), .collapsed("veth_*")] {
            try survives(
                ImportPiece(accounts: [ImportedAccount(key, from: "a_b", slots: [slot], clock: "UTC")], isTrial: true))
            outcomes.append(ImportOutcome(key))
        }
        try survives(outcomes)
    }

    /// What a command asks comes to the daemon as the command has it.
    @Test func aQuerySurvivesTheWayToTheDaemon() throws {
        func uri(_ path: String, _ parameters: [(name: String, value: String)]) -> String {
            var components = URLComponents()
            components.queryItems = parameters.map { URLQueryItem(name: $0.name, value: $0.value) }
            return "/api/v1/\(path)" + (components.string ?? "").replacingOccurrences(of: "+", with: "%2B")
        }
        var random = SeededGenerator(seed: testSeed)
        for _ in 0..<200 {
            var query = UsageQuery(UsageQuery.Period.allCases.randomElement(using: &random))
            query.grain = try #require(UsageQuery.Grain.allCases.randomElement(using: &random))
            if .random(using: &random) { query.since = "2026-11-20T09:00:00+01:00" }
            if .random(using: &random) { query.until = "yesterday" }
            if .random(using: &random) { query.last = .random(in: 1...100, using: &random) }
            if .random(using: &random) { query.devices = ["eth*", "wg & 100 %=?#", "raw:\u{FFFD}é"] }
            // The API takes it that nobody means everything at once.
            if query.since == nil, query.until == nil, query.last == nil { query.period = query.period ?? .all }
            query.refusesNoTime = .random(using: &random)
            query.prefersUplink = .random(using: &random)
            guard case .usage(let asked) = try Self.request(uri("usage", query.parameters)) else { throw Unexpected() }
            #expect(asked == query)
            var export = ExportQuery(
                try #require(ExportQuery.Format.allCases.randomElement(using: &random)),
                grain: try #require(ExportQuery.grains.randomElement(using: &random)))
            (export.usage.since, export.usage.until, export.usage.devices) = (query.since, query.until, query.devices)
            export.usage.refusesNoTime = query.refusesNoTime
            if .random(using: &random) { export.set(try #require(ExportQuery.Label("site=a b=c"))) }
            guard case .export(let wanted) = try Self.request(uri("export", export.parameters)) else {
                throw Unexpected()
            }
            #expect(wanted == export)
        }
    }

    @Test func aRequestNeedsOneHostAndAShortAddress() throws {
        let long = "/metrics?" + String(repeating: "x", count: 5000)
        #expect(try Self.refusal(Self.route(long)).status == .uriTooLong)
        #expect(try Self.refusal(Self.route("/metrics", .GET, [("Host", "localhost")])).status == .badRequest)
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/metrics")
        let route = Self.router.route(HTTPRequest(head: head), isLoopback: true)
        #expect(try Self.refusal(route).status == .badRequest)
    }
}
