import Logging
import NIOCore
import Web

/// Makes the servers of a daemon. All give the same answers.
struct Answers: Sendable {
    private let options: Daemon.Options
    private let meter: Meter
    private let ledger: LiveLedger
    private let reloader: Reloader
    private let loop: any EventLoop
    private let logger: Logger

    init(
        _ options: Daemon.Options, meter: Meter, ledger: LiveLedger, reloader: Reloader, on loop: any EventLoop,
        logger: Logger
    ) {
        self.options = options
        self.meter = meter
        self.ledger = ledger
        self.reloader = reloader
        self.loop = loop
        self.logger = logger
    }

    /// For everybody whom the web configuration admits.
    func server(_ web: WebSecurity.Start) async throws -> NIOLoopBound<HTTPServer> {
        try await loop.submit {
            let server = newServer(
                API(ledger), ConnectionRegistry(maximumCount: Daemon.maximumConnections()),
                WebSecurity(web, on: loop, logger: logger))
            server.startSweeping()
            return NIOLoopBound(server, eventLoop: loop)
        }.get()
    }

    /// For the owner's commands, which may change the ledger.
    func commandServer() async throws -> NIOLoopBound<HTTPServer> {
        try await loop.submit {
            let registry = ConnectionRegistry(maximumCount: ControlServer.maximumConnections)
            return NIOLoopBound(newServer(API(ledger, changes: ledger), registry, nil), eventLoop: loop)
        }.get()
    }

    private func newServer(_ api: API, _ registry: ConnectionRegistry, _ security: WebSecurity?) -> HTTPServer {
        let catalogue = Catalogue(version: Version.number, revision: Version.revision)
        let scraper = Scraper(on: loop) { [meter, showsCreated = options.showsCreated] in
            let snapshot = meter.assumeIsolated { $0.scrape() }
            return { catalogue.render(snapshot, showsCreated: showsCreated, into: &$0) }
        }
        return HTTPServer(
            on: loop,
            router: HTTPRouter(
                telemetryPath: options.telemetryPath, isLifecycleEnabled: options.isLifecycleEnabled,
                externalHost: options.externalURL?.host),
            scraper: scraper, api: api, registry: registry, maximumRequests: options.maximumRequests,
            security: security, requestReload: { [reloader] in await reloader.reload() })
    }
}
