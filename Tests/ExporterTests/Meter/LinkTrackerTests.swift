import Accounting
import CivilTime
import TestSupport
import Testing

@testable import Exporter
@testable import Netlink

@Suite("The kernel's links, by lists and events")
struct LinkTrackerTests {
    private static func at(seconds: Int64) -> BootTime { BootTime(nanoseconds: seconds * 1_000_000_000) }

    private static func link(
        _ index: UInt32, _ name: String, received: UInt64? = nil, isUp: Bool = true, address: [UInt8] = []
    ) -> Link {
        Link(
            index: index, name: Array(name.utf8), operationalState: isUp ? 6 : 2, hardwareAddress: address,
            counters: received.map { LinkCounters(index: index, receivedBytes: $0, transmittedBytes: 0) })
    }

    private static func counters(_ received: [UInt32: UInt64]) -> [LinkCounters] {
        received.sorted { $0.key < $1.key }.map {
            LinkCounters(index: $0.key, receivedBytes: $0.value, transmittedBytes: 0)
        }
    }

    /// The links 1 (`lo`) and 2 (`eth0`), seen at second 0.
    private static func tracker() throws -> LinkTracker {
        let kernel = FakeKernel()
        kernel.add(1, "lo")
        kernel.add(2, "eth0")
        try kernel.drainEvents { _ in }
        return LinkTracker(try KernelStock(kernel), at: at(seconds: 0))
    }

    private static func name(_ index: UInt32, _ name: String) -> LinkTracker.Change {
        .named([DeviceIndex(rawValue: index): DeviceName(name)])
    }

    @Test func aNewLinkAppearsOnceAndIsKnownThen() throws {
        var tracker = try Self.tracker()
        let link = Self.link(3, "wlan0")
        #expect(tracker.take(.linkChanged(link)) == [.appeared(link)])
        #expect(tracker.take(.linkChanged(link)) == [] && tracker.table[3] == link)
    }

    @Test func whatALinkCarriedUnderItsPreviousNameComesBeforeTheNewName() throws {
        var tracker = try Self.tracker()
        let renamed = Self.link(2, "lan0", received: 70)
        let changes = tracker.take(.linkChanged(renamed))
        #expect(changes.prefix(2) == [.showed(Self.counters([2: 70])[0]), Self.name(2, "lan0")])
        #expect(changes.contains(.routes))
    }

    @Test func aDumpSaysNothingAboutALinkThatAnEventRenamedOrDeletedMeanwhile() throws {
        var tracker = try Self.tracker()
        tracker.beginCounters()
        let dump = Self.counters([1: 5, 2: 60])
        _ = tracker.take(.linkChanged(Self.link(2, "lan0", received: 70)))
        #expect(tracker.sure(dump, at: Self.at(seconds: 1)).map(\.device.rawValue) == [1])
        _ = tracker.take(.linkRemoved(Self.link(1, "lo", received: 6)))
        #expect(tracker.sure(dump, at: Self.at(seconds: 1)).isEmpty)
        // The next dump is newer than both events.
        tracker.beginCounters()
        #expect(tracker.sure(Self.counters([2: 80]), at: Self.at(seconds: 2)).map(\.counters.received) == [80])
        #expect(!tracker.isListOutdated)
    }

