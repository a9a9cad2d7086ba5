import Accounting
import CivilTime
import Configuration
import Testing

@Suite struct ConfigurationTests {
    @Test func theExampleWithTheDefaultsIsTheDefaults() throws {
        #expect(try read(example) == .defaults)
    }

    @Test(arguments: [
        "", "\n", "# only a comment", "# a\tcomment", "{} #\t\tanother", "\u{FEFF}", "\u{FEFF}# marked\n", "---",
        "---\n...\n", "~", "null", "{}",
        "sampling:", "sampling: ~\nstorage: null\ndevices: {}\nmetrics:\n", "{sampling}",
    ])
    func whatSetsNothingIsTheDefaults(_ yaml: String) throws {
        #expect(try read(yaml) == .defaults)
    }

    @Test func everySettingArrivesWhereItBelongs() throws {
        let configuration = try read(everySetting)
        #expect(configuration.timezone == .named("Europe/Berlin"))
        #expect(configuration.weekStarts == .sunday)
        #expect(configuration.sampling.interval == Span(seconds: 2))
        #expect(configuration.sampling.onBattery == Span(seconds: 10))
        #expect(configuration.storage.flushInterval == Span(seconds: 300))
        #expect(configuration.storage.keepBuckets == Span(seconds: 31 * 86_400))
        #expect(configuration.devices.exclude.map(\.text) == ["lo", "docker[0-9]", "*"])
        #expect(configuration.devices.collapse.isEmpty)
        #expect(configuration.metrics.rates == false)
        #expect(configuration.metrics.addresses == false)
    }

    @Test func aByteOrderMarkAndAnyKindOfLineBreakChangeNothing() throws {
        let expected = try read(everySetting)
        #expect(try read("\u{FEFF}" + everySetting) == expected)
        #expect(try read(withLineBreaks("\r\n")) == expected)
        #expect(try read(withLineBreaks("\r")) == expected)
        #expect(errors(in: "\u{FEFF}a: 1") == errors(in: "a: 1"))
        #expect(errors(in: "sampling:\r\n  interval: fast").hasPrefix("netusage.yaml:2:13: "))
        #expect(errors(in: "sampling:\r  interval: fast").hasPrefix("netusage.yaml:2:13: "))
    }

    @Test(arguments: [
        ("100ms", 100), ("500ms", 500), ("1s", 1000), ("1s500ms", 1500), ("\"2s\"", 2000), ("'2s'", 2000),
        ("60s", 60_000), ("1m", 60_000), ("0m59s999ms", 59_999), ("007s", 7000),
    ])
    func aSamplingIntervalIsFrom100MillisecondsToAMinute(_ text: String, milliseconds: Int64) throws {
        let expected = Span(nanoseconds: milliseconds * 1_000_000)
        let configuration = try read("sampling: { interval: \(text), on_battery: \(text) }")
        #expect(configuration.sampling.interval == expected)
        #expect(configuration.sampling.onBattery == expected)
    }

    @Test(arguments: [("1s", 1), ("5m", 300), ("1h", 3600), ("59m59s", 3599), ("0h30m", 1800)])
    func aFlushIntervalIsFromASecondToAnHour(_ text: String, seconds: Int64) throws {
        #expect(try read("storage: { flush_interval: \(text) }").storage.flushInterval == Span(seconds: seconds))
    }

    @Test(
        arguments: [
            ("1d", 86_400), ("24h", 86_400), ("62d", 62 * 86_400), ("2w", 14 * 86_400), ("3650d", 3650 * 86_400),
            ("1w1d1h1m1s", 694_861), ("1h30m", nil), ("3650d1ms", nil), ("521w3d", 3650 * 86_400),
        ] as [(String, Int64?)])
    func bucketsAreKeptFromADayToTenYears(_ text: String, seconds: Int64?) throws {
        let configuration = try? read("storage: { keep_buckets: \(text) }")
        #expect(configuration?.storage.keepBuckets == seconds.map { Span(seconds: $0) })
    }

    @Test(arguments: [
        "", "s", "ms", "1", "1.5s", "-1s", "+1s", "1 s", " 1s ", "1S", "1sec", "1µs", "1s1m", "1s1s", "1h30", "h1",
        "1s ms",
        "1e3s", "0x1s", "١s", "1s\u{301}", "1_000ms", "∞", "1mss", "1s1", "1y",
    ])
    func whatIsNotQuiteADurationIsRefused(_ text: String) {
        #expect(errors(in: "storage: { flush_interval: \"\(text)\" }").contains("storage.flush_interval: "))
    }

    @Test(arguments: [
        "9223372036854775807s", "9223372036854775808ms", "99999999999999999999999999w1ms", "106751d2000000h",
    ])
    func aDurationTooLongToCountIsOutOfRange(_ text: String) {
        #expect(errors(in: "storage: { flush_interval: \(text) }").contains("is out of range"))
    }

    @Test(arguments: Weekday.allCases)
    func aWeekStartsOnAnyDay(_ weekday: Weekday) throws {
        #expect(try read("week_starts: \(weekday.name)").weekStarts == weekday)
        #expect(try read("week_starts: '\(weekday.name.uppercased())'").weekStarts == weekday)
    }

