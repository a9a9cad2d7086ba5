import ArgumentParser
import Exporter
import Glibc

/// `netusage service …`.
struct ServiceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "service", abstract: "Run the daemon as a service of systemd.",
        discussion: """
            As root, this is the system's service, with its own user and few rights. With --user it is yours, and runs while you \
            are logged in (or always, after loginctl enable-linger). The Debian package has its own service.
            """,
        subcommands: [Install.self, Uninstall.self, Start.self, Stop.self, Status.self])

    struct Options: ParsableArguments {
        @Flag(help: "The service of this user, not the system's.")
        var user = false
    }

    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Install this program as a service, and start it now and with the machine.",
            discussion: "An existing configuration and ledger stay.")

        @OptionGroup var options: Options

        @Option(
            name: .customLong("config.file"),
            help: "The configuration that it reads. (default: \(ConfigurationFile.defaultPath))")
        var configurationFile: String?

        @Flag(
            help: """
                Meter applications, too: a step before each start attaches programs to the kernel. With the Debian package's \
                service, only this is added.
                """)
        var applications = false

        mutating func validate() throws {
            if applications, options.user {
                throw ValidationError("--applications needs the system's service: leave --user out")
            }
        }

        mutating func run() throws {
            try Service(isUsers: options.user).install(
                configurationFile: configurationFile, withApplications: applications)
        }
    }

    struct Uninstall: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop and remove the service; the ledger and the configuration stay.")

        @OptionGroup var options: Options

        @Flag(help: "Also delete the configuration and the ledger, with all bytes that were ever metered.")
        var purge = false

        mutating func run() throws { try Service(isUsers: options.user).uninstall(purges: purge) }
    }

    struct Start: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Start the service.")
        @OptionGroup var options: Options
        mutating func run() throws { try Service(isUsers: options.user).control("start") }
    }

    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop the service until it is started again.")
        @OptionGroup var options: Options
        mutating func run() throws { try Service(isUsers: options.user).control("stop") }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the state of the service; exits with 0 if it runs, like systemctl status.")
        @OptionGroup var options: Options
        mutating func run() throws { try Service(isUsers: options.user).control("status") }
    }
}
