import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import Web

@Suite("Requests of one connection")
struct RequestQueueTests {
    private func request(_ uri: String, _ headers: HTTPHeaders = ["host": "localhost"]) -> HTTPRequest {
        HTTPRequest(head: HTTPRequestHead(version: .http1_1, method: .GET, uri: uri, headers: headers))
    }

    private func uri(_ next: RequestQueue.Next) -> String? {
        if case .answer(let request) = next { request.head.uri } else { nil }
    }

    @Test func oneIsAnsweredAtATimeInTheirOrder() {
        var queue = RequestQueue()
        let taken = ["/1", "/2", "/3"].map { queue.take(request($0))?.head.uri }
        #expect(taken == ["/1", nil, nil])
        let next = [uri(queue.answerSent()), uri(queue.answerSent())]
        #expect(next == ["/2", "/3"] && !queue.isIdle)
        guard case .read = queue.answerSent() else { return #expect(Bool(false), "the next one may come") }
        #expect(queue.isIdle)
    }

    @Test func whatMakesNoSenseIsRefusedBehindTheAnswersBeforeIt() {
        var queue = RequestQueue()
        _ = queue.take(request("/1"))
        _ = queue.take(request("/2"))
        let isRefusedNow = queue.refuse(.badRequest)
        let behind = queue.take(request("/4"))
        let next = uri(queue.answerSent())
        #expect(!isRefusedNow && next == "/2")
        #expect(behind == nil, "nothing behind it is looked at")
        guard case .refuse(.badRequest) = queue.answerSent() else { return #expect(Bool(false), "it is refused now") }
        var idle = RequestQueue()
        let refusals = [idle.refuse(.badRequest), idle.refuse(.payloadTooLarge)]
        #expect(refusals == [true, false], "once")
    }

    @Test func whoSendsNothingMoreGetsAllAnswers() {
        var queue = RequestQueue()
        _ = queue.take(request("/1"))
        _ = queue.take(request("/2"))
        let closesNow = queue.inputClosed()
        let next = uri(queue.answerSent())
        #expect(!closesNow && next == "/2")
        guard case .close = queue.answerSent() else { return #expect(Bool(false), "it closes behind the last one") }
        var idle = RequestQueue()
        let closesIdle = idle.inputClosed()
        #expect(closesIdle)
    }

    /// Takes down what comes through the guard, and that a read is asked for.
    private final class Witness: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var bytes = 0
        var sawEnd = false

        var hold: () -> Void = {}

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            bytes += Self.unwrapInboundIn(data).readableBytes
            hold()
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) { sawEnd = true }
    }

    /// Stands before the guard and counts how often the socket is read.
    private final class Socket: ChannelOutboundHandler {
        typealias OutboundIn = Never
        var reads = 0

        func read(context: ChannelHandlerContext) {
            reads += 1
            context.read()
        }
    }

    @Test func hardlyAnythingIsReadWhileAnAnswerIsNotSent() throws {
        let channel = EmbeddedChannel()
        let requestGuard = RequestGuard(ConnectionRegistry(maximumCount: 1))
        let witness = Witness()
        let socket = Socket()
        try channel.pipeline.syncOperations.addHandlers([socket, requestGuard, witness])
        try channel.writeInbound(ByteBuffer(repeating: 1, count: 100))
        #expect(witness.bytes == 100)
        requestGuard.hold()
        var reads = socket.reads
        channel.read()
        #expect(socket.reads == reads + 1, "one piece ahead, so that the socket stays watched")
        try channel.writeInbound(ByteBuffer(repeating: 1, count: 16_384))
        reads = socket.reads
        channel.read()
        #expect(socket.reads == reads, "after one piece the socket stays unread, so the client's side fills up")
        // Who ends its side makes the kernel hand over at once what it has.
        try channel.writeInbound(ByteBuffer(repeating: 1, count: 40_000 - 16_384))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(witness.bytes == 100 && !witness.sawEnd)
        requestGuard.release()
        #expect(witness.bytes == 40_100 && witness.sawEnd && socket.reads > reads)
        requestGuard.hold()
        _ = try? channel.writeInbound(ByteBuffer(repeating: 1, count: 2_000_000))
        #expect(!channel.isActive, "what is kept back has a bound")
        _ = try? channel.finish(acceptAlreadyClosed: true)
    }

    @Test func theEndOfWhatAClientSendsIsSeenAfterItsLastAnswer() throws {
        let channel = EmbeddedChannel()
        let requestGuard = RequestGuard(ConnectionRegistry(maximumCount: 1))
        let witness = Witness()
        witness.hold = { requestGuard.hold() }
        try channel.pipeline.syncOperations.addHandlers([requestGuard, witness])
        try channel.writeInbound(ByteBuffer(repeating: 1, count: 100))
        try channel.writeInbound(ByteBuffer(repeating: 1, count: 100))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        requestGuard.release()
        #expect(witness.bytes == 200 && !witness.sawEnd)
        requestGuard.release()
        #expect(witness.sawEnd)
        _ = try channel.finish()
    }

    // MARK: - Other people's web pages

    private static let foreign: [(path: String, method: HTTPMethod, headers: HTTPHeaders, isLet: Bool, why: Comment)] =
        [
            ("/", .GET, ["host": "localhost"], true, "a person"),
            ("/", .GET, ["host": "localhost."], true, "the root of all names may be written"),
            ("/", .GET, ["host": "[::ffff:127.0.0.1]:10073"], true, "an IPv4 address as IPv6"),
            ("/", .GET, ["host": "Meter.example:80"], true, "the name that the owner gave"),
            ("/", .GET, ["host": "meter.example."], true, "the same from the root of all names"),
            ("/", .GET, ["host": "evil.example"], false, "a name that somebody points at us"),
            ("/metrics", .GET, ["host": "evil.example"], true, "a scraper may use any name"),
            ("/metrics", .GET, ["host": "evil.example", "sec-fetch-site": "same-origin"], false, "a browser may not"),
            ("/metrics", .GET, ["host": "localhost", "sec-fetch-site": "cross-site"], false, "a page reads metrics"),
            ("/api/v1/live", .GET, ["host": "localhost", "sec-fetch-site": "same-site"], false, "another port's page"),
            ("/api/v1/live", .GET, ["host": "localhost", "sec-fetch-site": "same-origin"], true, "our own page"),
            ("/-/reload", .POST, ["host": "localhost"], true, "curl"),
            ("/-/reload", .POST, ["host": "evil.example"], false, "a name that somebody points at us"),
            ("/-/reload", .POST, ["host": "localhost", "sec-fetch-site": "cross-site"], false, "a page reloads"),
            (
                "/-/reload", .POST,
                [
                    "host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
                    "sec-fetch-dest": "document",
                ],
                false, "a form is sent"
            ),
            ("/-/reload", .POST, ["host": "localhost", "origin": "http://evil.example"], false, "an older browser"),
            ("/-/reload", .POST, ["host": "localhost", "origin": "http://localhost"], true, "our own page"),
            (
                "/", .GET,
                [
                    "host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
                    "sec-fetch-dest": "document",
                ],
                true, "somebody follows a link"
            ),
            (
                "/", .GET,
                [
                    "host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate",
                    "sec-fetch-dest": "iframe",
                ],
                false, "a frame"
            ),
            (
                "/-/healthy", .GET, ["host": "evil.example", "sec-fetch-site": "cross-site"], true,
                "says nothing of anybody"
            ),
        ]

    @Test(arguments: foreign.indices)
    func otherWebPagesGetNothing(number: Int) {
        let (path, method, headers, isLet, why) = Self.foreign[number]
        let router = HTTPRouter(telemetryPath: "/metrics", isLifecycleEnabled: true, externalHost: "meter.example.")
        let head = HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)
        let route = router.route(HTTPRequest(head: head), isLoopback: true)
        let isForbidden = if case .answer(let answer) = route { answer.status == .forbidden } else { false }
        #expect(isForbidden == !isLet, why)
    }
}
