import Exposition
import Foundation
import NIOHTTP1
import Reports
import Testing

@testable import Web

@Suite("The API and the routes")
struct APITests {
    private static let router = HTTPRouter(telemetryPath: "/metrics", isLifecycleEnabled: false)

    private static func route(
        _ uri: String, _ method: HTTPMethod = .GET, _ headers: [(String, String)] = []
    ) -> HTTPAnswer {
        let head = HTTPRequestHead(
            version: .http1_1, method: method, uri: uri, headers: HTTPHeaders([("Host", "localhost")] + headers))
        return router.answer(to: head, isLoopback: true)
    }

    private static func answer(_ uri: String, _ questions: FakeQuestions = FakeQuestions()) async throws -> [String:
        Any]
    {
        guard case .api(let request) = route(uri) else { throw Unexpected() }
        let answer = await API(questions).answer(to: request)
        return try #require(JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any])
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
        guard case .api(.export(let query)) = Self.route("/api/v1/export?format=json&device=eth0") else {
            throw Unexpected()
        }
        #expect(query.format == .json && query.devices == ["eth0"])
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
        ("usage?since=yesterday-ish", "yesterday-ish"), ("export?grain=week", "grain: week is none of"),
        ("export?label=device=x", "label: device=x isn't name=value"), ("export?format=xml", "format: xml is none of"),
    ])
    func aRequestThatMakesNoSenseIsAnsweredWithTheReason(query: String, reason: String) throws {
        guard case .apiProblem(let status, let text) = Self.route("/api/v1/" + query) else { throw Unexpected() }
        #expect(status == .badRequest && text.contains(reason), "\(text)")
    }

    @Test func whatIsNotThereIsNotFound() async throws {
        guard case .apiProblem(.notFound, _) = Self.route("/api/v1/nothing") else { throw Unexpected() }
        guard case .text(.notFound, _) = Self.route("/nothing") else { throw Unexpected() }
        guard case .api(let request) = Self.route("/api/v1/usage?device=wlan9") else { throw Unexpected() }
        let answer = await API(FakeQuestions()).answer(to: request)
        #expect(answer.status == .notFound && String(decoding: answer.body, as: UTF8.self).contains("wlan9"))
    }

    /// A client that has the answer about a span that is over needs it again only if that has changed.
    @Test func theTagChangesWithTheContentOnly() async throws {
        let span = "since=2026-11-21T10:00:00Z&until=2026-11-21T11:30:00Z"
        for uri in ["/api/v1/usage?\(span)", "/api/v1/quotas"] {
            guard case .api(let request) = Self.route(uri) else { throw Unexpected() }
            var tags: [String?] = []
            for questions in [FakeQuestions(), FakeQuestions(later: 30), FakeQuestions(device: "wlan0")] {
                tags.append(await API(questions).answer(to: request).tag)
            }
            #expect(tags[0] != nil && tags[0] == tags[1] && tags[0] != tags[2], "\(uri)")
        }
        guard case .api(let live) = Self.route("/api/v1/live") else { throw Unexpected() }
        #expect(await API(FakeQuestions()).answer(to: live).tag == nil)
    }

    @Test func liveIsAStreamForThoseWhoAskForOne() throws {
        let accepts = [
            ("text/event-stream", true), ("application/json", false), ("text/event-stream, application/json", true),
            ("application/json, text/event-stream", false), ("*/*", false),
        ]
        for (accept, isStream) in accepts {
            guard case .api(let request) = Self.route("/api/v1/live", .GET, [("Accept", accept)]) else {
                throw Unexpected()
            }
            if case .liveEvents = request { #expect(isStream, "\(accept)") } else { #expect(!isStream, "\(accept)") }
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
            guard case .methodNotAllowed(let allow) = Self.route(path, .POST) else { throw Unexpected() }
            #expect(allow == "GET, HEAD")
        }
        guard case .methodNotAllowed("POST, PUT") = Self.route("/-/reload") else { throw Unexpected() }
        guard case .text(.forbidden, let text) = Self.route("/-/reload", .POST) else { throw Unexpected() }
        #expect(text.contains("--web.enable-lifecycle"))
        let router = HTTPRouter(telemetryPath: "/metrics", isLifecycleEnabled: true)
        let head = HTTPRequestHead(version: .http1_1, method: .PUT, uri: "/-/reload", headers: ["Host": "localhost"])
        guard case .reload = router.answer(to: head, isLoopback: true) else { throw Unexpected() }
    }

    @Test func aRequestNeedsOneHostAndAShortAddress() throws {
        let long = "/metrics?" + String(repeating: "x", count: 5000)
        guard case .text(.uriTooLong, _) = Self.route(long) else { throw Unexpected() }
        guard case .text(.badRequest, _) = Self.route("/metrics", .GET, [("Host", "localhost")]) else {
            throw Unexpected()
        }
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/metrics")
        guard case .text(.badRequest, _) = Self.router.answer(to: head, isLoopback: true) else { throw Unexpected() }
    }
}
