import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import Reports
@testable import netusage

/// Every kind of terminal that a table may be shown on.
private let terminals = [40, 60, 79, 80, 120, 200].flatMap { columns in
    [(true, true), (false, true), (true, false), (false, false)].map { colour, unicode in
        Terminal(columns: columns, hasColour: colour, hasUnicode: unicode)
    }
}

/// A text without the styles of a terminal.
private func plain(_ text: String) -> String {
    var plain: [UInt8] = []
    var isStyle = false
    for byte in text.utf8 {
        if byte == 0x1B { isStyle = true }
        if !isStyle { plain.append(byte) }
        if byte == UInt8(ascii: "m") { isStyle = false }
    }
    return String(decoding: plain, as: UTF8.self)
}

/// What holds for each table on each terminal.
private func check(_ text: (Terminal) -> String, _ what: String) {
    for terminal in terminals {
        let shown = text(terminal)
        let place = "\(what) on \(terminal)"
        for line in plain(shown).split(separator: "\n") {
            #expect(width(String(line)) <= terminal.columns, "\(place): \(line)")
            #expect(!line.hasSuffix(" "), "\(place): \(line)")
        }
        #expect(terminal.hasColour || !shown.contains("\u{1B}"), "\(place)")
        #expect(
            terminal.hasUnicode || !shown.unicodeScalars.contains { "█▒▏▎▍▌▋▊▉…".unicodeScalars.contains($0) },
            "\(place)")
        var colourless = terminal
        colourless.hasColour = false
        #expect(plain(shown) == text(colourless), "\(place): colour changes the text")
        #expect(Terminal.printableLines(shown) == shown, "\(place): a control character is left")
    }
}

@Suite("Tables for people")
struct TableTests {
    private static let noon = Timestamp(secondsSinceEpoch: 1_795_262_400)  // 2026-11-21T12:00:00Z
    private static let today = CivilDate(daysSinceEpoch: 20_778)
    private static let basis = ReportBasis(
        now: noon, asOf: noon, calendar: LocalCalendar(zone: .utc, weekStart: .monday), collapse: [])

    private static func history(_ names: [String], _ random: inout SeededGenerator) -> DayHistory {
        let keys = [AccountKey.uplink] + names.map { .device(DeviceName($0)) }
        let entries = keys.map { key in
            let days = (0..<40).map { back in
                let most = UInt64(1) << UInt64.random(in: 0...50, using: &random)
                return (
                    today.adding(days: back - 39),
                    Total(
                        received: UInt64.random(in: 0...most, using: &random),
                        transmitted: UInt64.random(in: 0...most, using: &random))
                )
            }
            return DayHistory.Entry(
                key: key, isLive: true, lifetime: days.reduce(into: .zero) { $0 += $1.1 }, first: days[0].0, days: days)
        }
        return DayHistory(entries: entries, meteredFrom: noon.adding(seconds: -40 * 86_400))
    }

    @Test(arguments: [UsageQuery.Grain.total, .day, .month, .year])
    func aUsageTableFitsEveryTerminal(grain: UsageQuery.Grain) throws {
        for seed in testSeed..<testSeed + tries(3) {
            var random = SeededGenerator(seed: seed)
            let names = ["eth0", "a-name-that-is-quite-long-\(seed)", "日本語-interface", "\u{1B}[31mred"]
            var query = UsageQuery(grain: grain)
            query.last = grain == .total ? nil : 20
            var report = try UsageReport(query, of: Self.history(names, &random), Self.basis)
            report.note = nil
            for inBits in [false, true] {
                check(
                    { UsageTable(terminal: $0, inBits: inBits).text(report, title: "Traffic") },
                    "\(grain), seed \(seed)")
            }
        }
    }

