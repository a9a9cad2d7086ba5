import Logging
import Testing

@testable import Accounting
@testable import Applications
@testable import CivilTime
@testable import Configuration
@testable import Exporter

/// What the kernel's programs have counted, made up.
private final class FakeSource: ApplicationSource {
    let attachment: UInt64
    let attachedAt: BootTime
    var counters: [ApplicationCounterKey: PacketCounter] = [:]
    var removed: Set<ApplicationCounterKey> = []
    /// The uplinks whose lanes were asked for, in turn.
    var followed: [Set<UInt32>] = []
    var isCurrent = true
    /// Cgroups that certainly aren't there any more.
    var gone: Set<UInt64> = []
    var scopes: ScopeTable?
    var lanes: [LaneKey: PacketCounter] = [:]
    var placed: Set<UInt64> = []
    var answer = Place.Answer.unknown
    /// Whether the kernel is busy with the network, and whether it can't count lanes.
    var (isBusy, isWithoutLanes) = (false, true)
    /// How many counters the kernel has, in all.
    var keyCount = 0
    let overflows: UInt64 = 0

    init(_ attachment: UInt64, at seconds: Int64) {
        self.attachment = attachment
        attachedAt = BootTime(nanoseconds: seconds * 1_000_000_000)
    }

    func read(into counters: inout [ApplicationCounterKey: PacketCounter]) { counters = self.counters }
    func place(ofCgroup cgroup: UInt64) -> Place.Answer { answer }
    func remove(_ key: ApplicationCounterKey) -> PacketCounter {
        removed.insert(key)
        return counters.removeValue(forKey: key) ?? PacketCounter()
    }
    func isGone(_ cgroup: UInt64) -> Bool { gone.contains(cgroup) }
    func placedCgroups() -> Set<UInt64> { placed }
    func forgetPlace(ofCgroup cgroup: UInt64) { placed.remove(cgroup) }
    func follow(_ uplinks: Set<UInt32>) throws(UplinkLanes.Failure) {
        if isBusy { throw .busy }
        followed.append(uplinks)
        if uplinks.contains(99) { throw .refused(description: "no such device", isForGood: isWithoutLanes) }
    }
    func readLanes() -> [LaneKey: PacketCounter] { lanes }
    func update(_ scopes: ScopeTable) { self.scopes = scopes }

    func count(_ name: String, cgroup: UInt64 = 7, _ bytes: UInt64 = 100) {
        let key = ApplicationCounterKey(
            cgroup: cgroup, process: ProcessName(bytes: Array(name.utf8)), scope: .internet)
        counters[key, default: PacketCounter()].wire.received += bytes
    }
}

private func moment(_ seconds: Int64) -> Moment {
    Moment(
        wallNanoseconds: (1_795_262_400 + seconds) * 1_000_000_000,
        sinceBoot: BootTime(nanoseconds: seconds * 1_000_000_000))
}

@Suite("The reading of applications")
struct ApplicationReaderTests {
    /// A ledger whose commits always succeed, and a reader.
    private struct Scene {
        var reader: ApplicationReader
        var ledger: Ledger

        /// - Parameters:
        ///   - isNew: Whether nobody has metered with the ledger before.
        ///   - drop: Called with each attachment that isn't read.
        init(
            _ sources: [FakeSource], isStoreRead: Bool = true, isNew: Bool = false, drop: ((UInt64) -> Void)? = nil
        ) {
            let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            reader = ApplicationReader(sources, machine: "here", logger: log, drop: drop)
            let calendar = LocalCalendar(zone: .utc, weekStart: .monday)
            ledger = .awaitingStore(
                devices: [], planBook: .empty,
                rules: AccountingRules(exclude: [], collapse: [], samplingInterval: Span(seconds: 1)),
                calendar: calendar, epoch: Epoch(bootID: "boot", networkNamespace: 1), now: moment(1000))
            if !isStoreRead { return }
            var stored = StoredLedger.empty(daysFrom: CivilDate(daysSinceEpoch: 0))
            if !isNew {
                stored.header = LedgerHeader(
                    sequence: 1, epoch: ledger.epoch, boot: 1, lastReading: moment(850), isClean: true)
            }
            ledger.takeUp(stored, planBook: .empty, calendar: calendar, wasShown: false)
        }

