import NIOCore
import NIOHTTP1
import Reports

/// Sends watchers, once a second, what devices or applications carry. Used on the server's event loop only.
final class LiveFeed {
    /// How many may watch at a time; a scrape, or an order, always finds room.
    private var maximumWatchers: Int { min(32, registry.maximumCount / 2) }

    private let loop: any EventLoop
    private let api: API
    private let registry: ConnectionRegistry
    private var watchers: [ObjectIdentifier: (channel: any Channel, subject: UsageQuery.Subject)] = [:]
    private var task: RepeatedTask?
    /// What events are being made of.
    private var busy: Set<UsageQuery.Subject> = []

    init(on loop: any EventLoop, api: API, registry: ConnectionRegistry) {
        self.loop = loop
        self.api = api
        self.registry = registry
    }

    var hasRoom: Bool { watchers.count < maximumWatchers }

    /// Sends events to a connection whose head is sent, until it is closed.
    func add(_ channel: any Channel, by subject: UsageQuery.Subject) {
        if !channel.isActive { return }
        let key = ObjectIdentifier(channel)
        watchers[key] = (channel, subject)
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
        for subject in Set(watchers.values.map(\.subject)) where busy.insert(subject).inserted {
            loop.makeFutureWithTask { [api] in await api.liveReport(by: subject) }.assumeIsolated()
                .whenSuccess { self.send($0, of: subject) }
        }
    }

    /// A client that doesn't read gets no new events until the old ones are gone. After a while it is closed, like any
    /// client that takes too long for an answer.
    private func send(_ report: [UInt8], of subject: UsageQuery.Subject) {
        busy.remove(subject)
        var event = ByteBuffer(string: "data: ")
        event.writeBytes(report)
        event.writeString("\n\n")
        for (channel, wanted) in watchers.values where wanted == subject && channel.isWritable {
            registry.enter(.streaming, channel)
            channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(event)), promise: nil)
        }
    }
}