    @Test func nothingMeteredIsSaidInWords() throws {
        let terminal = Terminal(columns: 80, hasColour: false, hasUnicode: true)
        let nothing = DayHistory(entries: [], meteredFrom: nil)
        let report = try UsageReport(UsageQuery(.all), of: nothing, Self.basis)
        #expect(
            UsageTable(terminal: terminal, inBits: false).text(report, title: "Today").contains("Nothing was metered"))
    }

    private static func plans(used: UInt64, name: String, at now: Timestamp = noon) -> PlansReport {
        let quota = Quota(
            name: name, count: .uplink, direction: .total, limitBytes: 1_000_000,
            cycle: Cycle(CycleRule(.month(day: 1))),
            warnAt: [Share(millionths: 500_000)],
            price: Price(
                currency: .euro, base: Money(millionths: 20_000_000), perGigabyte: Money(millionths: 7_500_000),
                overLimit: nil))
        let rate = RateLimit(
            name: name, count: .uplink, direction: .total, limitBitsPerSecond: 8_000_000, hold: Span(seconds: 1))
        let committed = CommittedRate(
            name: name, count: .uplink, direction: .receive, limitBitsPerSecond: 100_000_000,
            cycle: Cycle(CycleRule(.month(day: 1))), missing: .skip)
        let calendars: [TimeZoneSetting: LocalCalendar] = [.local: basis.calendar]
        var book = PlanBook(
            Plans(quotas: [quota], rateLimits: [rate], committedRates: [committed]), calendars: calendars,
            records: .none, meteredFrom: .earliest, at: now)
        book.restore(Total(received: used, transmitted: 0), of: .uplink, at: now.adding(seconds: -3600))
        book.takePastAsKnown()
        book.complete(at: now)
        return PlansReport(book, calendars: calendars, at: now)
    }

    @Test(arguments: [0, 499_999, 700_000, 1_000_000, 1 << 60] as [UInt64])
    func aQuotaTableFitsEveryTerminal(used: UInt64) {
        for name in [
            "home", "a quota whose name takes more than a line of eighty columns, if there is nothing beside it",
        ] {
            check({ QuotaTable(terminal: $0).text(Self.plans(used: used, name: name)) }, "\(used) of \(name)")
        }
    }

    /// - Parameter uses: What applications carried in each scope.
    private static func applications(
        _ uses: [(String, [TrafficScope: UInt64])], unattributed: Int64? = nil, uplink: UInt64? = nil
    ) throws -> UsageReport {
        let history = DayHistory(entries: [], meteredFrom: noon.adding(seconds: -43_200))
        var report = try UsageReport(UsageQuery(.day, by: .application), of: history, basis)
        report.accounts = uses.flatMap { name, scopes in
            scopes.map { scope, bytes in
                UsageReport.Account(
                    name: name, kind: "application", scope: scope.rawValue, receivedBytes: bytes, transmittedBytes: 0,
                    totalBytes: bytes)
            }
        }
        if let uplink {
            report.accounts.append(
                UsageReport.Account(
                    name: "uplink", kind: "uplink", receivedBytes: uplink, transmittedBytes: 0, totalBytes: uplink))
        }
        report.unattributed = unattributed.map {
            UsageReport.Unattributed(receivedBytes: $0, transmittedBytes: 0, totalBytes: $0)
        }
        return report
    }

    @Test func aTableOfApplicationsFitsEveryTerminal() throws {
        var random = SeededGenerator(seed: testSeed)
        let names = ["firefox", "日本語-application.service", "\u{1B}[31mred", String(repeating: "long", count: 16)]
        for scopes in [
            [], [.internet], [.lan], [.internet, .lan], [.internet, .tunnel], [.tunnel], TrafficScope.allCases,
        ] {
            let uses = names.map { name in
                let amounts = scopes.map { ($0, UInt64(1) << UInt64.random(in: 0...60, using: &random)) }
                return (name, Dictionary(uniqueKeysWithValues: amounts))
            }
            let report = try Self.applications(uses, unattributed: -1 << 60, uplink: 1 << 60)
            check({ ApplicationTable(terminal: $0).text(report, title: "Today") }, "\(scopes)")
        }
    }

    /// As the manual shows it. On a narrow terminal the scopes give way, and names and totals stay.
    @Test func aTableOfApplicationsAddsUp() throws {
        let report = try Self.applications(
            [
                ("restic", [.internet: 3_100_000_000]),
                ("jellyfin.service", [.internet: 12_400_000, .lan: 9_710_000_000]),
                ("firefox", [.internet: 1_920_000_000, .lan: 210_400]),
                ("(kernel)", [.internet: 1_200_000, .lan: 300_000]),
            ], unattributed: 1_210_000_000, uplink: 15_954_110_400)
        func table(_ columns: Int) -> String {
            let terminal = Terminal(columns: columns, hasColour: false, hasUnicode: true)
            return ApplicationTable(terminal: terminal).text(report, title: "Today")
        }
        #expect(
            table(80) == """
                Today, since 2026-11-21
                                  internet        LAN     total   share
                jellyfin.service  12.40 MB    9.71 GB   9.72 GB  60.9 %  ███████████████████████
                restic             3.10 GB          –   3.10 GB  19.4 %  ███████
                firefox            1.92 GB  210.40 kB   1.92 GB  12.0 %  ████
                (kernel)           1.20 MB  300.00 kB   1.50 MB   0.0 %
                unattributed                            1.21 GB   7.6 %
                uplink                                 15.95 GB

                """)
        #expect(
            table(40) == """
                Today, since 2026-11-21
                                     total   share
                jellyfin.service   9.72 GB  60.9 %
                restic             3.10 GB  19.4 %
                firefox            1.92 GB  12.0 %
                (kernel)           1.50 MB   0.0 %
                unattributed       1.21 GB   7.6 %
                uplink            15.95 GB

                """)
    }

    @Test func aQuotaTableSaysHowTheQuotaIs() {
        let terminal = Terminal(columns: 80, hasColour: false, hasUnicode: true)
        func text(_ used: UInt64) -> String {
            QuotaTable(terminal: terminal).text(Self.plans(used: used, name: "home"))
        }
        #expect(text(1_000_000).contains("BREACHED") && text(1_000_000).contains("100.0 %"))
        #expect(text(600_000).contains("over 50 %") && text(600_000).contains("600.00 kB of 1.00 MB"))
        #expect(text(0).contains("0.0 %") && text(0).contains("10 days left"))
        #expect(text(600_000).contains("cost") && text(600_000).contains("EUR"))
    }
}