        mutating func read(_ seconds: Int64, uplinks: Set<UInt32> = [2], isLast: Bool = false) {
            ledger.advance(to: moment(seconds).timestamp)
            _ = reader.read(
                into: &ledger, Configuration.defaults.applications, LinkTable(), uplinks: uplinks, at: moment(seconds),
                isWithDevices: true, endsInterval: true, isLast: isLast)
            if ledger.takeCommit(isFinal: false) != nil { ledger.acknowledgeCommit() }
        }

        func bytes(_ name: String) -> UInt64 {
            ledger.allViews.first { $0.key == .application(ApplicationName(name), .internet) }?.view.lifetime.bytes ?? 0
        }
    }

    /// What passes a device while it isn't the uplink must not count as the uplink's.
    @Test func withoutAnUplinkNothingIsCountedForIt() {
        let source = FakeSource(1, at: 900)
        var scene = Scene([source])
        scene.read(1001)
        scene.read(1002, uplinks: [])
        scene.read(1003, uplinks: [2, 99])
        scene.read(1004, uplinks: [2, 99])
        #expect(source.followed == [[2], [], [2, 99], [], []])
    }

    /// Somebody has moved the ledger's file, or names another one. Devices begin at what they show, too.
    @Test(arguments: [true, false])
    func aNewLedgerCountsFromItsBeginning(hasStore: Bool) {
        let source = FakeSource(1, at: 900)
        source.count("curl", 1000)
        let lane = LaneKey(device: DeviceIndex(rawValue: 2), scope: .lan)
        source.lanes[lane] = PacketCounter(wire: Counters(received: 500, transmitted: 0))
        var scene = Scene([source], isStoreRead: hasStore, isNew: true)
        if !hasStore { scene.ledger.giveUpStore() }
        scene.read(1001)
        #expect(scene.bytes("curl") == 0)
        source.count("curl", 7)
        scene.read(1002)
        #expect(scene.bytes("curl") == 7)
        #expect(scene.ledger.uplinkScopes.allSatisfy { $0.view.lifetime.isZero })
    }

    /// The kernel's lock is held for long, or it had no memory for a moment.
    @Test func whatPassesAnUplinkIsCountedAsSoonAsThatIsPossible() {
        let source = FakeSource(1, at: 900)
        source.isWithoutLanes = false
        source.isBusy = true
        var scene = Scene([source])
        scene.read(1001)
        #expect(!scene.reader.status.countsLanes)
        source.isBusy = false
        scene.read(1002)
        #expect(scene.reader.status.countsLanes)
        for second in [1003, 1004, 1062, 1063, 1064] as [Int64] { scene.read(second, uplinks: [99]) }
        #expect(source.followed == [[2], [99], [], [], [], [99], [], []])
    }

    /// Nothing of it is booked, and it began at 0: after a kill before the first commit, the program attaches again.
    @Test func ofUnknownAttachmentsTheFirstIsRead() {
        let sources = [FakeSource(1, at: 900), FakeSource(2, at: 950)]
        sources[0].count("curl", 1000)
        sources[1].count("curl", 10)
        var dropped: [UInt64] = []
        var scene = Scene(sources) { dropped.append($0) }
        scene.read(1001)
        #expect(scene.bytes("curl") == 1000 && dropped == [2])
    }

