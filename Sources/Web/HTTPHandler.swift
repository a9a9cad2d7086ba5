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
    private var head: HTTPRequestHead?
    private var bodyBytes = 0
    /// Whether the client waits for a permission to send the body of its request.
    private var awaitsContinue = false

    /// No request needs a body; a longer one is refused.
    private static let maximumBodyBytes = 64 * 1024
    /// How long a client that was refused may take to read why.
    private static let patienceAfterRefusal = TimeAmount.seconds(1)

    init(_ server: HTTPServer, _ requestGuard: RequestGuard) {
        self.server = server
        self.requestGuard = requestGuard
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            bodyBytes = 0
            if let status = Self.problem(with: head) { return refuse(status, context) }
            // RFC 9110 §10.1.1: the expectation of an HTTP/1.0 client is ignored.
            awaitsContinue = !head.headers["expect"].isEmpty && head.version != .http1_0
            if queue.isIdle { letGoOn(context) }
        case .body(let bytes):
            awaitsContinue = false
            bodyBytes += bytes.readableBytes
            if bodyBytes > Self.maximumBodyBytes { refuse(.payloadTooLarge, context) }
        case .end:
            awaitsContinue = false
            requestGuard.requestEnded()
            guard let head else { return }
            self.head = nil
            if let head = queue.take(head) { begin(head, context) }
        }
    }

    /// What is wrong with a request before anything of its body is read.
    private static func problem(with head: HTTPRequestHead) -> HTTPResponseStatus? {
        // RFC 9112 §6.1: HTTP/1.0 has no transfer codings, so the sender may see the request end elsewhere than we do.
        if head.version == .http1_0, head.headers.contains(name: "transfer-encoding") { return .badRequest }
        if let length = head.headers["content-length"].first.flatMap({ Int($0) }), length > maximumBodyBytes {
            return .payloadTooLarge
        }
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

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        requestGuard.hold()
        server.registry.enter(.judging, context.channel)
        answer(head, context)
    }

    /// A request that makes no sense is refused, once the answers before it are sent; then the connection is closed.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return context.close(promise: nil) }
        refuse(error == .headerOverflow ? .requestHeaderFieldsTooLarge : .badRequest, context)
    }

    private func refuse(_ status: HTTPResponseStatus, _ context: ChannelHandlerContext) {
        head = nil
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
        case .answer(let head): begin(head, context)
        case .refuse(let status): sendRefusal(status, context)
        case .close: context.close(promise: nil)
        case .read:
            server.registry.enter(head == nil ? .idle : .receiving, context.channel)
            letGoOn(context)
            requestGuard.release()
        }
    }

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let connection = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        server.authorize(head, of: context.channel) { verdict in
            let (handler, context) = connection.value
            handler.server.registry.enter(.responding, context.channel)
            switch verdict {
            case .allowed: handler.answerAuthorized(head, context)
            case .denied:
                let challenge = [("WWW-Authenticate", "Basic realm=\"netusage\"")]
                handler.sendText(.unauthorized, "Unauthorized\n", head, context, challenge)
            case .busy:
                let message = "Too many passwords wait to be checked, try again later.\n"
                handler.sendText(.serviceUnavailable, message, head, context)
            case .limited: handler.sendText(.tooManyRequests, "Too Many Requests\n", head, context)
            }
        }
    }

    private func answerAuthorized(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        switch server.router.answer(to: head, isLoopback: context.channel.localAddress?.isLoopback ?? false) {
        case .metrics(let variant): scrape(variant, head, context)
        case .text(let status, let text): sendText(status, text, head, context)
        case .page(let device): sendPage(device, head, context)
        case .api(.liveEvents): streamLive(head, context)
        case .api(.export(let query)): export(query, head, context)
        case .api(let request): answer(request, head, context)
        case .apiProblem(let status, let text): send(.problem(status, text), head, context)
        case .methodNotAllowed(let allow):
            sendText(.methodNotAllowed, "This address takes \(allow).\n", head, context, [("Allow", allow)])
        case .reload:
            let connection = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            server.reload { problem in
                let (handler, context) = connection.value
                handler.sendText(problem == nil ? .ok : .internalServerError, problem ?? "", head, context)
            }
        }
    }

    private func scrape(_ variant: Scraper.Variant, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard server.beginScrape() else {
            let message = "Limit of concurrent requests reached (\(server.maximumRequests)), try again later.\n"
            sendText(.serviceUnavailable, message, head, context)
            return
        }
        server.scraper.scrape(variant) { [self] body in
            var headers = HTTPHeaders()
            headers.add(name: "Vary", value: "Accept, Accept-Encoding")
            if variant.isCompressed { headers.add(name: "Content-Encoding", value: "gzip") }
            let server = NIOLoopBound(server, eventLoop: context.eventLoop)
            send(.ok, variant.format.contentType, body, head, context, headers).whenComplete { _ in
                server.value.endScrape()
            }
        }
    }

    // MARK: - The page and the API

    private func sendPage(_ device: String?, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard server.beginQuestion() else {
            return sendText(.serviceUnavailable, "Too many requests at once, try again later.\n", head, context)
        }
        let nonce =
            String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
        let page = context.eventLoop.makeFutureWithTask {
            [questions = server.api.questions, path = server.router.telemetryPath] in
            Page(await PageContent(of: device, questions, telemetryPath: path), nonce: nonce).html.markup
        }
        let connection = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        page.whenSuccess { page in
            let (handler, context) = connection.value
            var headers: HTTPHeaders = [
                "Cache-Control": "no-store", "Content-Security-Policy": Page.securityPolicy(nonce: nonce),
                "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Vary": "Accept-Encoding",
                "Cross-Origin-Resource-Policy": "same-origin",
            ]
            handler.send(
                .ok, "text/html; charset=utf-8", handler.packed(page.utf8, head, &headers), head, context, headers
            ).whenComplete { _ in connection.value.0.server.endQuestion() }
        }
    }

    /// A body, compressed if the client takes that. Below 1.4 kB it fits into a packet anyway.
    private func packed(_ body: some Sequence<UInt8>, _ head: HTTPRequestHead, _ headers: inout HTTPHeaders)
        -> ByteBuffer
    {
        let buffer = ByteBuffer(bytes: body)
        guard buffer.readableBytes > 1400, acceptsGzip(head.headers["accept-encoding"].joined(separator: ",")) else {
            return buffer
        }
        headers.add(name: "Content-Encoding", value: "gzip")
        return server.scraper.compressed(buffer)
    }

    private func answer(_ request: APIRequest, _ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard server.beginQuestion() else {
            send(.problem(.serviceUnavailable, "Too many requests at once, try again later."), head, context)
            return
        }
        let answer = context.eventLoop.makeFutureWithTask { [api = server.api] in await api.answer(to: request) }
        let connection = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        answer.whenSuccess { answer in
            let (handler, context) = connection.value
            handler.send(answer, head, context).whenComplete { _ in connection.value.0.server.endQuestion() }
        }
    }

    @discardableResult
    private func send(
        _ answer: API.Answer, _ head: HTTPRequestHead, _ context: ChannelHandlerContext
    ) -> EventLoopFuture<Void> {
        var headers: HTTPHeaders = ["Vary": "Accept, Accept-Encoding", "Cross-Origin-Resource-Policy": "same-origin"]
        headers.add(name: "Cache-Control", value: answer.tag == nil ? "no-store" : "private, no-cache")
        if let tag = answer.tag {
            headers.add(name: "ETag", value: tag)
            let known = head.headers["if-none-match"].joined(separator: ",")
            if known == "*" || known.split(separator: ",").contains(where: { $0.filter { $0 != " " } == tag }) {
                return sendNotModified(head, context, headers)
            }
        }
        return send(answer.status, "application/json", packed(answer.body, head, &headers), head, context, headers)
    }

    /// Sends events once a second, until the client closes the connection.
    private func streamLive(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        if request.method == .HEAD {
            send(.ok, "text/event-stream", ByteBuffer(), request, context, ["Cache-Control": "no-store"])
            return
        }
        guard server.liveFeed.hasRoom else {
            send(.problem(.serviceUnavailable, "Too many watch at once, try again later."), request, context)
            return
        }
        let head = answerHead(
            .ok, to: request,
            [
                "Content-Type": "text/event-stream", "Cache-Control": "no-store",
                "Cross-Origin-Resource-Policy": "same-origin", "X-Accel-Buffering": "no", "Connection": "close",
            ])
        context.writeAndFlush(Self.wrapOutboundOut(.head(head)), promise: nil)
        server.liveFeed.add(context.channel)
    }

    /// Writes an export, a piece when the previous one has been taken. One that fails midway is cut off.
    private func export(_ query: ExportQuery, _ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard server.beginExport() else {
            send(.problem(.serviceUnavailable, "Too many exports at once, try again later."), request, context)
            return
        }
        server.registry.enter(.streaming, context.channel)
        let head = answerHead(
            .ok, to: request,
            [
                "Content-Type": query.format.contentType, "Cache-Control": "no-store",
                "Content-Disposition": "attachment; filename=\"netusage.\(query.format.rawValue)\"",
                "Cross-Origin-Resource-Policy": "same-origin", "Connection": "close",
            ])
        let channel = context.channel
        let isHead = request.method == .HEAD
        let done = context.eventLoop.makeFutureWithTask { [questions = server.api.questions, head] in
            try await questions.export(query, behind: head, hasBody: !isHead, to: channel)
        }
        let connection = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        done.whenComplete { result in
            let (handler, context) = connection.value
            handler.server.endExport()
            if case .success(let problem?) = result {
                handler.send(problem, request, context)
            } else {
                context.close(promise: nil)
            }
        }
    }

    private func sendText(
        _ status: HTTPResponseStatus, _ text: String, _ head: HTTPRequestHead, _ context: ChannelHandlerContext,
        _ headers: [(String, String)] = []
    ) {
        send(status, "text/plain; charset=utf-8", ByteBuffer(string: text), head, context, HTTPHeaders(headers))
    }

    private func sendNotModified(
        _ request: HTTPRequestHead, _ context: ChannelHandlerContext, _ headers: HTTPHeaders
    ) -> EventLoopFuture<Void> {
        send(answerHead(.notModified, to: request, headers), nil, request, context)
    }

    @discardableResult
    private func send(
        _ status: HTTPResponseStatus, _ contentType: String, _ body: ByteBuffer, _ request: HTTPRequestHead,
        _ context: ChannelHandlerContext, _ extra: HTTPHeaders = [:]
    ) -> EventLoopFuture<Void> {
        var headers = extra
        headers.add(name: "Content-Type", value: contentType)
        headers.add(name: "Content-Length", value: String(body.readableBytes))
        return send(answerHead(status, to: request, headers), body, request, context)
    }

    /// The head of every answer, with the headers that all have.
    private func answerHead(
        _ status: HTTPResponseStatus, to request: HTTPRequestHead, _ headers: HTTPHeaders
    ) -> HTTPResponseHead {
        var head = HTTPResponseHead(version: request.version, status: status, headers: headers)
        head.headers.add(name: "X-Content-Type-Options", value: "nosniff")
        server.addHeaders(to: &head.headers)
        return head
    }

    @discardableResult
    private func send(
        _ answer: HTTPResponseHead, _ body: ByteBuffer?, _ request: HTTPRequestHead, _ context: ChannelHandlerContext
    ) -> EventLoopFuture<Void> {
        if let body, body.readableBytes >= Int(ConnectionRegistry.progressBytes) {
            server.registry.enter(.streaming, context.channel)
        }
        var head = answer
        let keepsAlive = request.isKeepAlive
        if !keepsAlive { head.headers.add(name: "Connection", value: "close") }
        if keepsAlive, request.version == .http1_0 { head.headers.add(name: "Connection", value: "keep-alive") }
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if let body, request.method != .HEAD {
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        let sent = context.writeAndFlush(Self.wrapOutboundOut(.end(nil)))
        let connection = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        server.noteAnswer(bytes: body?.readableBytes ?? 0)
        sent.whenComplete { result in
            let (handler, context) = connection.value
            guard keepsAlive, case .success = result else { return context.close(promise: nil) }
            handler.answerSent(context)
        }
        return sent
    }
}

extension Questions {
    /// Writes an export out, a piece when the previous one has been taken.
    ///
    /// - Returns: Why it didn't begin; `nil` when it is written.
    /// - Throws: What broke it off.
    fileprivate func export(
        _ query: ExportQuery, behind head: HTTPResponseHead, hasBody: Bool, to channel: any Channel
    ) async throws -> API.Answer? {
        let export: Export<Self>
        do {
            export = try await Export(query, of: self)
        } catch {
            return .problem(error)
        }
        try await channel.writeAndFlush(HTTPServerResponsePart.head(head))
        if hasBody {
            try await export.write { bytes, _ in
                try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes))))
            }
        }
        try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
        return nil
    }
}
