import Accounting
import CivilTime
import Configuration
import Foundation
import TestSupport
import Testing

@Suite("Plans in the configuration")
struct PlanTests {
    static let example = """
        quotas:
          - name: home-fibre
            count: uplink
            direction: total
            limit: 1 TB
            cycle: { every: month, day: 31, at: "00:00", timezone: local }
            warn_at: [95%, 80%, 99.5%]
            free: ["00:00-06:00", "sat 22:00-sun 06:00"]
            rollover: { max: 100 GB }
            price: { currency: INR, base: 499, per_gb: 7.50, over_limit: { per: 50 GB, price: 600, max: 6000 } }
            run: ["/usr/local/bin/on-quota", "-v", "-v"]
          - { name: card, count: [wwan0, "usb*"], direction: greater, limit: 1.5 GiB, cycle: { every: "30 days", from: 2026-01-15 } }
        rate_limits:
          - { name: busy, count: [eth0], direction: total, limit: 1 MB/s, for: 10s }
        committed_rates:
          - { name: transit, count: [eth1], limit: 100 Mbit/s, direction: greater, cycle: { every: month }, missing: skip }
        """

    @Test func everyKeyOfAPlanArrivesWhereItBelongs() throws {
        let plans = try read(Self.example).plans
        let home = try #require(plans.quotas.first)
        #expect(home.name == "home-fibre" && home.count == .uplink && home.direction == .total)
        #expect(home.limitBytes == 1_000_000_000_000 && home.rolloverMaximumBytes == 100_000_000_000)
        #expect(home.cycle == Cycle(CycleRule(.month(day: 31))))
        #expect(home.warnAt.map(\.description) == ["0.8", "0.95", "0.995"])
        // Each night, and Saturday night until Sunday morning, which goes on with Sunday's own.
        #expect(home.free.windows.count == 7 && home.free.windows.last == 8520..<9000)
        let price = try #require(home.price)
        #expect(price.currency.code == "INR" && price.base == Money(millionths: 499_000_000))
        #expect(price.perGigabyte == Money(millionths: 7_500_000) && price.overLimit?.blockBytes == 50_000_000_000)
        #expect(price.overLimit?.max == Money(millionths: 6_000_000_000))
        #expect(home.run == ["/usr/local/bin/on-quota", "-v", "-v"])
        let card = plans.quotas[1]
        #expect(card.limitBytes == 1_610_612_736 && card.direction == .greater)
        #expect(card.cycle.rule.kind == .days(30, from: try #require(CivilDate("2026-01-15"))))
        #expect(plans.rateLimits.first?.limitBitsPerSecond == 8_000_000)
        #expect(plans.rateLimits.first?.hold == Span(seconds: 10))
        #expect(plans.committedRates.first?.limitBitsPerSecond == 100_000_000)
        #expect(plans.committedRates.first?.missing == .skip)
    }

    @Test func whatAPlanDoesNotSayHasADefault() throws {
        let plans = try read(
            "week_starts: sunday\nquotas: [{ name: a, limit: 1 B }, { name: b, limit: 1 B, cycle: { every: week } }]"
        ).plans
        #expect(plans.quotas[0].count == .uplink && plans.quotas[0].direction == .total)
        #expect(plans.quotas[0].cycle == Cycle(CycleRule(.month(day: 1))))
        #expect(plans.quotas[1].cycle.rule.kind == .week(.sunday))
    }

    @Test(
        arguments: [
            ("sun", [8640..<10080]), ("22:00-06:00", []), ("sat 22:00-06:00", [8520..<9000]),
            ("mon-fri 01:00-02:00", (0..<5).map { $0 * 1440 + 60..<$0 * 1440 + 120 }), ("sat-sun", [7200..<10080]),
            ("sun 23:00-mon 01:00", [0..<60, 10020..<10080]), ("fri-mon 00:00-24:00", [0..<1440, 5760..<10080]),
            ("Tuesday 10:00-Tuesday 09:00", [0..<1980, 2040..<10080]),
        ] as [(String, [Range<Int>])])
    func aFreeWindowMeansWhatItSays(_ text: String, windows: [Range<Int>]) throws {
        let free = try #require(try read("quotas: [{ name: a, limit: 1 B, free: [\"\(text)\"] }]").plans.quotas.first)
            .free
        if windows.isEmpty {
            #expect(free.windows.count == 8 && free.windows.first == 0..<360 && free.windows.last == 9960..<10080)
        } else {
            #expect(free.windows == windows)
        }
    }

