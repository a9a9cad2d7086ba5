import NIOCore
import NIOHTTP1

/// Sends watchers, once a second, what devices carry. Used on the server's event loop only.
final class LiveFeed {
    /// How many may watch at a time; a scrape, or an order, always finds room.
    private var maximumWatchers: Int { min(32, registry.maximumCount / 2) }

    private let loop: any EventLoop
    private let api: API
    private let registry: ConnectionRegistry
    private var watchers: [ObjectIdentifier: any Channel] = [:]
    private var task: RepeatedTask?
    /// Whether an event is being made.
    private var isBusy = false

    init(on loop: any EventLoop, api: API, registry: ConnectionRegistry) {
        self.loop = loop
        self.api = api
        self.registry = registry
    }

    var hasRoom: Bool { watchers.count < maximumWatchers }

    /// Sends events to a connection whose head is sent, until it is closed.
    func add(_ channel: any Channel) {
        if !channel.isActive { return }
        let key = ObjectIdentifier(channel)
        watchers[key] = channel
        let feed = NIOLoopBound(self, eventLoop: loop)
        channel.closeFuture.whenComplete { _ in feed.value.remove(key) }
        tell()
        if task == nil {
            task = loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in feed.value.tell() }
        }
    }

    private func remove(_ key: ObjectIdentifier) {
        watchers[key] = nil
        if watchers.isEmpty {
            task?.cancel()
            task = nil
        }
    }

    private func tell() {
        if isBusy { return }
        isBusy = true
        loop.makeFutureWithTask { [api] in await api.liveReport() }.assumeIsolated().whenSuccess { self.send($0) }
    }

    /// A client that doesn't read gets no new events until the old ones are gone. After a while it is closed, like any
    /// client that takes too long for an answer.
    private func send(_ report: [UInt8]) {
        isBusy = false
        var event = ByteBuffer(string: "data: ")
        event.writeBytes(report)
        event.writeString("\n\n")
        for channel in watchers.values where channel.isWritable {
            registry.enter(.streaming, channel)
            channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(event)), promise: nil)
        }
    }
}
