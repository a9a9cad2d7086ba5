import CivilTime
import TestSupport
import Testing

@testable import Accounting

@Suite("The counting of applications")
struct ApplicationLedgerTests {
    /// A machine whose kernel counts by application, and the program that reads it.
    private struct Machine {
        var world = World()
        var attachment: UInt64 = 1
        /// Right before the reading, if it isn't said.
        var attachedAt: BootTime?
        var counters: [ApplicationCounterKey: PacketCounter] = [:]
        var lanes: [LaneKey: PacketCounter] = [:]
        var countsLanes = false
        /// Whether lanes are there, though they don't count any more.
        var keepsLanes = false
        /// What the programs have counted in all attachments, by application and scope.
        var carried: [AccountKey: Total] = [:]

        /// Two counters of one application differ by their cgroup.
        mutating func carry(
            _ name: String, _ scope: TrafficScope = .internet, cgroup: UInt64 = 1,
            passage: ApplicationCounterKey.Passage = .uplink, received: UInt64 = 0, transmitted: UInt64 = 0
        ) {
            let key = ApplicationCounterKey(
                cgroup: cgroup, process: ProcessName(bytes: Array(name.utf8)), scope: scope, passage: passage)
            counters[key, default: PacketCounter()].wire.received += received
            counters[key, default: PacketCounter()].wire.transmitted += transmitted
            let total = Total(received: received, transmitted: transmitted)
            carried[.application(ApplicationName(name), scope), default: .zero] += total
            if passage != .uplink, scope != .tunnel {
                carried[.elsewhere(ApplicationName(name), scope), default: .zero] += total
            } else if passage == .uplink, scope == .lan {
                carried[.uplinkScope(.lan), default: .zero] += total
            }
        }

        /// The application and the uplink carry merged packets.
        ///
        /// - Parameter isMerged: Whether the device's counters show their headers once.
        mutating func carry(_ name: String, merged: PacketCounter, _ device: DeviceIndex, isMerged: Bool) {
            let key = ApplicationCounterKey(
                cgroup: 1, process: ProcessName(bytes: Array(name.utf8)), scope: .internet)
            counters[key, default: PacketCounter()].add(merged)
            lanes[LaneKey(device: device, scope: .internet), default: PacketCounter()].add(merged)
            let shown = isMerged ? merged.wire.growth(since: merged.saved) : Delta(sinceCreation: merged.wire)
            world.carry(device, received: shown.received, transmitted: shown.transmitted)
        }

        var reading: ApplicationReading {
            var reading = ApplicationReading(attachment: attachment)
            (reading.counters, reading.lanes) = (counters, countsLanes || keepsLanes ? lanes : [:])
            reading.countsLanes = countsLanes
            reading.attachedAt = attachedAt ?? BootTime(nanoseconds: world.now.sinceBoot.nanoseconds - 1)
            return reading
        }

        mutating func read() {
            world.read()
            world.ledger.record(reading, at: world.now, endsInterval: true) {
                ApplicationName(String(decoding: $0.process.bytes, as: UTF8.self))
            }
        }

        mutating func run(seconds: Int = 1) {
            for _ in 0..<seconds {
                world.pass(1)
                read()
            }
        }

        /// Idle counters are removed from the kernel, though one may have grown since it was read.
        mutating func retire(idleFor seconds: Int, using random: inout SeededGenerator) {
            read()
            for key in world.ledger.idleCounters(for: Span(seconds: Int64(seconds)), at: world.now) {
                if Bool.random(using: &random) {
                    carry(
                        String(decoding: key.process.bytes, as: UTF8.self), key.scope, cgroup: key.cgroup, received: 77)
                }
                world.ledger.retire(key, last: counters.removeValue(forKey: key) ?? PacketCounter(), at: world.now)
            }
            world.commit()
        }

        /// The programs are attached again: every counter begins at 0.
        mutating func attach() {
            attachment += 1
            (counters, lanes) = ([:], [:])
        }

