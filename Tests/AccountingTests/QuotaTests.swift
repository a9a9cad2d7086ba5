import CivilTime
import TestSupport
import Testing

@testable import Accounting

/// What quotas count, in the words of people who pay by them.
@Suite("Quotas")
struct QuotaTests {
    private static func quota(
        _ rule: CycleRule, direction: ByteDirection = .total, limit: UInt64 = 1000, warnAt: [UInt64] = [],
        free: [Range<Int>] = [], rollover: UInt64? = nil
    ) -> Plans {
        Plans(
            quotas: [
                Quota(
                    name: "q", count: .devices(["eth0"].compactMap { DevicePattern($0) }), direction: direction,
                    limitBytes: limit, cycle: Cycle(rule), warnAt: warnAt.map { Share(millionths: $0) },
                    free: FreeTime(free), rolloverMaximumBytes: rollover)
            ], rateLimits: [], committedRates: [])
    }

    /// A world in which eth0 carries bytes when it is told to; it is 2026-11-21, midnight.
    private struct Metered {
        var world: World
        let device: DeviceIndex

        init(_ plans: Plans, zone: Zone = .utc) {
            world = World(zone: zone, plans: plans)
            device = world.create("eth0")
        }

        mutating func carry(_ received: UInt64, _ transmitted: UInt64 = 0, after seconds: Double = 1) {
            world.pass(seconds - 0.5)
            world.read()
            world.carry(device, received: received, transmitted: transmitted)
            world.pass(0.5)
            world.read()
        }

        var state: QuotaState { world.quota("q")! }

        /// The state with a forecast by all that is known.
        var forecast: QuotaState {
            var book = world.ledger.planBook
            book.advance(to: world.now.timestamp)
            return book.quotaStates(at: world.now.timestamp)[0]
        }
        var events: [QuotaEvent] { world.store.events }
    }

    @Test func aThresholdAndABreachAreToldOnceWhateverComesAfter() {
        var metered = Metered(Self.quota(.init(.month(day: 1)), warnAt: [500_000, 900_000]))
        metered.carry(499)
        #expect(metered.events.isEmpty)
        metered.carry(1)
        #expect(metered.events.map(\.share.description) == ["0.5"])
        metered.carry(499)
        #expect(!metered.state.isBreached)
        metered.carry(1)
        #expect(metered.state.isBreached, "at the limit, not beyond it")
        for _ in 0..<3 {
            metered.world.start()
            metered.carry(100)
        }
        #expect(metered.events.map(\.kind) == [.warning, .warning, .breach] && metered.events.allSatisfy(\.isNews))
        #expect(metered.state.breaches == 1)
    }

