import Foundation
import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOPosix
import TestSupport
import Testing

@testable import Web

@Suite("Connections")
struct ConnectionTests {
    @Test func theOneThatHasWaitedLongestMakesRoom() throws {
        let registry = ConnectionRegistry(maximumCount: 3)
        let channels = try (0..<4).map { _ in try connected() }
        for channel in channels[..<3] { #expect(registry.admit(channel)) }
        registry.enter(.receiving, channels[0])
        registry.enter(.responding, channels[1])
        #expect(registry.admit(channels[3]))
        #expect(channels.map(\.isActive) == [true, true, false, true])
    }

    @Test func aConnectionThatWaitsForUsIsNeverEvicted() throws {
        let registry = ConnectionRegistry(maximumCount: 2)
        let channels = try (0..<3).map { _ in try connected() }
        for channel in channels[..<2] {
            #expect(registry.admit(channel))
            registry.enter(.responding, channel)
        }
        #expect(!registry.admit(channels[2]))
        #expect(channels.map(\.isActive) == [true, true, false])
        _ = try channels[0].finish()
        #expect(registry.admit(try connected()))
    }

    @Test func whoseRequestIsJudgedMakesRoomForOthers() throws {
        let registry = ConnectionRegistry(maximumCount: 3)
        let scraper = try connected(from: "192.0.2.1")
        let guessers = try (0..<3).map { _ in try connected(from: "192.0.2.2") }
        for channel in [scraper, guessers[0], guessers[1]] {
            #expect(registry.admit(channel))
            registry.enter(.judging, channel)
        }
        #expect(registry.admit(guessers[2]))
        #expect(([scraper] + guessers).map(\.isActive) == [true, false, true, true])
    }

    @Test func whatAnAnswerWasAllowedByEndsWithIt() throws {
        let registry = ConnectionRegistry(maximumCount: 3)
        let channels = try (0..<3).map { _ in try connected() }
        for channel in channels { #expect(registry.admit(channel)) }
        registry.enter(.judging, channels[0])
        registry.enter(.responding, channels[1])
        registry.closeAll(where: \.isAnswer)
        #expect(channels.map(\.isActive) == [true, false, true])
    }

    @Test func nobodyWakesUpForConnectionsThatArentThere() throws {
        let registry = ConnectionRegistry(maximumCount: 2)
        let channel = try connected()
        #expect(registry.sweepInterval == nil)
        #expect(registry.admit(channel))
        #expect(registry.sweepInterval == .seconds(5))
        registry.enter(.receiving, channel)
        #expect(registry.sweepInterval == .seconds(1))
        _ = try channel.finish()
        #expect(registry.sweepInterval == nil)
    }

    @Test func eachPhaseHasItsDeadline() throws {
        let registry = ConnectionRegistry(maximumCount: 9)
        let idle = try connected()
        let receiving = try connected()
        let responding = try connected()
        for channel in [idle, receiving, responding] { #expect(registry.admit(channel)) }
        registry.enter(.receiving, receiving)
        registry.enter(.responding, responding)
        let open = { [idle, receiving, responding].map(\.isActive) }
        registry.closeOverdue(at: .now() + .seconds(9))
        #expect(open() == [true, true, true])
        registry.closeOverdue(at: .now() + .seconds(12))
        #expect(open() == [true, false, true])
        registry.closeOverdue(at: .now() + .seconds(31))
        #expect(open() == [true, false, false])
        registry.closeOverdue(at: .now() + .seconds(301))
        #expect(open() == [false, false, false])
    }

    /// Of Unix sockets the kernel doesn't say what a client has taken.
    @Test func whoLooksAtAnExportPageByPageMayTakeAnHourAtTheSocketForCommands() throws {
        let registry = ConnectionRegistry(maximumCount: 9, isLocal: true)
        let (exporting, unread) = (try connected(), try connected())
        for channel in [exporting, unread] { #expect(registry.admit(channel)) }
        registry.enter(.exporting, exporting)
        registry.enter(.streaming, unread)
        registry.closeOverdue(at: .now() + .seconds(31))
        #expect(exporting.isActive && !unread.isActive, "an answer that nobody reads takes no place for long")
        registry.closeOverdue(at: .now() + .seconds(3500))
        #expect(exporting.isActive)
        registry.closeOverdue(at: .now() + .seconds(3601))
        #expect(!exporting.isActive)
    }

    @Test func whoTakesItsAnswerSlowlyButSurelyStays() throws {
        var acknowledged: [ObjectIdentifier: UInt64] = [:]
        let registry = ConnectionRegistry(maximumCount: 9) { acknowledged[ObjectIdentifier($0)] ?? 0 }
        let slow = try connected()
        let stuck = try connected()
        for channel in [slow, stuck] {
            #expect(registry.admit(channel))
            registry.enter(.streaming, channel)
        }
        for minute in 1...5 {
            acknowledged[ObjectIdentifier(slow)] = UInt64(minute) * ConnectionRegistry.progressBytes
            acknowledged[ObjectIdentifier(stuck)] = ConnectionRegistry.progressBytes - 1
            registry.closeOverdue(at: .now() + .seconds(Int64(minute) * 31))
            #expect(slow.isActive && (minute == 1 || !stuck.isActive))
        }
        // 320 kB give it 20 s more.
        registry.closeOverdue(at: .now() + .seconds(6 * 31 + 15))
        #expect(slow.isActive)
        registry.closeOverdue(at: .now() + .seconds(6 * 31 + 25))
        #expect(!slow.isActive, "it takes nothing any more")
    }

    /// Our kernel takes all that is sent at once; what the client's has taken, TCP knows.
    @Test func whatAClientHasTakenIsWhatItsKernelAcknowledged() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let (connections, connection) = AsyncStream.makeStream(of: (any Channel).self)
        let listener = try await ServerBootstrap(group: loop).childChannelInitializer { channel in
            connection.yield(channel)
            return channel.eventLoop.makeSucceededVoidFuture()
        }.bind(host: "127.0.0.1", port: 0).get()
        let client = try connectedSocket(to: try #require(listener.localAddress?.port))
        defer { close(client) }
        let channel = try #require(await connections.first { _ in true })
        let registry = try await loop.submit {
            let registry = ConnectionRegistry(maximumCount: 1)
            _ = registry.admit(channel)
            registry.enter(.streaming, channel)
            return NIOLoopBound(registry, eventLoop: loop)
        }.get()
        channel.writeAndFlush(ByteBuffer(repeating: 1, count: 8 << 20), promise: nil)
        // All but what fits into its buffer was acknowledged before the last of this could come.
        var taken = [UInt8](repeating: 0, count: 512 * 1024)
        #expect(recv(client, &taken, taken.count, CInt(MSG_WAITALL)) == taken.count)
        let began = NIODeadline.now()
        func isOpen(afterSeconds seconds: Int64) async throws -> Bool {
            try await loop.submit { registry.value.closeOverdue(at: began + .seconds(seconds)) }.get()
            return channel.isActive
        }
        #expect(try await isOpen(afterSeconds: 31))
        #expect(try await isOpen(afterSeconds: 31 + 40), "what it has taken gives it some more time")
        #expect(try await !isOpen(afterSeconds: 31 + 90), "it takes nothing any more")
        try await listener.close()
        try await group.shutdownGracefully()
    }

    /// What the router makes of requests, without a meter behind it.
    private final class Answers: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        let router = HTTPRouter(
            telemetryPath: "/metrics", isLifecycleEnabled: true, externalHost: "x.example")
        private(set) var count = 0

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .head(let head) = Self.unwrapInboundIn(data) else { return }
            _ = router.route(HTTPRequest(head: head), isLoopback: true)
            _ = Credentials(header: head.headers["authorization"].first)
            count += 1
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    @Test func mutatedRequestsAreAnsweredOrRefused() throws {
        let good = """
            GET /metrics?x=%00#y HTTP/1.1\r\nHost: localhost:10073\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.6,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\nAccept-Encoding: gzip;q=0.5, *;q=0\r\n\
            Authorization: Basic dXNlcjpwYXNz\r\nContent-Length: 3\r\n\r\nabcPOST /-/reload HTTP/1.0\r\n\r\n
            """
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var answered = 0
        for _ in 0..<tries(20_000) {
            var bytes = Array(good.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) { mutate(&bytes, &random) }
            let answers = Answers()
            let channel = EmbeddedChannel()
            let registry = ConnectionRegistry(maximumCount: 1)
            try HTTPServer.addHandlers(to: channel.pipeline.syncOperations, behind: RequestGuard(registry), answers)
            let cut = Int.random(in: 0...bytes.count, using: &random)
            for part in [bytes[..<cut], bytes[cut...]] { _ = try? channel.writeInbound(ByteBuffer(bytes: part)) }
            answered += answers.count
            _ = try? channel.finish(acceptAlreadyClosed: true)
        }
        #expect(answered > tries(2000), "most of them are so broken that nothing is tested")
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        guard let index = bytes.indices.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[index] = .random(in: 0...255, using: &random)
        case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes.remove(at: index)
        case 3:
            bytes.insert(contentsOf: Array("\r\n \t:;,=\0\u{FF}".utf8).shuffled(using: &random).prefix(3), at: index)
        default: bytes.insert(contentsOf: bytes[index..<min(bytes.count, index + 20)], at: index)
        }
    }
}

/// A channel that is connected, so that one can see it being closed.
private func connected(from address: String = "127.0.0.1") throws -> EmbeddedChannel {
    let channel = EmbeddedChannel()
    channel.connect(to: try SocketAddress(ipAddress: address, port: 1), promise: nil)
    return channel
}

/// A client's socket that takes a few kilobytes by itself.
private func connectedSocket(to port: Int) throws -> CInt {
    let client = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    var size: CInt = 4096
    setsockopt(client, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
    let code = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    try #require(code == 0)
    return client
}