        func lifetime(_ name: String, _ scope: TrafficScope = .internet) -> Total {
            world.view(.application(ApplicationName(name), scope))?.lifetime ?? .zero
        }
    }

    private static let passages: [ApplicationCounterKey.Passage] = [.uplink, .uplink, .otherDevice, .otherNamespace]

    private func total(_ received: UInt64, _ transmitted: UInt64 = 0) -> Total {
        Total(received: received, transmitted: transmitted)
    }

    @Test func allThatAnUnknownAttachmentShowsIsBooked() {
        var machine = Machine()
        machine.carry("curl", received: 100, transmitted: 10)
        machine.carry("curl", cgroup: 2, received: 1)
        machine.carry("curl", .lan, received: 7)
        machine.run()
        #expect(machine.lifetime("curl") == total(101, 10))
        #expect(machine.lifetime("curl", .lan) == total(7))
        machine.attach()
        machine.carry("curl", received: 50)
        machine.run()
        #expect(machine.lifetime("curl") == total(151, 10))
    }

    @Test func aKillLosesAndDoublesNothing() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.run()
        machine.world.commit()
        machine.carry("curl", received: 20)
        machine.run()
        // What was read since the last commit is read again.
        machine.world.start()
        machine.carry("curl", received: 3)
        machine.run()
        #expect(machine.lifetime("curl") == total(123))
    }

    @Test func aTimeWithoutTheProgramIsAGap() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.run()
        machine.world.stop()
        machine.carry("curl", received: 50)
        machine.world.pass(3600)
        machine.world.start()
        machine.run()
        #expect(machine.lifetime("curl") == total(150))
        #expect(machine.world.view(.application(ApplicationName("curl"), .internet))?.events.gapBytes == 50)
    }

    @Test func aCounterGoesOnOverStartsAndBeginsAgainWithABoot() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.run()
        machine.world.stop()
        machine.world.start()
        machine.attach()
        machine.carry("curl", received: 5)
        machine.run()
        #expect(machine.world.view(.application(ApplicationName("curl"), .internet))?.counter.received == 105)
        machine.world.stop()
        machine.world.reboot("boot-2")
        machine.world.start()
        machine.attach()
        machine.carry("curl", received: 2)
        machine.run()
        #expect(machine.world.view(.application(ApplicationName("curl"), .internet))?.counter.received == 2)
        #expect(machine.lifetime("curl") == total(107))
    }

    @Test func applicationsAreNoDevices() {
        var machine = Machine()
        let eth0 = machine.world.create("eth0")
        machine.world.uplink = eth0
        machine.world.carry(eth0, received: 1000)
        machine.carry("eth0", received: 900)
        machine.run()
        #expect(machine.world.view("eth0")?.lifetime == total(1000))
        #expect(machine.world.ledger.views.count == 2)
        #expect(machine.lifetime("eth0") == total(900))
    }

    @Test func moreThanAThousandOfAMonthShareOneAccount() {
        var machine = Machine()
        for number in 0..<1100 { machine.carry("program \(number)", received: 10) }
        machine.run()
        machine.carry("late", received: 1)
        machine.run()
        let accounts = machine.world.ledger.history().entries.filter { !$0.key.isOfDevices }
        #expect(accounts.reduce(0) { $0 + $1.lifetime.bytes } == 11_001)
        #expect(machine.lifetime("(other)").bytes >= 1001)
        #expect(machine.lifetime("late") == .zero)
        // In the next month it is one of the first.
        machine.world.pass(40 * 86_400)
        machine.carry("late", received: 7)
        machine.run()
        #expect(machine.lifetime("late") == total(7))
        // A thousand others come, and so those of the month before have to share.
        for number in 0..<1100 { machine.carry("new \(number)", received: 10) }
        machine.run()
        machine.carry("program 3", received: 5)
        machine.run()
        #expect(machine.lifetime("program 3") == total(10))
    }

    /// What metrics show: counters only grow, over restarts and kills, too, while the programs stay attached.
    @Test(arguments: 0..<tries(30) as Range<UInt64>)
    func shownCountersNeverFall(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var machine = Machine()
        machine.world.rules.shownApplications = 3
        machine.world.ledger.apply(machine.world.rules)
        var previous: [ApplicationName: UInt64] = [:]
        for _ in 0..<300 {
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                machine.carry(
                    "program \(Int.random(in: 0..<8, using: &random))",
                    received: UInt64.random(in: 0...99, using: &random))
            }
            switch Int.random(in: 0..<40, using: &random) {
            case 0: machine.world.commit()
            case 1:
                machine.world.start()
                // Which applications were among the others is forgotten with a kill: this one begins again.
                previous[.other] = nil
            case 2:
                machine.read()
                machine.world.stop()
                machine.world.start()
            default: break
            }
            machine.world.pass(Double(Int.random(in: 1...30, using: &random)))
            machine.read()
            let ledger = machine.world.ledger
            #expect(ledger.areApplicationCountersKnown && ledger.shownApplications.count <= 3)
            for name in ledger.shownApplications.union([.other]) {
                guard let value = machine.world.view(.application(name, .internet))?.counter.received else { continue }
                #expect(value >= previous[name] ?? 0, "\(name.text)")
                previous[name] = value
            }
        }
        #expect(previous[.other] ?? 0 > 0)
    }

    @Test func aCounterWhoseLastBytesAreLostBeginsAgain() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.run()
        machine.world.commit()
        machine.carry("curl", received: 20)
        machine.run()
        // The program is killed, and its kernel programs end with it.
        machine.world.start()
        machine.attach()
        machine.carry("curl", received: 3)
        machine.run()
        #expect(machine.world.view(.application(ApplicationName("curl"), .internet))?.counter.received == 3)
        #expect(machine.lifetime("curl") == total(103))
    }

    /// Of the last second, and the highest of the last minute.
    @Test func applicationsHaveRates() throws {
        var machine = Machine()
        machine.run()
        func view() throws -> AccountView {
            try #require(machine.world.view(.application(ApplicationName("curl"), .internet)))
        }
        machine.carry("curl", received: 1000, transmitted: 10)
        machine.run()
        #expect(try view().rate == Rate(received: 1000, transmitted: 10) && view().peak == view().rate)
        machine.run(seconds: 59)
        #expect(try view().rate == .zero && view().peak == Rate(received: 1000, transmitted: 10))
        machine.run(seconds: 2)
        #expect(try view().peak == .zero)
        // Nobody knows any more what it carries.
        machine.carry("curl", received: 500)
        machine.run()
        machine.world.ledger.stopApplicationRates()
        #expect(try view().rate == .zero && view().peak == .zero)
        // What is found after a time without readings isn't the rate of a second.
        machine.carry("curl", received: 9_000_000)
        machine.world.pass(3600)
        machine.read()
        machine.run()
        #expect(try view().peak == .zero && view().counter.received == 9_001_500)
    }

    @Test func whatHasNoNameYetWaits() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.world.pass(1)
        machine.world.read()
        machine.world.ledger.record(machine.reading, at: machine.world.now, endsInterval: true) { _ in nil }
        #expect(machine.lifetime("curl") == .zero)
        machine.run()
        #expect(machine.lifetime("curl") == total(100))
    }

    @Test func anotherNameHoldsFromThenOn() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.run()
        machine.world.ledger.renameApplications { _ in ApplicationName("web") }
        machine.carry("curl", received: 20)
        machine.run()
        #expect(machine.lifetime("curl") == total(100) && machine.lifetime("web") == total(20))
    }

    /// Drivers differ in what they count of packets that the kernel has merged.
    @Test(arguments: [true, false], [true, false])
    func applicationsAddUpToWhatTheUplinkCounts(isMerged: Bool, countsLanes: Bool) {
        var machine = Machine()
        machine.countsLanes = countsLanes
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        for second in 0..<60 as Range<UInt64> {
            // In the first seconds too little is carried to see by what the device counts.
            let bytes: UInt64 = second < 10 ? 10_000 : 3_000_000
            machine.carry(
                second % 2 == 0 ? "curl" : "restic",
                merged: PacketCounter(
                    wire: Counters(received: bytes, transmitted: 2 * bytes),
                    saved: Counters(received: bytes / 25, transmitted: bytes / 18)), device, isMerged: isMerged)
            machine.run()
            // Killed, and begun again, with what the last commit has.
            if second % 20 == 19 {
                machine.world.commit()
                machine.world.start()
            }
        }
        let booked = machine.lifetime("curl").adding(machine.lifetime("restic"))
        #expect(booked == machine.world.view(.uplink)?.lifetime)
        #expect(machine.world.view(.uplinkScope(.internet))?.lifetime == (countsLanes ? booked : nil))
    }

    private static let merged = PacketCounter(
        wire: Counters(received: 30_000_000, transmitted: 0), saved: Counters(received: 1_500_000, transmitted: 0))

    /// What an uplink counts is learnt once, not again after each start: until then its headers would be missing.
    @Test(arguments: [true, false])
    func aKillForgetsNothingThatWasLearnt(countsLanes: Bool) {
        var machine = Machine()
        machine.countsLanes = countsLanes
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        machine.carry("curl", merged: Self.merged, device, isMerged: false)
        machine.run(seconds: 2)
        machine.world.commit()
        machine.carry("curl", merged: Self.merged, device, isMerged: false)
        machine.run()
        func shown() -> UInt64 {
            machine.world.view(.application(ApplicationName("curl"), .internet))?.counter.received ?? 0
        }
        let before = shown()
        #expect(before == 60_000_000)
        machine.world.start()
        machine.run()
        #expect(shown() >= before)
    }

    /// What the device carried while its lanes weren't counted is in its counter, but not in theirs.
    @Test func aTimeWithoutLanesTeachesNothing() {
        var machine = Machine()
        machine.countsLanes = true
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run(seconds: 2)
        machine.countsLanes = false
        machine.world.carry(device, received: 50_000_000)
        machine.run()
        machine.countsLanes = true
        machine.run()
        machine.carry("curl", merged: Self.merged, device, isMerged: true)
        machine.run()
        #expect(machine.world.ledger.uplinkBasis.received == .merged)
    }

    /// Without lanes, other bytes may have passed the uplink, too: only a counter that grew by less proves something.
    @Test func whatIsForwardedTeachesNothing() {
        var machine = Machine()
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        func carry(forwarded: UInt64) {
            machine.carry("curl", merged: Self.merged, device, isMerged: true)
            machine.world.carry(device, received: forwarded)
            machine.run()
        }
        for _ in 0..<3 { carry(forwarded: 3_000_000) }
        #expect(machine.world.ledger.uplinkBasis.received == .wire, "as far as anybody can see")
        carry(forwarded: 100_000)
        #expect(machine.world.ledger.uplinkBasis.received == .merged)
        for _ in 0..<3 { carry(forwarded: 3_000_000) }
        #expect(machine.world.ledger.uplinkBasis.received == .merged)
    }

    /// One of two uplinks never merges packets.
    @Test func ofSeveralUplinksTheOneThatIsKnownSpeaksForAll() {
        var machine = Machine()
        machine.countsLanes = true
        let devices = [machine.world.create("usb0"), machine.world.create("eth1")]
        (machine.world.uplink, machine.world.secondUplink) = (devices[0], devices[1])
        machine.run()
        machine.carry("curl", merged: Self.merged, devices[1], isMerged: true)
        machine.run()
        #expect(machine.world.ledger.uplinkBasis.received == .merged)
        #expect(machine.lifetime("curl") == total(28_500_000))
    }

    /// Counters of devices that were read earlier would teach the wrong thing.
    @Test func aReadingWithoutDevicesTeachesNothing() {
        var machine = Machine()
        machine.countsLanes = true
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run(seconds: 2)
        machine.carry("curl", merged: Self.merged, device, isMerged: false)
        var reading = machine.reading
        reading.isWithDevices = false
        machine.world.ledger.record(reading, at: machine.world.now, endsInterval: false) { _ in ApplicationName("curl")
        }
        #expect(machine.world.ledger.uplinkBasis.received == nil)
        machine.run()
        #expect(machine.world.ledger.uplinkBasis.received == .wire)
    }

    /// After the route is gone, packets still pass the device, and the kernel's programs still take it for the uplink.
    @Test func whatPassesADeviceThatIsNoUplinkAnyMoreIsntTheUplinks() {
        var machine = Machine()
        machine.countsLanes = true
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        func carry(_ bytes: UInt64) {
            machine.carry("rsync", .lan, received: bytes)
            machine.lanes[LaneKey(device: device, scope: .lan), default: PacketCounter()].wire.received += bytes
            machine.world.carry(device, received: bytes)
        }
        machine.run()
        carry(1000)
        machine.run()
        machine.world.uplink = nil
        machine.run()
        machine.keepsLanes = true
        machine.countsLanes = false
        carry(100)
        machine.run()
        machine.world.uplink = device
        machine.countsLanes = true
        machine.run(seconds: 2)
        #expect(machine.world.view(.uplinkScope(.lan))?.lifetime == total(1000))
        #expect(machine.world.view(.uplink)?.lifetime == total(1000))
    }

    /// A docking station is pulled out during a backup to a machine nearby.
    @Test func whatLanesHaveCountedUntilTheUplinkWentCountsOnce() {
        var machine = Machine()
        machine.countsLanes = true
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        for second in 0..<2 {
            machine.carry("rsync", .lan, received: 1000)
            machine.lanes[LaneKey(device: device, scope: .lan), default: PacketCounter()].wire.received += 1000
            machine.world.carry(device, received: 1000)
            if second == 1 {
                machine.world.delete(device)
                machine.world.uplink = nil
                (machine.countsLanes, machine.keepsLanes) = (false, true)
            }
            machine.run()
        }
        #expect(machine.world.view(.uplink)?.lifetime == total(2000))
        #expect(machine.world.view(.uplinkScope(.lan))?.lifetime == total(2000))
    }

    /// A second uplink waits for a busy kernel, and the first one's lanes go on.
    @Test func whatOneOfTwoUplinksHasCountedByLanesCountsOnce() {
        var machine = Machine()
        machine.countsLanes = true
        let devices = [machine.world.create("eth0"), machine.world.create("wlan0")]
        machine.world.uplink = devices[0]
        machine.run()
        machine.world.secondUplink = devices[1]
        (machine.countsLanes, machine.keepsLanes) = (false, true)
        for _ in 0..<5 {
            machine.carry("rsync", .lan, received: 1000)
            machine.lanes[LaneKey(device: devices[0], scope: .lan), default: PacketCounter()].wire.received += 1000
            machine.world.carry(devices[0], received: 1000)
            machine.run()
        }
        #expect(machine.world.view(.uplinkScope(.lan))?.lifetime == total(5000))
    }

    /// With applications off, others use the uplink. What was measured before then can't be compared with what comes later.
    @Test func programsThatBeginAgainTeachFromTheirBeginning() {
        var machine = Machine()
        machine.countsLanes = true
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        machine.attach()
        machine.world.carry(device, received: 100_000_000)
        machine.carry("curl", merged: Self.merged, device, isMerged: true)
        machine.run()
        #expect(machine.world.ledger.uplinkBasis.received != .wire)
    }

    /// Applications are read more rarely than devices: the bytes since then are the old uplink's.
    @Test func whatPassedTheOldUplinkSinceTheLastReadingIsItsOwn() {
        var machine = Machine()
        machine.countsLanes = true
        let devices = [machine.world.create("ppp0"), machine.world.create("eth0")]
        machine.world.uplink = devices[0]
        machine.run()
        machine.lanes[LaneKey(device: devices[0], scope: .lan), default: PacketCounter()].wire.received += 100
        machine.world.carry(devices[0], received: 100)
        machine.world.read()
        machine.world.delete(devices[0])
        machine.world.uplink = devices[1]
        machine.run()
        #expect(machine.world.view(.uplinkScope(.lan))?.lifetime == total(100))
    }

    /// A container may never pass the uplink, so nobody learns what its headers are worth.
    @Test func theHeadersOfContainersDoNotWait() {
        var machine = Machine()
        machine.counters[
            ApplicationCounterKey(
                cgroup: 1, process: ProcessName(bytes: Array("web".utf8)), scope: .internet, passage: .otherNamespace)] =
            Self.merged
        machine.run()
        let booked = machine.lifetime("web")
        #expect(booked == total(28_500_000))
        machine.attach()
        machine.run()
        #expect(machine.lifetime("web") == booked)
    }

    /// The programs of a new version have counted nothing yet.
    @Test func aKillRightAfterGoingOverToOtherProgramsDoublesNothing() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.run()
        machine.world.commit()
        machine.carry("curl", received: 50)
        machine.run()
        machine.attach()
        machine.world.ledger.succeed(with: machine.reading, at: machine.world.now) { _ in nil }
        machine.world.commit()
        #expect(machine.world.ledger.storedAttachment == 2)
        machine.world.start()
        machine.run()
        #expect(machine.lifetime("curl") == total(150))
    }

    /// Until it is proven that the uplink's counter has every header, a quota counts them.
    @Test func whatOnlySeemsToHavePassedIsntLeftOut() {
        var machine = Machine()
        machine.world = World(plans: Self.quota(.uplinkWithout(.init(lan: false, applications: Self.backups))))
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        for _ in 0..<3 {
            machine.carry("restic", merged: Self.merged, device, isMerged: true)
            machine.world.carry(device, received: 3_000_000)  // Forwarded.
            machine.run()
        }
        #expect(machine.world.quota("q")?.usedBytes == 9_000_000)
    }

    /// One uplink's counter has all headers, and the other one's only the first of merged packets.
    @Test func nothingIsLeftOutThatMayHavePassedTheOtherUplink() {
        var machine = Machine()
        machine.countsLanes = true
        machine.world = World(plans: Self.quota(.uplinkWithout(.init(lan: false, applications: Self.backups))))
        let devices = [machine.world.create("usb0"), machine.world.create("eth1")]
        (machine.world.uplink, machine.world.secondUplink) = (devices[0], devices[1])
        machine.run()
        machine.carry("curl", merged: Self.merged, devices[0], isMerged: false)
        machine.carry("curl", merged: Self.merged, devices[1], isMerged: true)
        machine.run()
        let used = machine.world.quota("q")?.usedBytes
        for _ in 0..<3 {
            machine.carry("restic", merged: Self.merged, devices[1], isMerged: true)
            machine.run()
        }
        #expect(machine.world.quota("q")?.usedBytes == used)
    }

    @Test func withoutAStoreIdleCountersAreRetiredToo() {
        var machine = Machine()
        machine.world.ledger.giveUpStore()
        machine.carry("curl", received: 100)
        machine.run(seconds: 20)
        #expect(machine.world.ledger.idleCounters(for: Span(seconds: 10), at: machine.world.now).count == 1)
    }

    /// Nobody will ever learn it.
    @Test func headersThatWaitAreBookedWhenTheProgramsAreAttachedAgain() {
        var machine = Machine()
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.counters[
            ApplicationCounterKey(cgroup: 1, process: ProcessName(bytes: Array("curl".utf8)), scope: .internet)] =
            Self.merged
        machine.run()
        #expect(machine.lifetime("curl") == total(28_500_000))
        machine.attach()
        machine.run()
        #expect(machine.lifetime("curl") == total(30_000_000))
    }

    /// Nobody learns what a tunnel's device counts: all of it is booked at once.
    @Test func aTunnelsHeadersDoNotWait() {
        var machine = Machine()
        machine.counters[
            ApplicationCounterKey(
                cgroup: 1, process: ProcessName(bytes: Array("curl".utf8)), scope: .tunnel)] = Self.merged
        machine.run()
        #expect(machine.lifetime("curl", .tunnel) == total(30_000_000))
    }

    /// An ended program's counter must not fill the kernel's map for ever.
    @Test func headersThatWaitAreBookedAtTheEnd() {
        var machine = Machine()
        let key = ApplicationCounterKey(
            cgroup: 1, process: ProcessName(bytes: Array("curl".utf8)), scope: .internet)
        machine.counters[key] = Self.merged
        machine.run()
        #expect(machine.lifetime("curl") == total(28_500_000))
        machine.world.commit()
        machine.run(seconds: 20)
        #expect(machine.world.ledger.idleCounters(for: Span(seconds: 10), at: machine.world.now) == [key])
        machine.world.ledger.retire(key, last: Self.merged, at: machine.world.now)
        #expect(machine.lifetime("curl") == total(30_000_000))
    }

    /// A device's lanes are removed from the kernel after it has left, and begin at 0 if it comes again.
    @Test func lanesThatAreGoneBeginAgain() {
        var machine = Machine()
        machine.countsLanes = true
        let device = machine.world.create("ppp0")
        machine.world.uplink = device
        func carry(_ bytes: UInt64) {
            machine.lanes[LaneKey(device: device, scope: .internet), default: PacketCounter()].wire.received += bytes
        }
        carry(100)
        machine.run()
        machine.lanes = [:]
        machine.run()
        machine.world.commit()
        machine.world.start()
        carry(150)
        machine.run()
        #expect(machine.world.view(.uplinkScope(.internet))?.lifetime == total(250))
        #expect(machine.world.store.applications?.lanes.count == 0)
    }

    @Test(arguments: [nil, .wire, .merged] as [CountingBasis?], 0..<tries(20) as Range<UInt64>)
    func headersOfMergedPacketsAreBookedOnceOrNever(basis: CountingBasis?, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var baseline = PacketBaseline()
        var shown = PacketCounter()
        var booked = Total.zero
        for step in 0..<200 {
            let bytes = UInt64.random(in: 0...5000, using: &random)
            shown.wire.received += bytes
            // Headers may be read with a later reading than their packet.
            shown.saved.received += min(UInt64.random(in: 0...200, using: &random), bytes)
            let known = step > 100 ? basis : nil
            booked += baseline.advance(to: shown, on: LinkBasis(received: known, transmitted: known))
        }
        let expected = basis == .wire ? shown.wire.received : shown.wire.received - shown.saved.received
        #expect(booked == Total(received: expected, transmitted: 0))
        #expect(baseline.withheld.received == (basis == nil ? shown.saved.received : 0))
    }

    // MARK: - Quotas

    private static func quota(_ count: Selection, _ rule: CycleRule = .init(.day)) -> Plans {
        Plans(
            quotas: [
                Quota(name: "q", count: count, direction: .total, limitBytes: 1_000_000, cycle: Cycle(rule))
            ], rateLimits: [], committedRates: [])
    }

    private static let backups = ["restic", "borg*"].compactMap { DevicePattern($0) }

    /// What is left out of the uplink is left out at any time, and after any start.
    @Test(
        arguments: [
            .uplinkWithout(.init(lan: true, applications: [])),
            .uplinkWithout(.init(lan: false, applications: backups)),
            .uplinkWithout(.init(lan: true, applications: backups)), .applications(backups),
        ] as [Selection], 0..<tries(8) as Range<UInt64>)
    func aQuotaCountsWhatItIsMeantTo(count: Selection, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var machine = Machine()
        machine.world = World(plans: Self.quota(count))
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        var used: UInt64 = 0
        var day = machine.world.ledger.window.today
        for _ in 0..<200 {
            let bytes = UInt64.random(in: 0...4000, using: &random)
            let name = ["curl", "restic", "borgmatic"].randomElement(using: &random) ?? ""
            let scope = [TrafficScope.internet, .lan].randomElement(using: &random) ?? .lan
            machine.world.pass(Double.random(in: 1...1500, using: &random))
            machine.read()
            if machine.world.ledger.window.today != day { (day, used) = (machine.world.ledger.window.today, 0) }
            machine.world.pass(0.1)
            // What passes another device, or may do so, says nothing about the uplink.
            let passage = Self.passages.randomElement(using: &random) ?? .uplink
            if passage == .uplink { machine.world.carry(device, transmitted: bytes) }
            machine.carry(name, scope, passage: passage, transmitted: bytes)
            let isExcepted = name != "curl"
            let counts =
                switch count {
                case .uplinkWithout(let exception):
                    passage == .uplink && !(exception.lan && scope == .lan)
                        && !(isExcepted && !exception.applications.isEmpty)
                default: isExcepted
                }
            if counts { used += bytes }
            machine.read()
            switch Int.random(in: 0..<20, using: &random) {
            case 0:
                machine.world.commit()
                machine.world.start()
            case 1: machine.world.renewPlanBook()
            default: break
            }
            let state = machine.world.quota("q")
            #expect(state?.usedBytes == used && state?.isBreached == (used >= 1_000_000))
        }
    }

    @Test func aBreachIsntLiftedBecauseWhatIsLeftOutWasReadLater() {
        var machine = Machine()
        machine.world = World(plans: Self.quota(.uplinkWithout(.init(lan: true, applications: []))))
        let device = machine.world.create("eth0")
        machine.world.uplink = device
        machine.run()
        machine.world.carry(device, received: 1_000_100)
        machine.run()
        #expect(machine.world.quota("q")?.isBreached == true)
        machine.carry("curl", .lan, received: 200)
        machine.run(seconds: 3)
        #expect(machine.world.quota("q")?.usedBytes == 999_900)
        #expect(machine.world.store.events.map(\.kind) == [.breach])
        machine.carry("curl", .lan, received: 100_000)
        machine.run(seconds: 3)
        #expect(machine.world.store.events.map(\.kind) == [.breach, .lift])
    }

    @Test(arguments: 0..<tries(12) as Range<UInt64>)
    func everyByteIsBookedOnceWhateverHappens(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var machine = Machine()
        machine.world.uplink = machine.world.create("eth0")
        machine.run()
        for _ in 0..<200 {
            for _ in 0..<Int.random(in: 0...5, using: &random) {
                machine.carry(
                    "program \(Int.random(in: 0..<6, using: &random))",
                    TrafficScope.allCases.randomElement(using: &random) ?? .lan,
                    cgroup: UInt64.random(in: 1...3, using: &random),
                    passage: Self.passages.randomElement(using: &random) ?? .uplink,
                    received: UInt64.random(in: 0...9999, using: &random),
                    transmitted: UInt64.random(in: 0...9999, using: &random))
            }
            switch Int.random(in: 0..<14, using: &random) {
            case 0: machine.world.commit()
            case 1: machine.world.start()
            case 2:
                machine.read()
                machine.world.stop()
                machine.world.pass(Double.random(in: 0...20_000, using: &random))
                machine.world.start()
            case 3:
                // Before the programs are detached, their counters are read and stored.
                machine.read()
                machine.world.commit()
                machine.attach()
            case 4:
                machine.read()
                machine.world.commit()
                machine.world.reboot("boot-\(seed)-\(machine.attachment)")
                machine.world.uplink = DeviceIndex(rawValue: 1)
                machine.attach()
                machine.world.start()
            case 5: machine.world.pass(Double.random(in: 0...7200, using: &random))
            case 7: machine.retire(idleFor: Int.random(in: 0...20, using: &random), using: &random)
            case 6: machine.world.wallSeconds += Double.random(in: -4000...4000, using: &random)
            default: machine.run()
            }
        }
        machine.read()
        machine.world.commit()
        // Accounts that are evicted from memory are in the store.
        var stored: [AccountKey: Total] = [:]
        for record in machine.world.store.accounts.values where !record.key.isOfDevices {
            let booked = machine.world.store.total(of: record.id)
            #expect(booked == machine.world.store.bucketTotal(of: record.id))
            if !booked.isZero { stored[record.key] = booked }
        }
        #expect(stored == machine.carried.filter { !$0.value.isZero })
    }
}