    @Test(
        arguments: [
            ("local", .local), ("\"Local\"", .local), ("LOCAL", .local), ("UTC", .fixed(seconds: 0)),
            ("utc", .fixed(seconds: 0)), ("Z", .fixed(seconds: 0)), ("+05:30", .fixed(seconds: 19_800)),
            ("\"-08:00\"", .fixed(seconds: -28_800)), ("+0530", .fixed(seconds: 19_800)),
            ("'-0000'", .fixed(seconds: 0)), ("+23:59", .fixed(seconds: 86_340)), ("-23:59", .fixed(seconds: -86_340)),
            ("Europe/Berlin", .named("Europe/Berlin")),
            ("America/Argentina/Buenos_Aires", .named("America/Argentina/Buenos_Aires")),
            ("Etc/GMT+5", .named("Etc/GMT+5")), ("EST5EDT", .named("EST5EDT")),
        ] as [(String, TimeZoneSetting)])
    func aTimeZoneIsLocalAnOffsetOrAName(_ text: String, expected: TimeZoneSetting) throws {
        #expect(try read("timezone: \(text)").timezone == expected)
    }

    @Test(arguments: [
        "", " ", "/etc/passwd", "../../etc/passwd", "Europe/../../x", "Europe//Berlin", "Europe/", "/", ".", "a.b",
        "Europe\\\\Berlin",
        "Zürich", "Europe/Berlin ", "UTC+1:00", "a\\0b", ":Europe/Berlin", "<+03>-3", "+5:30", "+05", "+24:00",
        "+05:60",
        "+05:3a", "+053", "+05-30", "++0530", "5:30", "-", "+", "+05:30:00", "K\u{301}",
    ])
    func whatCantNameATimeZoneIsNotLookedUp(_ text: String) {
        var lookups: [String] = []
        #expect(throws: ConfigurationErrors.self) {
            _ = try Configuration(yaml: Array("timezone: \"\(text)\"".utf8), file: "f") { name in
                lookups.append(name)
                return nil
            }
        }
        #expect(lookups == [])
    }

    @Test func aTimeZoneNameHasAtMost255Bytes() throws {
        let longest = String(repeating: "a", count: 255)
        #expect(try read("timezone: \(longest)").timezone == .named(longest))
        #expect(errors(in: "timezone: a\(longest)").contains("can't be the name of a time zone"))
    }

    @Test func aListMayHaveThousandPatternsAndNoMore() throws {
        let patterns = (0..<1000).map { "d\($0)" }
        #expect(try read("devices: { exclude: [\(patterns.joined(separator: ","))] }").devices.exclude.count == 1000)
        let expected =
            "netusage.yaml:1:21: devices.exclude: the list has 1001 items, more than the 1000 allowed; shorten it"
        #expect(errors(in: "devices: { exclude: [\(patterns.joined(separator: ",")),x] }") == expected)
    }

    @Test func onePatternMayStandInBothLists() throws {
        let devices = try read("devices: { exclude: [wg0], collapse: [wg0] }").devices
        #expect(devices.exclude == devices.collapse)
    }

    @Test func aTextOverSeveralLinesIsOneValue() throws {
        #expect(try read("timezone: >-\n  Europe/Berlin\n").timezone == .named("Europe/Berlin"))
    }
}

/// The example of the manual with the defaults.
let example = """
    timezone: local                    # the system's; or a name, e.g. Europe/Berlin
    week_starts: monday
    sampling: { interval: 1s, on_battery: 5s }
    storage:  { flush_interval: 60s, keep_buckets: 62d }      # days are kept for ever
    devices:
      exclude: [lo]
      collapse: ["veth*", "cali*", "tap*", "vnet*"]           # one series a pattern
    metrics:  { rates: true, addresses: true }

    """

/// A file in which nothing is the default.
let everySetting = """
    # A comment.
    timezone: Europe/Berlin
    week_starts: "Sunday"
    sampling: { interval: 2s, on_battery: 10s }
    storage:
      flush_interval: 5m   # and another
      keep_buckets: '4w3d'
    devices:
      exclude:
        - lo
        - docker[0-9]
        - "*"
      collapse: []
    metrics:
      rates: false
      addresses: false

    """

private func withLineBreaks(_ lineBreak: String) -> String {
    everySetting.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: lineBreak)
}

/// Reads a file. All time zones exist but Europe/Atlantis.
func read(_ yaml: String) throws(ConfigurationErrors) -> Configuration {
    try read(bytes: Array(yaml.utf8))
}

func read(bytes: [UInt8]) throws(ConfigurationErrors) -> Configuration {
    try Configuration(yaml: bytes, file: "netusage.yaml") { name in
        name == "Europe/Atlantis" ? "there is no file for it" : nil
    }
}

/// What is wrong with a file, as the user reads it; empty for a good one.
func errors(in yaml: String) -> String {
    errors(inBytes: Array(yaml.utf8))
}

func errors(inBytes bytes: [UInt8]) -> String {
    do throws(ConfigurationErrors) {
        _ = try read(bytes: bytes)
        return ""
    } catch {
        return error.description
    }
}
