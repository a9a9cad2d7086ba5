import ArgumentParser
import Exporter

/// `netusage import …`.
struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take over what another meter has counted.",
        discussion: """
            Only what was carried before netusage began to meter a device is taken, as far as it isn't there already: nothing \
            counts twice, and it may be repeated with the same file or a later one.
            """,
        subcommands: [VnStat.self, CSV.self])

    struct Options: ParsableArguments {
        @Flag(help: "Say what would be taken over, and leave everything as it is.")
        var dryRun = false

        @Flag(
            help:
                "Forget what was taken over of these devices before: for a file, a time zone or an uplink that was wrong."
        )
        var replace = false

        @Option(
            help:
                "Book what this device carried to the uplink, too: the other meter doesn't know what held the default route.",
            completion: .devices)
        var uplink: String?

        @Flag(help: "For programs: bytes as integers, times in RFC 3339.")
        var json = false
    }

    /// `netusage import vnstat FILE`.
    struct VnStat: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "vnstat",
            abstract: "Take over the database of vnStat 2, or what vnstat --json prints.",
            discussion: "The database is /var/lib/vnstat/vnstat.db. Its times must be those of the ledger's zone.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var options: Options

        @Argument(help: "The file; - is standard input.", completion: .file())
        var file: String

        mutating func run() async throws { try await takeOver(.vnStat(path: file), options, common) }
    }

    /// `netusage import csv FILE`.
    struct CSV: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "csv", abstract: "Take over what netusage export has written as CSV.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var options: Options

        @Argument(help: "The file; - is standard input.", completion: .file())
        var file: String

        mutating func run() async throws { try await takeOver(.csv(path: file), options, common) }
    }
}

private func takeOver(_ source: ImportSource, _ options: ImportCommand.Options, _ common: CommonOptions) async throws {
    let access = common.ledgerAccess
    let progress = ProgressBar()
    let report: ImportReport
    do throws(LedgerAccess.Failure) {
        report = try await access.takeOver(
            source, uplink: options.uplink, replaces: options.replace, isTrial: options.dryRun
        ) {
            progress.show($0)
        }
    } catch {
        progress.clear()
        throw error.told()
    }
    progress.clear()
    try output(options.json ? jsonText(report) : text(report, source, options))
}

private func text(_ report: ImportReport, _ source: ImportSource, _ options: ImportCommand.Options) -> String {
    if report.accounts.isEmpty { return "There is nothing in the file to take over.\n" }
    let terminal = Terminal.standardOutput
    let names = report.accounts.map { Terminal.printable($0.name) }
    let longest = max(8, names.map { width($0) }.max() ?? 0)
    let headings = ["received", "transmitted", "known"].map { aligned($0, to: 11) }.joined(separator: "  ")
    var lines = [terminal.dim(padded("", to: longest + 2) + headings + "  time")]
    for (name, account) in zip(names, report.accounts) {
        let known = sum(account.knownReceivedBytes, account.knownTransmittedBytes)
        let values = [account.takenReceivedBytes, account.takenTransmittedBytes, known]
        let time = account.from.map { "\(startText($0)) to \(startText(account.until ?? ""))" }
        lines.append(
            padded(name, to: longest + 2) + values.map { aligned(sizeText($0), to: 11) }.joined(separator: "  ")
                + "  " + (time ?? "nothing new"))
    }
    lines.append(terminal.dim("known: what netusage had already, metered by itself or taken over before"))
    for (name, account) in zip(names, report.accounts) {
        let late = sum(account.lateReceivedBytes, account.lateTransmittedBytes)
        let missed = sum(account.missedReceivedBytes, account.missedTransmittedBytes)
        if late > 0 {
            lines.append(
                "left out: \(name): \(sizeText(late)) of after netusage's last reading, which it may read itself yet; import again when netusage serve has run"
            )
        }
        if missed > 0 {
            lines.append(
                "left out: \(name): \(sizeText(missed)) of the time since netusage began to meter it itself")
        }
    }
    lines += report.problems.map { "left out: \(Terminal.printable($0))" }
    if report.hasBegunLedger {
        lines.append(
            report.isTrial
                ? "There is no ledger yet; one would be begun."
                : "A new ledger was begun: from now on netusage serve meters into it.")
    }
    if case .vnStat = source, options.uplink == nil {
        lines.append(
            "Nothing of it is booked to the uplink; --uplink DEVICE books to it, too, what that device carried.")
    }
    lines.append(report.isTrial ? "Nothing was changed." : "Done. The same again changes nothing.")
    return lines.joined(separator: "\n") + "\n"
}

private func sum(_ received: UInt64, _ transmitted: UInt64) -> UInt64 {
    let (sum, overflow) = received.addingReportingOverflow(transmitted)
    return overflow ? .max : sum
}