@Suite("The live table")
struct LiveTableTests {
    private static func applications(_ names: [String], rate: Double) -> LiveReport {
        var report = report([], rate: rate)
        report.accounts += names.flatMap { name in
            ["internet", "lan"].map { scope in
                var account = Self.report([name], rate: rate).accounts[0]
                (account.name, account.kind, account.scope) = (name, "application", scope)
                return account
            }
        }
        return report
    }

    @Test(arguments: [0, 1, 1e6, 1e12])
    func aTableOfApplicationsFitsEveryTerminal(rate: Double) {
        let names = ["firefox", "日本語-application.service", "\u{1B}[31mred", String(repeating: "long", count: 16)]
        for rows in [1, 5, 24] {
            check(
                {
                    var table = LiveApplicationTable(inBits: false)
                    for _ in 0..<5 { _ = table.lines(Self.applications(names, rate: rate), $0, rows: rows) }
                    let lines = table.lines(Self.applications(names, rate: rate), $0, rows: rows)
                    #expect(lines.count <= rows)
                    return lines.joined(separator: "\n")
                }, "\(rate) in \(rows)")
        }
    }

    /// Not by the last second alone, or lines would change places all the time.
    @Test func whoWasBusiestInTheLastMinuteComesFirst() {
        let terminal = Terminal(columns: 80, hasColour: false, hasUnicode: true)
        var table = LiveApplicationTable(inBits: false)
        func report(_ steady: Double, _ sudden: Double) -> LiveReport {
            var report = Self.applications(["steady"], rate: steady)
            report.accounts += Self.applications(["sudden"], rate: sudden).accounts.filter { $0.kind == "application" }
            return report
        }
        for _ in 0..<30 { _ = table.lines(report(1000, 0), terminal, rows: 24) }
        var lines = table.lines(report(0, 5000), terminal, rows: 24)
        func place(_ name: String) -> Int { lines.firstIndex { $0.hasPrefix(name) } ?? -1 }
        #expect(place("steady") > 0 && place("steady") < place("sudden"))
        for _ in 0..<60 { lines = table.lines(report(0, 5000), terminal, rows: 24) }
        #expect(place("sudden") > 0 && place("sudden") < place("steady"))
        // Both scopes together.
        #expect(lines[place("sudden")].contains("10.00 kB/s"))
    }

    private static func report(_ names: [String], rate: Double, online: Bool = true) -> LiveReport {
        LiveReport(
            asOf: LocalCalendar.utc.local(Timestamp(secondsSinceEpoch: 1_795_262_400)), online: online,
            accounts: names.map {
                LiveReport.Account(
                    name: $0, kind: "device", link: "physical", up: true, uplink: $0 == names.first, addresses: [],
                    receiveBytesPerSecond: rate, transmitBytesPerSecond: rate / 3, receivePeakBytesPerSecond: rate * 2,
                    transmitPeakBytesPerSecond: rate, today: .init(receivedBytes: 1, transmittedBytes: 2, totalBytes: 3)
                )
            })
    }

