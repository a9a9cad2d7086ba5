import ArgumentParser
import Exporter
import Machine

/// The command line: what each command takes, and its exit code.
@main
struct NetUsage: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "netusage",
        abstract: "Meters what network interfaces carry, in the calendar their owner is billed in.",
        discussion: """
            The daemon shows per-device counters, rates, day and month totals to Prometheus at /metrics and keeps the \
            ledger in SQLite. Without a configuration file it meters every device but lo.
            """,
        version: "netusage, version \(Version.number) (revision: \(Version.revision))",
        subcommands: [Serve.self, ServiceCommand.self, DoctorCommand.self, Config.self],
        groupedSubcommands: [
            CommandGroup(
                name: "History",
                subcommands: [
                    Today.self, Week.self, Month.self, Year.self, Summary.self, Days.self, Months.self, Recent.self,
                    Live.self, ExportCommand.self, ImportCommand.self,
                ]),
            CommandGroup(name: "Quotas", subcommands: [QuotaCommand.self, Check.self]),
        ])

    static func main() async {
        if CommandLine.arguments.isEmpty {
            StandardError.print("the arguments can't be read: mount /proc, where they are")
            exit(withError: ExitCode.failure)
        }
        if let problem = wrongCommand(CommandLine.arguments.dropFirst()) {
            StandardError.print(problem)
            exit(withError: ExitCode.validationFailure)
        }
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            if CommandLine.arguments.dropFirst().first == Check.configuration.commandName {
                Check.exit(onWrongUse: error)
            }
            end(with: error)
        }
    }

    /// Says what the error says, which may repeat arguments, and ends. Help and version are such errors, too.
    private static func end(with error: any Error) -> Never {
        let code = exitCode(for: error)
        let text = fullMessage(for: error)
        if text.isEmpty { exit(withError: code) }
        if code != .success {
            StandardError.print(text)
            exit(withError: code)
        }
        do {
            try output(text + "\n")
        } catch {
            exit(withError: error)
        }
        exit(withError: code)
    }

    /// What is wrong with the name of the command; otherwise its first flag would be said to be unknown.
    private static func wrongCommand(_ words: ArraySlice<String>) -> String? {
        guard let name = words.first, !name.hasPrefix("-"), name != "help" else { return nil }
        let commands = configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands)
        guard let command = commands.first(where: { $0._commandName == name }) else {
            return "there is no command \(Terminal.printable(name)); netusage --help lists them"
        }
        guard command == ImportCommand.self, let kind = words.dropFirst().first, !kind.hasPrefix("-"), kind != "help",
            !["vnstat", "csv"].contains(kind)
        else { return nil }
        return
            "write netusage import vnstat FILE for vnStat's records, netusage import csv FILE for an export of netusage"
    }
}

/// What every command takes after its name.
struct CommonOptions: ParsableArguments {
    @Option(
        name: .customLong("config.file"),
        help:
            "The configuration; it may be missing only if this isn't given. (default: \(ConfigurationFile.defaultPath))",
        completion: .file())
    var configurationFile: String?

    @Option(
        name: .customLong("storage.path"),
        help:
            "The ledger's file. (default: /var/lib/netusage/ledger.db as root, otherwise netusage/ledger.db under $XDG_STATE_HOME)",
        completion: .file())
    var storagePath: String?

    /// How commands get at the ledger.
    var ledgerAccess: LedgerAccess {
        LedgerAccess(
            configurationPath: configurationFile ?? ConfigurationFile.defaultPath,
            isConfigurationRequired: configurationFile != nil, storagePath: storagePath ?? StoragePath.standard())
    }
}

extension CompletionKind {
    /// The devices that are there.
    static var devices: CompletionKind { .shellCommand("ls /sys/class/net") }
}