    /// - Parameter loss: What happens after the ledger was damaged at the commit of the start, so that a new one was begun.
    @Test(arguments: [nil, "and the next commit fails, too", "and the daemon ends before the next commit"])
    func aProgramWhoseStartIsWrittenOnlyAsTheDaemonEndsIsStartedNextTime(loss: String?) throws {
        let quota = Quota(
            name: "q", count: .devices(["eth0"].compactMap { DevicePattern($0) }), direction: .total, limitBytes: 1000,
            cycle: Cycle(.init(.day)), run: ["/bin/true"])
        var metered = Metered(Plans(quotas: [quota], rateLimits: [], committedRates: []))
        metered.carry(1000)
        metered.world.commit()
        metered.world.ledger.noteStart(for: try #require(metered.world.ledger.planBook.waitingEvents.first))
        // This commit fails, and the daemon ends; then it succeeds after all.
        _ = metered.world.ledger.takeCommit()
        if loss != nil {
            metered.world.store = ModelStore()
            metered.world.ledger.recommitEverything()
        }
        if loss == "and the next commit fails, too" { _ = metered.world.ledger.takeCommit() }
        metered.world.ledger.withdrawStarts()
        metered.world.ledger.withdrawStartsUnderWay()
        metered.world.commit(isFinal: true)
        metered.world.start()
        #expect(metered.world.ledger.planBook.waitingEvents.map(\.quota) == ["q"])
    }

    @Test func aLiftTakesNoBreachBackAndTheNextOneIsCountedButNotTold() {
        var metered = Metered(Self.quota(.init(.month(day: 1))))
        metered.carry(1000)
        metered.world.adjust("q", .topUp(bytes: 500))
        metered.world.read()
        #expect(!metered.state.isBreached && metered.state.breachedAt == nil)
        #expect(metered.state.breaches == 1 && metered.state.limitBytes == 1500)
        metered.carry(500)
        #expect(metered.state.isBreached && metered.state.breaches == 2)
        #expect(metered.events.map(\.kind) == [.breach, .lift, .breach])
        #expect(metered.events.filter(\.isFirst).count == 1)
        #expect(metered.state.breachedAt == metered.events.last?.at, "the breach that is in force")
    }

    @Test func aNewCycleBeginsAtZeroAndTellsAnew() {
        var metered = Metered(Self.quota(.init(.day)))
        metered.carry(1000)
        metered.carry(10, after: 86_400)
        #expect(metered.state.usedBytes == 10 && !metered.state.isBreached)
        metered.carry(990)
        #expect(metered.events.map(\.kind) == [.breach, .breach] && metered.events.allSatisfy(\.isNews))
        #expect(metered.state.breaches == 2)
    }

    @Test func theGreaterDirectionCountsNotTheSumOfTheGreaterOnes() {
        var metered = Metered(Self.quota(.init(.day), direction: .greater))
        metered.carry(100, 10)
        metered.carry(10, 70)
        #expect(metered.state.usedBytes == 110)
        metered.carry(0, 100)
        #expect(metered.state.usedBytes == 180)
    }

    /// Used = what was said, and by how much the greater direction of the whole cycle has grown since.
    @Test func aCorrectionOfTheGreaterDirectionNeverJumps() {
        var metered = Metered(Self.quota(.init(.month(day: 1)), direction: .greater, limit: 1_000_000))
        metered.carry(1000, 800)
        metered.world.adjust("q", .correction(usedBytes: 1000))
        metered.carry(0, 150)
        #expect(metered.state.usedBytes == 1000, "950 sent are fewer than 1000 received")
        metered.carry(0, 700)
        #expect(metered.state.usedBytes == 1650)
        metered.world.adjust("q", .correction(usedBytes: 5000))
        metered.carry(10, 0)
        #expect(metered.state.usedBytes == 5000)
        #expect(metered.forecast.projectedBytes ?? 0 >= 5000, "less than is used can't be expected")
    }

    /// With a correction to what was metered anyway it is the greater of both directions' forecasts.
    @Test func theForecastOfTheGreaterDirectionFollowsTheOneThatOvertakes() {
        let directions: [ByteDirection] = [.receive, .transmit, .greater]
        let quotas = directions.map { direction in
            Quota(
                name: direction.rawValue, count: .devices(["eth0"].compactMap { DevicePattern($0) }),
                direction: direction, limitBytes: 1_000_000_000, cycle: Cycle(.init(.day)), warnAt: [],
                free: FreeTime([]), rolloverMaximumBytes: nil)
        }
        var metered = Metered(Plans(quotas: quotas, rateLimits: [], committedRates: []))
        for _ in 0..<12 { metered.carry(100_000, 0, after: 300) }
        metered.world.adjust(ByteDirection.greater.rawValue, .correction(usedBytes: 1_200_000))
        for _ in 0..<36 { metered.carry(0, 30_000, after: 300) }
        var book = metered.world.ledger.planBook
        book.advance(to: metered.world.now.timestamp)
        let projected = book.quotaStates(at: metered.world.now.timestamp).map { $0.projectedBytes ?? 0 }
        #expect(projected[1] > projected[0], "what was received came once")
        #expect(projected[2] == max(projected[0], projected[1]))
    }

    @Test func noForecastIsBelowWhatIsUsed() {
        var metered = Metered(Self.quota(.init(.month(day: 1)), limit: 1_000_000))
        metered.carry(UInt64(Int64.max))
        #expect(metered.forecast.usedBytes == UInt64(Int64.max))
        #expect(metered.forecast.projectedBytes ?? 0 >= metered.forecast.usedBytes)
    }

    @Test func anotherZoneMakesNoOtherCycle() throws {
        let plans = Self.quota(.init(.month(day: 1)), warnAt: [500_000])
        var metered = Metered(plans, zone: try Zone(posix: "CET-1"))
        metered.carry(1500)
        #expect(metered.events.map(\.kind) == [.warning, .breach])
        for zone in ["EST5", "JST-9"] {
            metered.world.calendar = LocalCalendar(zone: try Zone(posix: zone), weekStart: .monday)
            metered.world.commit()
            metered.world.ledger.use(metered.world.storedPlanBook)
            metered.carry(10)
            #expect(metered.state.isBreached)
        }
        #expect(
            metered.events.map(\.kind) == [.warning, .breach], "each once in a cycle, whatever clock names its start")
        #expect(metered.state.breaches == 1)
        metered.world.pass(40 * 86_400)
        metered.carry(1500)
        #expect(metered.events.map(\.kind) == [.warning, .breach, .warning, .breach], "and again in the next one")
    }

