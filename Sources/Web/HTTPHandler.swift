import Exposition
import NIOCore
import NIOHTTP1
import Reports

/// Answers the requests of one connection.
final class HTTPHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let server: HTTPServer
    private let requestGuard: RequestGuard
    private var queue = RequestQueue()
    private var request: HTTPRequest?
    private var bodyBytes = 0
    /// Whether the client waits for a permission to send the body of its request.
    private var awaitsContinue = false

    /// How long a client that was refused may take to read why.
    private static let patienceAfterRefusal = TimeAmount.seconds(1)

    init(_ server: HTTPServer, _ requestGuard: RequestGuard) {
        self.server = server
        self.requestGuard = requestGuard
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            request = HTTPRequest(head: head)
            bodyBytes = 0
            if let status = problem(with: head) { return refuse(status, context) }
            // RFC 9110 §10.1.1: the expectation of an HTTP/1.0 client is ignored.
            awaitsContinue = !head.headers["expect"].isEmpty && head.version != .http1_0
            if queue.isIdle { letGoOn(context) }
        case .body(var bytes):
            awaitsContinue = false
            bodyBytes += bytes.readableBytes
            if bodyBytes > server.router.maximumBodyBytes { return refuse(.payloadTooLarge, context) }
            if server.router.takesChanges { request?.body.writeBuffer(&bytes) }
        case .end:
            awaitsContinue = false
            requestGuard.requestEnded()
            guard let request else { return }
            self.request = nil
            if let next = queue.take(request) { begin(next, context) }
        }
    }

    /// What is wrong with a request before anything of its body is read.
    private func problem(with head: HTTPRequestHead) -> HTTPResponseStatus? {
        // RFC 9112 §6.1: HTTP/1.0 has no transfer codings, so the sender may see the request end elsewhere than we do.
        if head.version == .http1_0, head.headers.contains(name: "transfer-encoding") { return .badRequest }
        let length = head.headers["content-length"].first.flatMap { Int($0) } ?? 0
        if length > server.router.maximumBodyBytes { return .payloadTooLarge }
        // RFC 9110 §10.1.1: there is no other expectation than this one.
        let expectations = head.headers["expect"].map { $0.lowercased() }
        return expectations.allSatisfy { $0 == "100-continue" } ? nil : .expectationFailed
    }

    /// Lets the client send the body of the request that has begun.
    private func letGoOn(_ context: ChannelHandlerContext) {
        if !awaitsContinue { return }
        awaitsContinue = false
        let goOn = HTTPResponseHead(version: .http1_1, status: .continue)
        context.writeAndFlush(Self.wrapOutboundOut(.head(goOn)), promise: nil)
    }

    /// A request that makes no sense is refused, once the answers before it are sent; then the connection is closed.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return context.close(promise: nil) }
        refuse(error == .headerOverflow ? .requestHeaderFieldsTooLarge : .badRequest, context)
    }

    private func refuse(_ status: HTTPResponseStatus, _ context: ChannelHandlerContext) {
        request = nil
        awaitsContinue = false
        if queue.refuse(status) { sendRefusal(status, context) }
    }

    /// A client that still sends wouldn't get the answer if the connection was closed at once.
    private func sendRefusal(_ status: HTTPResponseStatus, _ context: ChannelHandlerContext) {
        requestGuard.discard()
        let headers: HTTPHeaders = ["Connection": "close", "Content-Length": "0"]
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        context.close(mode: .output, promise: nil)
        let channel = context.channel
        context.eventLoop.scheduleTask(in: Self.patienceAfterRefusal) { channel.close(promise: nil) }
    }

    /// The client has closed its side; it still gets its answers.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event as? ChannelEvent == .inputClosed, queue.inputClosed() { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    /// The kernel has the answer, so the next request may come.
    private func answerSent(_ context: ChannelHandlerContext) {
        switch queue.answerSent() {
        case .answer(let request): begin(request, context)
        case .refuse(let status): sendRefusal(status, context)
        case .close: context.close(promise: nil)
        case .read:
            server.registry.enter(request == nil ? .idle : .receiving, context.channel)
            letGoOn(context)
            requestGuard.release()
        }
    }

    private func begin(_ request: HTTPRequest, _ context: ChannelHandlerContext) {
        requestGuard.hold()
        server.registry.enter(.judging, context.channel)
        server.authorize(request.head, of: context.channel) { [self] verdict in
            server.registry.enter(.responding, context.channel)
            switch verdict {
            case .allowed: answerAuthorized(request, context)
            case .denied:
                let challenge = [("WWW-Authenticate", "Basic realm=\"netusage\"")]
                send(.text(.unauthorized, "Unauthorized\n", challenge), request.head, context)
            case .busy:
                let message = "Too many passwords wait to be checked, try again later.\n"
                send(.text(.serviceUnavailable, message), request.head, context)
            case .limited: send(.text(.tooManyRequests, "Too Many Requests\n"), request.head, context)
            }
        }
    }

    private func answerAuthorized(_ request: HTTPRequest, _ context: ChannelHandlerContext) {
        let server = server
        switch server.router.route(request, isLoopback: context.channel.localAddress?.isLoopback ?? false) {
        case .answer(let answer): send(answer, request.head, context)
        case .metrics(let variant): scrape(variant, request.head, context)
        case .page(let subject):
            let full = HTTPAnswer.text(.serviceUnavailable, "Too many requests at once, try again later.\n")
            send(at: .question, else: full, request.head, context) {
                [questions = server.api.questions, path = server.router.telemetryPath] in
                await Page.answer(of: subject, questions, telemetryPath: path)
            }
        case .api(let question):
            let (place, what): (HTTPServer.Place, String) =
                if case .export = question { (.export, "exports") } else { (.question, "requests") }
            let full = HTTPAnswer.problem(.serviceUnavailable, "Too many \(what) at once, try again later.")
            send(at: place, else: full, request.head, context) { [api = server.api] in
                await api.answer(to: question)
            }
        case .reload:
            send(request.head, context) { [reload = server.requestReload] in
                let problem = await reload()
                return .text(problem == nil ? .ok : .internalServerError, problem ?? "")
            }
        }
    }

    private func scrape(_ variant: Scraper.Variant, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard server.take(.scrape) else {
            let message = "Limit of concurrent requests reached (\(server.maximumRequests)), try again later.\n"
            send(.text(.serviceUnavailable, message), head, context)
            return
        }
        server.scraper.scrape(variant) { [self] body in
            var answer = HTTPAnswer(variant.format.contentType, .bytes(body), [("Vary", "Accept, Accept-Encoding")])
            if variant.isCompressed { answer.headers.add(name: "Content-Encoding", value: "gzip") }
            send(answer, head, context).assumeIsolated().whenComplete { [server] _ in server.leave(.scrape) }
        }
    }

    // MARK: - Answers

    /// Sends an answer that takes a place of the server until it is sent.
    private func send(
        at place: HTTPServer.Place, else full: HTTPAnswer, _ head: HTTPRequestHead, _ context: ChannelHandlerContext,
        _ make: @escaping @Sendable () async -> HTTPAnswer
    ) {
        guard server.take(place) else {
            _ = send(full, head, context)
            return
        }
        send(head, context, make).assumeIsolated().whenComplete { [server] _ in server.leave(place) }
    }

    /// Sends an answer that isn't made on the event loop.
    @discardableResult
    private func send(
        _ head: HTTPRequestHead, _ context: ChannelHandlerContext, _ make: @escaping @Sendable () async -> HTTPAnswer
    ) -> EventLoopFuture<Void> {
        context.eventLoop.makeFutureWithTask(make).assumeIsolated().flatMap { self.send($0, head, context) }
            .nonisolated()
    }

    /// - Returns: When it is sent.
    @discardableResult
    private func send(_ answer: HTTPAnswer, _ request: HTTPRequestHead, _ context: ChannelHandlerContext)
        -> EventLoopFuture<Void>
    {
        switch answer.body {
        case .bytes(let body): return send(answer, body, request, context)
        case .stream(let write): return stream(answer, write, request, context)
        case .liveEvents(let subject): return watch(answer, by: subject, request, context)
        }
    }

    private func send(
        _ answer: HTTPAnswer, _ body: ByteBuffer, _ request: HTTPRequestHead, _ context: ChannelHandlerContext
    ) -> EventLoopFuture<Void> {
        var body = body
        let keepsAlive = request.isKeepAlive
        var head = responseHead(answer, to: request)
        let isKnown = answer.isKnown(to: request)
        if isKnown {
            head.status = .notModified
            head.headers.remove(name: "Content-Type")
        } else {
            // Below 1.4 kB it fits into a packet anyway.
            if body.readableBytes > 1400, !answer.headers.contains(name: "content-encoding"),
                acceptsGzip(request.headers["accept-encoding"].joined(separator: ","))
            {
                body = server.scraper.compressed(body)
                head.headers.add(name: "Content-Encoding", value: "gzip")
            }
            head.headers.add(name: "Content-Length", value: String(body.readableBytes))
            if body.readableBytes >= Int(ConnectionRegistry.progressBytes) {
                server.registry.enter(.streaming, context.channel)
            }
            server.noteAnswer(bytes: body.readableBytes)
        }
        if !keepsAlive { head.headers.add(name: "Connection", value: "close") }
        if keepsAlive, request.version == .http1_0 { head.headers.add(name: "Connection", value: "keep-alive") }
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if !isKnown, request.method != .HEAD {
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        let sent = context.writeAndFlush(Self.wrapOutboundOut(.end(nil)))
        sent.assumeIsolated().whenComplete { result in
            guard keepsAlive, case .success = result else { return context.close(promise: nil) }
            self.answerSent(context)
        }
        return sent
    }

    /// The head of every answer, with the headers that all have.
    private func responseHead(_ answer: HTTPAnswer, to request: HTTPRequestHead) -> HTTPResponseHead {
        var head = HTTPResponseHead(version: request.version, status: answer.status, headers: answer.headers)
        head.headers.add(name: "X-Content-Type-Options", value: "nosniff")
        server.security?.addHeaders(to: &head.headers)
        return head
    }

    /// Writes a body as it is made. The connection ends with it.
    private func stream(
        _ answer: HTTPAnswer, _ write: @escaping @Sendable (@escaping ExportSink) async throws -> Void,
        _ request: HTTPRequestHead, _ context: ChannelHandlerContext
    ) -> EventLoopFuture<Void> {
        server.registry.enter(.exporting, context.channel)
        var head = responseHead(answer, to: request)
        head.headers.add(name: "Connection", value: "close")
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        let (channel, isHead, logger) = (context.channel, request.method == .HEAD, server.logger)
        let registry = server.registry.isLocal ? NIOLoopBound(server.registry, eventLoop: context.eventLoop) : nil
        let done = context.eventLoop.makeFutureWithTask {
            if !isHead {
                try await write { bytes in
                    try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes))))
                    if let registry { channel.eventLoop.execute { registry.value.enter(.exporting, channel) } }
                }
            }
            try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
        }
        done.whenComplete { result in
            if case .failure(let error) = result, channel.isActive {
                logger.error("an export was broken off", metadata: ["error": "\(error)"])
            }
            channel.close(promise: nil)
        }
        return done
    }

    /// Sends events until the client closes the connection.
    private func watch(
        _ answer: HTTPAnswer, by subject: UsageQuery.Subject, _ request: HTTPRequestHead,
        _ context: ChannelHandlerContext
    ) -> EventLoopFuture<Void> {
        if request.method == .HEAD { return stream(answer, { _ in }, request, context) }
        guard server.liveFeed.hasRoom else {
            return send(
                .problem(.serviceUnavailable, "Too many watch at once, try again later."), request, context)
        }
        var head = responseHead(answer, to: request)
        head.headers.add(name: "Connection", value: "close")
        context.writeAndFlush(Self.wrapOutboundOut(.head(head)), promise: nil)
        server.liveFeed.add(context.channel, by: subject)
        return context.eventLoop.makeSucceededVoidFuture()
    }
}
