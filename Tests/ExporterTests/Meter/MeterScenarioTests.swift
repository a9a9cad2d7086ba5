import Accounting
import CivilTime
import Foundation
import LedgerStore
import Netlink
import Reports
import Testing

@testable import Exporter

/// A day and a half of a household, and everything that can happen to its meter.
///
/// The golden file has what was shown after each step; `UPDATE_GOLDEN=1 swift test` writes it again.
@Suite("A meter through a day and a half")
struct MeterScenarioTests {
    private static let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Golden/scenario.txt")

    private static let configuration = """
        timezone: UTC
        quotas:
          - name: fibre
            count: uplink
            limit: 10 MB
            warn_at: [80%]
            run: [/bin/notify, "it is much"]
        """

    @Test func everyStepShowsWhatTheGoldenFileSays() async throws {
        let record = try await Self.live()
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try record.write(to: Self.golden, atomically: true, encoding: .utf8)
        }
        let expected = try String(contentsOf: Self.golden, encoding: .utf8)
        let lines = record.split(separator: "\n", omittingEmptySubsequences: false)
        let wanted = expected.split(separator: "\n", omittingEmptySubsequences: false)
        var step = ""
        for (line, wanted) in zip(lines, wanted) {
            if wanted.hasPrefix("===") { step = String(wanted) }
            if line != wanted {
                Issue.record("\(step): \(line) instead of \(wanted)")
                break
            }
        }
        #expect(lines.count == wanted.count)
    }

    private static func live() async throws -> String {
        let home = try MeteredHousehold(configuration: configuration)
        let kernel = home.kernel
        try await home.begin()
        await home.show("the first scrape")

        kernel.carry(2, 1_000_000, 200_000)
        kernel.carry(4, 700, 70)
        await home.pass(seconds: 1)
        await home.show("traffic on the uplink and on a container's device")

        kernel.carry(2, 100_000, 10_000)
        kernel.setUp(3, true)
        kernel.lead(over: 3)
        await home.takeEvents()
        kernel.carry(2, 1, 1)
        kernel.carry(3, 50_000, 5_000)
        await home.pass(seconds: 1)
        await home.show("the uplink moves to wlan0: bytes from before are eth0's")

        kernel.carry(2, 30_000, 3_000)
        kernel.whileReading {
            kernel.carry(2, 4_000, 400)
            kernel.rename(2, to: "lan0")
            kernel.carry(2, 500, 50)
        }
        await home.pass(seconds: 1)
        await home.show("eth0 becomes lan0 while the counters are read")

        kernel.carry(4, 600, 60)
        kernel.remove(4)
        kernel.add(4, "usb0")
        kernel.carry(4, 90, 9)
        await home.pass(seconds: 1)
        await home.show("a device goes with its last bytes, and another one gets its number")

        kernel.carry(2, 10, 10)
        kernel.whileReading {
            kernel.carry(4, 5, 5)
            kernel.remove(4)
        }
        await home.pass(seconds: 1)
        await home.show("a device goes while the counters are read")

        kernel.add(5, "tun0", kind: "tun")
        kernel.loseEvents()
        kernel.carry(5, 25, 5)
        await home.pass(seconds: 1)
        kernel.carry(5, 5, 1)
        await home.pass(seconds: 2)
        await home.show("an event is lost, and the lists are read again")

        kernel.fail(NetlinkError(.system(5), "the kernel doesn't answer"))
        kernel.carry(3, 1_000, 100)
        await home.pass(seconds: 3)
        await home.show("the kernel can't be read")
        kernel.fail(nil)
        await home.pass(seconds: 1)
        await home.show("the kernel can be read again")

        await home.failStore(StoreError(.full, path: "ledger.db", "no space"))
        kernel.carry(3, 2_000, 200)
        kernel.carry(5, 1_000, 100)
        kernel.remove(5)
        await home.pass(seconds: 2)
        await home.show("the disk is full: the last bytes of a device that went aren't shown yet")
        await home.failStore(nil)
        await home.pass(seconds: 2)
        await home.show("there is space again, but the store isn't tried yet")
        await home.pass(seconds: 3)
        await home.show("the store takes everything that waited")

        kernel.carry(3, 7_000_000, 700_000)
        await home.pass(seconds: 1)
        await home.show("80 % of the quota is used")

        try await home.order(QuotaRequest(quota: "fibre", kind: .correct(usedBytes: 9_000_000, at: "22:00")))
        await home.show("the provider says that 9 MB were used at 22:00")

        try await home.importHistory([
            ImportedAccount(
                .device(DeviceName("lan0")),
                slots: [
                    ImportedAccount.Slot(
                        Timestamp(secondsSinceEpoch: 1_795_132_800)..<Timestamp(secondsSinceEpoch: 1_795_219_200),
                        Total(received: 123_456, transmitted: 6_543))
                ])
        ])
        await home.pass(seconds: 1)
        await home.show("another meter's history of yesterday is imported")

        home.clock.step(seconds: -3600)
        kernel.carry(3, 11, 1)
        await home.pass(seconds: 1)
        await home.show("the clock is set back by an hour")

        home.clock.pass(seconds: 3 * 3600 - 30)
        kernel.carry(3, 1_200_000, 120_000)
        await home.pass(seconds: 60)
        await home.show("midnight has passed, most of the time asleep")

        try await home.reload(
            """
            timezone: "+02:00"
            devices: { exclude: [wlan0] }
            quotas:
              - { name: lan, count: [lan0], limit: 1 GB, cycle: { every: week } }
            """)
        kernel.carry(3, 1_000, 1_000)
        kernel.carry(2, 2_000, 2_000)
        await home.pass(seconds: 1)
        await home.show("other devices, another zone and another quota")

        try await home.restart(configuration) {
            kernel.carry(2, 40_000, 4_000)
            home.clock.pass(seconds: 600)
        }
        await home.pass(seconds: 1)
        await home.show("ten minutes later the program runs again, by the first configuration")
        return await home.record
    }
}
