import NIOCore

/// The first handler of a connection: it sees when a request begins and when it is too long, and holds input back while
/// an answer is under way.
final class RequestGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = Never

    /// Request line, headers and body together. A scrape needs some 300 bytes.
    private let maximumRequestBytes: Int
    /// How much held input is processed at a time.
    private static let sliceBytes = 16 * 1024
    /// The most input that is held: more than the kernel's buffer, which comes at once when a client closes its side.
    private static let maximumHeldBytes = 1024 * 1024

    private let registry: ConnectionRegistry
    private var context: ChannelHandlerContext?
    private var requestBytes = 0
    private var isHolding = false
    private var isReleasing = false
    /// Whether input is thrown away, because the connection is about to be closed.
    private var isDiscarding = false
    private var wantsRead = false
    private var held = ByteBuffer()
    private var heldEvent: Any?

    init(_ registry: ConnectionRegistry, maximumBodyBytes: Int = 64 * 1024) {
        self.registry = registry
        maximumRequestBytes = maximumBodyBytes + 192 * 1024
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    // MARK: - What the client sends

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isDiscarding { return }
        var bytes = Self.unwrapInboundIn(data)
        if isHolding || held.readableBytes > 0 {
            held.writeBuffer(&bytes)
            if held.readableBytes > Self.maximumHeldBytes { context.close(promise: nil) }
            return
        }
        handOn(bytes, context)
    }

    /// While an answer is under way, one read is taken ahead. To stop and start watching the socket for each request
    /// would cost two system calls.
    func read(context: ChannelHandlerContext) {
        if isHolding, held.readableBytes > 0 { wantsRead = true } else { context.read() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if held.readableBytes > 0, event as? ChannelEvent == .inputClosed {
            heldEvent = event
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func handOn(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        if requestBytes == 0, !isHolding { registry.enter(.receiving, context.channel) }
        requestBytes += bytes.readableBytes
        if requestBytes > maximumRequestBytes {
            context.close(promise: nil)
            return
        }
        context.fireChannelRead(Self.wrapInboundOut(bytes))
    }

    // MARK: - What the last handler says

    /// The request has been read to its end.
    func requestEnded() { requestBytes = 0 }

    /// Holds input back until ``release()``.
    func hold() { isHolding = true }

    /// The answer is sent: processes held input, then reads more.
    func release() {
        isHolding = false
        // An answer may be sent while its request is handed on below, and release again. Then the loop continues.
        if isReleasing { return }
        guard held.readableBytes > 0 || heldEvent != nil || wantsRead else { return }
        isReleasing = true
        defer { isReleasing = false }
        while !isHolding, let context, let slice = held.readSlice(length: min(held.readableBytes, Self.sliceBytes)),
            slice.readableBytes > 0
        {
            handOn(slice, context)
            context.fireChannelReadComplete()
        }
        if isHolding {
            held.discardReadBytes()
            return
        }
        held = ByteBuffer()
        if let event = heldEvent {
            heldEvent = nil
            context?.fireUserInboundEventTriggered(event)
        }
        if wantsRead {
            wantsRead = false
            context?.read()
        }
    }

    /// Throws away everything that still comes.
    func discard() {
        isDiscarding = true
        held = ByteBuffer()
        isHolding = false
        if wantsRead { context?.read() }
    }
}