    @Test func whatMayNotBeMeantIsNotedAndNoError() throws {
        let yaml = """
            devices: { exclude: [lo, "docker*"] }
            quotas:
              - { name: a, limit: 1 B, count: [eth0, docker0, nope0], free: ["00:00-06:00", "05:00-07:00"] }
              - { name: b, limit: 1 B, free: [mon-sun] }
            """
        let configuration = try Configuration(
            yaml: Array(yaml.utf8), file: "netusage.yaml", zoneProblem: { _ in nil },
            isPresent: { $0.matches(DeviceName("eth0")) })
        #expect(
            configuration.notes.map(\.description) == [
                "netusage.yaml:3:42: quotas[0].count[1]: \"docker0\" isn't metered, because devices.exclude names it; it counts nothing until you remove it there",
                "netusage.yaml:3:51: quotas[0].count[2]: \"nope0\" matches no device now; it counts as soon as there is one",
                "netusage.yaml:3:81: quotas[0].free[1]: overlaps with an earlier window; both count as one window",
                "netusage.yaml:4:34: quotas[1].free: is the whole week; nothing will be counted",
            ])
    }

    @Test func aQuotaThatNeedsApplicationsIsNotedWhereTheyAreOff() throws {
        func notes(_ yaml: String) throws -> [String] {
            try Configuration(
                yaml: Array(yaml.utf8), file: "netusage.yaml", zoneProblem: { _ in nil }, isPresent: { _ in true }
            ).notes.map(\.description)
        }
        let quota = "quotas: [{ name: games, limit: 1 TB, count: { applications: [steam] } }]\n"
        #expect(
            try notes("applications: off\n" + quota) == [
                "netusage.yaml:1:15: applications: is off, so that quota games counts as if no application were known; write auto, or leave applications out of the quota"
            ])
        #expect(try notes(quota).isEmpty && notes("applications: off\nquotas: [{ name: a, limit: 1 TB }]").isEmpty)
    }

    /// Texts between `quotas: [{ name: a, limit: 1 TB, ` and ` }]`, or whole files if they begin with a new line.
    static let badPlans = [
        "cycle: { every: month, day: 32 }", "cycle: { every: month, day: 0 }", "cycle: { every: month, day: last }",
        "cycle: { every: fortnight }", "cycle: { every: weak }", "cycle: { every: \"0 days\", from: 2026-01-01 }",
        "cycle: { every: \"5000 days\", from: 2026-01-01 }", "cycle: { every: \"30 days\" }", "cycle: { every: 30 }",
        "cycle: { every: week, day: 3 }", "cycle: { every: year, day: \"02-30\" }",
        "cycle: { every: year, day: \"13-01\" }",
        "cycle: { every: year, day: 6 }", "cycle: { every: once, from: 2026-03-01 }",
        "cycle: { every: once, from: 2026-03-01, until: 2026-02-01 }",
        "cycle: { every: once, from: 2026-03-01, until: 2026-03-01 }",
        "cycle: { every: once, from: 01.03.2026, until: 2026-04-01 }", "cycle: { every: day, day: 5 }",
        "cycle: { every: month, from: 2026-01-01 }",
        "cycle: { every: \"30 days\", from: 2026-01-01, until: 2026-02-01 }",
        "cycle: { at: \"24:00\" }", "cycle: { at: 6am }", "cycle: { at: \"6:00\" }",
        "cycle: { timezone: Europe/Atlantis }",
        "cycle: { timezone: \"+25:00\" }", "cycle: month", "cycle: { evry: month }",
        "count: eth0", "count: []", "count: [uplink]", "count: [eth0, eth0]", "count: [\"eth[\"]", "count: 5",
        "direction: both", "direction: recieve", "direction: [receive]", "warn_at: [80]", "warn_at: [0%]",
        "warn_at: [-5%]",
        "warn_at: [80%, 80%]", "warn_at: 80%", "warn_at: [0.8]", "warn_at: [1001%]", "free: [night]",
        "free: [\"25:00-26:00\"]",
        "free: [\"06:00-06:00\"]", "free: [\"mon-tue-wed\"]", "free: [\"24:00-06:00\"]", "free: 00:00-06:00",
        "rollover: {}", "rollover: { max: 0 GB }", "rollover: 5 GB", "price: { base: 5 }", "price: { currency: EURO }",
        "price: { currency: eur, base: -1 }", "price: { currency: EUR, base: 1.1234567 }",
        "price: { currency: EUR, base: 5 EUR }",
        "price: { currency: EUR, over_limit: {} }", "price: { currency: EUR, per_gb: 1e3 }",
        "price: { currency: EUR, base: 10000000000000 }", "run: on-quota", "run: [on-quota]", "run: [[/bin/true]]",
        "limt: 5 GB",
        "\nquotas: [{ name: a }]", "\nquotas: [{ limit: 1 GB }]", "\nquotas: [{ name: a, limit: 0 GB }]",
        "\nquotas: [{ name: a, limit: -1 GB }]", "\nquotas: [{ name: a, limit: 1 gb }]",
        "\nquotas: [{ name: a, limit: 1000 }]",
        "\nquotas: [{ name: a, limit: lots }]", "\nquotas: [{ name: a, limit: 100 EB }]",
        "\nquotas: [{ name: a, limit: 9999999 TB }]",
        "\nquotas: [{ name: a, limit: 1 GB }, { name: b, limit: 1 GB }, { name: a, limit: 2 GB }]",
        "\nquotas: { name: a }",
        "\nquotas: [home]", "\nquotas: [{ name: \"\", limit: 1 GB }]", "\nquotas: [{ name: -x, limit: 1 GB }]",
        "\nquotas: [{ name: \"a\\nb\", limit: 1 GB }]", "\nrate_limits: [{ name: a, limit: 1 MB }]",
        "\nrate_limits: [{ name: a, limit: 0 MB/s }]", "\nrate_limits: [{ name: a, limit: 1 Mbps }]",
        "\nrate_limits: [{ name: a, limit: 1 MB/s, for: 10 }]",
        "\nrate_limits: [{ name: a, limit: 1 MB/s, for: 10ms }]",
        "\nrate_limits: [{ name: a, limit: 1 MB/s, warn_at: [80%] }]",
        "\ncommitted_rates: [{ name: a, limit: 100 Mbit/s, missing: ignore }]",
        "\ncommitted_rates: [{ name: a, limit: 100 Mbit }]", "\ncommitted_rates: [{ name: a }]",
    ]

    private static func yaml(of bad: String) -> String {
        bad.hasPrefix("\n") ? String(bad.dropFirst()) : "quotas: [{ name: a, limit: 1 TB, \(bad) }]"
    }

    @Test func everyMistakeIsNamedWithItsPlaceAndRemedy() throws {
        var text = ""
        for bad in Self.badPlans {
            let yaml = Self.yaml(of: bad)
            let errors = errors(in: yaml)
            #expect(errors != "" && errors.contains(";") || errors.contains("?"), "\(yaml)")
            text += "\(yaml)\n    \(errors.split(separator: "\n").joined(separator: "\n    "))\n"
        }
        let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Golden/bad-plans.txt")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try text.write(to: golden, atomically: true, encoding: .utf8)
        }
        let expected = try String(contentsOf: golden, encoding: .utf8)
        for (line, wanted) in zip(text.split(separator: "\n"), expected.split(separator: "\n")) where line != wanted {
            Issue.record("\(line) instead of \(wanted)")
            return
        }
        #expect(text == expected, "UPDATE_GOLDEN=1 writes it anew; look at the difference")
    }

    @Test(arguments: [
        "run: '/bin/true --token=S3cret'", "run: S3cret", "run: ['curl -H S3cret']",
        "run: ['/bin/nonexistent --token=S3cret']",
        "run: [/bin/nonexistent, S3cret]", #"run: [/bin/nonexistent, "S3cret\0"]"#, #"run: "S3cret\e""#,
        #"run: [/bin/true, "S3cret\e"]"#,
        "run: [/bin/true, *S3cret]", "run: *S3cret", "run: [/bin/true, [S3cret]]", "run: { token: S3cret }",
        "run: !S3cret x", "run: &S3cret x",
    ])
    func noMessageRepeatsTheArgumentsOfAProgram(_ run: String) throws {
        let yaml = Self.yaml(of: run)
        let errors = errors(in: yaml)
        let message =
            try errors == ""
            ? Configuration(yaml: Array(yaml.utf8), file: "netusage.yaml") { _ in
                nil
            } isProgram: { _ in
                false
            }
            .notes.map { "\($0)" }.joined() : errors
        #expect(message.contains("quotas[0].run") && !message.contains("S3cret"), "\(message)")
    }

    @Test func aProgramIsNamedByItsFirstWord() throws {
        #expect(errors(in: Self.yaml(of: "run: ['curl -H x']")).contains(#""curl …" is not the path of a program"#))
        let remedy = "[/usr/local/bin/on-quota, --verbose], with the program and each argument as an item"
        #expect(errors(in: Self.yaml(of: "run: curl")).contains("is not a list; write a list, as \(remedy)"))
        #expect(errors(in: Self.yaml(of: "run: [/usr/local/bin/on-quota, --verbose]")) == "")
    }

    @Test func tenThousandMutatedPlansAreReadOrRefusedWithAPlace() {
        print("seed \(testSeed)")
        var random = SeededGenerator(seed: testSeed)
        let fragments = Self.badPlans.map { Array($0.utf8) }
        for _ in 0..<tries(10_000) {
            var bytes = Array(Self.example.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 9...126, using: &random)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(contentsOf: fragments.randomElement(using: &random) ?? [], at: place)
                default:
                    let end = min(bytes.count, place + Int.random(in: 1...30, using: &random))
                    bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: 0..<bytes.count, using: &random))
                }
            }
            do throws(ConfigurationErrors) {
                let plans = try read(bytes: bytes).plans
                #expect(plans.quotas.allSatisfy { $0.limitBytes > 0 && !$0.name.isEmpty })
            } catch {
                #expect(error.entries.allSatisfy { $0.place != nil && !$0.problem.isEmpty })
            }
        }
    }

    @Test(
        arguments: [
            ("1 B", 1), ("1kB", 1000), ("1.5 KiB", 1536), ("312 GB", 312_000_000_000), ("0.1 KiB", 102),
            ("1.1 TiB", 1_209_462_790_554),
            ("1.47573952589676412927 EiB", 1_701_411_834_604_692_317), ("0 MB", 0), ("8 PiB", 9_007_199_254_740_992),
        ] as [(String, UInt64)])
    func aSizeIsExact(_ text: String, size: UInt64) throws {
        #expect(try bytes(ofSize: text) == size)
    }
}
