import CivilTime
import TestSupport
import Testing

@testable import Accounting

@Suite("The rules of counting")
struct LedgerTests {
    private func total(_ received: UInt64, _ transmitted: UInt64 = 0) -> Total {
        Total(received: received, transmitted: transmitted)
    }

    @Test func aDeviceSeenFirstAtStartGivesABaseline() {
        var world = World()
        let eth0 = world.create("eth0", seen: false)
        world.carry(eth0, received: 1000)
        world.start()
        #expect(world.view("eth0")?.lifetime == .zero)
        #expect(world.view("eth0")?.counter == Counters(received: 1000, transmitted: 0))
        world.carry(eth0, received: 5, transmitted: 7)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(5, 7))
    }

    @Test func aDeviceThatAppearsIsBookedWhole() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 10, transmitted: 20)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(10, 20))
        #expect(world.view("eth0")?.events.resets == 0)
    }

    @Test func aDeviceThatAppearedIsNoFirstSightAfterACrash() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 10)
        world.start()
        #expect(world.view("eth0")?.lifetime == total(10))
    }

    @Test func aWrapIsNeverGuessed() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 4_294_967_290)
        world.run(seconds: 1)
        world.kernel[eth0]?.counters.received = 10
        world.run(seconds: 62)
        #expect(world.view("eth0")?.lifetime == total(4_294_967_300))
    }

    @Test func aRebootBooksWhatTheCountersShowSince() {
        var world = World()
        let eth0 = world.create("eth0")
        world.uplink = eth0
        world.run(seconds: 1)
        world.carry(eth0, received: 1000)
        world.run(seconds: 1)
        world.stop()
        world.pass(3600)
        world.reboot("boot-2")
        world.kernel[DeviceIndex(rawValue: 1)]?.counters.received = 70
        world.uplink = DeviceIndex(rawValue: 1)
        world.start()
        #expect(world.view("eth0")?.lifetime == total(1070))
        #expect(world.view("eth0")?.counter.received == 70, "the counter is the kernel's, since this boot")
        #expect(world.view("eth0")?.events.resets == 1)
        #expect(world.view(.uplink)?.lifetime == total(1070))
        #expect(world.view(.uplink)?.counter.received == 70)
    }

    @Test func aRebootSpreadsOverTheTimeSinceBootOnly() {
        var world = World()
        _ = world.create("eth0")
        world.run(seconds: 2)
        world.stop()
        world.pass(86400 * 3)
        world.reboot("boot-2")
        world.bootSeconds = 600
        world.kernel[DeviceIndex(rawValue: 1)]?.counters.received = 6000
        world.start()
        let start = world.wallSeconds - 600
        #expect(world.store.buckets.allSatisfy { Double($0.key.bucket.end.secondsSinceEpoch) > start })
        #expect(world.view("eth0")?.events.gapBytes == 6000)
    }

    @Test func theLastBytesOfADeletedDeviceAreBookedAndADirectionThatReadsZeroStands() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 100, transmitted: 100)
        world.run(seconds: 1)
        world.kernel[eth0]?.counters = Counters(received: 0, transmitted: 150)
        world.delete(eth0)
        #expect(world.view("eth0")?.lifetime == total(100, 150))
        #expect(world.view("eth0")?.events.resets == 0)
        #expect(world.view("eth0")?.isLive == false)
    }

    @Test func theLastBytesOfADeletedDeviceShowOnlyOnceTheyAreCommitted() throws {
        var world = World()
        let first = world.create("veth1")
        let second = world.create("veth2")
        world.carry(first, transmitted: 100)
        world.carry(second, transmitted: 1)
        world.run(seconds: 1)
        let key = AccountKey.collapsed("veth*")
        world.carry(first, transmitted: 11)
        world.ledger.depart(first, final: world.kernel[first]?.counters, movedAway: false, at: world.now)
        #expect(world.view(key)?.counter.transmitted == 101)
        #expect(world.view(key)?.lifetime == total(0, 101))
        let taken = world.ledger.takeCommit()
        let commit = try #require(taken)
        #expect(world.view(key)?.counter.transmitted == 101)
        _ = world.store.apply(commit)
        world.ledger.acknowledgeCommit()
        #expect(world.view(key)?.counter.transmitted == 112)
        #expect(world.view(key)?.lifetime == total(0, 112))
    }

    @Test func aDeviceMadeAgainGoesOn() {
        var world = World()
        let first = world.create("eth0")
        world.carry(first, received: 100)
        world.run(seconds: 1)
        world.delete(first)
        let second = world.create("eth0")
        world.carry(second, received: 5)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.counter.received == 105)
        #expect(world.view("eth0")?.lifetime == total(105))
        #expect(world.view("eth0")?.events.resets == 1)
    }

    @Test func aDeviceMadeAgainLongAfterFindsItsHistoryInTheStore() {
        var world = World()
        let first = world.create("wwan0")
        world.carry(first, received: 100)
        world.run(seconds: 1)
        world.delete(first)
        world.pass(86400 * 100)
        world.read()
        world.commit()
        #expect(world.view("wwan0") == nil, "nothing of it is in an open period")
        let second = world.create("wwan0")
        world.carry(second, received: 5)
        world.run(seconds: 1)
        #expect(world.view("wwan0")?.lifetime == total(105))
    }

    @Test func aDeviceThatIsBackFromElsewhereGetsANewBaseline() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.delete(eth0, movedAway: true)
        world.run(seconds: 1)
        _ = world.create("eth0", index: eth0)
        world.kernel[eth0]?.counters.received = 5000
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(100))
        world.carry(eth0, received: 1)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(101))
        #expect(world.view("eth0")?.counter.received == 101)
    }

    @Test(arguments: [true, false])
    func eachDirectionOfADeviceThatIsBackIsJudgedByItself(hasAddress: Bool) {
        var world = World()
        let address: [UInt8] = hasAddress ? [2, 0, 0, 0, 0, 1] : []
        let eth0 = world.create("eth0", hardwareAddress: address)
        world.carry(eth0, received: 1000, transmitted: 1000)
        world.run(seconds: 1)
        world.delete(eth0, movedAway: true)
        _ = world.create(
            "eth0", index: hasAddress ? nil : eth0, hardwareAddress: address,
            counters: Counters(received: 9000, transmitted: 7))
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(1000, 1007))
    }

    @Test func aNewDeviceWithTheNameOfOneThatLeftIsBookedWhole() {
        var world = World()
        let eth0 = world.create("wg0")
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.delete(eth0, movedAway: true)
        let other = world.create("wg0")
        world.carry(other, received: 60)
        world.run(seconds: 1)
        #expect(world.view("wg0")?.lifetime == total(160))
    }

    @Test func aDeviceThatComesBackUnderAnotherNumberAndNameIsKnownByItsHardwareAddress() {
        var world = World()
        let address: [UInt8] = [2, 0, 0, 0, 0, 1]
        let eth0 = world.create("eth0", hardwareAddress: address)
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.delete(eth0, movedAway: true)
        world.start()
        // It carried 500 elsewhere, where its number was taken and it had another name.
        let back = world.create("eth9", hardwareAddress: address, counters: Counters(received: 600, transmitted: 0))
        world.run(seconds: 1)
        world.rename(back, to: "eth0")
        world.carry(back, received: 7)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(107), "what it carried away from here isn't ours")
    }

    @Test func anotherDeviceOfTheSameNameIsNotTakenForTheOneThatLeft() {
        var world = World()
        let eth0 = world.create("eth0", hardwareAddress: [2, 0, 0, 0, 0, 1])
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.delete(eth0, movedAway: true)
        let other = world.create(
            "eth0", hardwareAddress: [2, 0, 0, 0, 0, 2], counters: Counters(received: 160, transmitted: 0))
        world.run(seconds: 1)
        world.carry(other, received: 7)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(267), "all of what it shows is news")
    }

    private static let address: [UInt8] = [2, 0, 0, 0, 0, 1]
    private static let otherAddress: [UInt8] = [2, 0, 0, 0, 0, 2]

    /// A world whose device eth0 has carried 100 bytes here and went to another namespace.
    private func worldWithoutItsDevice() -> (World, DeviceIndex) {
        var world = World()
        let eth0 = world.create("eth0", hardwareAddress: Self.address)
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.delete(eth0, movedAway: true)
        return (world, eth0)
    }

    @Test(arguments: [false, true])
    func anotherDeviceWithTheNumberOfOneThatLeftIsNotTakenForIt(isStopped: Bool) {
        var (world, eth0) = worldWithoutItsDevice()
        if isStopped { world.stop() }
        let other = world.create(
            "eth1", index: eth0, seen: !isStopped, hardwareAddress: Self.otherAddress,
            counters: Counters(received: 1000, transmitted: 0))
        if isStopped { world.start() }
        world.run(seconds: 1)
        world.carry(other, received: 7)
        world.run(seconds: 1)
        #expect(world.view("eth1")?.lifetime == (isStopped ? total(7) : total(1007)))
        let back = world.create(
            "eth0", hardwareAddress: Self.address, counters: Counters(received: 5000, transmitted: 0))
        world.run(seconds: 1)
        world.carry(back, received: 3)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(103), "the one that left is still known")
    }

    @Test(arguments: [true, false])
    func aDeviceThatComesBackDuringAStopIsKnownByItsAddress(isFirstBack: Bool) {
        var (world, _) = worldWithoutItsDevice()
        var before: UInt64 = 100
        if !isFirstBack {
            let other = world.create(
                "eth0", hardwareAddress: Self.otherAddress, counters: Counters(received: 5000, transmitted: 0))
            world.run(seconds: 1)
            #expect(world.view("eth0")?.lifetime == total(5100), "another device of its name")
            before = 5100
            world.stop()
            world.kernel[other] = nil
        } else {
            world.stop()
        }
        let back = world.create(
            "eth0", seen: false, hardwareAddress: Self.address, counters: Counters(received: 6000, transmitted: 0))
        world.start()
        world.carry(back, received: 4)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(before + 4))
    }

    @Test func anotherDeviceOfTheNameIsBookedWholeAfterAStop() {
        var (world, _) = worldWithoutItsDevice()
        world.stop()
        _ = world.create(
            "eth0", seen: false, hardwareAddress: Self.otherAddress, counters: Counters(received: 5000, transmitted: 0))
        world.start()
        #expect(world.view("eth0")?.lifetime == total(5100))
    }

    @Test func aDeviceIsKnownByTheAddressThatItHadLast() {
        var world = World()
        let eth0 = world.create("eth0", hardwareAddress: Self.otherAddress)
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.ledger.setHardwareAddress(Self.address, of: eth0)
        world.delete(eth0, movedAway: true)
        _ = world.create("eth5", hardwareAddress: Self.address, counters: Counters(received: 200, transmitted: 0))
        world.run(seconds: 1)
        #expect(world.view("eth5")?.lifetime ?? .zero == .zero)
    }

    /// VLANs have the address of what they are on: it says which of them it is as little as their kind does.
    @Test(arguments: [false, true])
    func anAddressThatSeveralHaveSaysNothing(isStopped: Bool) {
        var (world, eth0) = worldWithoutItsDevice()
        let second = world.create("v2", hardwareAddress: Self.address)
        world.carry(second, received: 10)
        world.run(seconds: 1)
        if isStopped { world.stop() }
        world.kernel[second] = nil
        if !isStopped {
            world.ledger.depart(second, final: Counters(received: 10, transmitted: 0), movedAway: false, at: world.now)
        }
        _ = world.create(
            "v2", seen: !isStopped, hardwareAddress: Self.address, counters: Counters(received: 200, transmitted: 0))
        _ = world.create(
            "v3", seen: !isStopped, hardwareAddress: Self.address, counters: Counters(received: 300, transmitted: 0))
        if isStopped { world.start() }
        world.run(seconds: 1)
        #expect(world.view("v2")?.lifetime == total(210), "created again: all of it is news")
        #expect(world.view("v3")?.lifetime ?? .zero == (isStopped ? .zero : total(300)))
        _ = world.create(
            "eth0", index: eth0, hardwareAddress: Self.address, counters: Counters(received: 5000, transmitted: 0))
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(100), "the one that left is still known")
    }

    @Test func aNewDeviceThatLooksLikeOneThatLeftTakesNothingFromIt() {
        var (world, eth0) = worldWithoutItsDevice()
        let new = world.create(
            "eth1", hardwareAddress: Self.address, counters: Counters(received: 30, transmitted: 0))
        world.run(seconds: 1)
        world.delete(new)
        _ = world.create(
            "eth0", index: eth0, hardwareAddress: Self.address, counters: Counters(received: 5000, transmitted: 0))
        world.run(seconds: 1)
        #expect(world.view("eth1")?.lifetime == total(30) && world.view("eth0")?.lifetime == total(100))
    }

    /// A container, a bridge or a network manager gave it another address.
    @Test(arguments: [false, true])
    func aDeviceWithItsOldNumberAndNameIsTheSameWhateverItsAddress(isStopped: Bool) {
        var (world, eth0) = worldWithoutItsDevice()
        if isStopped { world.stop() }
        let back = world.create(
            "eth0", index: eth0, seen: !isStopped, hardwareAddress: Self.otherAddress,
            counters: Counters(received: 5000, transmitted: 0))
        if isStopped { world.start() }
        world.run(seconds: 1)
        world.carry(back, received: 3)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(103))
    }

    @Test func excludedDevicesPushNoneOutThatLeft() {
        var world = World(rules: World.rules(exclude: ["lo", "b*"]))
        let eth0 = world.create("eth0", hardwareAddress: Self.address)
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.delete(eth0, movedAway: true)
        for number in 0..<300 { _ = world.create("b\(number)") }
        world.run(seconds: 1)
        world.stop()
        world.start()
        _ = world.create(
            "eth0", hardwareAddress: Self.address, counters: Counters(received: 1_000_000, transmitted: 0))
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(100))
    }

    @Test func anExcludedDeviceWithAnOldNameIsNotBookedAfterAStart() {
        var world = World()
        let first = world.create("b0")
        world.carry(first, received: 100)
        world.run(seconds: 1)
        world.delete(first)
        world.pass(100 * 86_400)
        world.run(seconds: 1)
        #expect(world.view("b0") == nil, "nothing in memory knows the name any more")
        world.rules = World.rules(exclude: ["lo", "b*"])
        world.ledger.apply(world.rules)
        let second = world.create("b0")
        world.carry(second, received: 5000)
        world.run(seconds: 1)
        world.stop()
        world.rules = World.rules()
        world.start()
        world.carry(second, received: 3)
        world.run(seconds: 1)
        world.commit()
        let stored = world.store.accounts.values.first { $0.key == .device(DeviceName("b0")) }
        #expect(stored.map { world.store.total(of: $0.id) } == total(103))
    }

    /// As of a host that gives each container's device a name of its own.
    @Test func namesThatNeverCarriedAnythingLeaveTheStore() {
        var world = World()
        let eth0 = world.create("eth0")
        for number in 0..<1000 {
            let device = world.create("br-\(number)")
            if number % 100 == 0 { world.carry(device, received: 7) }
            if number % 10 == 0 { world.carry(eth0, received: 1) }
            world.run(seconds: 1)
            world.delete(device)
        }
        world.pass(86_400)
        world.run(seconds: 1)
        world.commit()
        world.start()
        #expect(world.store.accounts.count == 2 + 10, "the uplink, eth0, and those with bytes")
        #expect(world.view("br-100")?.lifetime == total(7) && world.view("eth0")?.lifetime == total(100))
    }

    /// So that plans know that there was something by that name.
    @Test func namesThatLeaveMemoryAreStillKnownToBeInTheStore() {
        var world = World()
        let usb0 = world.create("usb0")
        world.carry(usb0, received: 5)
        world.run(seconds: 1)
        world.delete(usb0)
        world.pass(100 * 86_400)
        world.run(seconds: 1)
        #expect(world.view("usb0") == nil)
        #expect(world.ledger.planBook.storedAccounts.contains(.device(DeviceName("usb0"))))
    }

    @Test func anyNumberOfExcludedDevicesIsRemembered() {
        var world = World()
        let devices = (0..<300).map { world.create("b\($0)") }
        for device in devices { world.carry(device, transmitted: 1000) }
        world.run(seconds: 1)
        world.rules = World.rules(exclude: ["lo", "b*"])
        world.ledger.apply(world.rules)
        for device in devices { world.carry(device, transmitted: 500_000) }
        world.stop()
        world.start()
        world.stop()
        world.rules = World.rules()
        world.start()
        for device in devices { world.carry(device, transmitted: 1) }
        world.run(seconds: 1)
        #expect(world.lifetime == total(0, 300 * 1001))
        world.rules = World.rules(exclude: ["lo", "b*"])
        world.ledger.apply(world.rules)
        for device in devices { world.delete(device) }
        #expect(world.ledger.devices.away.entries.isEmpty, "nothing is kept of what is excluded and gone")
    }

    @Test func namesThatComeAndGoWithoutAByteAreNotKept() {
        var world = World()
        let eth0 = world.create("eth0")
        for number in 0..<2000 {
            let device = world.create("br-\(number)")
            if number == 1000 { world.carry(device, received: 5) }
            world.read()
            world.delete(device)
        }
        world.carry(eth0, received: 7)
        world.run(seconds: 1)
        #expect(world.ledger.accounts.count < 300)
        #expect(world.view("br-1000")?.periods.day == total(5) && world.view("eth0")?.lifetime == total(7))
        let again = world.create("br-7")
        world.carry(again, received: 1)
        world.run(seconds: 1)
        #expect(world.view("br-7")?.lifetime == total(1))
    }

    @Test func withoutABootIDTheClocksTellBootsApart() {
        for isReboot in [false, true] {
            var world = World()
            world.bootID = Epoch.unknownBoot
            world.start()
            let eth0 = world.create("eth0")
            world.carry(eth0, received: 3000)
            world.run(seconds: 1)
            world.stop()
            if isReboot {
                world.wallSeconds += 60
                world.reboot(Epoch.unknownBoot)
                world.pass(5000)  // Longer than the machine had run before.
            }
            let device = world.kernel.keys.first ?? eth0
            world.kernel[device]?.counters.received = 5000
            world.pass(10)
            world.start()
            #expect(world.view("eth0")?.lifetime == total(isReboot ? 8000 : 5000))
        }
    }

    @Test func impossibleBytesAreBookedAndCounted() {
        var world = World()
        let eth0 = world.create("eth0")
        world.ledger.setLinkSpeed(125_000_000, of: eth0)
        world.carry(eth0, received: 300_000_000, transmitted: 10_000_000_000)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(300_000_000, 10_000_000_000))
        #expect(world.view("eth0")?.events.suspectBytes == 10_000_000_000)
    }

    @Test("A device that was excluded is metered with its speed and its address")
    func excludedDeviceKeepsWhatItIs() {
        for byRules in [false, true] {
            var world = World(rules: World.rules(exclude: ["lo", "usb*"]))
            let index = world.create("usb0", hardwareAddress: [2, 0, 0, 0, 0, 9])
            world.ledger.setLinkSpeed(1_000_000, of: index)
            if byRules {
                world.ledger.apply(World.rules())
            } else {
                world.rename(index, to: "lan0")
            }
            let name = byRules ? "usb0" : "lan0"
            world.read()
            world.pass(1)
            world.carry(index, received: 10_000_000_000)
            world.read()
            #expect(world.view(name)?.events.suspectBytes == 10_000_000_000)
            world.delete(index, movedAway: true)
            #expect(world.ledger.devices.away.entries[index]?.hardwareAddress == [2, 0, 0, 0, 0, 9])
        }
    }

    @Test func totalsStopAtTheLargestIntegerInsteadOfWrapping() {
        var world = World()
        let eth0 = world.create("eth0")
        for value: UInt64 in [.max, 0, .max, 1, .max] {
            world.kernel[eth0]?.counters.received = value
            world.run(seconds: 1)
        }
        #expect(world.view("eth0")?.lifetime.received == saturationLimit)
    }

    @Test func theReadingAtMidnightClosesTheDay() {
        var world = World()
        let eth0 = world.create("eth0")
        world.pass(86398.5)
        world.read()
        world.carry(eth0, received: 10)
        world.pass(1.5001)
        world.read()
        #expect(world.view("eth0")?.periods.previousDay == total(10))
        #expect(world.view("eth0")?.periods.day == .zero)
        world.carry(eth0, received: 3)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.periods.day == total(3))
    }

    @Test func aGapOverMidnightIsSpreadOverBothDaysToTheByte() {
        var world = World()
        let eth0 = world.create("eth0")
        world.pass(86400 - 1000)
        world.read()
        world.carry(eth0, received: 1001, transmitted: 7)
        world.pass(4000)
        world.read()
        let periods = world.view("eth0")?.periods
        #expect(periods?.previousDay == total(250, 1))
        #expect(periods?.day == total(751, 6))
        #expect(world.view("eth0")?.events.gapBytes == 1008)
    }

    @Test(arguments: [-3_456_000, -86400, -3600, 3600, 86400, 3_456_000, 1_728_000_000, -1_795_219_000] as [Double])
    func aClockThatIsSetChangesNoTotal(step: Double) {
        var world = World()
        let eth0 = world.create("eth0")
        for _ in 0..<3 {
            world.carry(eth0, received: 100)
            world.run(seconds: 3)
            world.wallSeconds += step
            world.carry(eth0, received: 10)
            world.run(seconds: 3)
            world.wallSeconds -= step
            world.commit()
        }
        #expect(world.view("eth0")?.lifetime == total(330))
        #expect(world.view("eth0")?.events == AccountEvents())
        #expect(world.store.total(of: AccountID(rawValue: 2)) == total(330))
        #expect(world.store.bucketTotal(of: AccountID(rawValue: 2)) == total(330))
    }

    @Test func ratesAreMeansOverTheIntervalAndPeaksLastAMinute() {
        var world = World()
        let eth0 = world.create("eth0")
        world.run(seconds: 2)
        world.carry(eth0, received: 500)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.rate.received == 500)
        world.read(endsInterval: false)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.rate.received == 0)
        world.run(seconds: 58)
        #expect(world.view("eth0")?.peak.received == 500)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.peak.received == 0)
    }

    @Test func anotherRuleSetMovesDevicesWithoutLosingAByte() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.rules = World.rules(exclude: ["lo"], collapse: ["eth*"])
        world.ledger.apply(world.rules)
        world.carry(eth0, received: 10)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(100))
        #expect(world.view(.collapsed("eth*"))?.lifetime == total(10))
        world.rules = World.rules(exclude: ["lo", "eth0"], collapse: [])
        world.ledger.apply(world.rules)
        world.carry(eth0, received: 5000)
        world.run(seconds: 1)
        world.rules = World.rules()
        world.ledger.apply(world.rules)
        world.run(seconds: 1)
        world.carry(eth0, received: 1)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(101), "what it carried while it was excluded isn't counted")
        #expect(world.view("eth0")?.counter.received == 101)
    }

    @Test func whatWasExcludedAcrossARestartIsNotCounted() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.stop()
        world.rules = World.rules(exclude: ["eth0"])
        world.start()
        world.carry(eth0, received: 5000)
        world.run(seconds: 1)
        world.stop()
        world.rules = World.rules()
        world.start()
        world.carry(eth0, received: 1)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(101))
    }

    @Test func theUplinkGetsEachByteOfTheDeviceThatHoldsTheRoute() {
        var world = World()
        let eth0 = world.create("eth0")
        let wwan0 = world.create("wwan0")
        world.uplink = eth0
        world.run(seconds: 1)
        world.carry(eth0, received: 10)
        world.carry(wwan0, received: 1000)
        world.run(seconds: 1)
        world.uplink = wwan0
        world.run(seconds: 1)
        world.carry(eth0, received: 1000)
        world.carry(wwan0, received: 5)
        world.run(seconds: 1)
        #expect(world.view(.uplink)?.lifetime == total(15))
        #expect(world.view(.uplink)?.counter.received == 15)
        world.carry(wwan0, received: 3)
        world.start()
        #expect(world.view(.uplink)?.lifetime == total(18), "the device held it when the program ended")
        world.carry(wwan0, received: 2)
        world.delete(wwan0)
        #expect(world.view(.uplink)?.lifetime == total(20))
        #expect(world.view(.uplink)?.counter.received == 20)
    }

    @Test(arguments: [false, true])
    func aCommitThatFailsOrOnlySeemsToIsTriedAgainAsItIs(reachesStore: Bool) throws {
        var world = World()
        let eth0 = world.create("eth0")
        for bytes: UInt64 in [1, 10, 100] {
            world.carry(eth0, received: bytes)
            world.run(seconds: 1)
            let taken = world.ledger.takeCommit()
            let commit = try #require(taken)
            if reachesStore { _ = world.store.apply(commit) }
            world.carry(eth0, received: bytes)
            world.run(seconds: 1)
            let again = world.ledger.takeCommit()
            #expect(again?.header.sequence == commit.header.sequence && again?.bookings.days == commit.bookings.days)
            world.commit()
        }
        #expect(world.store.total(of: AccountID(rawValue: 2)) == total(222))
        #expect(world.store.bucketTotal(of: AccountID(rawValue: 2)) == total(222))
    }

    @Test func aNewFileGetsEverythingThatIsKnown() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.commit()
        world.pass(86400 * 70)
        world.read()
        world.carry(eth0, received: 10)
        world.run(seconds: 1)
        world.commit()
        world.store = ModelStore()
        world.ledger.recommitEverything()
        world.commit()
        world.start()
        #expect(world.view("eth0")?.lifetime == total(110))
        #expect(world.view("eth0")?.periods.day == total(10))
    }

    @Test func afterACrashACounterWhoseDeviceIsGoneStartsAnewInsteadOfSteppingBackALittle() {
        var world = World()
        let first = world.create("veth1")
        let second = world.create("veth2")
        world.carry(first, received: 1000)
        world.carry(second, received: 500)
        world.run(seconds: 1)
        world.commit()
        world.carry(first, received: 50)
        world.run(seconds: 1)
        #expect(world.view(.collapsed("veth*"))?.counter.received == 1550)
        world.kernel[first] = nil
        world.start()
        #expect(world.view(.collapsed("veth*"))?.counter.received == 0)
        #expect(world.view(.collapsed("veth*"))?.lifetime.received == 1500)
    }

    @Test func aReadingThatComesLateAfterMidnightIsSpreadOverBothDaysAndIsNoGap() {
        var world = World()
        let eth0 = world.create("eth0")
        world.pass(86394)
        world.read()
        world.carry(eth0, received: 1000)
        world.pass(8)
        world.read()
        #expect(world.view("eth0")?.periods.previousDay == total(750))
        #expect(world.view("eth0")?.periods.day == total(250))
        #expect(world.view("eth0")?.events == AccountEvents())
        world.commit()
        #expect(world.store.bucketTotal(of: AccountID(rawValue: 2)) == total(1000))
    }

    @Test func aReadingThatComesEarlyEndsNoIntervalSoNoRateIsAbsurd() {
        var world = World()
        let eth0 = world.create("eth0")
        world.run(seconds: 2)
        world.pass(0.01)
        world.carry(eth0, received: 1000)
        world.read()
        #expect(world.view("eth0")?.rate.received == 0)
        world.pass(0.99)
        world.read()
        #expect(world.view("eth0")?.rate.received == 1000)
        #expect(world.view("eth0")?.peak.received == 1000)
    }

    @Test func whatAnAccountInheritsFromAnotherIsNoRate() {
        var world = World()
        let old = world.create("lan0")
        world.carry(old, received: 1_000_000_000)
        world.run(seconds: 70)
        world.delete(old)
        let new = world.create("eth0")
        world.run(seconds: 2)
        world.rename(new, to: "lan0")
        world.carry(new, received: 10)
        world.run(seconds: 1)
        #expect(world.view("lan0")?.counter.received == 1_000_000_010)
        #expect(world.view("lan0")?.rate.received == 10)
        #expect(world.view("lan0")?.peak.received == 10)
    }

    @Test func theCounterOfAClassBeginsWithTheSumOfItsMembersAndNoOneWhoJoinsLaterAddsWhatHeCarriedBefore() {
        var world = World()
        for (number, bytes) in [(1, 100), (2, 20), (3, 3)] as [(Int, UInt64)] {
            let member = world.create("veth\(number)", seen: false)
            world.carry(member, received: bytes)
        }
        let eth0 = world.create("eth0", seen: false)
        world.carry(eth0, received: 5000)
        world.start()
        let key = AccountKey.collapsed("veth*")
        #expect(world.view(key)?.counter.received == 123)
        world.run(seconds: 1)
        world.rename(eth0, to: "veth9")
        world.run(seconds: 1)
        #expect(world.view(key)?.counter.received == 123)
        world.carry(eth0, received: 4)
        world.run(seconds: 1)
        #expect(world.view(key)?.counter.received == 127)
        #expect(world.view(key)?.lifetime == total(4))
    }

    @Test func theCounterOfTheUplinkBeginsAtZeroSoThatARouteInventsNoBytes() {
        var world = World()
        let eth0 = world.create("eth0", seen: false)
        world.carry(eth0, received: 5000)
        world.uplink = eth0
        world.start()
        #expect(world.view(.uplink)?.counter == .zero)
        world.carry(eth0, received: 7)
        world.run(seconds: 1)
        #expect(world.view(.uplink)?.counter.received == 7)
    }

    @Test func whatIsMeteredBeforeTheStoreCanBeReadComesAfterWhatItHas() {
        var world = World()
        let eth0 = world.create("eth0")
        let wwan0 = world.create("wwan0")
        let veth1 = world.create("veth1")
        world.uplink = eth0
        for index in [eth0, wwan0, veth1] { world.carry(index, received: 1000) }
        world.run(seconds: 1)
        world.carry(eth0, received: 100)
        world.run(seconds: 1)
        world.stop()
        world.pass(600)
        for index in [eth0, wwan0, veth1] { world.carry(index, received: 10) }
        world.startWithoutStore()
        let shown = world.view("eth0")?.counter
        for index in [eth0, wwan0, veth1] { world.carry(index, received: 1) }
        world.run(seconds: 1)
        world.delete(wwan0)
        world.rename(eth0, to: "lan0")
        let new = world.create("usb0")
        world.carry(new, received: 33)
        world.run(seconds: 1)
        #expect(world.ledger.takeCommit() == nil, "nothing is committed before it is known what is there")
        world.storeReturns()
        #expect(world.view("lan0")?.lifetime == total(1111))
        #expect(world.view("eth0") == nil)
        #expect(world.view("wwan0")?.lifetime == total(1011))
        #expect(world.view("wwan0")?.isLive == false)
        #expect(world.view(.collapsed("veth*"))?.lifetime == total(1011))
        #expect(world.view("usb0")?.lifetime == total(33))
        #expect(world.view(.uplink)?.lifetime == total(111))
        #expect(world.view("lan0")?.counter.received == (shown?.received ?? 0) + 1, "a counter that was seen goes on")
        #expect(world.view("lan0")?.events.gapBytes == 10)
        world.start()
        #expect(world.view("lan0")?.lifetime == total(1111))
        #expect(world.view("lan0")?.counter.received == 1111)
    }

    @Test func aNumberThatIsUsedAgainBeforeTheStoreCanBeReadTakesNoHistoryAlong() {
        var world = World()
        let eth0 = world.create("eth0")
        world.carry(eth0, received: 1000)
        world.run(seconds: 1)
        world.stop()
        world.startWithoutStore()
        world.delete(eth0)
        _ = world.create("foo0", index: eth0)
        world.carry(eth0, received: 7)
        world.run(seconds: 1)
        world.storeReturns()
        #expect(world.view("eth0")?.lifetime == total(1000))
        #expect(world.view("foo0")?.lifetime == total(7))
    }

    @Test func anExcludedDeviceThatIsMadeAgainIsNoHistoryOfItsName() {
        var world = World()
        let first = world.create("eth0")
        world.carry(first, received: 100)
        world.run(seconds: 1)
        world.rules = World.rules(exclude: ["eth0"])
        world.ledger.apply(world.rules)
        world.delete(first)
        let second = world.create("eth0")
        world.carry(second, received: 5000)
        world.run(seconds: 1)
        world.rules = World.rules()
        world.ledger.apply(world.rules)
        world.run(seconds: 1)
        world.carry(second, received: 1)
        world.run(seconds: 1)
        #expect(world.view("eth0")?.lifetime == total(101))
        world.start()
        #expect(world.view("eth0")?.lifetime == total(101))
    }

    @Test func manyGapsThatWaitForTheStoreTakeNoMoreRoomThanTheirDays() {
        var world = World()
        let eth0 = world.create("eth0")
        _ = world.ledger.takeCommit()
        for _ in 0..<5000 {
            world.carry(eth0, received: 1001)
            world.pass(1000)
            world.read()
        }
        #expect(world.ledger.outbox.pending.spreads.count <= Bookings.maximumSpreads)
        world.commit()
        #expect(world.store.total(of: AccountID(rawValue: 2)) == total(5_005_000))
        #expect(world.store.bucketTotal(of: AccountID(rawValue: 2)) == total(5_005_000))
    }
}