    @Test func aCorrectionSaysNothingOfACycleWithAnotherBillingDay() {
        var metered = Metered(Self.quota(.init(.month(day: 1)), limit: 1_000_000))
        let start = metered.state.cycle.lowerBound
        metered.carry(100)
        metered.world.adjust("q", .correction(usedBytes: 50_000), cycleStart: start)
        metered.carry(7)
        #expect(metered.state.usedBytes == 50_007)
        metered.world.plans = Self.quota(.init(.month(day: 15)), limit: 1_000_000)
        metered.world.renewPlanBook()
        #expect(metered.state.usedBytes == 107, "what was metered since then")
        metered.world.plans = Self.quota(.init(.month(day: 1)), limit: 1_000_000)
        metered.world.renewPlanBook()
        #expect(metered.state.usedBytes == 50_007)
    }

    @Test func aFreeWindowEndsInBothHoursThatTheClockShowsTwice() throws {
        // 02:17 is shown twice on 2026-10-25 in Berlin, an hour apart.
        let berlin = try Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3")
        let calendar = LocalCalendar(zone: berlin, weekStart: .monday)
        let day = try #require(CivilDate("2026-10-25"))
        let ends = calendar.instants(on: day, secondsOfDay: 2 * 3600 + 17 * 60)
        #expect(ends.map(\.description) == ["2026-10-25T00:17:00Z", "2026-10-25T01:17:00Z"])
        let plans = Self.quota(.init(.day), limit: 1_000_000, free: [6 * 1440..<6 * 1440 + 137])
        for end in ends {
            var metered = Metered(plans, zone: berlin)
            metered.world.wallSeconds = Double(end.secondsSinceEpoch) + 10
            metered.world.ledger.advance(to: metered.world.now.timestamp)
            metered.world.start()
            metered.carry(100, after: 60)
            #expect(metered.state.usedBytes == 100, "behind the window's end at \(end)")
        }
    }