    @Test func itFitsEveryTerminalAndItsRows() {
        let names =
            (0..<30).map { "eth\($0)" } + [
                "a device whose name is far too long for a line of a terminal that is narrow"
            ]
        for terminal in terminals {
            for rows in [2, 5, 24, 200] {
                var table = LiveTable(inBits: false)
                for rate in [0, 1, 1e3, 1e9, 1e15] {
                    let lines = table.lines(Self.report(names, rate: rate), terminal, rows: rows)
                    #expect(lines.count <= rows)
                    for line in lines {
                        let shown = plain(line)
                        #expect(width(shown) <= terminal.columns, "\(terminal), \(rows) rows: \(shown)")
                    }
                    #expect(terminal.hasColour || !lines.joined().contains("\u{1B}"))
                }
            }
        }
    }

    @Test func whatIsNotShownIsSaid() {
        var table = LiveTable(inBits: false)
        let terminal = Terminal(columns: 80, hasColour: false, hasUnicode: true)
        let lines = table.lines(Self.report(["eth0", "eth1", "eth2"], rate: 5), terminal, rows: 5)
        #expect(lines.last?.contains("more; choose with --device") == true)
        let none = table.lines(Self.report([], rate: 0, online: false), terminal, rows: 5)
        #expect(none.contains("There is no such device.") && none[0].contains("offline"))
    }
}

@Suite("The terminal")
struct TerminalTests {
    private static let terminal = Terminal(columns: 80, hasColour: true, hasUnicode: true)

    @Test func aTextIsClippedToTheColumnsItMayTake() {
        var random = SeededGenerator(seed: testSeed)
        let letters = Array("ab é日本\u{301}ü🎉")
        for _ in 0..<500 {
            let text = String(
                (0..<Int.random(in: 0...30, using: &random)).map { _ in letters.randomElement(using: &random) ?? "x" })
            let length = Int.random(in: 1...20, using: &random)
            let clipped = Self.terminal.clipped(text, to: length)
            #expect(
                width(clipped) <= length && (clipped == text || clipped.hasSuffix("…")), "\(text), seed \(testSeed)")
            #expect(width(aligned(text, to: 40)) == max(40, width(text)))
            #expect(width(padded(text, to: 40)) == max(40, width(text) + 1))
        }
    }

    @Test func wordsAreWrappedAndNoneIsLost() {
        let text = "one two threeeeeeeeeeeeeeeee four\nfive"
        for length in 1...40 {
            let lines = Self.terminal.wrapped(text, to: length)
            #expect(lines.joined(separator: " ") == "one two threeeeeeeeeeeeeeeee four five")
            for line in lines { #expect(width(line) <= length || !line.contains(" "), "\(line)") }
        }
    }

    @Test func wideLettersTakeTwoColumnsAndMarksNone() {
        #expect(width("abc") == 3 && width("日本") == 4 && width("e\u{301}") == 1 && width("🎉") == 2 && width("") == 0)
    }

    @Test func onlyOurStylesReachTheTerminal() {
        let hostile = "\u{1B}]0;title\u{7}\u{1B}[31mred\u{1B}[0m\u{9B}2J\u{202E}\nnext\r"
        let shown = Terminal.printableLines(hostile)
        #expect(shown.contains("\u{1B}[31mred\u{1B}[0m") && shown.contains("\nnext"))
        let rest = shown.replacing("\u{1B}[31m", with: "").replacing("\u{1B}[0m", with: "")
        #expect(!rest.unicodeScalars.contains { $0 != "\n" && $0.isInvisible })
        #expect(!Terminal.printable(hostile).unicodeScalars.contains { $0.isInvisible })
    }

    @Test func withoutColourTextIsPlain() {
        let plain = Terminal(columns: 80, hasColour: false, hasUnicode: true)
        #expect(plain.coloured("x", .red) == "x" && plain.bold("x") == "x" && plain.dim("x") == "x")
        #expect(Self.terminal.coloured("x", .red) == "\u{1B}[31mx\u{1B}[0m")
    }
}
