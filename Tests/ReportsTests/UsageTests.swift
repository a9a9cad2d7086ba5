import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import Reports

@Suite("Usage")
struct UsageTests {
    private static let grains: [UsageQuery.Grain] = [.fiveMinutes, .hour, .day, .month, .year]

    @Test(arguments: ReportWorld.zones) func entriesTileTime(zone: String) throws {
        let calendar = LocalCalendar(zone: try Zone(posix: zone), weekStart: .monday)
        var random = SeededGenerator(seed: 1)
        for grain in Self.grains {
            let slots = Slots(grain: grain, calendar: calendar)
            for _ in 0..<500 {
                let moment = Timestamp(secondsSinceEpoch: Int64.random(in: 0...4_000_000_000, using: &random))
                let (start, end) = (slots.start(ofSlotAt: moment), slots.end(ofSlotAt: moment))
                #expect(start <= moment && moment < end, "\(grain) \(moment)")
                #expect(slots.end(ofSlotAt: end.adding(seconds: -1)) == end, "\(grain) \(moment)")
                // Where the clock goes back, an hour of the wall clock comes twice.
                if grain != .hour { #expect(slots.start(ofSlotAt: end) == end, "\(grain) \(moment)") }
            }
        }
    }

    /// In every report by application, and in each of its entries, the parts come to the uplink.
    @Test(arguments: 0..<tries(20) as Range<UInt64>)
    func applicationsAndTheRestAddUpToTheUplink(seed: UInt64) async throws {
        let keys = TrafficScope.allCases.map { AccountKey.application(ApplicationName("curl"), $0) }
        let world = try ReportWorld(seed: seed, keys: [.uplink, .device(DeviceName("eth0"))] + keys)
        for grain in Self.grains + [.total] {
            var query = UsageQuery(.week, grain: grain, by: .application)
            query.period = grain == .fiveMinutes ? .day : .week
            let report = try await world.usage(query)
            let rest = try #require(report.unattributed)
            let parts = report.accounts.filter { $0.scope == "internet" || $0.scope == "lan" }
            let uplink = try #require(report.accounts.first)
            #expect(rest.totalBytes + parts.reduce(0) { $0 + Int64($1.totalBytes) } == Int64(uplink.totalBytes))
            for (place, entry) in (rest.entries ?? []).enumerated() {
                let sum = parts.reduce(entry.receivedBytes) { $0 + Int64($1.entries?[place].receivedBytes ?? 0) }
                #expect(
                    UInt64(sum) == uplink.entries?[place].receivedBytes && entry.start == uplink.entries?[place].start)
            }
            #expect(rest.entries?.count == uplink.entries?.count)
        }
    }

    /// The uplink's buckets are kept for longer than those of applications. Of a day of which a part is asked for, neither
    /// counts then.
    @Test(arguments: 0..<tries(20) as Range<UInt64>)
    func ofAPartOfADayTheUplinkCountsAsFarAsApplicationsDo(seed: UInt64) async throws {
        let curl = AccountKey.application(ApplicationName("curl"), .internet)
        let world = try ReportWorld(seed: seed, keepsApplications: false, keys: [.uplink, curl])
        let since = Bucket(containing: world.begin.adding(seconds: 100_000)).start
        let nextDay = world.calendar.span(ofDay: world.calendar.day(containing: since)).upperBound
        var query = UsageQuery(grain: .day, by: .application)
        query.since = world.calendar.rfc3339(since)
        let report = try await world.usage(query)
        #expect(report.since == world.calendar.local(since))
        #expect(report.accounts.count == 2)
        for (account, key) in zip(report.accounts, world.keys) {
            let end = world.now.adding(seconds: 300)
            let kept = min(max(since, world.applicationsKeptFrom), nextDay)
            let expected =
                world.total(of: key, in: kept..<nextDay).bytes + world.total(of: key, in: nextDay..<end).bytes
            #expect(account.totalBytes == expected)
            #expect(account.entries?.reduce(0) { $0 + $1.totalBytes } == expected)
        }
    }

