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
        var counters: [ApplicationCounterKey: ApplicationCounter] = [:]
        /// What the programs have counted in all attachments, by application and scope.
        var carried: [AccountKey: Total] = [:]

        /// Two counters of one application differ by their cgroup.
        mutating func carry(
            _ name: String, _ scope: TrafficScope = .internet, cgroup: UInt64 = 1, received: UInt64 = 0,
            transmitted: UInt64 = 0
        ) {
            let key = ApplicationCounterKey(
                cgroup: cgroup, process: ProcessName(bytes: Array(name.utf8)), scope: scope, transport: 1,
                isForeign: false)
            counters[key, default: ApplicationCounter()].wire.received += received
            counters[key, default: ApplicationCounter()].wire.transmitted += transmitted
            carried[.application(ApplicationName(name), scope), default: .zero] += Total(
                received: received, transmitted: transmitted)
        }

        mutating func read() {
            world.read()
            world.ledger.record(counters, of: attachment, at: world.now) {
                ApplicationName(String(decoding: $0.process.bytes, as: UTF8.self))
            }
        }

        mutating func run(seconds: Int = 1) {
            for _ in 0..<seconds {
                world.pass(1)
                read()
            }
        }

        /// The programs are attached again: every counter begins at 0.
        mutating func attach() {
            attachment += 1
            counters = [:]
        }

        func lifetime(_ name: String, _ scope: TrafficScope = .internet) -> Total {
            world.view(.application(ApplicationName(name), scope))?.lifetime ?? .zero
        }
    }

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
        let accounts = machine.world.ledger.history().entries.filter(\.key.isApplication)
        #expect(accounts.reduce(0) { $0 + $1.lifetime.bytes } == 11_001)
        #expect(machine.lifetime("(other)").bytes >= 1001)
        #expect(machine.lifetime("late") == .zero)
    }

    /// What metrics show: counters only grow, over restarts and kills, too, while the programs stay attached.
    @Test(arguments: 0..<30 as Range<UInt64>)
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

    @Test func whatHasNoNameYetWaits() {
        var machine = Machine()
        machine.carry("curl", received: 100)
        machine.world.read()
        machine.world.ledger.record(machine.counters, of: 1, at: machine.world.now) { _ in nil }
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

    @Test(arguments: 0..<40 as Range<UInt64>)
    func everyByteIsBookedOnceWhateverHappens(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var machine = Machine()
        for _ in 0..<200 {
            for _ in 0..<Int.random(in: 0...5, using: &random) {
                machine.carry(
                    "program \(Int.random(in: 0..<6, using: &random))",
                    TrafficScope.allCases.randomElement(using: &random) ?? .lan,
                    cgroup: UInt64.random(in: 1...3, using: &random),
                    received: UInt64.random(in: 0...9999, using: &random),
                    transmitted: UInt64.random(in: 0...9999, using: &random))
            }
            switch Int.random(in: 0..<14, using: &random) {
            case 0: machine.world.commit()
            case 1: machine.world.start()
            case 2:
                machine.read()
                machine.world.stop()
                machine.world.pass(Double.random(in: 0...100_000, using: &random))
                machine.world.start()
            case 3:
                // Whoever detaches reads the counters for the last time, and commits.
                machine.read()
                machine.world.commit()
                machine.attach()
            case 4:
                machine.read()
                machine.world.commit()
                machine.world.reboot("boot-\(seed)-\(machine.attachment)")
                machine.attach()
                machine.world.start()
            case 5: machine.world.pass(Double.random(in: 0...7200, using: &random))
            case 6: machine.world.wallSeconds += Double.random(in: -4000...4000, using: &random)
            default: machine.run()
            }
        }
        machine.read()
        machine.world.commit()
        // Accounts that are evicted from memory are in the store.
        var stored: [AccountKey: Total] = [:]
        for record in machine.world.store.accounts.values where record.key.isApplication {
            let booked = machine.world.store.total(of: record.id)
            #expect(booked == machine.world.store.bucketTotal(of: record.id))
            if !booked.isZero { stored[record.key] = booked }
        }
        #expect(stored == machine.carried.filter { !$0.value.isZero })
    }
}
