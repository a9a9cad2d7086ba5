import CLinux
import Glibc
import Logging
import Machine
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// The HTTP server on its event loop. Everything in it is used on that loop only.
package final class HTTPServer {
    private(set) var router: HTTPRouter
    let scraper: Scraper
    let api: API
    let liveFeed: LiveFeed
    let registry: ConnectionRegistry
    let maximumRequests: Int
    private let loop: any EventLoop
    let security: WebSecurity?
    let requestReload: @Sendable () async -> String?
    let logger: Logger
    private var underWay: [Place: Int] = [:]
    private var listeners: [any Channel] = []

    /// - Parameters:
    ///   - security: `nil` for a socket whose file says who may use it.
    ///   - requestReload: Reads the configuration again; returns what is wrong, or `nil`.
    package init(
        on loop: any EventLoop, router: HTTPRouter, scraper: Scraper, api: API, registry: ConnectionRegistry,
        maximumRequests: Int, security: WebSecurity?, logger: Logger,
        requestReload: @escaping @Sendable () async -> String?
    ) {
        self.loop = loop
        self.router = router
        self.router.takesChanges = api.changes != nil
        self.scraper = scraper
        self.api = api
        liveFeed = LiveFeed(on: loop, api: api, registry: registry)
        self.registry = registry
        self.maximumRequests = maximumRequests
        self.security = security
        self.requestReload = requestReload
        self.logger = logger
        security?.startFollowing(for: registry)
    }

    /// Where to listen.
    package enum Endpoint: Sendable {
        case address(ListenAddress)
        /// A listening socket from the service manager.
        case descriptor(CInt)
        /// The listening Unix socket for commands.
        case commands(CInt)
    }

    // MARK: - Requests

    func authorize(
        _ head: HTTPRequestHead, of channel: any Channel, _ proceed: @escaping (WebSecurity.Verdict) -> Void
    ) {
        guard let security else { return proceed(.allowed) }
        security.authorize(head.headers["authorization"].first, of: channel, proceed)
    }

    /// What many clients together may not do without bounds.
    enum Place {
        case scrape
        /// A question to the API, or a view of the page. No scrape waits for them.
        case question
        /// An export may take minutes, so exports have places of their own.
        case export
    }

    /// - Returns: Whether there was a place; if so, ``leave(_:)`` must follow.
    func take(_ place: Place) -> Bool {
        let maximum =
            switch place {
            case .scrape: maximumRequests > 0 ? maximumRequests : Int.max
            case .question: 16
            case .export: 4
            }
        if underWay[place, default: 0] >= maximum { return false }
        underWay[place, default: 0] += 1
        return true
    }

    func leave(_ place: Place) { underWay[place, default: 0] -= 1 }

    // MARK: - Listening

    /// Why the server can't listen at an address.
    struct ListenError: Error, CustomStringConvertible {
        let endpoint: Endpoint
        let cause: any Error

        var description: String {
            let reason = (cause as? IOError).map { errorText($0.errnoCode) } ?? "\(cause)"
            return switch endpoint {
            case .address(let address): "can't listen at \(address): \(reason); name another --web.listen-address"
            case .descriptor(let number): "can't listen at descriptor \(number) of the service manager: \(reason)"
            case .commands: "can't listen at the socket for commands: \(reason)"
            }
        }
    }

    /// Listens at an endpoint.
    ///
    /// - Returns: The address that it listens at.
    /// - Throws: `ListenError`.
    package static func listen(_ server: NIOLoopBound<HTTPServer>, at endpoint: Endpoint, on loop: any EventLoop)
        async throws
        -> String
    {
        let bootstrap = ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            // A client may say that it has no more requests, and still wait for the answer.
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            // What a client sends ahead waits on its own side, not here; see RequestGuard.
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 16 * 1024))
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.socketOption(.so_rcvbuf), value: 128 * 1024)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try server.value.configure(channel) }
            }
        let channel: any Channel
        do {
            channel = try await bind(bootstrap, to: endpoint)
        } catch {
            throw ListenError(endpoint: endpoint, cause: error)
        }
        let scheme = try await loop.submit {
            server.value.listeners.append(channel)
            server.value.security?.warn(about: channel.localAddress)
            return server.value.security?.tls == nil ? "http" : "https"
        }.get()
        return "\(scheme)://\(channel.localAddress?.authority ?? "?")"
    }

    private static func bind(_ bootstrap: ServerBootstrap, to endpoint: Endpoint) async throws -> any Channel {
        let tcp = bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        switch endpoint {
        case .commands(let descriptor): return try await bootstrap.withBoundSocket(descriptor).get()
        case .descriptor(let descriptor): return try await tcp.withBoundSocket(descriptor).get()
        case .address(let address):
            let port = Int(address.port)
            if !address.host.isEmpty { return try await tcp.bind(host: address.host, port: port).get() }
            do {
                // By number, because a resolver may answer something else.
                return try await tcp.bind(to: SocketAddress(ipAddress: "::", port: port)).get()
            } catch let error as IOError where error.errnoCode == EAFNOSUPPORT || error.errnoCode == EADDRNOTAVAIL {
                return try await tcp.bind(to: SocketAddress(ipAddress: "0.0.0.0", port: port)).get()  // No IPv6.
            }
        }
    }

    private func configure(_ channel: any Channel) throws {
        guard registry.admit(channel) else { return }
        scheduleSweep()
        let requestGuard = RequestGuard(registry, maximumBodyBytes: router.maximumBodyBytes)
        try Self.addHandlers(
            to: channel.pipeline.syncOperations, behind: requestGuard, tls: security?.tls,
            maximumURIBytes: router.maximumURIBytes,
            HTTPHandler(self, requestGuard))
    }

    /// Sets up a connection's pipeline: TLS, if configured, then HTTP, then the last handler.
    static func addHandlers(
        to pipeline: ChannelPipeline.SynchronousOperations, behind requestGuard: RequestGuard,
        tls: TLSSetup? = nil, maximumURIBytes: Int = 4096,
        _ last: any ChannelHandler
    ) throws {
        try pipeline.addHandler(requestGuard)
        if let tls {
            let encryption = NIOSSLServerHandler(context: tls.context)
            try pipeline.addHandler(encryption)
            if let names = tls.allowedNames { try pipeline.addHandler(ClientNameCheck(names, behind: encryption)) }
        }
        // Limits far above what any scraper sends. Our own headers need no checks.
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = 32 * 1024 + maximumURIBytes  // The first line counts as one, too.
        limits.maxHeaderListSize = 32 * 1024
        limits.maxHeaderFieldCount = 100
        let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)
        try pipeline.addHandler(HTTPResponseEncoder())
        try pipeline.addHandler(ByteToMessageHandler(decoder))
        try pipeline.addHandler(last)
    }

    private var isSweepScheduled = false

    /// Sweeps as long as there are connections: to wake up for nothing would cost more than to read counters.
    private func scheduleSweep() {
        guard !isSweepScheduled, let interval = registry.sweepInterval else { return }
        isSweepScheduled = true
        let server = NIOLoopBound(self, eventLoop: loop)
        loop.scheduleTask(in: interval) { server.value.sweep() }
    }

    /// Closes the connections whose clients take too long, and gives back memory.
    private func sweep() {
        isSweepScheduled = false
        registry.closeOverdue()
        giveBackMemory()
        scheduleSweep()
    }

    /// The bytes of large answers since memory was given back.
    private var answeredBytes = 0
    private static let trimAfterBytes = 16 * 1024 * 1024
    private static let largeAnswerBytes = 256 * 1024

    func noteAnswer(bytes: Int) {
        if bytes >= Self.largeAnswerBytes { answeredBytes += bytes }
    }

    /// The C library keeps memory that was freed in the middle of its arena, so the process would stay large after many
    /// large answers. Giving it back takes a millisecond.
    private func giveBackMemory() {
        if answeredBytes < Self.trimAfterBytes { return }
        answeredBytes = 0
        malloc_trim(0)
    }

    /// Stops listening and closes every connection.
    package func close() {
        stopListening()
        registry.closeAll()
    }

    /// Stops listening; answers under way go on.
    package func stopListening() {
        for listener in listeners { listener.close(promise: nil) }
        listeners = []
        registry.closeAll { !$0.isAnswer }
    }

    /// Whether a client waits for an answer that is made at once.
    package var isResponding: Bool { registry.isResponding }
}

extension SocketAddress {
    /// As it is written in a URL.
    var authority: String {
        guard let host = ipAddress, let port else { return description }
        return (host.contains(":") ? "[\(host)]" : host) + ":\(port)"
    }

    /// The IP address as a number, an IPv4 address as ::ffff:0:0/96 holds it (RFC 4291 §2.5.5.2); nil if there is none.
    var number: UInt128? {
        switch self {
        case .v4(let address): UInt128(0xFFFF) << 32 | UInt128(UInt32(bigEndian: address.address.sin_addr.s_addr))
        case .v6(let address):
            withUnsafeBytes(of: address.address.sin6_addr) { $0.reduce(UInt128(0)) { $0 << 8 | UInt128($1) } }
        case .unixDomainSocket: nil
        }
    }

    /// Whether packets for this address never leave the machine. Compares a number, because each request asks.
    var isLoopback: Bool { number.map { $0 == 1 || $0 >> 24 == 0xFFFF_7F } ?? false }
}