    /// Whatever is asked for, however finely it is cut: the answer has the bytes of that time, each once.
    @Test(arguments: 0..<tries(100) as Range<UInt64>)
    func everyByteOfTheTimeIsInOneEntry(seed: UInt64) async throws {
        let world = try ReportWorld(seed: seed)
        var random = SeededGenerator(seed: seed, stream: 1)
        for grain in Self.grains + [.total] {
            var query = UsageQuery(grain: grain)
            func moment() -> String {
                let seconds = world.begin.secondsSinceEpoch...world.now.secondsSinceEpoch
                let moment = Timestamp(secondsSinceEpoch: Int64.random(in: seconds, using: &random))
                return Bool.random(using: &random)
                    ? world.calendar.rfc3339(moment) : "\(world.calendar.day(containing: moment))"
            }
            if Bool.random(using: &random) { query.since = moment() }
            if Bool.random(using: &random) { query.until = moment() }
            let span = try query.span(by: world.calendar, at: world.now)
            let report = try await world.usage(query)
            #expect(report.note == nil && report.accounts.count == world.keys.count)
            for (account, key) in zip(report.accounts, order(of: world)) {
                let start = span.since ?? .earliest
                let expected = start < span.until ? world.total(of: key, in: start..<span.until) : .zero
                #expect(account.totalBytes == expected.bytes, "seed \(seed) \(query) \(account.name)")
                guard let entries = account.entries else { continue }
                #expect(entries.reduce(0) { $0 + $1.totalBytes } == expected.bytes, "seed \(seed) \(query)")
                for (entry, next) in zip(entries, entries.dropFirst()) { #expect(entry.end == next.start) }
            }
        }
    }

    /// The uplink, then by name.
    private func order(of world: ReportWorld) -> [AccountKey] {
        let names = AccountNames(world.keys, collapse: world.basis().collapse)
        return world.keys.sorted {
            ($0 == .uplink ? 0 : 1, names.name(of: $0)) < ($1 == .uplink ? 0 : 1, names.name(of: $1))
        }
    }

    @Test(arguments: 0..<tries(30) as Range<UInt64>)
    func bucketsThatArentKeptAreLeftOutAndSaid(seed: UInt64) async throws {
        let world = try ReportWorld(seed: seed, keepsAll: false)
        let hours = try await world.usage(UsageQuery(.all, grain: .hour))
        #expect(hours.note?.contains(world.calendar.rfc3339(world.keptFrom)) == true)
        for (account, key) in zip(hours.accounts, order(of: world)) {
            let sum = account.entries?.reduce(0) { $0 + $1.totalBytes }
            #expect(sum == world.total(of: key, in: world.keptFrom..<world.now.adding(seconds: 300)).bytes)
        }
        // Days are kept for ever.
        let days = try await world.usage(UsageQuery(.all, grain: .day))
        #expect(days.note == nil)
        for (account, key) in zip(days.accounts, order(of: world)) {
            #expect(account.totalBytes == world.total(of: key, in: .earliest ..< .latest).bytes)
        }
    }

    @Test func theLastEntriesAreAsManyAsAreAskedFor() async throws {
        let world = try ReportWorld(seed: 7)
        for grain in [UsageQuery.Grain.fiveMinutes, .hour, .day] {
            for last in [1, 2, 24] {
                var query = UsageQuery(grain: grain)
                query.last = last
                query.devices = ["uplink"]
                let report = try await world.usage(query)
                let metered = try await world.usage(UsageQuery(.all, grain: grain)).accounts[0].entries?.count ?? 0
                #expect(report.accounts.map { $0.entries?.count } == [min(last, metered)], "\(last) of \(grain)")
            }
        }
    }

    @Test func devicesAreNamedOrMeantByAPattern() async throws {
        let world = try ReportWorld(seed: 3)
        func names(_ devices: String...) async throws -> [String] {
            var query = UsageQuery(.all)
            query.devices = devices
            return try await world.usage(query).accounts.map(\.name)
        }
        #expect(try await names("eth0") == ["eth0"])
        #expect(try await names("uplink", "e*") == ["uplink", "eth0", "raw:e\\xff"])
        #expect(try await names("veth*") == ["veth*"])
        #expect(try await names("raw:e\\xff") == ["raw:e\\xff"])
        let error = await #expect(throws: UsageError.self) { try await names("eth1") }
        #expect(error.map { "\($0)" }?.contains("eth1") == true)
    }

    @Test func whatMakesNoSenseIsAnErrorWithARemedy() throws {
        func problem(_ change: (inout UsageQuery) -> Void) -> String? {
            var query = UsageQuery(grain: .day)
            change(&query)
            do throws(UsageError) { try query.check() } catch { return "\(error)" }
            return nil
        }
        #expect(problem { _ in } == nil)
        #expect(
            problem {
                $0.since = "2026-11-20"
                $0.until = "yesterday"
            } == nil)
        #expect(problem { $0.since = "soon" }?.contains("2026-11-20") == true)
        #expect(problem { $0.until = "2026-13-01" } != nil)
        for count in [0, -1, UsageQuery.maximumEntries + 1, .max, .min] { #expect(problem { $0.last = count } != nil) }
        #expect(problem { $0.last = UsageQuery.maximumEntries } == nil)
    }

    @Test func aSpanWithoutTimeIsAnErrorForPeopleOnly() throws {
        var query = UsageQuery(grain: .day)
        query.since = "2026-11-20"
        query.until = "2026-11-10"
        let now = Timestamp(secondsSinceEpoch: 1_795_262_400)
        #expect(throws: Never.self) { try query.span(by: .utc, at: now) }
        query.refusesNoTime = true
        #expect(throws: UsageError.self) { try query.span(by: .utc, at: now) }
    }

    @Test func tooMuchIsRefusedBeforeItIsGathered() async throws {
        let world = try ReportWorld(seed: 5)
        var query = UsageQuery(grain: .fiveMinutes)
        query.since = "0001-01-01"
        _ = try await world.usage(query)  // Metering began later: there is nothing before.
        let long = DayHistory(entries: world.days(from: .earliest, everybody: true).entries, meteredFrom: nil)
        query.since = "2020-01-01"
        let span = try query.span(by: world.calendar, at: world.now)
        let error = #expect(throws: UsageError.self) { try UsageBuilder(query, span, long, collapse: []) }
        #expect(error.map { "\($0)" }?.contains("export") == true)
    }
}
