import Configuration
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix

/// Who may send requests, and whether answers are encrypted, by the web-config file. A change in it applies a second
/// later. Used on the server's event loop only, which never waits for a file.
package final class WebSecurity {
    /// How often the files are checked.
    private static let lookInterval = TimeAmount.milliseconds(500)
    /// A check that takes longer has met a file system that doesn't answer.
    private static let longestLook = TimeAmount.seconds(10)

    private let path: String?
    private let loop: any EventLoop
    private let logger: Logger
    private let passwords: PasswordChecker
    /// Checks the files. A dead file system may hold it for ever, so passwords are checked elsewhere.
    private let pool = NIOThreadPool(numberOfThreads: 1)
    private var follower: WebConfigurationFollower
    private var lookBegan: NIODeadline?
    private var hasLoggedLongLook = false
    private var loggedWarnings: Set<String> = []
    private var bucket: TokenBucket?
    private var registry: ConnectionRegistry?

    /// What the file said at start.
    package struct Start: Sendable {
        fileprivate let path: String?
        fileprivate let follower: WebConfigurationFollower

        /// Reads the file. Call it before anybody waits for the event loop, because files may not answer.
        ///
        /// - Throws: `ConfigurationErrors` when the file, or what it names, makes no sense.
        package init(path: String?) throws(ConfigurationErrors) {
            self.path = path
            let version =
                path.map(WebConfigurationVersion.read)
                ?? WebConfigurationVersion(files: WebFiles(), result: .success(.none))
            follower = WebConfigurationFollower(files: version.files, inForce: try version.result.get())
        }
    }

    package init(_ start: Start, on loop: any EventLoop, logger: Logger) {
        path = start.path
        self.loop = loop
        self.logger = logger
        passwords = PasswordChecker(on: loop)
        follower = start.follower
        bucket = configuration.rateLimit.map { TokenBucket($0, at: .now()) }
        logWarnings()
        if let path, follower.inForce.isBlank {
            logger.warning(
                "the web configuration is empty, so nobody needs a password and nothing is encrypted",
                metadata: ["file": "\(path)", "remedy": "write basic_auth_users: {} if that is meant"])
        }
    }

    private var configuration: WebConfiguration { follower.inForce.configuration }

    /// The encryption of the next connection; `nil` without TLS.
    var tls: TLSSetup? { follower.inForce.tls }

    // MARK: - Answers

    /// Adds the configured headers to an answer, which keeps its own. A content security policy is added beside its
    /// own, because browsers obey both.
    func addHeaders(to headers: inout HTTPHeaders) {
        for header in configuration.headers
        where header.name == .contentSecurityPolicy || !headers.contains(name: header.name.rawValue) {
            headers.add(name: header.name.rawValue, value: header.value)
        }
    }

    /// Logs a warning if a listener exposes too much to others.
    func warn(about address: SocketAddress?) {
        let isLocal = address.map { $0.isLoopback || $0.pathname != nil } ?? true
        guard let address, let warning = ListenerExposure.warning(isLoopback: isLocal, configuration) else { return }
        logger.warning("others may listen in", metadata: ["address": "\(address.authority)", "warning": "\(warning)"])
    }

    // MARK: - Requests

    /// Whether a request may be answered.
    enum Verdict: Sendable {
        case allowed, denied
        /// Too many passwords wait to be checked, or others were checked first for too long.
        case busy
        /// There were more requests than `rate_limit` allows.
        case limited
    }

    /// Judges a request by its `Authorization` header; that may take some seconds.
    func authorize(_ header: String?, of channel: any Channel, _ proceed: @escaping (Verdict) -> Void) {
        if !(bucket?.take(at: .now()) ?? true) { return proceed(.limited) }
        if configuration.users.isEmpty { return proceed(.allowed) }
        guard let credentials = Credentials(header: header) else { return proceed(.denied) }
        let hash = configuration.users[credentials.user]
        let highestCost = configuration.users.values.map(\.cost).max() ?? 10
        passwords.check(credentials, hash: hash, highestCost: highestCost, of: channel) { [self] verdict in
            // The password may have been replaced while it was checked.
            let isCurrent = configuration.users[credentials.user] == hash
            proceed(verdict == .allowed && !isCurrent ? .denied : verdict)
        }
    }

    // MARK: - The file

    /// Begins to follow the file. A change closes connections that it doesn't allow any more.
    func startFollowing(for registry: ConnectionRegistry) {
        guard let path else { return }
        self.registry = registry
        pool.start()
        let security = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleRepeatedTask(initialDelay: Self.lookInterval, delay: Self.lookInterval) { _ in
            security.value.look(at: path)
        }
    }

    private func look(at path: String) {
        if let lookBegan {
            if !hasLoggedLongLook, .now() - lookBegan > Self.longestLook {
                hasLoggedLongLook = true
                logger.error(
                    "the web configuration can't be read, as its file system doesn't answer; the previous one stays in use",
                    metadata: ["file": "\(path)"])
            }
            return
        }
        lookBegan = .now()
        let last = follower.lastFiles
        let reading = pool.runIfActive(eventLoop: loop) { WebConfigurationVersion.next(at: path, after: last) }
        reading.assumeIsolated().whenComplete { [self] result in
            lookBegan = nil
            hasLoggedLongLook = false
            // It only fails if the pool has ended; then nothing is followed.
            if case .success(let version) = result { follow(version, path) }
        }
    }

    private func follow(_ version: WebConfigurationVersion?, _ path: String) {
        let before = follower.inForce
        switch follower.take(version, at: .now()) {
        case .nothing: break
        case .refuse(let problem):
            logger.error(
                "the web configuration has errors; the previous one stays in use", metadata: ["error": "\(problem)"])
        case .use(let contents, let weakenings):
            let limit = contents.configuration.rateLimit
            if limit != bucket?.limit { bucket = limit.map { TokenBucket($0, at: .now()) } }
            if before.configuration.tls?.clients != contents.configuration.tls?.clients
                || before.tls?.authority != contents.tls?.authority
            {
                registry?.closeAll()  // Their clients might not be allowed to connect now.
            } else if !before.configuration.users.allSatisfy({ contents.configuration.users[$0] == $1 })
                || before.configuration.users.isEmpty && !contents.configuration.users.isEmpty
            {
                registry?.closeAll(where: \.isAnswer)  // Feeds and exports may take long.
            }
            logger.notice("the web configuration was read again", metadata: ["file": "\(path)"])
            for weakening in weakenings {
                logger.warning("the web configuration protects less than before", metadata: ["change": "\(weakening)"])
            }
            logWarnings()
        }
    }

    private func logWarnings() {
        for warning in follower.inForce.warnings where !loggedWarnings.contains(warning) {
            logger.warning("a note on the web configuration", metadata: ["note": "\(warning)"])
        }
        loggedWarnings = Set(follower.inForce.warnings)
    }
}
