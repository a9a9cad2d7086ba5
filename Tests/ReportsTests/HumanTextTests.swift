import CivilTime
import Testing

@testable import Reports

@Suite("Text for people")
struct HumanTextTests {
    @Test(
        arguments: [
            (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_994, "999.99 kB"), (999_995, "1.00 MB"),
            (612_400_000_000, "612.40 GB"), (UInt64.max, "18.45 EB"),
        ] as [(UInt64, String)])
    func sizesHaveTwoDecimalsAndTheUnitThatFits(bytes: UInt64, text: String) { #expect(sizeText(bytes) == text) }

    @Test(arguments: [(0, "0.00 bit/s"), (1, "8.00 bit/s"), (125, "1.00 kbit/s"), (12_500_000_000, "100.00 Gbit/s")])
    func ratesAreInBitsOrBytes(bytesPerSecond: Double, bits: String) {
        #expect(rateText(bytesPerSecond, inBits: true) == bits)
        #expect(rateText(bytesPerSecond, inBits: false) == sizeText(UInt64(bytesPerSecond)) + "/s")
    }

    @Test func numbersBeyondAllReasonAreCut() {
        for number in [Double.infinity, .greatestFiniteMagnitude, -1, -.infinity] {
            #expect(!rateText(number, inBits: false).isEmpty && !decimalText(number).isEmpty)
        }
        #expect(decimalText(-1) == "0.00" && decimalText(0.005) == "0.01" && decimalText(1.5, decimals: 0) == "2")
    }

    @Test func timesAreCutToWhatPeopleRead() throws {
        let time = try #require(LocalMoment("2026-11-20T09:30:15+01:00"))
        #expect(secondText(time) == "2026-11-20 09:30:15" && minuteText(time) == "2026-11-20 09:30")
        #expect(startText(try #require(LocalMoment("2026-11-20T00:00:00+01:00"))) == "2026-11-20")
        #expect(startText(try #require(LocalMoment("2026-11-20T06:00:00Z"))) == "2026-11-20 06:00")
    }
}
