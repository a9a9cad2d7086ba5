import Testing

@testable import CivilTime

/// Small files made by hand, one rule of RFC 9636 each.
@Suite struct ZoneFileTests {
    /// A file as its parts; the defaults make a version 2 file of one zone an hour east with nothing else in it.
    struct Parts {
        var version: UInt8 = UInt8(ascii: "2")
        var times: [Int64] = []
        var types: [UInt8] = []
        var offsets: [Int32] = [3600]
        var leapSeconds: [(occurrence: Int64, correction: Int32)] = []
        var footer = ""

        var bytes: [UInt8] {
            if version == 0 { return block(timeSize: 4) }
            var empty = Parts()
            empty.version = version
            return empty.block(timeSize: 4) + block(timeSize: 8) + [10] + Array(footer.utf8) + [10]
        }

        private func block(timeSize: Int) -> [UInt8] {
            var bytes = Array("TZif".utf8) + [version] + Array(repeating: 0, count: 15)
            for count in [0, 0, leapSeconds.count, times.count, offsets.count, 4] {
                bytes += bigEndian(Int64(count), 4)
            }
            for time in times { bytes += bigEndian(time, timeSize) }
            bytes += types
            for offset in offsets { bytes += bigEndian(Int64(offset), 4) + [0, 0] }
            bytes += Array("XXX\0".utf8)
            for leap in leapSeconds {
                bytes += bigEndian(leap.occurrence, timeSize) + bigEndian(Int64(leap.correction), 4)
            }
            return bytes
        }

        private func bigEndian(_ number: Int64, _ count: Int) -> [UInt8] {
            (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * Int64($0))) }
        }
    }

    private func offset(_ parts: Parts, _ second: Int64) throws -> Int {
        try Zone(tzif: parts.bytes).offsetSeconds(at: Timestamp(secondsSinceEpoch: second))
    }

    @Test("The first type applies before the first transition, and without a footer the last offset applies for ever")
    func ends() throws {
        let parts = Parts(times: [1000, 2000], types: [1, 2], offsets: [60, 120, 180])
        for (second, expected) in [(Int64.min, 60), (999, 60), (1000, 120), (1999, 120), (2000, 180), (.max, 180)] {
            #expect(try offset(parts, second) == expected, "\(second)")
        }
    }

    @Test("A file without transitions has its first type for ever, or what its footer says")
    func noTransitions() throws {
        #expect(try offset(Parts(), .min) == 3600)
        #expect(try offset(Parts(footer: "YYY-2"), 0) == 7200)
        #expect(try offset(Parts(footer: "YYY-2"), .min) == 7200)
    }

    @Test("The footer applies after the last transition, with the wide hours of version 3")
    func footer() throws {
        let parts = Parts(
            version: UInt8(ascii: "3"), times: [1_700_000_000], types: [1], offsets: [60, -7200],
            footer: "<-02>2<-01>,M3.5.0/-1,M10.5.0/0")
        #expect(try offset(parts, 1_699_999_999) == 60)
        #expect(try offset(parts, 1_700_000_000) == -7200)
        // An hour before the midnight that begins the last Sunday of March, in standard time.
        let change = moment("2093-03-29T01:00:00Z").secondsSinceEpoch
        #expect(try offset(parts, change - 1) == -7200)
        #expect(try offset(parts, change) == -3600)
    }

    @Test("A version 1 file has 32-bit times and no footer")
    func versionOne() throws {
        let parts = Parts(version: 0, times: [-2_000_000_000, 5], types: [1, 0], offsets: [60, 120])
        #expect(try offset(parts, -2_000_000_001) == 60)
        #expect(try offset(parts, -2_000_000_000) == 120)
        #expect(try offset(parts, 5) == 60)
    }

    @Test("Leap seconds that a file counts are subtracted from its transition times")
    func leapSeconds() throws {
        let parts = Parts(
            times: [1000, 2002, 3002], types: [1, 2, 1], offsets: [0, 60, 120],
            leapSeconds: [(1500, 1), (1600, 2), (3002, 1)])
        #expect(try offset(parts, 999) == 0)
        #expect(try offset(parts, 1000) == 60)
        #expect(try offset(parts, 1999) == 60)
        #expect(try offset(parts, 2000) == 120)
        #expect(try offset(parts, 3000) == 120)
        #expect(try offset(parts, 3001) == 60)
    }

    @Test("Two transitions with a leap second between them fall on one POSIX second, and the later one counts")
    func transitionsInLeapSecond() throws {
        let parts = Parts(times: [999, 1000], types: [1, 2], offsets: [0, 60, 120], leapSeconds: [(1000, 1)])
        #expect(try offset(parts, 998) == 0)
        #expect(try offset(parts, 999) == 120)
    }

    @Test("Each broken rule is named")
    func brokenRules() {
        func problem(_ parts: Parts, edit: (inout [UInt8]) -> Void = { _ in }) -> String {
            var bytes = parts.bytes
            edit(&bytes)
            do throws(ZoneError) {
                _ = try Zone(tzif: bytes)
                return "none"
            } catch {
                return error.description
            }
        }
        #expect(problem(Parts(times: [5, 5], types: [0, 0])).contains("transition 1 isn't later"))
        #expect(problem(Parts(times: [5], types: [1])).contains("transition 0 has type 1 of 1"))
        #expect(problem(Parts(offsets: [])).contains("no local time types"))
        #expect(problem(Parts(offsets: [93_601])).contains("more than 26 hours"))
        #expect(problem(Parts(offsets: [.min])).contains("more than 26 hours"))
        #expect(problem(Parts(leapSeconds: [(5, 1), (5, 2)])).contains("leap second 1"))
        #expect(problem(Parts(leapSeconds: [(5, 1), (6, 3)])).contains("leap second 1"))
        #expect(problem(Parts(footer: "nonsense!")).contains("\"nonsense!\""))
        #expect(problem(Parts(version: UInt8(ascii: "5"))).contains("unknown version byte 53"))
        #expect(problem(Parts()) { $0[0] = 0 }.contains("doesn't begin with \"TZif\""))
        #expect(problem(Parts()) { $0[36] = 255 }.contains("count"))
        #expect(problem(Parts()) { $0.removeLast() }.contains("footer's end"))
        #expect(problem(Parts()) { $0 = [] }.contains("TZif"))
        #expect(problem(Parts(times: [.min, 5], types: [0, 0], leapSeconds: [(0, 27)])).contains("leap") == false)
        #expect(problem(Parts(times: [-1, 5], types: [0, 0], leapSeconds: [(0, 27)])).contains("order"))
    }
}
