import Testing

@testable import CivilTime

@Suite struct RuleParserTests {
    /// A string and the offsets it gives at the start of January and of July 2026, UTC.
    struct Good: Sendable, CustomTestStringConvertible {
        let rule: String
        let january: Int
        let july: Int
        var testDescription: String { rule }
    }

    @Test(
        "A well-formed TZ string gives these offsets in January and July",
        arguments: [
            Good(rule: "UTC0", january: 0, july: 0),
            Good(rule: "EST5EDT,M3.2.0,M11.1.0", january: -18_000, july: -14_400),
            Good(rule: "EST5EDT", january: -18_000, july: -14_400),
            Good(rule: "EST+5EDT4,M3.2.0/2,M11.1.0/2:00:00", january: -18_000, july: -14_400),
            Good(rule: "<+0330>-3:30", january: 12_600, july: 12_600),
            Good(rule: "<-00>0", january: 0, july: 0),
            Good(rule: "<UTC+3>-03", january: 10_800, july: 10_800),
            Good(rule: "CET-1CEST,M3.5.0,M10.5.0/3", january: 3600, july: 7200),
            Good(rule: "CET-1CEST,J88,J300", january: 3600, july: 7200),
            Good(rule: "CET-1CEST,87,299", january: 3600, july: 7200),
            Good(rule: "NZST-12NZDT,M9.5.0,M4.1.0/3", january: 46_800, july: 43_200),
            Good(rule: "IST-1GMT0,M10.5.0,M3.5.0/1", january: 0, july: 3600),
            Good(rule: "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", january: 39_600, july: 37_800),
            Good(rule: "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", january: -7200, july: -3600),
            Good(rule: "AAA-24:59:59", january: 89_999, july: 89_999),
            Good(rule: "AAA24:59:59BBB24:59:58,0/0,J365/167", january: -89_998, july: -89_998),
            // RFC 9636 section 3.3.2: daylight time all year.
            Good(rule: "XXX3EDT4,0/0,J365/23", january: -14_400, july: -14_400),
            Good(rule: "EST5EDT,0/0,J365/25", january: -14_400, july: -14_400),
            // Daylight time ends when it begins, at the turn of the year: there is none.
            Good(rule: "EST5EDT,J365/24,0/1", january: -18_000, july: -18_000),
            Good(rule: "AAA0BBB,J100/2,J100/3", january: 0, july: 0),
        ])
    func wellFormed(_ good: Good) throws {
        let zone = try Zone(posix: good.rule)
        #expect(zone.offsetSeconds(at: moment("2026-01-01T12:00:00Z")) == good.january)
        #expect(zone.offsetSeconds(at: moment("2026-07-01T00:00:00Z")) == good.july)
    }

    @Test("The three forms of a date mean these days, and clocks change at two unless a time is given")
    func dates() throws {
        let cases = [
            ("AAA0BBB,M2.5.0,M3.1.0", "2024-02-25T02:00:00Z", "2024-03-03T01:00:00Z"),
            ("AAA0BBB,M2.5.4/3,M3.1.0", "2024-02-29T03:00:00Z", "2024-03-03T01:00:00Z"),
            ("AAA0BBB,M9.4.6,M11.5.1", "2024-09-28T02:00:00Z", "2024-11-25T01:00:00Z"),
            ("AAA0BBB,J59,J60", "2024-02-28T02:00:00Z", "2024-03-01T01:00:00Z"),
            ("AAA0BBB,J59,J60", "2023-02-28T02:00:00Z", "2023-03-01T01:00:00Z"),
            ("AAA0BBB,59,60", "2024-02-29T02:00:00Z", "2024-03-01T01:00:00Z"),
            ("AAA0BBB,58/-1,J60/25:30:15", "2023-02-27T23:00:00Z", "2023-03-02T00:30:15Z"),
            ("AAA0BBB,364,365", "2024-12-30T02:00:00Z", "2024-12-31T01:00:00Z"),
            ("AAA0BBB,M12.5.0/167,J20", "2024-01-06T23:00:00Z", "2024-01-20T01:00:00Z"),
        ]
        for (rule, start, end) in cases {
            let zone = try Zone(posix: rule)
            #expect(zone.offsetSeconds(at: moment(start)) == 3600, "\(rule)")
            #expect(zone.offsetSeconds(at: moment(start).adding(seconds: -1)) == 0, "\(rule)")
            #expect(zone.offsetSeconds(at: moment(end)) == 0, "\(rule)")
            #expect(zone.offsetSeconds(at: moment(end).adding(seconds: -1)) == 3600, "\(rule)")
        }
    }

    @Test(
        "A malformed TZ string is refused with a sentence that quotes it",
        arguments: [
            "", "UTC", "UT0", "<UTC0", "<>0", "<A>0", "<U C>0", "U1C0", ":UTC", "UTC25", "UTC-25", "UTC0:60",
            "UTC0:0:60",
            "UTC0:", "UTC+-3", "UTC0 ", " UTC0", "UTC0,", "UTC0,M3.2.0,M11.1.0", "EST5ED", "EST5EDT,", "EST5EDT,M3.2.0",
            "EST5EDT,M3.2.0,", "EST5EDT,M3.2.0,M11.1.0,", "EST5EDT,M3.2.0,M11.1.0x", "EST5EDT;M3.2.0,M11.1.0",
            "EST5EDT,M0.2.0,M11.1.0", "EST5EDT,M13.2.0,M11.1.0", "EST5EDT,M3.0.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0",
            "EST5EDT,M3.2.7,M11.1.0", "EST5EDT,M3.2,M11.1.0", "EST5EDT,J0,J365", "EST5EDT,J1,J366", "EST5EDT,0,366",
            "EST5EDT,M3.2.0/168,M11.1.0", "EST5EDT,M3.2.0/-168,M11.1.0", "EST5EDT,M3.2.0/,M11.1.0", "EST5EDT,-1,5",
            "EST5EDT,M3.2.0/2:,M11.1.0", "EST9999999999999999999999", "ÄÖÜ0", "EST5EDT,J١,J2",
        ])
    func malformed(rule: String) {
        do throws(ZoneError) {
            _ = try Zone(posix: rule)
            Issue.record("it was read")
        } catch {
            #expect(error.description.hasPrefix("The POSIX time zone rule \""))
            #expect(error.description.utf8.allSatisfy { (0x20..<0x7f).contains($0) })
        }
    }

    @Test("Control characters are refused, and don't reach the message")
    func controlCharacters() {
        for rule in ["UTC0\n", "UTC0\u{0}", "\u{1b}[31mUTC0"] { malformed(rule: rule) }
    }

    @Test("A rule over 256 bytes is refused, and the message shows only its beginning")
    func tooLong() {
        let rule = String(repeating: "A", count: 300) + "0"
        #expect {
            try Zone(posix: rule)
        } throws: {
            guard case .invalidRule(let shown, let problem) = $0 as? ZoneError else { return false }
            return shown.count < 50 && problem.contains("longer than 256 bytes")
        }
    }

    @Test("A fixed offset is kept, and clamped beyond 26 hours")
    func fixedOffsets() {
        for (given, expected) in [(0, 0), (19_800, 19_800), (-43_200, -43_200), (.max, 93_600), (.min, -93_600)] {
            #expect(Zone(fixedOffsetSeconds: given).offsetSeconds(at: .latest) == expected)
        }
    }
}
