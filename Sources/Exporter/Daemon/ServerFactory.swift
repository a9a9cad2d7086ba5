import Logging
import NIOCore
import Web

/// Makes the daemon's two servers: for everybody, and for commands. Only the latter takes changes.
struct ServerFactory: Sendable {
    let options: Daemon.Options
    let meter: Meter
    let ledger: LiveLedger
    let reloader: Reloader
    let loop: any EventLoop
    let logger: Logger

    /// For everybody whom the web configuration admits.
    func server(_ web: WebSecurity.Start) async throws -> NIOLoopBound<HTTPServer> {
        try await loop.submit {
            let server = newServer(
                API(ledger), ConnectionRegistry(maximumCount: Daemon.maximumConnections()),
                WebSecurity(web, on: loop, logger: logger))
            return NIOLoopBound(server, eventLoop: loop)
        }.get()
    }

    /// For the owner's commands, which may change the ledger.
    func commandServer() async throws -> NIOLoopBound<HTTPServer> {
        try await loop.submit {
            let registry = ConnectionRegistry(maximumCount: ControlServer.maximumConnections, isLocal: true)
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
            security: security, logger: logger, requestReload: { [reloader] in await reloader.reload() })
    }
}
