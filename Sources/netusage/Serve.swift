import ArgumentParser
import Exporter
import Glibc
import Logging
import Machine
import Reports
import Web

/// `netusage serve`.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the daemon: meter, keep the ledger, answer scrapes.",
        discussion: "Ends on SIGTERM or SIGINT; reads the configuration again on SIGHUP.",
        version: NetUsage.configuration.version)

    @OptionGroup var common: CommonOptions

    @Option(
        name: .customLong("web.listen-address"), parsing: .singleValue,
        help: "Where to listen, host:port, or :port for every address; may be repeated. (default: 127.0.0.1:10073)")
    var listenAddresses: [String] = []

    @Option(name: .customLong("web.telemetry-path"), help: "The path of the metrics.")
    var telemetryPath = "/metrics"

    @Option(
        name: .customLong("web.config.file"), help: "The web-config file of Prometheus exporters, with TLS and users.",
        completion: .file())
    var webConfigurationFile: String?

    @Flag(name: .customLong("web.enable-lifecycle"), help: "Allow POST /-/reload.")
    var enableLifecycle = false

    @Option(name: .customLong("web.max-requests"), help: "How many scrapes may run at once; 0 for any number.")
    var maximumRequests = 40

    @Option(name: .customLong("web.external-url"), help: "The address that browsers use, if it isn't a loopback name.")
    var externalURL: String?

    @Flag(
        name: .customLong("web.created-timestamps"), help: "Add _created, the start of each counter, to OpenMetrics.")
    var createdTimestamps = false

    @Option(name: .customLong("log.level"), help: "How much to log: debug, info, warn or error.")
    var logLevel = LogLevel.info

    @Option(name: .customLong("log.format"), help: "How to log: logfmt or json.")
    var logFormat = LogFormat.logfmt

    mutating func validate() throws {
        for address in listenAddresses {
            _ = try argument("--web.listen-address \(address)") { try ListenAddress(address) }
        }
        if !telemetryPath.hasPrefix("/") || telemetryPath.contains("?") || telemetryPath.hasPrefix("/-/") {
            throw ValidationError("--web.telemetry-path \(telemetryPath): write a path such as /metrics, not below /-/")
        }
        if maximumRequests < 0 { throw ValidationError("--web.max-requests \(maximumRequests): write 0 or more") }
        if let externalURL, ExternalURL(externalURL) == nil {
            throw ValidationError(
                "--web.external-url \(externalURL): write a whole http or https URL, such as https://meter.example/")
        }
    }

    mutating func run() async throws {
        var options = Daemon.Options()
        options.configurationPath = common.configurationFile ?? ConfigurationFile.defaultPath
        options.isConfigurationRequired = common.configurationFile != nil
        options.storagePath = common.storagePath ?? StoragePath.standard()
        if !listenAddresses.isEmpty { options.listenAddresses = try listenAddresses.map { try ListenAddress($0) } }
        options.telemetryPath = telemetryPath
        options.webConfigurationPath = webConfigurationFile
        options.isLifecycleEnabled = enableLifecycle
        options.maximumRequests = maximumRequests
        options.externalURL = externalURL.flatMap { ExternalURL($0) }
        options.showsCreated = createdTimestamps
        options.logLevel = logLevel.level
        options.logFormat = logFormat
        let code = await Daemon(options).run()
        if code != 0 { throw ExitCode(code) }
    }
}

/// How much to log, in the words that Prometheus's programs use.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case debug
    case info
    case warn
    case error

    var level: Logger.Level {
        switch self {
        case .debug: .debug
        case .info: .info
        case .warn: .warning
        case .error: .error
        }
    }
}

extension LogFormat: ExpressibleByArgument {}