    @Test func aLinkThatGoesHasItsLastCountersAndAddress() throws {
        var tracker = try Self.tracker()
        let changes = tracker.take(.linkRemoved(Self.link(2, "eth0", received: 9, address: [2, 0, 0, 0, 0, 1])))
        #expect(
            changes == [
                .hardwareAddress([2, 0, 0, 0, 0, 1], of: DeviceIndex(rawValue: 2)),
                .departed(
                    DeviceIndex(rawValue: 2), final: Counters(received: 9, transmitted: 0), movedAway: false), .routes,
            ])
        #expect(tracker.table[2] == nil && tracker.take(.linkRemoved(Self.link(2, "eth0"))) == [])
    }

    @Test func aLinkThatGoesDownMayTakeRoutesWithIt() throws {
        var tracker = try Self.tracker()
        let link = Self.link(2, "eth0", isUp: false)
        #expect(tracker.take(.linkChanged(link)) == [.speed(of: link), .routes])
        let address = InterfaceAddress(index: 2, family: .ipv4, text: "192.0.2.1", prefixLength: 24, peer: [])
        #expect(tracker.take(.addressAdded(address)) == [] && tracker.take(.addressRemoved(address)) == [.routes])
    }

    @Test func theListIsReadAfterALossAMismatchOrAMinute() throws {
        var tracker = try Self.tracker()
        #expect(!tracker.wantsList(at: Self.at(seconds: 1)))
        #expect(tracker.take(.lost) == [.lost] && tracker.wantsList(at: Self.at(seconds: 1)))
        tracker.beginList(at: Self.at(seconds: 1))
        _ = tracker.take(list: [Self.link(1, "lo"), Self.link(2, "eth0")])
        _ = tracker.sure(Self.counters([1: 0, 2: 0]), at: Self.at(seconds: 60))
        #expect(!tracker.wantsList(at: Self.at(seconds: 60)))
        _ = tracker.sure(Self.counters([1: 0, 2: 0]), at: Self.at(seconds: 61))
        #expect(tracker.wantsList(at: Self.at(seconds: 61)))
        tracker.beginList(at: Self.at(seconds: 61))
        _ = tracker.take(list: [Self.link(1, "lo"), Self.link(2, "eth0")])
        _ = tracker.sure(Self.counters([1: 0, 2: 0, 3: 0]), at: Self.at(seconds: 62))
        #expect(tracker.wantsList(at: Self.at(seconds: 62)))
    }

    @Test func aListThatFailsIsTriedOnceASecond() throws {
        var tracker = try Self.tracker()
        _ = tracker.take(.lost)
        tracker.beginList(at: Self.at(seconds: 5))
        tracker.listFailed()
        #expect(!tracker.wantsList(at: Self.at(seconds: 5)) && tracker.wantsList(at: Self.at(seconds: 6)))
    }

    @Test func aListIsOlderThanTheEventsThatCameWhileItWasRead() throws {
        var tracker = try Self.tracker()
        tracker.beginList(at: Self.at(seconds: 1))
        let list = [Self.link(1, "lo"), Self.link(2, "eth0")]
        _ = tracker.take(.linkChanged(Self.link(2, "lan0", received: 1)))
        _ = tracker.take(.linkChanged(Self.link(3, "usb0")))
        _ = tracker.take(.linkRemoved(Self.link(1, "lo", received: 1)))
        let changes = tracker.take(list: list)
        #expect(changes == [.named([:]), .routes])
        #expect(tracker.table.links.mapValues(\.name) == [2: Array("lan0".utf8), 3: Array("usb0".utf8)])
    }

    @Test func twoLinksThatSwappedTheirNamesAreRenamedAtOnce() throws {
        var tracker = try Self.tracker()
        tracker.beginList(at: Self.at(seconds: 1))
        let changes = tracker.take(list: [Self.link(1, "eth0"), Self.link(2, "lo")])
        #expect(
            changes.contains(
                .named([DeviceIndex(rawValue: 1): DeviceName("eth0"), DeviceIndex(rawValue: 2): DeviceName("lo")])))
    }

    /// However many events are lost, the next list leaves what the kernel has.
    @Test func aListMakesUpForEveryLostEvent() throws {
        for seed in testSeed..<testSeed + 200 {
            var random = SeededGenerator(seed: seed)
            var tracker = try Self.tracker()
            var kernel: [UInt32: Link] = [1: Self.link(1, "lo"), 2: Self.link(2, "eth0")]
            for _ in 0..<20 {
                let index = UInt32.random(in: 1...5, using: &random)
                let event: KernelNetwork.Event
                if kernel[index] != nil, Bool.random(using: &random) {
                    event = .linkRemoved(Self.link(index, "gone", received: 1))
                    kernel[index] = nil
                } else {
                    let link = Self.link(index, "dev\(UInt32.random(in: 1...9, using: &random))")
                    event = .linkChanged(link)
                    kernel[index] = link
                }
                if Bool.random(using: &random) { _ = tracker.take(event) }
            }
            tracker.beginList(at: Self.at(seconds: 1))
            let gone = Set(tracker.table.links.keys).subtracting(kernel.keys)
            let new = Set(kernel.keys).subtracting(tracker.table.links.keys)
            let changes = tracker.take(list: kernel.values.sorted { $0.index < $1.index })
            #expect(tracker.table.links == kernel, "seed \(seed)")
            #expect(changes.count { if case .departed = $0 { true } else { false } } == gone.count, "seed \(seed)")
            #expect(changes.count { if case .appeared = $0 { true } else { false } } == new.count, "seed \(seed)")
        }
    }
}

