import ArgumentParser
import Exporter
import Glibc

/// `netusage service …`.
struct ServiceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "service", abstract: "Have systemd run the daemon.",
        discussion: """
            As root it is the system's service, under a user of its own and shut in; with --user it is yours, and runs while you \
            are logged in (or always, after loginctl enable-linger). Where the Debian package is installed it brings the service along.
            """,
        subcommands: [Install.self, Uninstall.self, Start.self, Stop.self, Status.self])

    struct Options: ParsableArguments {
        @Flag(help: "The service of this user, not the system's.")
        var user = false

        var service: Service {
            get throws {
                do throws(Service.Refusal) {
                    return try Service(isUsers: user)
                } catch {
                    throw told(error)
                }
            }
        }
    }

    /// `netusage service install`.
    struct Install: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Install this program as a service, and start it now and with the machine.",
            discussion: "What is there already, such as the configuration and the ledger, stays.")

        @OptionGroup var options: Options

        @Option(
            name: .customLong("config.file"),
            help: "The configuration that it reads. (default: \(ConfigurationFile.defaultPath))")
        var configurationFile: String?

        mutating func run() throws {
            try orRefuse(try options.service) { service throws(Service.Refusal) in
                try service.install(configurationFile: configurationFile)
            }
        }
    }

    /// `netusage service uninstall`.
    struct Uninstall: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the service and take it away; the ledger and the configuration stay.")

        @OptionGroup var options: Options

        @Flag(help: "Delete the ledger, with all that was ever metered, and the configuration.")
        var purge = false

        mutating func run() throws {
            try orRefuse(try options.service) { service throws(Service.Refusal) in
                try service.uninstall(purges: purge)
            }
        }
    }

    /// `netusage service start`.
    struct Start: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Start the service.")
        @OptionGroup var options: Options
        mutating func run() throws {
            try orRefuse(try options.service) { service throws(Service.Refusal) in try service.control("start") }
        }
    }

    /// `netusage service stop`.
    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop the service until it is started again.")
        @OptionGroup var options: Options
        mutating func run() throws {
            try orRefuse(try options.service) { service throws(Service.Refusal) in try service.control("stop") }
        }
    }

    /// `netusage service status`.
    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say how the service is; exits with 0 if it runs, as systemctl status does.")
        @OptionGroup var options: Options
        mutating func run() throws {
            try orRefuse(try options.service) { service throws(Service.Refusal) in try service.control("status") }
        }
    }
}

private func told(_ refusal: Service.Refusal) -> ExitCode {
    StandardError.print(refusal.text)
    return ExitCode(1)
}

private func orRefuse(_ service: Service, _ body: (Service) throws(Service.Refusal) -> Void) throws {
    do throws(Service.Refusal) {
        try body(service)
    } catch {
        throw told(error)
    }
}
