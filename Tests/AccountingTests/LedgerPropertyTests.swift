import CivilTime
import TestSupport
import Testing

@testable import Accounting

/// Random histories of a machine, told to the ledger as a program would; the seed is printed, so each can be repeated.
@Suite("Properties of the ledger")
struct LedgerPropertyTests {
    /// Everything that can happen, and what must have been booked in the end.
    private struct History {
        var world: World
        var random: SeededGenerator
        /// What the devices have carried since they were first seen.
        var carried: [String: Total] = [:]
        /// What was done, for whoever has to find out why.
        var log: [Int] = []
        /// How often the program was started without the store.
        var blindStarts = 0

        init(seed: UInt64, zone: Zone = .utc, plans: Plans = .none) {
            world = World(zone: zone, plans: plans)
            random = SeededGenerator(seed: seed)
        }

        /// Cycles and free windows of all sorts, some of which begin within five minutes that are stored as one.
        static let plans = Plans(
            quotas: [
                quota("all", ["*"], .total, .init(.day)), quota("up", nil, .receive, .init(.week(.sunday), at: 420)),
                quota(
                    "eth", ["eth*", "lan1"], .greater, .init(.days(3, from: CivilDate(daysSinceEpoch: 5)), at: 9000)),
                quota(
                    "veth", ["veth*"], .transmit, .init(.month(day: 31)), free: [61..<420, 5000..<5033],
                    rollover: 7_000_000_000),
            ], rateLimits: [], committedRates: [])

        private static func quota(
            _ name: String, _ devices: [String]?, _ direction: ByteDirection, _ rule: CycleRule,
            free: [Range<Int>] = [],
            rollover: UInt64? = nil
        ) -> Quota {
            Quota(
                name: name, count: devices.map { .devices($0.compactMap { DevicePattern($0) }) } ?? .uplink,
                direction: direction, limitBytes: 20_000_000_000,
                cycle: Cycle(rule, timezone: name == "eth" ? .fixed(seconds: 20_700) : .local),
                warnAt: [Share(millionths: 500_000)], free: FreeTime(free), rolloverMaximumBytes: rollover)
        }

        /// The owner corrects a quota, or tops it up.
        private mutating func adjust() {
            if world.ledger.isAwaitingStore { world.storeReturns() }
            guard let quota = world.plans.quotas.randomElement(using: &random) else { return }
            let bytes = UInt64.random(in: 0...30_000_000_000, using: &random)
            if Bool.random(using: &random) {
                world.adjust(quota.name, .topUp(bytes: bytes))
            } else {
                let past = Bool.random(using: &random) ? world.now.timestamp.adding(seconds: -3000) : nil
                world.adjust(quota.name, .correction(usedBytes: bytes), at: past)
            }
        }

        /// The configuration is read again: quotas come, go, or have another cycle.
        private mutating func reload() {
            if world.plans == .none { return }
            if world.ledger.isAwaitingStore { world.storeReturns() }
            world.read()
            let rules: [CycleRule] = [
                .init(.day, at: 37_000), .init(.week(.friday)), .init(.month(day: 15)), .init(.year(month: 12, day: 1)),
            ]
            world.plans = Self.plans
            world.plans.quotas = Self.plans.quotas.compactMap { quota in
                var quota = quota
                switch Int.random(in: 0..<4, using: &random) {
                case 0 where quota.name != "all": return nil
                case 1: if let rule = rules.randomElement(using: &random) { quota.cycle.rule = rule }
                case 2: quota.free = FreeTime([3000..<3100, 8000..<8007])
                default: break
                }
                return quota
            }
            world.renewPlanBook()
        }

        var alive: [DeviceIndex] { world.kernel.keys.sorted() }

        func account(_ index: DeviceIndex) -> String {
            let name = String(decoding: world.kernel[index]?.name.bytes ?? [], as: UTF8.self)
            return name.hasPrefix("veth") ? "veth*" : name
        }

