import ArgumentParser
import CivilTime
import Configuration
import Exporter
import Reports

/// `netusage import …`.
struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Import the history of another meter.",
        discussion: """
            Import adds only traffic from before netusage began to meter a device, and only what the ledger doesn't have yet. \
            Nothing is counted twice, so you can repeat an import or use a newer file.
            """,
        subcommands: [VnStat.self, CSV.self])

    struct Options: ParsableArguments {
        @OptionGroup var common: CommonOptions

        @Flag(help: "Show what would be imported, and change nothing.")
        var dryRun = false

        @Flag(
            help:
                "First remove earlier imports of these devices, if their file, time zone or uplink was wrong."
        )
        var replace = false

        @Option(
            help:
                "Book this device's bytes to the uplink, too: the other meter doesn't know which device had the default route.",
            completion: .devices)
        var uplink: String?

        @Flag(help: "For programs: bytes as integers, times in RFC 3339.")
        var json = false
    }

    /// `netusage import vnstat FILE`.
    struct VnStat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "vnstat",
            abstract: "Import the database of vnStat 2, or the output of vnstat --json.",
            discussion: "The database is /var/lib/vnstat/vnstat.db. Its times have no zone.")

        @OptionGroup var options: Options

        @Option(help: "The zone of its times, such as Europe/Berlin. (default: the ledger's)")
        var timezone: String?

        @Argument(help: "The file; - is standard input.", completion: .file())
        var file: String

        mutating func validate() throws { _ = try zone }

        private var zone: TimeZoneSetting? {
            get throws { try argument("--timezone") { try timezone.map { try timeZone(ofText: $0) } } }
        }

        mutating func run() async throws {
            try await importHistory(.vnStat(path: file, timezone: zone), options)
        }
    }

    /// `netusage import csv FILE`.
    struct CSV: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "csv", abstract: "Import a CSV file that netusage export has written.")

        @OptionGroup var options: Options

        @Argument(help: "The file; - is standard input.", completion: .file())
        var file: String

        mutating func run() async throws { try await importHistory(.csv(path: file), options) }
    }
}

private func importHistory(_ source: ImportSource, _ options: ImportCommand.Options) async throws {
    let progress = ProgressBar()
    let report: ImportReport
    do {
        defer { progress.clear() }
        report = try await options.common.ledgerAccess.importHistory(
            source, uplink: options.uplink, replaces: options.replace, isTrial: options.dryRun
        ) {
            progress.show($0)
        }
    }
    try output(options.json ? jsonText(report) : text(report, source, options))
}

private func text(_ report: ImportReport, _ source: ImportSource, _ options: ImportCommand.Options) -> String {
    let terminal = Terminal.standardOutput
    var lines = table(report, terminal)
    func tell(_ text: String) { lines += terminal.wrapped(text, to: terminal.columns) }
    for account in report.accounts {
        let name = Terminal.printable(account.name)
        let forgotten = sum(account.forgottenReceivedBytes, account.forgottenTransmittedBytes)
        let late = sum(account.lateReceivedBytes, account.lateTransmittedBytes)
        let missed = sum(account.missedReceivedBytes, account.missedTransmittedBytes)
        if forgotten > 0 {
            tell(
                "\(report.isTrial ? "would be forgotten" : "forgotten"): \(name): \(sizeText(forgotten)), imported before"
            )
        }
        if late > 0 {
            tell(
                "left out: \(name): \(sizeText(late)) after netusage's last reading, because netusage may still read them itself; run netusage serve, then import again"
            )
        }
        if missed > 0 {
            tell("left out: \(name): \(sizeText(missed)) from the time since netusage began to meter it")
        }
    }
    for problem in report.problems { tell("left out: \(Terminal.printable(problem))") }
    if report.accounts.isEmpty {
        tell("There is nothing \(report.problems.isEmpty ? "" : "else ")in the file to import.")
        return lines.joined(separator: "\n") + "\n"
    }
    if let path = report.begunLedger {
        tell(
            report.isTrial
                ? "There is no ledger yet; one would be created: \(path)."
                : "A new ledger was created: \(path). netusage serve uses it from now on.")
    }
    if case .vnStat = source, options.uplink == nil {
        tell("The uplink got nothing; --uplink DEVICE books that device's bytes to the uplink, too.")
    }
    let isMoreToCome = report.accounts.contains { $0.lateReceivedBytes > 0 || $0.lateTransmittedBytes > 0 }
    tell(
        report.isTrial
            ? "Nothing was changed." : isMoreToCome ? "Done." : "Done. You can repeat it: nothing is counted twice.")
    return lines.joined(separator: "\n") + "\n"
}

private func table(_ report: ImportReport, _ terminal: Terminal) -> [String] {
    if report.accounts.isEmpty { return [] }
    let names = report.accounts.map { terminal.clipped(Terminal.printable($0.name), to: terminal.columns / 3) }
    let longest = max(8, names.map { width($0) }.max() ?? 0)
    let columns = ["received", "transmitted", "known"].map { aligned($0, to: 11) }.joined(separator: "  ")
    // If the times don't fit, they have lines of their own.
    let isWide = longest + 2 + columns.count + 2 + "2026-11-22 06:50 to 2026-11-22 06:50".count <= terminal.columns
    var lines = [terminal.dim(padded("", to: longest + 2) + columns + (isWide ? "  time" : ""))]
    for (name, account) in zip(names, report.accounts) {
        let known = sum(account.knownReceivedBytes, account.knownTransmittedBytes)
        let values = [account.takenReceivedBytes, account.takenTransmittedBytes, known]
        let line = padded(name, to: longest + 2) + values.map { aligned(sizeText($0), to: 11) }.joined(separator: "  ")
        let time = account.from.map { "\(startText($0)) to \(startText(account.until ?? $0))" } ?? "nothing new"
        lines += isWide ? [line + "  " + time] : [line, "  " + terminal.dim(time)]
    }
    return lines
        + terminal.wrapped(
            "known: already in the ledger, metered by netusage or imported before", to: terminal.columns
        )
        .map(terminal.dim)
}

private func sum(_ received: UInt64, _ transmitted: UInt64) -> UInt64 {
    let (sum, overflow) = received.addingReportingOverflow(transmitted)
    return overflow ? .max : sum
}