    @Test func aCorrectionHoldsFromItsMomentToTheCyclesEnd() {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.carry(300)
        metered.world.adjust("q", .correction(usedBytes: 5000))
        metered.carry(20)
        #expect(
            metered.state.usedBytes == 5020 && metered.state.measuredBytes == 320 && metered.state.driftBytes == 4700)
        metered.carry(7)
        metered.world.start()
        #expect(metered.state.usedBytes == 5027, "in the same five minutes, after a kill")
        metered.carry(1, after: 86_400)
        #expect(metered.state.usedBytes == 1)
    }

    @Test func aCorrectionOfThePastCountsWhatWasMeteredSince() {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.carry(300)
        metered.carry(20, after: 3600)
        let moment = metered.world.now.timestamp.adding(seconds: -1800)
        metered.world.adjust("q", .correction(usedBytes: 5000), at: moment)
        #expect(metered.state.usedBytes == 5020 && metered.state.driftBytes == 4700)
        metered.world.adjust("q", .correction(usedBytes: 100), at: metered.world.now.timestamp)
        #expect(metered.state.usedBytes == 100, "the last one holds")
    }

    @Test func freeTimeGoesByTheWallClockAlsoWhereAnHourComesTwice() throws {
        // Free from 02:00 to 03:00; on 2026-10-25 that hour comes twice in Berlin.
        let zone = try Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3")
        var metered = Metered(
            Self.quota(.init(.month(day: 1)), free: (0..<7).map { $0 * 1440 + 120..<$0 * 1440 + 180 }), zone: zone)
        metered.world.wallSeconds = 1_792_879_200  // 2026-10-24T22:00:00Z: local midnight.
        metered.world.read()
        var counted: UInt64 = 0
        for hour in 0..<6 {
            metered.carry(100, after: 3600)  // Just before 01:00, 02:00, 03:00, 03:00, 04:00 and 05:00.
            if hour != 2, hour != 3 { counted += 100 }
            #expect(metered.state.usedBytes == counted, "hour \(hour)")
        }
    }

    @Test func whatIsLeftOverGoesOnUpToItsMaximum() {
        // The world begins an hour before its cycle ends.
        var metered = Metered(Self.quota(.init(.day, at: 3600), rollover: 1500))
        metered.carry(100)
        #expect(metered.state.limitBytes == 1000, "the first cycle wasn't metered as a whole")
        metered.carry(400, after: 86_400)
        #expect(metered.state.limitBytes == 1000, "what was left of it isn't known")
        metered.carry(200, after: 86_400)
        #expect(metered.state.limitBytes == 1600 && metered.state.rolloverBytes == 600)
        metered.carry(100, after: 86_400)
        #expect(metered.state.limitBytes == 2400)
        metered.carry(100, after: 86_400)
        #expect(metered.state.limitBytes == 2500, "no more than the maximum")
        metered.world.start()
        #expect(metered.state.limitBytes == 2500)
        metered.carry(9000)
        metered.carry(1, after: 86_400)
        #expect(metered.state.limitBytes == 1000, "nothing is left of what was exceeded")
    }

    @Test func aPrepaidQuotaCountsBetweenItsDatesOnly() throws {
        let rule = CycleRule(
            .once(from: try #require(CivilDate("2026-11-22")), until: try #require(CivilDate("2026-11-24"))))
        var metered = Metered(Self.quota(rule))
        metered.carry(10)
        #expect(metered.state.usedBytes == 0)
        metered.carry(20, after: 86_400)
        metered.carry(30, after: 86_400)
        #expect(metered.state.usedBytes == 50)
        metered.carry(40, after: 86_400)
        #expect(metered.state.usedBytes == 50)
    }

    @Test func theSafeUsePerDayIsWhatIsLeftByTheDaysThatAre() {
        var metered = Metered(Self.quota(.init(.month(day: 1)), limit: 11_000))
        metered.carry(1000, after: 1)
        let now = Timestamp(secondsSinceEpoch: 1_795_219_200)  // 2026-11-21, ten days before the end.
        #expect(metered.state.safeBytesPerDay(at: now) == 1000)
        #expect(metered.state.safeBytesPerDay(at: metered.state.cycle.upperBound.adding(seconds: -60)) == 10_000)
        #expect(metered.state.safeBytesPerDay(at: metered.state.cycle.upperBound) == 0)
    }

    @Test func aCycleThatBeginsWithinFiveMinutesIsExactToTheSecond() {
        var metered = Metered(Self.quota(.init(.day, at: 120), limit: 100_000))
        for second in 1...300 {
            metered.world.carry(metered.device, received: 1)
            metered.world.pass(1)
            metered.world.read()
            let used = metered.state.usedBytes
            #expect(used == UInt64(second <= 119 ? second : second - 120), "second \(second)")
        }
        metered.world.start()
        #expect(metered.state.usedBytes == 180)
    }

    @Test func whatWasSoBeforeAQuotaWasThereIsNoNews() {
        var metered = Metered(Self.quota(.init(.day), warnAt: [500_000], rollover: 100))
        for _ in 0..<5 { metered.carry(5000, after: 86_400) }
        metered.carry(1, after: 86_400)
        metered.world.store.events = []
        metered.world.start()
        metered.world.read()
        #expect(metered.events.isEmpty, "only the open cycle counts for a quota that is new")
    }

    @Test func aCycleThatEndedInAGapIsJudgedByAllOfIt() {
        var metered = Metered(Self.quota(.init(.day)))
        metered.carry(950, after: 80_000)
        metered.world.stop()
        metered.world.carry(metered.device, received: 6400)
        metered.world.pass(64_000)  // A tenth of it before midnight.
        metered.world.start()
        metered.world.read()
        #expect(metered.events.map(\.kind) == [.breach, .breach])
        #expect(metered.events.first.map { $0.usedBytes >= 950 + 630 && $0.usedBytes <= 950 + 650 } == true)
    }

    @Test func aPrepaidQuotaThatIsOverMakesNoCommits() throws {
        let rule = CycleRule(
            .once(from: try #require(CivilDate("2020-01-01")), until: try #require(CivilDate("2021-01-01"))))
        var metered = Metered(Self.quota(rule))
        metered.carry(1)
        for _ in 0..<3 {
            metered.world.pass(1)
            let isUrgent = metered.world.ledger.notePlanEvents(at: metered.world.now.timestamp)
            #expect(!isUrgent)
        }
    }

    @Test(arguments: [400.0, 100_000, 4_000_000, -400, -100_000, -4_000_000])
    func aClockThatIsWrongForAWhileChangesNothingWhenItIsRight(step: Double) {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.carry(300, after: 50_000)
        metered.world.wallSeconds += step
        metered.carry(20)
        metered.world.wallSeconds -= step
        metered.carry(7)
        let sameDay = step == 400 || step == -400
        #expect(metered.state.usedBytes == (sameDay ? 327 : 307))
        metered.world.start()
        #expect(metered.state.usedBytes == (sameDay ? 327 : 307))
    }

    @Test(arguments: [-840_000_000.0, 300_000_000], [true, false])
    func aClockThatIsWrongAtTheVeryFirstStartInventsNoPast(step: Double, isFast: Bool) {
        let plans = Plans(
            quotas: Self.quota(.init(.month(day: 1)), rollover: 5000).quotas, rateLimits: [],
            committedRates: [
                CommittedRate(
                    name: "c", count: .devices(["eth0"].compactMap { DevicePattern($0) }), direction: .total,
                    limitBitsPerSecond: 1000, cycle: Cycle(.init(.month(day: 1))), missing: .skip)
            ])
        var world = World(plans: plans)
        world.store = ModelStore()
        world.kernel[DeviceIndex(rawValue: 1)] = (DeviceName("eth0"), .zero)
        world.wallSeconds += step
        world.start()
        world.run(seconds: 20)
        world.wallSeconds -= step
        world.run(seconds: isFast ? 2 : 700)
        for _ in 0..<2 {
            #expect(world.quota("q")?.limitBytes == 1000, "no month before was metered")
            let rate = world.ledger.planBook.committedRateStates[0]
            #expect(rate.samples == (isFast ? 0 : 2))
            #expect(rate.closed.isEmpty)
            world.commit()
            world.start()
            world.read()
        }
    }

    @Test func timeThatTheClockSkipsWasNotRead() {
        let rate = CommittedRate(
            name: "c", count: .devices(["eth0"].compactMap { DevicePattern($0) }), direction: .total,
            limitBitsPerSecond: 1000, cycle: Cycle(.init(.day)), missing: .skip)
        var metered = Metered(Plans(quotas: [], rateLimits: [], committedRates: [rate]))
        metered.world.run(seconds: 600)
        metered.world.stop()
        metered.world.start()
        metered.world.wallSeconds += 36_000
        metered.world.run(seconds: 600)
        let state = metered.world.ledger.planBook.committedRateStates[0]
        #expect(state.samples == 4 && state.missing == 120)
        metered.world.commit()
        metered.world.start()
        metered.world.read()
        #expect(metered.world.ledger.planBook.committedRateStates[0].missing == 120)
    }

    @Test func samplesOfCyclesThatBeginWithinFiveMinutesBelongToOneCycleEach() {
        let rate = CommittedRate(
            name: "c", count: .devices(["eth0"].compactMap { DevicePattern($0) }), direction: .total,
            limitBitsPerSecond: 1000, cycle: Cycle(.init(.day, at: 120)), missing: .zero)
        var metered = Metered(Plans(quotas: [], rateLimits: [], committedRates: [rate]))
        for _ in 0..<(3 * 288) {
            metered.world.pass(300)
            metered.world.read()
        }
        let closed = metered.world.ledger.planBook.committedRateStates[0].closed
        #expect(closed.suffix(2).map(\.samples) == [288, 288], "as many as a day has five minutes")
    }

    /// By another clock, too: hours earlier it is the same cycle.
    @Test(arguments: [0, -5] as [Int64])
    func aCycleThatWasToldIsNotToldAgainFromSomeOfItsSamples(hours: Int64) {
        func rate(_ name: String, _ rule: CycleRule) -> CommittedRate {
            CommittedRate(
                name: name, count: .devices(["eth0"].compactMap { DevicePattern($0) }), direction: .total,
                limitBitsPerSecond: 1000, cycle: Cycle(rule), missing: .zero)
        }
        let now = Timestamp(secondsSinceEpoch: 1_795_219_200 + 3600)
        let yesterday = now.adding(seconds: -90_000)..<now.adding(seconds: -3600)
        var records = PlanRecords.none
        records.committedCycles = [
            CommittedCycle(
                name: "day",
                cycle: yesterday.lowerBound.adding(
                    seconds: hours * 3600)..<yesterday.upperBound.adding(seconds: hours * 3600),
                limitBitsPerSecond: 1000, percentileBytes: 77, samples: 288, missing: 0)
        ]
        var book = PlanBook(
            Plans(
                quotas: [], rateLimits: [],
                committedRates: [rate("day", .init(.day)), rate("month", .init(.month(day: 1)))]),
            calendars: [.local: LocalCalendar(zone: .utc, weekStart: .monday)], records: records,
            meteredFrom: .earliest, at: now)
        // The month wants it.
        book.restore(
            Total(Delta(received: 5, transmitted: 0)), of: .device(DeviceName("eth0")),
            at: yesterday.upperBound.adding(seconds: -600))
        book.complete(at: now)
        #expect(!book.takeCommittedCycles(at: now).contains { $0.name == "day" })
        #expect(book.committedRateStates[0].closed.map(\.percentileBytes) == [77])
    }

    @Test func aPrepaidQuotaThatIsOverIsBreachedNoMoreAndKeepsNoBuckets() throws {
        let rule = CycleRule(
            .once(from: try #require(CivilDate("2026-11-20")), until: try #require(CivilDate("2026-11-22"))), at: 3600)
        var metered = Metered(Self.quota(rule, warnAt: [500_000]))
        metered.carry(1000, after: 10)
        #expect(metered.state.isBreached && metered.state.thresholds[0].isReached)
        let open = metered.world.ledger.planBook.bucketsNeededFrom(at: metered.world.now.timestamp)
        #expect(open == metered.state.cycle.lowerBound)
        metered.carry(1, after: 2 * 86_400)
        #expect(!metered.state.isBreached && !metered.state.thresholds[0].isReached && metered.state.usedBytes == 1000)
        #expect(metered.state.breaches == 1)
        #expect(metered.world.ledger.planBook.bucketsNeededFrom(at: metered.world.now.timestamp) == .latest)
    }

    @Test func whatIsCarriedWhileACorrectionIsOnItsWayToTheStoreComesAfterIt() {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.carry(10, after: 500)
        let now = metered.world.now.timestamp
        metered.world.ledger.cut(at: now)
        metered.carry(7)
        metered.world.commit()
        metered.world.store.adjustments = [
            Adjustment(id: 1, quota: "q", kind: .correction(usedBytes: 500), at: now, enteredAt: now)
        ]
        metered.carry(3)
        metered.world.ledger.use(metered.world.storedPlanBook)
        #expect(metered.state.usedBytes == 510)
    }

    @Test(arguments: [true, false])
    func whatIsCarriedInAGapAfterACorrectionComesAfterItInTheSameFiveMinutesToo(isCrash: Bool) {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.carry(100, after: 3610)
        metered.world.adjust("q", .correction(usedBytes: 500))
        metered.carry(7, after: 5)
        metered.world.commit()
        metered.world.carry(metered.device, received: 1000)
        metered.world.pass(30)
        if isCrash { metered.world.start() }
        metered.world.read()
        #expect(metered.state.usedBytes == 1507)
    }

    @Test func whatIsFoundAfterAGapKnowsACorrectionThatWasToldMeanwhile() {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.carry(0, after: 3600)
        metered.world.stop()
        metered.world.pass(4 * 3600)
        metered.world.store.adjustments = [
            Adjustment(
                id: 1, quota: "q", kind: .correction(usedBytes: 500),
                at: metered.world.now.timestamp.adding(seconds: -2 * 3600 + 120), enteredAt: metered.world.now.timestamp
            )
        ]
        metered.world.pass(4 * 3600)
        metered.world.carry(metered.device, received: 28_800)
        for _ in 0..<2 {
            metered.world.start()
            metered.world.read()
            metered.world.commit()
            let used = metered.state.usedBytes
            #expect(used >= 500 + 21_480 - 1 && used <= 500 + 21_480 + 1, "a byte a second since then")
        }
    }

    @Test func correctionsThatLaterOnesReplacedChangeNothing() {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        for used: UInt64 in [500, 400, 300] {
            metered.carry(10, after: 500)
            metered.world.adjust("q", .correction(usedBytes: used))
            metered.world.adjust("q", .topUp(bytes: 5))
            metered.carry(7)
            #expect(metered.state.usedBytes == used + 7)
        }
        #expect(metered.state.adjustments.count == 6 && metered.state.limitBytes == 100_015)
        metered.world.start()
        #expect(metered.state.usedBytes == 307)
    }

    @Test func aCorrectionOfThePastDividesTheFiveMinutesThatItLiesIn() {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.world.pass(3600)
        metered.world.read()
        for _ in 0..<290 { metered.carry(10) }
        let moment = Timestamp(secondsSinceEpoch: 1_795_219_200 + 3600 + 100)
        metered.world.adjust("q", .correction(usedBytes: 5000), at: moment)
        #expect(metered.state.usedBytes == 5000 + 1900, "190 of the 290 seconds lie behind it")
        metered.carry(10)
        metered.world.start()
        #expect(metered.state.usedBytes == 5000 + 1910)
    }

    @Test(arguments: [false, true], [nil, 600 as UInt64?])
    func whatWasUsedOutlivesTheLossOfTheLedger(isNightFree: Bool, correction: UInt64?) {
        let free = isNightFree ? [7200..<7560] : []  // Of Saturday, from midnight on.
        var metered = Metered(Self.quota(.init(.month(day: 1)), free: free))
        metered.carry(100, after: 8 * 3600 + 7)
        if let correction { metered.world.adjust("q", .correction(usedBytes: correction)) }
        metered.carry(10, after: 1000)
        let before = metered.state
        metered.world.store = ModelStore()
        metered.world.ledger.recommitEverything()
        metered.world.commit()
        metered.carry(1, after: 1)
        #expect(metered.state.usedBytes == before.usedBytes + 1)
        metered.world.start()
        #expect(metered.state.usedBytes == before.usedBytes + 1)
        if free.isEmpty { #expect(metered.state.driftBytes == before.driftBytes) }
        metered.carry(5)
        #expect(metered.state.usedBytes == before.usedBytes + 6)
    }

    @Test func aCorrectionOfThePastKnowsWhereSlotsWereCut() {
        var metered = Metered(Self.quota(.init(.day), limit: 100_000))
        metered.carry(0, after: 3600)
        metered.carry(1000, after: 30)
        metered.world.adjust("q", .correction(usedBytes: 500))
        let moment = metered.world.now.timestamp
        metered.carry(70, after: 30)
        metered.world.commit()
        metered.world.store.adjustments[0].undoneAt = metered.world.now.timestamp
        metered.world.adjust("q", .correction(usedBytes: 600), at: moment)
        #expect(metered.state.usedBytes == 670, "the same moment again")
        metered.carry(5, after: 10)
        metered.world.commit()
        metered.world.store.adjustments[1].undoneAt = metered.world.now.timestamp
        metered.world.adjust("q", .correction(usedBytes: 700), at: moment.adding(seconds: -15))
        let used = metered.state.usedBytes
        #expect(used > 700 + 75 + 450 && used < 700 + 75 + 550, "half of what was carried in the first 30 s")
        metered.carry(10, after: 400)
        #expect(metered.state.usedBytes == used + 10)
        metered.world.start()
        #expect(metered.state.usedBytes == used + 10)
    }

    @Test func aDeviceThatAPatternNamesLeavesItsClass() throws {
        var rules = World.rules()
        #expect(rules.account(for: DeviceName("veth12")) == .collapsed("veth*"))
        rules.counted = ["veth1*", "v*"].compactMap { DevicePattern($0) }
        #expect(rules.account(for: DeviceName("veth12")) == .device(DeviceName("veth12")))
        #expect(rules.account(for: DeviceName("veth22")) == .collapsed("veth*"))
        rules.counted = ["v*"].compactMap { DevicePattern($0) }
        #expect(rules.account(for: DeviceName("veth12")) == .collapsed("veth*"), "all of the class is counted")
    }

    // MARK: - Money

    @Test func sumsThatAreTooLargeStopAndCanBeShown() {
        let price = Price(
            currency: .euro, base: .zero, perGigabyte: Money(millionths: 1_000_000_000_000_000_000),
            overLimit: .init(blockBytes: 1, price: Money(millionths: 1_000_000_000_000_000_000), max: nil))
        let cost = price.cost(ofUsed: saturationLimit, limit: 1)
        #expect(cost.text(decimals: 2).count > 20 && cost.value > 1e20)
        #expect(Share(millionths: 10_000_000).bytes(of: saturationLimit) == saturationLimit)
        #expect(Share(millionths: 500_001).bytes(of: 1000) == 501)
    }

    @Test func aCostIsExact() throws {
        let price = Price(
            currency: try #require(Currency(code: "INR")), base: Money(millionths: 499_000_000),
            perGigabyte: Money(millionths: 7_500_000),
            overLimit: .init(blockBytes: 50, price: Money(millionths: 100_000), max: Money(millionths: 250_000)))
        #expect(price.cost(ofUsed: 0, limit: 1000).text(decimals: 2) == "499.00")
        #expect(price.cost(ofUsed: 1_000_000_000, limit: .max).text(decimals: 2) == "506.50")
        #expect(price.cost(ofUsed: 1, limit: 1000).parts == 499_000_000_007_500_000)
        #expect(
            price.cost(ofUsed: 1000, limit: 1000).text(decimals: 6) == "499.000008", "at the limit no block is begun")
        #expect(price.cost(ofUsed: 1001, limit: 1000).text(decimals: 2) == "499.10")
        #expect(price.cost(ofUsed: 1050, limit: 1000).text(decimals: 2) == "499.10")
        #expect(price.cost(ofUsed: 1051, limit: 1000).text(decimals: 2) == "499.20")
        #expect(price.cost(ofUsed: 9999, limit: 1000).text(decimals: 2) == "499.25", "at most")
        #expect(price.cost(ofUsed: saturationLimit, limit: 1).parts > 0)
        #expect(
            Money(millionths: 5_000).text(decimals: 2) == "0.01" && Money(millionths: 4_999).text(decimals: 2) == "0.00"
        )
        #expect(Money(millionths: 1_500_000).text(decimals: 0) == "2" && Money(millionths: 100_000).value == 0.1)
    }

    @Test func addingTenthsTenTimesGivesOne() {
        var sum = Money.zero
        for _ in 0..<10 { sum = sum.adding(Money(millionths: 100_000)) }
        #expect(sum == Money(millionths: 1_000_000) && sum.value == 1)
    }

    // MARK: - Rates

    @Test func aRateLimitNeedsToBeExceededForLongAndKeepsStillForAsLong() {
        var book = RateLimitBook(
            RateLimit(name: "r", count: .uplink, direction: .receive, limitBitsPerSecond: 800, hold: Span(seconds: 3)))
        func states(_ rates: [Double]) -> [Bool] {
            rates.map {
                book.sample(Rate(received: $0, transmitted: 1e9), over: Span(seconds: 1))
                return book.isBreached
            }
        }
        #expect(
            states([101, 101, 100, 101, 101, 101]) == [false, false, false, false, false, true], "100 isn't over it")
        #expect(states([95, 95, 95, 95]) == [true, true, true, true], "still near it")
        #expect(states([95, 101, 95, 90, 90, 91, 90, 90, 90]).last == false)
        #expect(states([101, 101]) == [false, false] && book.breaches == 1)
        #expect(states([101]) == [true] && book.breaches == 2)
    }

    // MARK: - Forecasts

    @Test(arguments: 0..<200)
    func aForecastIsNeverNegativeNorEndlessWhateverThePast(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let values = (0..<Int.random(in: 0...1344, using: &random)).map { _ -> Float in
            switch Int.random(in: 0..<4, using: &random) {
            case 0: 0
            case 1: .random(in: 0...1e6, using: &random)
            case 2: .random(in: 0...1e18, using: &random)
            default: 1
            }
        }
        let first = Int64.random(in: -1000...500_000, using: &random)
        let forecast = Forecast(
            values, firstHour: first, elapsed: .random(in: 0...800, using: &random),
            remaining: .random(in: 0...9000, using: &random))
        let now = Double(first) + Double(values.count)
        var last = 0.0
        for ahead in [0, 0.001, 1, 24, 167.99, 168, 1000, 100_000] {
            let bytes = forecast.bytes(from: now, to: now + ahead)
            #expect(bytes.isFinite && bytes >= last, "seed \(seed)")
            last = bytes
        }
        #expect(forecast.bytes(from: now, to: now - 1) == 0)
    }

    @Test func inTheFirstHoursTheMeanSoFarGoesOn() {
        var metered = Metered(Self.quota(.init(.day), limit: 10_000_000))
        // A hundred bytes a second since midnight, when metering began.
        for _ in 0..<6 { metered.carry(60_000, after: 600) }
        #expect(abs(Double(metered.forecast.projectedBytes ?? 0) - 8_640_000) < 20_000)
        #expect(metered.forecast.exhaustion == nil)
        metered.carry(600_000, after: 600)
        #expect(metered.forecast.exhaustion != nil)
    }

    @Test func aFewSecondsAreNoMean() {
        var metered = Metered(Self.quota(.init(.day), limit: 10_000_000))
        metered.carry(100_000, after: 1)
        #expect((200_000..<10_000_000).contains(metered.forecast.projectedBytes ?? 0))
    }

    @Test func whatTheProviderSaysOfTheTimeBeforeMeteringIsExpectedToGoOn() {
        var metered = Metered(Self.quota(.init(.month(day: 1)), limit: 2_000_000_000))
        metered.carry(1000, after: 60)
        let cycle = metered.state.cycle
        let now = metered.world.now.timestamp.secondsSinceEpoch
        let elapsed = Double(now - cycle.lowerBound.secondsSinceEpoch)
        #expect(elapsed > 5 * 86_400)
        // A thousand bytes a second, until metering began.
        metered.world.adjust("q", .correction(usedBytes: UInt64(elapsed * 1000)))
        let whole = Double(cycle.upperBound.secondsSinceEpoch - cycle.lowerBound.secondsSinceEpoch) * 1000
        #expect(abs(Double(metered.forecast.projectedBytes ?? 0) - whole) < whole / 50)
        #expect(metered.forecast.exhaustion != nil)
        // What is metered then counts more and more.
        for _ in 0..<(7 * 24) { metered.carry(1_800_000, after: 3600) }
        let rest = Double(cycle.upperBound.secondsSinceEpoch - metered.world.now.timestamp.secondsSinceEpoch)
        let used = Double(metered.state.usedBytes)
        #expect((used..<used + rest * 800).contains(Double(metered.forecast.projectedBytes ?? 0)))
    }

    @Test func aSteadyRateGoesOnAndAWeeklyPatternIsFound() {
        let steady = Forecast(Array(repeating: 100, count: 500), firstHour: 490_000, elapsed: 100, remaining: 620)
        #expect(abs(steady.bytes(from: 490_500, to: 490_600) - 10_000) < 1)
        // Only on two days of the week: a straight line would be wrong on each of the others.
        let week = (0..<1344).map { Float(($0 / 24) % 7 < 2 ? 1000 : 0) }
        let pattern = Forecast(week, firstHour: 0, elapsed: 400, remaining: 320)
        #expect(abs(pattern.bytes(from: 1344, to: 1344 + 48) - 48_000) < 4800)
        #expect(pattern.bytes(from: 1344 + 48, to: 1344 + 168) < 4800)
    }
}