        mutating func carry() {
            guard let index = alive.randomElement(using: &random) else { return }
            let amount: ClosedRange<UInt64> = Bool.random(using: &random) ? 0...2000 : 0...3_000_000_000
            let received = UInt64.random(in: amount, using: &random)
            let transmitted = UInt64.random(in: amount, using: &random)
            world.carry(index, received: received, transmitted: transmitted)
            carried[account(index), default: .zero] += Delta(received: received, transmitted: transmitted)
        }

        mutating func step() {
            let kind = Int.random(in: 0..<100, using: &random)
            log.append(kind)
            switch kind {
            case 0..<40: carry()
            case 40..<60:
                world.pass(Double.random(in: 0.1...9, using: &random))
                world.read(endsInterval: .random(using: &random))
            case 60..<68: world.commit()
            case 68..<73: crash()
            case 73..<76:
                stop()
                world.pass(Double.random(in: 0...5000, using: &random))
                carry()
                if Bool.random(using: &random) { renameUnseen() }
                startAgain()
            case 76..<81: create()
            case 81..<85: if let index = alive.randomElement(using: &random) { world.delete(index) }
            case 85..<88: rename()
            case 88..<90: failingDisk()
            case 90..<93:
                world.uplink = Bool.random(using: &random) ? alive.randomElement(using: &random) : nil
                world.read()
            case 93..<95: resetDriver()
            case 95..<96: reboot()
            case 96: if Bool.random(using: &random) { adjust() } else { reload() }
            case 97:
                world.pass(Double.random(in: 20...200_000, using: &random))
                world.read()
            default:
                world.wallSeconds += Double.random(in: -4_000_000...4_000_000, using: &random)
                world.read()
                world.commit()
            }
        }

        private mutating func create() {
            let names = ["eth0", "eth1", "wwan0", "veth1", "veth2", "lan0"]
            let taken = Set(world.kernel.values.map(\.name))
            if let name = names.filter({ !taken.contains(DeviceName($0)) }).randomElement(using: &random) {
                _ = world.create(name)
            }
        }

        /// Only what exists is renamed, and to what nobody has now; the account's past goes along.
        private mutating func rename() {
            guard let index = alive.randomElement(using: &random), !account(index).hasPrefix("veth") else { return }
            let name = "lan\(Int.random(in: 1...3, using: &random))"
            guard !world.kernel.values.contains(where: { $0.name == DeviceName(name) }) else { return }
            let former = account(index)
            // What is in the store alone under a name that is had for a moment only stays where it is.
            if world.ledger.isAwaitingStore, carried[name] != nil { return }
            world.read()
            // One that has carried nothing yet has no past.
            let isNewcomer = world.ledger.devices[index]?.isNewcomer == true
            world.rename(index, to: name)
            if isNewcomer { return }
            carried[name, default: .zero] += carried.removeValue(forKey: former) ?? .zero
        }

        /// While the program is stopped, a device gets another name, and another device its former one.
        private mutating func renameUnseen() {
            guard let index = alive.randomElement(using: &random), !account(index).hasPrefix("veth"),
                let former = world.kernel[index]?.name
            else { return }
            let name = "lan\(Int.random(in: 1...3, using: &random))"
            guard !world.kernel.values.contains(where: { $0.name == DeviceName(name) }) else { return }
            carried[name, default: .zero] += carried.removeValue(forKey: account(index)) ?? .zero
            world.kernel[index]?.name = DeviceName(name)
            if Bool.random(using: &random) {
                let other = world.create(String(decoding: former.bytes, as: UTF8.self), seen: false)
                world.carry(other, received: 1_000_000)  // Seen first at the start: a baseline.
            }
        }

        /// Only a store that was read takes what only the program knows.
        private mutating func stop() {
            if world.ledger.isAwaitingStore { world.storeReturns() }
            world.stop()
        }

