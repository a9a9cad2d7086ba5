import CLinux
import Configuration
import Glibc
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Web

/// The program as a service: meter, store and server, from start to end.
package struct Daemon: Sendable {
    /// The options of the command line.
    package struct Options: Sendable {
        package var configurationPath = ConfigurationFile.defaultPath
        /// Whether the configuration was named, so the file must be there.
        package var isConfigurationRequired = false
        package var storagePath = ""
        package var listenAddresses = [ListenAddress.standard]
        package var telemetryPath = "/metrics"
        package var webConfigurationPath: String?
        package var isLifecycleEnabled = false
        package var maximumRequests = 40
        package var externalURL: ExternalURL?
        package var showsCreated = false
        package var logLevel = Logger.Level.info
        package var logFormat = LogFormat.logfmt

        package init() {}
    }

    private var options: Options
    private let logger: Logger

    package init(_ options: Options) {
        self.options = options
        self.options.storagePath = LedgerPlace.resolved(options.storagePath)
        let log = Log(format: options.logFormat, logLevel: options.logLevel)
        logger = Logger(label: "netusage") { _ in log }
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Returns: The exit code: 0, 1 when it couldn't start or couldn't write the last commit, 78 (`EX_CONFIG` of
    ///   sysexits.h) when the configuration has errors.
    package func run() async -> CInt {
        mallopt(M_ARENA_MAX, 1)  // Three threads that allocate little: one arena keeps the resident memory small.
        let configuration: Configuration
        let zones: Zones
        let web: WebSecurity.Start
        do {
            configuration = try ConfigurationFile.load(
                options.configurationPath, isRequired: options.isConfigurationRequired)
            zones = try Zones.load(configuration)
        } catch {
            logger.tell("the configuration has errors", error)
            return 78
        }
        do {
            // Before signals are caught, so that they end a start that waits for a file system which doesn't answer.
            web = try WebSecurity.Start(path: options.webConfigurationPath)
        } catch {
            logger.tell("the web configuration has errors", error)
            return 78
        }
        guard Self.spareDescriptors() >= Self.neededDescriptors else {
            logger.error(
                "too few file descriptors",
                metadata: [
                    "remedy": "raise the limit (ulimit -n, LimitNOFILE=) to \(2 * Self.neededDescriptors) or more"
                ])
            return 1
        }
        if LedgerFile.isDirectory(options.storagePath) {
            logger.error(
                "the ledger's path is that of a directory",
                metadata: ["path": "\(options.storagePath)", "remedy": "name a file in it with --storage.path"])
            return 1
        }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 3)
        let code: CInt
        do {
            logger.notice(
                "netusage starts", metadata: ["version": "\(Version.number)", "ledger": "\(options.storagePath)"])
            logger.note(configuration.notes)
            try await RunningDaemon(options, configuration, zones, on: group, logger: logger).run(web)
            code = 0
        } catch {
            logger.error("netusage ends", metadata: ["error": "\(error)"])
            code = 1
        }
        // An error doesn't matter: the threads end with the process.
        try? await group.shutdownGracefully()
        return code
    }

    static let unknownBootProblem =
        "the kernel's boot_id can't be read, so only the clocks distinguish one boot from another: let this program see /proc/sys/kernel/random/boot_id"

    /// For threads, sockets, timers, the ledger, zone files, and a few connections.
    private static let neededDescriptors: Int64 = 40

    private static func spareDescriptors() -> Int64 {
        Int64(clamping: ProcessStatistics.descriptorLimit()) - Int64(ProcessStatistics.countOpenDescriptors())
    }

    /// As many connections as there are descriptors to spare, within reason: the ledger and the zone need some too.
    static func maximumConnections() -> Int { Int(min(max(spareDescriptors() - 16, 4), 1024)) }
}
