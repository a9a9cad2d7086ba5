import NIOCore

/// Every connection of the server: how many there may be, and how long one may keep us waiting.
///
/// NIO alone would let a client hold a connection for ever with half a request, and spins when there are no descriptors
/// left. Used on the server's event loop only.
final class ConnectionRegistry {
    /// How long a client may take, by what it is expected to do.
    struct Deadlines {
        /// From the first byte of a request to its end.
        var requestSeconds: Int64 = 10
        /// For a request to begin. Prometheus keeps its connections for the next scrape, which may be minutes away.
        var idleSeconds: Int64 = 300
        /// To take the answer.
        var responseSeconds: Int64 = 30
    }

    enum Phase {
        case idle
        case receiving
        case responding
    }

    private struct Entry {
        let channel: any Channel
        var phase: Phase
        var since: NIODeadline
    }

    private let maximumCount: Int
    private let deadlines: Deadlines
    private var entries: [ObjectIdentifier: Entry] = [:]

    init(maximumCount: Int, deadlines: Deadlines = Deadlines()) {
        self.maximumCount = maximumCount
        self.deadlines = deadlines
    }

    /// Takes a connection in, if there is room or room can be made: the one that has waited longest for its client goes.
    ///
    /// - Returns: Whether it was taken in; if not, it is closed already.
    func admit(_ channel: any Channel) -> Bool {
        if entries.count >= maximumCount, !evictOne() {
            channel.close(promise: nil)
            return false
        }
        let key = ObjectIdentifier(channel)
        entries[key] = Entry(channel: channel, phase: .idle, since: .now())
        let registry = NIOLoopBound(self, eventLoop: channel.eventLoop)
        channel.closeFuture.whenComplete { _ in registry.value.entries[key] = nil }
        return true
    }

    func enter(_ phase: Phase, _ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        entries[key]?.phase = phase
        entries[key]?.since = .now()
    }

    /// Closes the connections whose clients take too long. To be called every second or so.
    func closeOverdue(at now: NIODeadline = .now()) {
        for entry in entries.values {
            let limit =
                switch entry.phase {
                case .idle: deadlines.idleSeconds
                case .receiving: deadlines.requestSeconds
                case .responding: deadlines.responseSeconds
                }
            if now - entry.since > .seconds(limit) { entry.channel.close(promise: nil) }
        }
    }

    func closeAll() {
        for entry in entries.values { entry.channel.close(promise: nil) }
    }

    /// Connections on which a client is waiting for us stay.
    private func evictOne() -> Bool {
        let candidates = entries.filter { $0.value.phase != .responding }
        guard let oldest = candidates.min(by: { $0.value.since < $1.value.since }) else { return false }
        entries[oldest.key] = nil
        oldest.value.channel.close(promise: nil)
        return true
    }
}

/// Stands first in a connection's pipeline: it sees when a request begins, and when it is too long.
final class RequestGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// Request line, headers and body together. A scrape needs some 300 bytes.
    private static let maximumRequestBytes = 64 * 1024

    private let registry: ConnectionRegistry
    private var requestBytes = 0

    init(_ registry: ConnectionRegistry) {
        self.registry = registry
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if requestBytes == 0 { registry.enter(.receiving, context.channel) }
        requestBytes += Self.unwrapInboundIn(data).readableBytes
        if requestBytes > Self.maximumRequestBytes {
            context.close(promise: nil)
            return
        }
        context.fireChannelRead(data)
    }

    /// The request has been read to its end.
    func requestEnded() {
        requestBytes = 0
    }
}