        /// Everything up to here is committed, so that the driver takes nothing along.
        private mutating func resetDriver() {
            if world.ledger.isAwaitingStore { world.storeReturns() }
            guard let index = alive.randomElement(using: &random), let counters = world.kernel[index]?.counters,
                counters.received > 0 || counters.transmitted > 0
            else { return }
            world.read()
            world.commit()
            world.kernel[index]?.counters = .zero
            world.read()
            // What comes back within a minute had not restarted.
            world.pass(61)
            world.read()
            world.commit()
        }

        private mutating func crash() {
            // What was deleted since the start is known to the program alone.
            if world.ledger.isAwaitingStore { world.storeReturns() }
            if Bool.random(using: &random) { carry() }
            startAgain()
        }

        /// With the store, or at first without it.
        private mutating func startAgain() {
            if Bool.random(using: &random) {
                world.start()
            } else {
                world.startWithoutStore()
                blindStarts += 1
            }
        }

        /// A commit fails, or only seems to.
        private mutating func failingDisk() {
            guard let commit = world.ledger.takeCommit() else { return }
            if Bool.random(using: &random), adoptsNothing(commit) { _ = world.store.apply(commit) }
            carry()
            world.pass(3)
            world.read()
        }

        private func adoptsNothing(_ commit: Commit) -> Bool {
            let kept = commit.accounts.map(\.id)
            return !commit.accounts.contains { record in
                world.store.accounts.values.contains { $0.key == record.key && !kept.contains($0.id) }
            }
        }

        private mutating func reboot() {
            stop()
            world.reboot("boot-\(UInt64.random(in: 0 ... .max, using: &random))")
            carry()
            startAgain()
        }
    }

    @Test(arguments: 0..<tries(200))
    func everyByteIsBookedOnceWhateverHappens(number: UInt64) throws {
        let seed = number &* 0x9E37_79B9 &+ 17
        let zone = number % 3 == 0 ? try Zone(posix: "<+0545>-5:45") : .utc
        // Plans are made anew often, which takes its time.
        var history = History(seed: seed, zone: zone, plans: number % 2 == 0 ? History.plans : .none)
        for step in 0..<400 {
            history.step()
            if step % 25 == 24 { try check(history, "seed \(seed), step \(step), after \(history.log.suffix(30))") }
        }
    }

    private func check(_ history: History, _ comment: Comment) throws {
        var history = history
        history.world.read()
        if history.world.ledger.isAwaitingStore { history.world.storeReturns() }
        history.world.commit()
        for (name, total) in history.carried {
            let key = name == "veth*" ? AccountKey.collapsed(name) : AccountKey.device(DeviceName(name))
            let stored = history.world.store.accounts.values.first { $0.key == key }
            let sum = stored.map { history.world.store.total(of: $0.id) } ?? .zero
            #expect(sum == total, "\(name): \(comment)")
            if let view = history.world.view(key) { #expect(view.lifetime == total, "\(name) in memory: \(comment)") }
        }
        let fresh = history.world.storedPlanBook
        for (running, stored) in zip(history.world.ledger.planBook.quotas, fresh.quotas) {
            #expect(running.contents == stored.contents, "\(running.quota.name): \(comment)")
            #expect(running.log.breaches == stored.log.breaches, "\(running.quota.name): \(comment)")
        }
        for record in history.world.store.accounts.values {
            let days = history.world.store.total(of: record.id)
            let buckets = history.world.store.bucketTotal(of: record.id)
            #expect(days == buckets, "\(record.key): \(comment)")
        }
    }

    @Test(arguments: 0..<tries(100))
    func whatAQuotaCountedNeverFallsButByACorrection(number: UInt64) {
        var history = History(seed: number &+ 5000, plans: History.plans)
        var last: [Timestamp: UInt64] = [:]
        var adjustments = 0
        var plans = history.world.plans
        for step in 0..<300 {
            history.step()
            history.world.read()
            guard let state = history.world.quota("all") else { continue }
            if history.world.store.adjustments.count != adjustments || history.world.plans != plans { last = [:] }
            adjustments = history.world.store.adjustments.count
            plans = history.world.plans
            let former = last[state.cycle.lowerBound] ?? 0
            #expect(
                state.usedBytes >= former,
                "seed \(number), step \(step) \(history.log.suffix(5)) \(state.cycle) \(history.world.now.timestamp) \(history.world.store.header?.lastReading.timestamp as Any)"
            )
            #expect(state.isBreached == (state.usedBytes >= state.limitBytes))
            last[state.cycle.lowerBound] = state.usedBytes
        }
    }