    @Test func whatIsBookedInPartGoesOn() {
        let sources = [FakeSource(1, at: 900), FakeSource(2, at: 1010), FakeSource(3, at: 1020)]
        sources[1].count("curl", 1000)
        var scene = Scene([sources[1]])
        scene.read(1015)
        sources[1].count("curl", 1)
        scene.reader = ApplicationReader(
            sources, machine: "here", logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        scene.read(1030)
        #expect(scene.bytes("curl") == 1001)
    }

    /// The map is full, and nothing has grown for long: the counters that take what has no room stay.
    @Test func idleCountersMakeRoomButNotThoseOfTheRest() {
        let source = FakeSource(1, at: 900)
        for number in 0..<20 { source.count("program \(number)", cgroup: 7) }
        source.count("", cgroup: 0)
        source.keyCount = KernelCounts.maximumKeys
        var scene = Scene([source])
        for minute in 0..<14 as Range<Int64> { scene.read(1001 + 60 * minute) }
        #expect(source.removed.count == 20 && !source.removed.contains { $0.cgroup == 0 })
        #expect(scene.bytes("program 3") == 100 && scene.bytes("(other)") == 100)
        // One of them comes again.
        source.count("program 3", cgroup: 7, 5)
        scene.read(2000)
        #expect(scene.bytes("program 3") == 105)
    }

    /// Cgroups come and go without a byte to count, and the kernel's programs have room for 4,096.
    @Test func placesOfCgroupsThatAreGoneAreForgotten() {
        let source = FakeSource(1, at: 900)
        source.count("curl", cgroup: 7)
        source.gone = [7, 8, 9, 10]
        source.placed = [1, 7, 8, 9]
        var scene = Scene([source])
        scene.read(1001)
        #expect(source.placed == [1, 7, 8, 9], "a counter of one that has just gone may not be read yet")
        source.placed.insert(10)
        source.count("curl", cgroup: 7)
        for minute in 1..<11 as Range<Int64> {
            source.count("curl", cgroup: 7)
            scene.read(1001 + 60 * minute)
        }
        #expect(source.placed == [1, 7, 10])
    }

    /// The programs of the version before have counted until now, and those of this one since the service began to start.
    @Test func programsOfAnotherVersionAreFollowedWithoutAGap() {
        let sources = [FakeSource(1, at: 900), FakeSource(2, at: 1010)]
        sources[0].isCurrent = false
        sources[0].count("curl", 1000)
        var scene = Scene([sources[0]])
        scene.read(1005)
        // Both have counted these hundred.
        sources[0].count("curl", 150)
        sources[1].count("curl", 100)
        var dropped: [UInt64] = []
        scene.reader = ApplicationReader(
            sources, machine: "here", logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) { dropped.append($0) }
        scene.read(1012)
        #expect(scene.bytes("curl") == 1150 && scene.ledger.applicationAttachment == 2)
        #expect(dropped == [], "the store didn't have the end of its counts when it was read")
        sources[0].count("curl", 7)
        sources[1].count("curl", 7)
        scene.read(1013)
        #expect(scene.bytes("curl") == 1157 && dropped == [1])
    }

    /// Applications are switched off, and with the programs goes what waits for a name.
    @Test func nothingWaitsForANameAtTheEnd() {
        let source = FakeSource(1, at: 900)
        source.count("curl", 1000)
        source.answer = .beingWritten
        var scene = Scene([source]) { _ in }
        scene.read(1001)
        #expect(scene.bytes("curl") == 0)
        scene.read(1002, isLast: true)
        #expect(scene.bytes("curl") == 1000)
    }

    /// Before it is known what is booked, packets pass already.
    @Test func scopesAreWrittenBeforeTheStoreCanBeRead() {
        let source = FakeSource(1, at: 900)
        var scene = Scene([source], isStoreRead: false)
        scene.read(1001)
        #expect(source.scopes != nil)
    }

    /// The directory of the ledger was mounted late.
    @Test func whatWasCountedBeforeTheStoreCouldBeReadIsSpread() {
        let source = FakeSource(1, at: 1000)
        source.count("curl", 86_400)
        var scene = Scene([source])
        scene.read(1000 + 86_400)
        let days = scene.ledger.allViews.first { $0.key == .application(ApplicationName("curl"), .internet) }?.view
            .periods
        #expect(days?.day.bytes != 0 && days?.previousDay.bytes != 0)
        #expect(scene.bytes("curl") == 86_400)
    }
}