@Suite("When the kernel is asked for the default route")
struct UplinkTests {
    private static func at(milliseconds: Int64) -> BootTime { BootTime(nanoseconds: milliseconds * 1_000_000) }

    private static func asked(at moment: Int64, took: Int64 = 0) -> Uplink {
        var uplink = Uplink()
        _ = uplink.take(DefaultRoute(family: .ipv4, links: [2], metric: 1))
        uplink.asked(from: at(milliseconds: moment), to: at(milliseconds: moment + took))
        return uplink
    }

    @Test func withinTwoSecondsWithoutAReasonAndAtOnceWithOne() {
        var uplink = Self.asked(at: 1000)
        #expect(!uplink.isDue(at: Self.at(milliseconds: 2899)) && uplink.isDue(at: Self.at(milliseconds: 2900)))
        uplink.outdate()
        #expect(uplink.isDue(at: Self.at(milliseconds: 1001)))
    }

    @Test func aRouterWithManyRoutesSpendsATwentiethOfItsTimeOnThem() {
        var uplink = Self.asked(at: 1000, took: 500)
        uplink.outdate()
        #expect(!uplink.isDue(at: Self.at(milliseconds: 11_499)) && uplink.isDue(at: Self.at(milliseconds: 11_500)))
    }

    @Test func aQuestionThroughANightIsForgottenAfterTwentySeconds() {
        let uplink = Self.asked(at: 1000, took: 8 * 3600 * 1000)
        #expect(uplink.isDue(at: Self.at(milliseconds: 1000 + 8 * 3600 * 1000 + 20_000)))
    }

    @Test func aReadingThatComesSoonEnoughAsksByItself() {
        let uplink = Self.asked(at: 1000)
        let soon = uplink.untilDue(at: Self.at(milliseconds: 1500), untilNextReading: Span(seconds: 1))
        let late = uplink.untilDue(at: Self.at(milliseconds: 1500), untilNextReading: Span(seconds: 5))
        #expect(soon == nil && late == Span(nanoseconds: 1_400_000_000))
    }

    @Test func aQuestionThatWouldBeDueBetweenTwoReadingsIsAskedWithTheFirst() {
        let uplink = Self.asked(at: 1300)
        #expect(!uplink.isDue(at: Self.at(milliseconds: 2000), untilNextReading: Span(seconds: 1)))
        #expect(uplink.isDue(at: Self.at(milliseconds: 3000), untilNextReading: Span(seconds: 1)))
        #expect(!Self.asked(at: 2000).isDue(at: Self.at(milliseconds: 3000), untilNextReading: Span(seconds: 1)))
    }

    @Test func onlyOtherLinksMakeItAnotherUplink() {
        var uplink = Self.asked(at: 1000)
        let routes = [
            DefaultRoute(family: .ipv6, links: [2], metric: 50),
            DefaultRoute(family: .ipv4, links: [2, 3], metric: 50), nil, nil,
        ]
        #expect(routes.map { uplink.take($0) } == [false, true, true, false] && uplink.links.isEmpty)
    }
}