    @Test(arguments: 0..<tries(200))
    func countersNeverStepBackWhileTheMachineRuns(number: UInt64) {
        var history = History(seed: number)
        var last: [AccountKey: (account: AccountID, counter: Counters)] = [:]
        for step in 0..<300 {
            let boot = history.world.bootID
            let blindStarts = history.blindStarts
            history.step()
            // A start without the store knows only what the kernel shows.
            if history.world.bootID != boot || history.blindStarts != blindStarts { last = [:] }
            last = last.filter { history.world.ledger.accounts.places[$0.key] != nil }
            for (place, key, view) in history.world.ledger.views where view.isLive {
                let account = history.world.ledger.accounts[place].id
                // Another device may have taken the name over while the program was stopped.
                if let former = last[key], former.account == account {
                    #expect(
                        view.counter.continues(former.counter),
                        "\(key), seed \(number), step \(step) \(history.log.last ?? 0)")
                }
                last[key] = (account, view.counter)
            }
        }
    }

    @Test(arguments: 0..<tries(50))
    func totalsDoNotDependOnWhenReadingsAreTaken(number: UInt64) {
        var coarse = World()
        var fine = World()
        var random = SeededGenerator(seed: number)
        let first = coarse.create("eth0")
        let second = fine.create("eth0")
        for second_ in 1...600 {
            let bytes = UInt64.random(in: 0...1_000_000, using: &random)
            coarse.carry(first, received: bytes, transmitted: 1)
            fine.carry(second, received: bytes, transmitted: 1)
            coarse.pass(1)
            fine.pass(0.25)
            fine.read(endsInterval: false)
            fine.pass(0.75)
            fine.read()
            if second_ % 5 == 0 { coarse.read() }
        }
        coarse.commit()
        fine.commit()
        #expect(coarse.view("eth0")?.lifetime == fine.view("eth0")?.lifetime)
        #expect(coarse.store.buckets == fine.store.buckets)
        #expect(coarse.store.days == fine.store.days)
    }

    @Test(arguments: 0..<tries(200))
    func aSpreadConservesEveryByteWhereverItIsCut(number: UInt64) {
        var random = SeededGenerator(seed: number)
        let start = Timestamp(secondsSinceEpoch: .random(in: -2_000_000_000...4_000_000_000, using: &random))
        let end = start.adding(seconds: .random(in: 0...10_000_000, using: &random))
        let delta = Delta(
            received: .random(in: 0 ... .max, using: &random), transmitted: .random(in: 0...10, using: &random))
        let spread = Spread(delta, from: start, to: end)
        var received: UInt64 = 0
        var transmitted: UInt64 = 0
        spread.forEachBucket(since: .earliest) { _, share in
            received += share.received
            transmitted += share.transmitted
        }
        #expect(received == delta.received && transmitted == delta.transmitted, "seed \(number)")
    }
}

extension QuotaBook {
    /// All that it has counted, to compare with another.
    fileprivate var contents: [[String]] {
        cycles.map { cycle in
            ["\(cycle.span.lowerBound)"]
                + cycle.segments.map { "\($0.start): \($0.total.received) \($0.total.transmitted)" }
        }.filter { $0.dropFirst().contains { !$0.hasSuffix(": 0 0") } }
    }
}
