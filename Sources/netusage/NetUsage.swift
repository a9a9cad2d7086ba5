import ArgumentParser
import Configuration
import Exporter
import Machine

/// The command line: the commands and their exit codes.
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
        subcommands: [
            Serve.self, ServiceCommand.self, DoctorCommand.self, Config.self, ApplicationsCommand.self,
        ],
        groupedSubcommands: [
            CommandGroup(
                name: "History",
                subcommands: [
                    Today.self, Apps.self, Week.self, Month.self, Year.self, Summary.self, Days.self, Months.self,
                    Recent.self, Live.self, ExportCommand.self, ImportCommand.self,
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

    /// Prints the error's message, which may repeat arguments, and exits. Help and version are errors, too.
    private static func end(with error: any Error) -> Never {
        let (text, code): (String, ExitCode) =
            switch error {
            case LedgerAccess.Failure.configuration, is ConfigurationErrors:
                ("\(error)", ExitCode(78))  // EX_CONFIG of sysexits.h.
            case is LedgerAccess.Failure, is Refusal: ("\(error)", .failure)
            default: (fullMessage(for: error), exitCode(for: error))
            }
        do {
            if code == .success, !text.isEmpty { try output(text + "\n") }
            if code != .success, !text.isEmpty { StandardError.print(text) }
            exit(withError: code)
        } catch {
            exit(withError: error)
        }
    }

    /// The error of a wrong command. Without this check, the parser would only call its first flag unknown.
    private static func wrongCommand(_ words: ArraySlice<String>) -> String? {
        guard let name = words.first, !name.hasPrefix("-"), name != "help" else { return nil }
        let commands = configuration.subcommands + configuration.groupedSubcommands.flatMap(\.subcommands)
        guard let command = commands.first(where: { $0._commandName == name }) else {
            let nearest = nearestName(to: name, among: commands.map { $0._commandName })
            let guess = nearest.map { "did you mean \($0)? " } ?? ""
            return "there is no command \(Terminal.printable(name)); \(guess)netusage --help lists all commands"
        }
        guard command == ImportCommand.self, let kind = words.dropFirst().first, !kind.hasPrefix("-"), kind != "help",
            !["vnstat", "csv"].contains(kind)
        else { return nil }
        return
            "write netusage import vnstat FILE for vnStat's records, netusage import csv FILE for an export of netusage"
    }
}

/// Why a command can't do its work, and the remedy.
struct Refusal: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// The value of an argument; what is wrong with it is an error of the command line.
///
/// - Parameter name: The argument, if the error doesn't name it.
/// - Throws: `ValidationError`.
func argument<Value>(_ name: String? = nil, _ value: () throws -> Value) throws -> Value {
    do {
        return try value()
    } catch {
        throw ValidationError((name.map { "\($0): " } ?? "") + "\(error)")
    }
}

/// The options of every command.
struct CommonOptions: ParsableArguments {
    @Option(
        name: .customLong("config.file"),
        help:
            "The configuration file. Only the default file may be missing. (default: \(ConfigurationFile.defaultPath))",
        completion: .file())
    var configurationFile: String?

    @Option(
        name: .customLong("storage.path"),
        help:
            "The ledger's file. (default: /var/lib/netusage/ledger.db as root, otherwise netusage/ledger.db under $XDG_STATE_HOME)",
        completion: .file())
    var storagePath: String?

    /// The commands' access to the ledger.
    var ledgerAccess: LedgerAccess {
        LedgerAccess(
            configurationPath: configurationFile ?? ConfigurationFile.defaultPath,
            isConfigurationRequired: configurationFile != nil, storagePath: storagePath ?? StoragePath.standard())
    }
}

extension CompletionKind {
    /// The names of all devices.
    static var devices: CompletionKind { .shellCommand("ls /sys/class/net") }
}
