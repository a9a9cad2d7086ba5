import CivilTime
import TestSupport
import Testing

@testable import Accounting

/// Counters that show less than before: restarts, and wrong numbers that pass.
@Suite("Counters that fall")
struct CounterFallTests {
    private static let terabyte: UInt64 = 1_000_000_000_000

    private func total(_ received: UInt64, _ transmitted: UInt64 = 0) -> Total {
        Total(received: received, transmitted: transmitted)
    }

    /// A device that has carried a terabyte each way, metered from its creation.
    private func started(plans: Plans = .none) -> (World, DeviceIndex) {
        var world = World(plans: plans)
        let eth0 = world.create("eth0")
        world.carry(eth0, received: Self.terabyte, transmitted: Self.terabyte)
        world.uplink = eth0
        world.run(seconds: 1)
        return (world, eth0)
    }

    @Test func eachDirectionIsJudgedByItself() {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters = Counters(received: Self.terabyte + 1000, transmitted: 500)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 1000, Self.terabyte + 500))
        #expect(world.view("eth0")?.events.resets == 1)
        #expect(
            world.view("eth0")?.counter == Counters(received: Self.terabyte + 1000, transmitted: Self.terabyte),
            "a counter can't take bytes back, so it waits")
        world.run(seconds: 61)
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 1000, Self.terabyte + 500))
        #expect(
            world.view("eth0")?.counter == Counters(received: Self.terabyte + 1000, transmitted: Self.terabyte + 500))
    }

    @Test func aStopDoesNotJudgeTheDirectionsTogether() {
        var (world, eth0) = started()
        world.stop()
        world.kernel[eth0]?.counters = Counters(received: 700, transmitted: Self.terabyte + 5)
        world.pass(3600)
        world.start()
        world.run(seconds: 62)
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 700, Self.terabyte + 5))
    }

    /// What a restart of the counter would book is in the store with the fall.
    @Test(arguments: [true, false])
    func aRebootSoonAfterAFallLosesNothing(isStopped: Bool) {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters = Counters(received: 500, transmitted: Self.terabyte)
        world.run(seconds: 2)
        if isStopped { world.stop() }
        world.pass(20)
        world.reboot("boot-2")
        world.start()
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 500, Self.terabyte))
        #expect(world.view(.uplink)?.lifetime == total(500), "it held the uplink since the first reading")
        world.start()
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 500, Self.terabyte), "not twice")
    }

    @Test(arguments: [1, 2])
    func aDeviceThatGoesDuringAStopSoonAfterAFallLosesNothing(generation: Int) {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters = Counters(received: 500, transmitted: Self.terabyte)
        world.run(seconds: 2)
        world.stop()
        world.kernel[eth0] = nil
        world.uplink = nil
        if generation == 2 { _ = world.create("eth0", seen: false, counters: Counters(received: 3, transmitted: 4)) }
        world.start()
        let since = generation == 2 ? total(3, 4) : total(0)
        world.run(seconds: 70)
        #expect(
            world.store.total(of: AccountID(rawValue: 2))
                == total(Self.terabyte + 500 + since.received, Self.terabyte + since.transmitted))
    }

    /// As it grew before the stop, so it goes on.
    @Test func aCounterThatOutgrowsItsPastDuringAStopHadRestarted() {
        var world = World()
        let eth0 = world.create("eth0")
        let before: UInt64 = 500_000_000
        world.carry(eth0, received: before)
        world.run(seconds: 1)
        world.kernel[eth0]?.counters.received = 0
        for _ in 0..<5 {
            world.carry(eth0, received: 30_000_000)
            world.run(seconds: 1)
        }
        world.stop()
        world.pass(600)
        world.carry(eth0, received: 600 * 30_000_000)
        world.start()
        #expect(world.view("eth0")?.lifetime == total(before + 605 * 30_000_000))
    }

    /// Nobody saw when the right number came back.
    @Test(arguments: [20, 65, 3600] as [Double])
    func aGlitchThatEndsDuringAStopWasOne(stopSeconds: Double) {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters.received = 500
        world.run(seconds: 2)
        world.stop()
        world.pass(stopSeconds)
        world.kernel[eth0]?.counters.received = Self.terabyte + 1000
        world.start()
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 1000, Self.terabyte))
    }

    /// What was looked at every second is no gap.
    @Test func aRestartThatIsClearOnlyAfterAStopIsNoGap() {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters.received = 500
        world.run(seconds: 30)
        world.stop()
        world.pass(5)
        world.reboot("boot-2")
        world.start()
        #expect(world.view("eth0")?.events.gapBytes == 0)
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 500, Self.terabyte))
    }

    /// Days are held by the calendar of the moment in which they are booked.
    @Test(arguments: [500, Self.terabyte + 2000] as [UInt64])
    func anotherZoneDoesNotDecideAFall(shownLater: UInt64) throws {
        var (world, eth0) = started()
        world.commit()
        world.kernel[eth0]?.counters.received = 500
        world.run(seconds: 2)
        world.commit()
        world.calendar = LocalCalendar(zone: try Zone(posix: "EST5"), weekStart: .monday)
        let daysFrom = PeriodWindow(world.calendar, at: world.now.timestamp).previousMonthStart
        world.ledger.replaceHistory(
            world.store.load(daysFrom: daysFrom, names: world.ledger.namesWanted), calendar: world.calendar,
            at: world.now.timestamp)
        world.kernel[eth0]?.counters.received = shownLater
        world.run(seconds: 70)
        let carried = Self.terabyte + min(shownLater, 2000)
        #expect(world.view("eth0")?.lifetime.received == carried)
        world.commit()
        let eastern = CivilDate(daysSinceEpoch: 20_777)  // 2026-11-20, still.
        let booked = world.ledger.accounts.places[.device(DeviceName("eth0"))].map {
            world.ledger.accounts[$0].days.entries
        }
        #expect(booked?.first { $0.day == eastern }?.total.received == min(shownLater, 2000))
    }

    @Test func aDeletedDeviceBooksWhatItHasShownSinceTheFall() {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters = Counters(received: 100, transmitted: Self.terabyte)
        world.run(seconds: 2)
        world.kernel[eth0]?.counters = Counters(received: 0, transmitted: Self.terabyte + 7)
        world.delete(eth0)
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 100, Self.terabyte + 7))
    }

    @Test(arguments: [0, 500, 900_000_000_000] as [UInt64])
    func aCounterThatComesBackHadNotRestarted(shown: UInt64) {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters = Counters(received: shown, transmitted: shown)
        world.run(seconds: 3)
        world.kernel[eth0]?.counters = Counters(received: Self.terabyte + 2000, transmitted: Self.terabyte)
        world.run(seconds: 1)
        for name in ["before", "and long after"] {
            #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 2000, Self.terabyte), "\(name)")
            #expect(
                world.view("eth0")?.counter
                    == Counters(received: Self.terabyte + 2000, transmitted: Self.terabyte), "\(name)")
            world.run(seconds: 100)
        }
        #expect(world.view(.uplink)?.lifetime == total(2000, 0), "it became the uplink with the first reading")
        #expect(world.view("eth0")?.events.suspectBytes == 2 * Self.terabyte, "of the first reading, and no more")
    }

    @Test func aCounterThatComesBackFasterThanTheLinkHadRestarted() {
        var (world, eth0) = started()
        world.ledger.setLinkSpeed(1_000_000, of: eth0)
        world.kernel[eth0]?.counters.received = 0
        world.run(seconds: 1)
        world.kernel[eth0]?.counters.received = Self.terabyte + 1_000_000_000
        world.run(seconds: 70)
        #expect(world.view("eth0")?.lifetime == total(2 * Self.terabyte + 1_000_000_000, Self.terabyte))
    }

    /// As a 32-bit counter does that wraps every half a minute, or one of a fast link that is reset early.
    @Test(arguments: [120_000_000, 30_000_000] as [UInt64], [0, 900_000_000] as [UInt64])
    func aCounterThatClimbsPastWhereItWasHadRestarted(bytesPerSecond: UInt64, burst: UInt64) {
        var (world, eth0) = started()
        let before: UInt64 = 500_000_000
        world.delete(eth0)
        let eth1 = world.create("eth1")
        world.carry(eth1, received: before)
        world.run(seconds: 1)
        world.kernel[eth1]?.counters.received = 0
        for _ in 0..<40 {
            world.carry(eth1, received: bytesPerSecond)
            world.run(seconds: 1)
        }
        world.carry(eth1, received: burst)
        world.run(seconds: 70)
        #expect(world.view("eth1")?.lifetime == total(before + 40 * bytesPerSecond + burst))
    }

    @Test func aFallBeforeTheStoreCameIsUndoneAfterIt() {
        var (world, eth0) = started()
        world.commit()
        world.kernel[eth0]?.counters.received = 0
        world.startWithoutStore()
        world.run(seconds: 2)
        world.storeReturns()
        world.run(seconds: 2)
        world.kernel[eth0]?.counters.received = Self.terabyte + 2000
        world.run(seconds: 70)
        #expect(world.view("eth0")?.lifetime == total(Self.terabyte + 2000, Self.terabyte))
    }

    @Test func aCounterThatComesBackTooLateHadRestarted() {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters.received = 0
        world.run(seconds: 62)
        world.kernel[eth0]?.counters.received = Self.terabyte
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(2 * Self.terabyte, Self.terabyte), "no delta is ever dropped")
    }

    @Test func aFallNotifiesNobodyBeforeItIsClear() {
        let quota = Quota(
            name: "cap", count: .uplink, direction: .total, limitBytes: 1_000_000,
            cycle: Cycle(.init(.month(day: 1)), timezone: .local), warnAt: [], free: FreeTime([]),
            rolloverMaximumBytes: nil)
        var (world, eth0) = started(plans: Plans(quotas: [quota], rateLimits: [], committedRates: []))
        world.kernel[eth0]?.counters.received = 5_000_000
        world.run(seconds: 30)
        #expect(world.quota("cap")?.usedBytes == 0)
        world.kernel[eth0]?.counters.received = Self.terabyte
        world.run(seconds: 60)
        #expect(world.quota("cap")?.usedBytes == 0 && world.quota("cap")?.isBreached == false)
        world.kernel[eth0]?.counters.received = 5_000_000
        world.run(seconds: 62)
        #expect(world.quota("cap")?.usedBytes == 5_000_000 && world.quota("cap")?.isBreached == true)
    }

    @Test func heldBytesShowInReportsAsInMetrics() {
        var (world, eth0) = started()
        world.kernel[eth0]?.counters.received = 5000
        world.run(seconds: 2)
        world.commit()
        let history = world.ledger.history()
        let entry = history.entries.first { $0.key == .device(DeviceName("eth0")) }
        #expect(entry?.lifetime == world.view("eth0")?.lifetime)
        #expect(entry?.days.last?.total == world.view("eth0")?.periods.day)
        #expect(world.view(.uplink)?.periods.day == total(5000))
    }

    // MARK: - Any history

    /// A device whose counters fall, come back, restart, and are lost with the program now and then.
    private struct History {
        var world = World()
        var random: SeededGenerator
        var device: DeviceIndex
        /// What the counters would show if no number was ever wrong.
        var honest = Counters.zero
        /// Everything that was carried since the device was first created.
        var carried = Total.zero
        var glitchEnds: Double?
        var startsAmidGlitches = 0

        init(seed: UInt64) {
            random = SeededGenerator(seed: seed)
            device = world.create("eth0")
            begin()
        }

        /// The counters are far above all that is carried in a minute, so that no restart looks like a return.
        private mutating func begin() {
            honest = Counters(received: terabyte, transmitted: terabyte)
            carried += Delta(received: terabyte, transmitted: terabyte)
            show()
            world.read()
            world.commit()
        }

        /// What the kernel shows, rightly or wrongly.
        mutating func show() { world.kernel[device]?.counters = honest }

        mutating func carry() {
            let delta = Delta(
                received: .random(in: 0...1_000_000, using: &random),
                transmitted: .random(in: 0...1_000_000, using: &random))
            honest.received += delta.received
            honest.transmitted += delta.transmitted
            carried += delta
            if glitchEnds == nil { show() }
        }

        mutating func step() {
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<6: carry()
            case 6..<12: pass(.random(in: 0.2...8, using: &random))
            case 12: glitch()
            case 13: restart()
            case 14, 15:
                if glitchEnds != nil { startsAmidGlitches += 1 }
                world.start()
            case 16: world.commit()
            case 17 where glitchEnds == nil:
                world.read()
                world.stop()
                world.pass(.random(in: 0...3000, using: &random))
                world.start()
            case 18 where glitchEnds == nil:
                world.delete(device)
                device = world.create("eth0")
                begin()
            default: world.read(endsInterval: false)
            }
        }

        private mutating func pass(_ seconds: Double) {
            world.pass(seconds)
            if let end = glitchEnds, world.bootSeconds >= end { endGlitch() }
            world.read()
        }

        mutating func endGlitch() {
            glitchEnds = nil
            show()
        }

        /// One direction or both show less for some seconds. It takes less than a minute, with the readings in between.
        private mutating func glitch() {
            if glitchEnds != nil { return }
            world.read()
            let isWrong = Int.random(in: 1...3, using: &random)
            var wrong = honest
            if isWrong & 1 != 0 { wrong.received = .random(in: 0..<honest.received, using: &random) }
            if isWrong & 2 != 0 { wrong.transmitted = .random(in: 0..<honest.transmitted, using: &random) }
            world.kernel[device]?.counters = wrong
            glitchEnds = world.bootSeconds + .random(in: 0...45, using: &random)
            if Bool.random(using: &random) { world.read() }
        }

        /// One direction or both start again from zero, and it is clear that they did before anything else happens.
        private mutating func restart() {
            if glitchEnds != nil { return }
            world.read()
            let restarted = Int.random(in: 1...3, using: &random)
            if restarted & 1 != 0 { honest.received = 0 }
            if restarted & 2 != 0 { honest.transmitted = 0 }
            show()
            world.read()
            for _ in 0..<10 {
                carry()
                if Int.random(in: 0..<8, using: &random) == 0 { world.start() }
                world.pass(10)
                world.read()
            }
            // Back up to where a glitch would have to jump from.
            while world.ledger.devices.falls.isEmpty == false { pass(10) }
            honest.received += terabyte
            honest.transmitted += terabyte
            carried += Delta(received: terabyte, transmitted: terabyte)
            show()
            world.read()
            world.commit()
        }
    }

    @Test(arguments: 0..<tries(300))
    func fallsReturnsKillsAndRestartsLoseAndDoubleNoByte(number: UInt64) {
        var history = History(seed: number &* 0x9E37_79B9 &+ 3)
        var last = Counters.zero
        for step in 0..<200 {
            let starts = history.startsAmidGlitches
            history.step()
            // What was booked since the last commit is in no counter then, until the right number comes back.
            if history.startsAmidGlitches != starts { last = .zero }
            let counter = history.world.view("eth0")?.counter ?? .zero
            #expect(counter.continues(last), "the counter never falls: seed \(number), step \(step)")
            last = counter
        }
        history.endGlitch()
        history.world.read()
        history.world.commit()
        #expect(history.world.ledger.devices.falls.isEmpty, "seed \(number)")
        #expect(history.world.view("eth0")?.lifetime == history.carried, "seed \(number)")
        let stored = history.world.store.accounts.values.first { $0.key == .device(DeviceName("eth0")) }
        #expect(stored.map { history.world.store.total(of: $0.id) } == history.carried, "seed \(number)")
        #expect(stored.map { history.world.store.bucketTotal(of: $0.id) } == history.carried, "seed \(number)")
    }
}

private let terabyte: UInt64 = 1_000_000_000_000
