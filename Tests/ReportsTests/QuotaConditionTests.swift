import Foundation
import Testing

@testable import Accounting
@testable import CivilTime
@testable import Reports

@Suite("How a quota is")
struct QuotaConditionTests {
    private static let start = Timestamp(secondsSinceEpoch: 1_795_219_200)  // 2026-11-21
    private static let cycle = start..<start.adding(seconds: 86_400)

    private func report(
        used: UInt64, limit: UInt64 = 1000, at now: Timestamp = start.adding(seconds: 3600), isExhausted: Bool = false
    ) -> QuotaReport {
        let quota = Quota(
            name: "q", count: .uplink, direction: .total, limitBytes: limit, cycle: Cycle(CycleRule(.day)),
            warnAt: [Share(millionths: 500_000), Share(millionths: 825_000)])
        var book = PlanBook(
            Plans(quotas: [quota], rateLimits: [], committedRates: []), calendars: [.local: .utc], records: .none,
            meteredFrom: .earliest, at: Self.start)
        book.keys = [AccountID(rawValue: 1): .uplink]
        book.restore(Total(received: used, transmitted: 0), of: .uplink, at: Self.start)
        book.complete(at: now)
        return QuotaReport(book.quotaStates(at: now)[0], calendar: .utc, at: now)
    }

    @Test func theMostUrgentConditionIsShown() {
        #expect(report(used: 0).condition == .ok && report(used: 0).conditionText == "ok")
        #expect(report(used: 499).condition == .ok)
        #expect(report(used: 500).condition == .warned && report(used: 500).conditionText == "over 50 %")
        #expect(report(used: 825).conditionText == "over 82.5 %")
        #expect(report(used: 1000).condition == .breached && report(used: 1000).conditionText == "breached")
    }

    @Test func aForecastOfABreachIsAWarning() throws {
        let exhaustion = ["exhaustion": "2026-11-21T20:00:00Z"]
        let quota = try changed(report(used: 0), exhaustion)
        #expect(quota.condition == .breachExpected && quota.condition.severity == .warning)
        #expect(quota.conditionText == "expected to breach")
        #expect(try changed(report(used: 500), exhaustion).condition == .warned, "what has happened comes first")
    }

    @Test func whatCountsNothingIsNotKnown() {
        var quota = report(used: 0)
        quota.note("it counts nothing")
        #expect(quota.condition == .unknown && quota.use.usedBytes == nil)
        quota.note(nil)
        #expect(quota.condition != .unknown)
        quota = report(used: 700)
        quota.note("its device is gone")
        #expect(quota.condition == .unknown && quota.use.usedBytes == 700, "it was counted before")
        quota = report(used: 2000)
        quota.note("its device is gone")
        #expect(quota.condition == .breached, "a limit that is reached stays so")
    }

    /// A quota whose only cycle is not open neither warns nor is breached.
    @Test func aCycleThatIsNotOpenIsSaid() throws {
        let ahead = try changed(report(used: 700), ["cycle_seconds_ahead": 60])
        let ended = try changed(report(used: 700), ["cycle_seconds_left": 0])
        #expect([ahead, ended].map(\.condition) == [.notBegun, .ended])
        #expect([ahead, ended].map(\.conditionText) == ["not begun", "ended"])
        #expect([ahead, ended].allSatisfy { $0.condition.severity == .ok })
    }

    /// The report with other values.
    private func changed(_ report: QuotaReport, _ values: [String: Any]) throws -> QuotaReport {
        var fields = try #require(JSONSerialization.jsonObject(with: Data(json(report))) as? [String: Any])
        fields.merge(values) { $1 }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        var changed = try decoder.decode(QuotaReport.self, from: JSONSerialization.data(withJSONObject: fields))
        changed.note(nil)
        return changed
    }
}
