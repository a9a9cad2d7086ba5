import ArgumentParser
import Exporter

/// `netusage import …`.
struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take over what another meter has counted.",
        discussion: """
            Only what was carried before netusage began to meter a device is taken: nothing counts twice. Done again it \
            takes the place of what was taken over before, so it may be repeated.
            """,
        subcommands: [VnStat.self, CSV.self])

    struct Options: ParsableArguments {
        @Flag(help: "Say what would be taken over, and leave everything as it is.")
        var dryRun = false

        @Option(
            help:
                "Book what this device carried to the uplink, too: the other meter doesn't know what held the default route."
        )
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

        @Argument(help: "The file.", completion: .file())
        var file: String

        mutating func run() async throws { try await takeOver(.vnStat(path: file), options, common) }
    }

    /// `netusage import csv FILE`.
    struct CSV: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "csv", abstract: "Take over what netusage export has written as CSV.")

        @OptionGroup var common: CommonOptions
        @OptionGroup var options: Options

        @Argument(help: "The file.", completion: .file())
        var file: String

        mutating func run() async throws { try await takeOver(.csv(path: file), options, common) }
    }
}

private func takeOver(_ source: ImportSource, _ options: ImportCommand.Options, _ common: CommonOptions) async throws {
    let access = common.ledgerAccess
    let progress = ProgressBar()
    let report: ImportReport
    do throws(LedgerAccess.Failure) {
        report = try await access.takeOver(source, uplink: options.uplink, isTrial: options.dryRun) {
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
    let terminal = Terminal.standardOutput
    let names = report.accounts.map { Terminal.printable($0.name) }
    let longest = max(8, names.map { width($0) }.max() ?? 0)
    let headings = ["received", "transmitted", "metered here"].map { aligned($0, to: 12) }.joined(separator: "  ")
    var lines = [terminal.dim(padded("", to: longest + 2) + headings + "  time")]
    for (name, account) in zip(names, report.accounts) {
        let (known, overflow) = account.knownReceivedBytes.addingReportingOverflow(account.knownTransmittedBytes)
        let values = [account.takenReceivedBytes, account.takenTransmittedBytes, overflow ? .max : known]
        let time = account.from.map { "\(startText($0)) to \(startText(account.until ?? ""))" }
        lines.append(
            padded(name, to: longest + 2) + values.map { aligned(sizeText($0), to: 12) }.joined(separator: "  ")
                + "  " + (time ?? "nothing to take over"))
    }
    if report.accounts.isEmpty { lines = ["There is nothing in the file to take over."] }
    if report.hasBegunLedger { lines.append("A new ledger was begun: from now on netusage serve meters into it.") }
    lines += report.problems.map { "left out: \(Terminal.printable($0))" }
    if case .vnStat = source, options.uplink == nil, let first = report.accounts.first(where: { $0.kind == "device" }) {
        lines.append(
            "The uplink has none of it; --uplink \(Terminal.printable(first.name)) books to it what that device carried."
        )
    }
    lines.append(report.isTrial ? "Nothing was changed." : "Done. The same again changes nothing.")
    return lines.joined(separator: "\n") + "\n"
}
