import Accounting
import CivilTime
import FoundationEssentials
import Glibc
import LedgerStore
import Logging
import NIOCore
import NIOPosix

/// How commands talk to the daemon: a socket beside the ledger, a line of JSON to it, a line of JSON back.
///
/// Whoever may use it, by its file's permissions, may do what the daemon's owner may. Nothing of it is HTTP.
package enum Control {
    enum Request: Codable, Sendable {
        case plans
        case order(QuotaRequest)
        case usage(UsageQuery)
        case live
        /// Answered by a line that says whether it begins, and then piece by piece; see ``ExportFrame``.
        case export(ExportQuery)
        /// By which calendar and rules the daemon books.
        case basis
        /// Takes over what another meter has counted, or only says what that would be.
        case takeOver([ImportedAccount], isTrial: Bool)
    }

    struct Answer: Codable, Sendable {
        var error: String?
        var plans: PlansReport?
        var adjustment: AdjustmentReport?
        var usage: UsageReport?
        var live: LiveReport?
        var basis: BookingBasis?
        var takeOver: [ImportOutcome]?
    }

    /// What a file's days and devices mean to the daemon.
    struct BookingBasis: Codable, Sendable {
        var calendar: LocalCalendar
        var rules: AccountingRules
    }

    /// A piece of an export: its length and how much is written by then, from 0 to 1, on a line; then its bytes. The last
    /// one is empty. What is wrong comes as a length of -1 with the problem behind it.
    enum ExportFrame {
        static func head(count: Int, _ rest: String) -> [UInt8] { Array("\(count) \(rest)\n".utf8) }
    }

    /// Lines longer than this aren't requests.
    static let maximumRequestBytes = 8 * 1024 * 1024

    /// Where the socket of a ledger is.
    static func path(ofLedger ledger: String) -> String { ledger + ".control" }
}

/// A socket's path that is short enough for the kernel, whatever the directory's name: through a descriptor of it.
struct ShortSocketPath: ~Copyable {
    let text: String
    private let directory: CInt

    /// `nil` when there is no such directory.
    init?(_ path: String) {
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory < 0 { return nil }
        text = "/proc/self/fd/\(directory)/" + (slash.map { String(path[path.index(after: $0)...]) } ?? path)
    }

    deinit {
        close(directory)
    }
}

/// The daemon's end.
actor ControlServer {
    private let path: String
    private let meter: Meter
    private let ledger: LiveLedger
    private let logger: Logger
    private var listener: (any Channel)?
    private var socketFile: FileIdentity?
    private var loop: (any EventLoop)?
    /// How many requests have no answer yet.
    private var answering: NIOLoopBoundBox<Int>?

    init(path: String, meter: Meter, ledger: LiveLedger, logger: Logger) {
        self.path = path
        self.meter = meter
        self.ledger = ledger
        self.logger = logger
    }

    /// What ends a connection on which nothing happens.
    fileprivate static let timeoutName = "timeout"

    /// As many commands at a time; each is answered at once.
    private static let maximumConnections = 16

    /// Listens from now on. To be called by the ledger's owner only: the socket of another is taken away.
    ///
    /// Where that doesn't work it is told, and commands don't reach the daemon.
    func start(on loop: any EventLoop) async {
        if self.loop != nil { return }
        self.loop = loop
        await listen(on: loop)
    }

    /// How often it is looked whether the socket is still there.
    private static let interval = Span(seconds: 15)

    /// Looks after the socket until the stream ends.
    func run(_ ticks: AsyncStream<Void>) async {
        var lookedAt = SystemClock.now().sinceBoot
        for await _ in ticks {
            let now = SystemClock.now().sinceBoot
            guard now.elapsed(since: lookedAt) >= Self.interval else { continue }
            lookedAt = now
            await keepListening()
        }
    }

    /// Makes the socket again if somebody has taken it away.
    private func keepListening() async {
        guard let loop, socketFile == nil || FileIdentity(path: path) != socketFile else { return }
        logger.notice("the socket for commands was gone; it is made again", metadata: ["socket": "\(path)"])
        try? await listener?.close()  // Nobody finds it any more.
        listener = nil
        await listen(on: loop)
    }

    private func listen(on loop: any EventLoop) async {
        guard let short = ShortSocketPath(path) else { return }
        unlink(path)
        let count = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: loop)
        let answering = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: loop)
        self.answering = answering
        do {
            listener = try await ServerBootstrap(group: loop)
                .serverChannelOption(.backlog, value: 16)
                .childChannelInitializer { [meter, ledger] channel in
                    channel.eventLoop.makeCompletedFuture {
                        if count.value >= Self.maximumConnections { throw ChannelError.ioOnClosedChannel }
                        count.value += 1
                        channel.closeFuture.whenComplete { _ in count.value -= 1 }
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(IdleStateHandler(allTimeout: .seconds(60)), name: Self.timeoutName)
                        try pipeline.addHandler(ControlHandler(meter: meter, ledger: ledger, answering: answering))
                    }
                }
                .bind(unixDomainSocketPath: short.text).get()
            fchmodat(AT_FDCWD, path, 0o660, AT_SYMLINK_NOFOLLOW)
            socketFile = FileIdentity(path: path)
        } catch {
            logger.warning(
                "commands can't reach this daemon: its socket can't be made",
                metadata: ["socket": "\(path)", "error": "\(error)"])
        }
    }

    /// Listens no more, and leaves no socket behind.
    func stop() async {
        loop = nil
        guard let listener else { return }
        unlink(path)
        try? await listener.close()  // It ends with the process anyway.
        await meter.refuseOrders(.ending)
    }

    /// Waits for the last answers to be on their way, for a second at most; the store must have done its work.
    func finish() async {
        guard let answering else { return }
        for _ in 0..<50 {
            let count = try? await answering.eventLoop.submit { answering.value }.get()
            if count ?? 0 == 0 { return }
            try? await Task.sleep(for: .milliseconds(20))  // Nobody cancels it.
        }
    }
}

/// Reads a line, answers it, and closes.
private final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let meter: Meter
    private let ledger: LiveLedger
    private let answering: NIOLoopBoundBox<Int>
    private var line = ByteBuffer()
    private var isAnswered = false

    init(meter: Meter, ledger: LiveLedger, answering: NIOLoopBoundBox<Int>) {
        self.meter = meter
        self.ledger = ledger
        self.answering = answering
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if isAnswered { return }
        line.writeBuffer(&bytes)
        if let end = line.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
            isAnswered = true
            answer(Array(line.readableBytesView[..<end]), context.channel)
        } else if line.readableBytes > Control.maximumRequestBytes {
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func answer(_ line: [UInt8], _ channel: any Channel) {
        answering.value += 1
        channel.closeFuture.whenComplete { [answering] _ in answering.value -= 1 }
        let request = try? JSONDecoder().decode(Control.Request.self, from: Data(line))
        if case .export(let query) = request { return export(query, channel) }
        let answer = channel.eventLoop.makeFutureWithTask { [meter, ledger] in
            await Control.answer(request, of: meter, ledger)
        }
        answer.whenSuccess { bytes in
            channel.writeAndFlush(ByteBuffer(bytes: bytes)).whenComplete { _ in channel.close(promise: nil) }
        }
    }
}

extension ControlHandler {
    /// Who looks at an export page by page may take an hour for one.
    private static let exportPatience = TimeAmount.hours(1)

    private func export(_ query: ExportQuery, _ channel: any Channel) {
        channel.pipeline.removeHandler(name: ControlServer.timeoutName).whenSuccess {
            // A pipeline that is closed already takes none.
            try? channel.pipeline.syncOperations.addHandler(
                IdleStateHandler(allTimeout: Self.exportPatience), position: .first)
        }
        let done = channel.eventLoop.makeFutureWithTask { [ledger] in
            await Control.write(query, of: ledger) { bytes in try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
            }
        }
        done.whenComplete { _ in channel.close(promise: nil) }
    }
}

extension Control {
    fileprivate static func write(
        _ query: ExportQuery, of ledger: LiveLedger, to sink: @escaping ([UInt8]) async throws -> Void
    ) async {
        do {
            let export: Export<LiveLedger>
            do {
                export = try await Export(query, of: ledger)
            } catch {
                try await sink(json(Answer(error: "\(error)")) + [UInt8(ascii: "\n")])
                return
            }
            try await sink(json(Answer()) + [UInt8(ascii: "\n")])
            do {
                try await export.write { bytes, share in
                    try await sink(ExportFrame.head(count: bytes.count, "\(share)") + bytes)
                }
                try await sink(ExportFrame.head(count: 0, "1"))
            } catch {
                try await sink(ExportFrame.head(count: -1, "\(error)"))
            }
        } catch {
            // Who asked has gone.
        }
    }

    /// Answers a request; what takes long for many quotas isn't done on the meter's thread.
    ///
    /// - Parameter request: `nil` for one that makes no sense.
    fileprivate static func answer(_ request: Request?, of meter: Meter, _ ledger: LiveLedger) async -> [UInt8] {
        var answer = Answer()
        if let request {
            answer = await Self.answer(request, of: meter, ledger)
        } else {
            // It comes from another version of the program.
            answer.error = "the daemon doesn't understand the request; restart it, so that both are of one version"
        }
        let bytes = (try? JSONEncoder().encode(answer)).map(Array.init) ?? []  // Its values are all representable.
        return bytes + [UInt8(ascii: "\n")]
    }

    private static func answer(_ request: Request, of meter: Meter, _ ledger: LiveLedger) async -> Answer {
        var answer = Answer()
        switch request {
        case .plans: answer.plans = await meter.plansReport()
        case .order(let order):
            switch await meter.carryOut(order) {
            case .success(let adjustment):
                let calendar = await meter.settings.calendar(ofQuota: adjustment.quota)
                answer.adjustment = AdjustmentReport(adjustment, calendar: calendar)
            case .failure(let error): answer.error = error.description
            }
        case .live: answer.live = await meter.liveReport()
        case .basis:
            answer.basis = BookingBasis(calendar: await meter.ledger.calendar, rules: await meter.settings.rules)
        case .takeOver(let accounts, let isTrial):
            switch await meter.takeOver(TakeOver(accounts: accounts, isTrial: isTrial)) {
            case .success(let outcomes): answer.takeOver = outcomes
            case .failure(let error): answer.error = error.description
            }
        case .export: answer.error = "an export isn't one answer"  // Handled by the connection.
        case .usage(let query):
            do {
                answer.usage = try await ledger.usage(query)
            } catch {
                answer.error = "\(error)"
            }
        }
        return answer
    }
}

/// A command's end.
struct ControlClient {
    let path: String

    /// Why there is no answer.
    enum Failure: Error {
        /// No daemon listens.
        case nobody
        case unusable(String)
        /// It says what is wrong with the request.
        case refused(String)
    }

    /// How long an answer may take until all of it is there; a slow disk takes some time to keep a correction.
    fileprivate static let patienceSeconds = 30
    fileprivate static let late = Failure.unusable("it doesn't answer within \(patienceSeconds) s")

    /// - Throws: `Failure`.
    func ask(_ request: Control.Request) throws(Failure) -> Control.Answer {
        let stream = try begin(request)
        // Once it is sent, nobody knows.
        let doubt =
            switch request {
            case .plans, .usage, .live, .basis, .export: ""
            case .order: "; look with netusage quota whether it was done"
            case .takeOver: "; perhaps a part of it was taken over, and the same again does no harm"
            }
        let answer: [UInt8]
        do throws(Failure) {
            answer = try stream.line()
        } catch {
            guard case .unusable(let problem) = error else { throw error }
            throw .unusable(problem + doubt)
        }
        guard let decoded = try? JSONDecoder().decode(Control.Answer.self, from: Data(answer)) else {
            throw .unusable("its answer makes no sense; restart it, so that both are of one version\(doubt)")
        }
        return decoded
    }

    /// Has an export written out.
    ///
    /// - Throws: `Failure`, or what `sink` throws.
    func export(_ query: ExportQuery, to sink: Export<LiveLedger>.Sink) async throws {
        let stream = try begin(.export(query))
        let answer = try? JSONDecoder().decode(Control.Answer.self, from: Data(try stream.line()))
        guard let answer else {
            throw Failure.unusable("its answer makes no sense; restart it, so that both are of one version")
        }
        if let error = answer.error { throw Failure.refused(error) }
        while true {
            let head = String(decoding: try stream.line(), as: UTF8.self).split(separator: " ", maxSplits: 1)
            guard head.count == 2, let count = Int(head[0]), count < 1 << 24 else {
                throw Failure.unusable("what it sends makes no sense")
            }
            if count < 0 { throw Failure.refused(String(head[1])) }
            if count == 0 { return }
            try await sink(try stream.bytes(count), Double(head[1]) ?? 0)
        }
    }

    private func begin(_ request: Control.Request) throws(Failure) -> ControlStream {
        let stream = ControlStream(socket: try connected())
        // Its values are all representable.
        try stream.send(Array((try? JSONEncoder().encode(request)) ?? Data()) + [UInt8(ascii: "\n")])
        return stream
    }

    private func connected() throws(Failure) -> CInt {
        guard let short = ShortSocketPath(path) else { throw .nobody }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        // Connecting waits for a place in the queue of whoever listens.
        var patience = timeval(tv_sec: Self.patienceSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) {
            $0.copyBytes(from: Array(short.text.utf8).prefix($0.count - 1))
        }
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if code == 0 { return descriptor }
        let reason = errno
        close(descriptor)
        if reason == ENOENT || reason == ECONNREFUSED { throw .nobody }
        if reason == EAGAIN { throw Self.late }
        if reason == EACCES {
            throw .unusable("only the daemon's user and group may; run it as one of them, or with sudo")
        }
        throw .unusable("its socket can't be used: \(String(cString: strerror(reason)))")
    }
}

/// A command's connection. Used by one thread at a time.
private final class ControlStream {
    private let socket: CInt
    private var received: [UInt8] = []

    init(socket: CInt) {
        self.socket = socket
    }

    deinit {
        close(socket)
    }

    func send(_ bytes: [UInt8]) throws(ControlClient.Failure) {
        var rest = bytes[...]
        let deadline = Self.deadline()
        while !rest.isEmpty {
            try wait(for: POLLOUT, until: deadline)
            let flags = CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT)
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, flags) }
            if count < 0, errno == EAGAIN { continue }
            if count <= 0 { throw .unusable("it doesn't take requests: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    /// The longest answer there is: a report of a hundred thousand entries.
    private static let maximumLineBytes = 64 * 1024 * 1024

    /// What comes up to the next end of a line, which isn't part of it.
    func line() throws(ControlClient.Failure) -> [UInt8] {
        var looked = 0
        let deadline = Self.deadline()
        while true {
            if received.count > Self.maximumLineBytes { throw .unusable("its answer has no end") }
            if let end = received[looked...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { received.removeFirst(end + 1) }
                return Array(received[..<end])
            }
            looked = received.count
            try receive(until: deadline)
        }
    }

    /// The next so many bytes.
    func bytes(_ count: Int) throws(ControlClient.Failure) -> [UInt8] {
        let deadline = Self.deadline()
        while received.count < count { try receive(until: deadline) }
        defer { received.removeFirst(count) }
        return Array(received[..<count])
    }

    private static func deadline() -> ContinuousClock.Instant { .now + .seconds(ControlClient.patienceSeconds) }

    /// Waits until the socket has something, or takes something, as poll(2) calls it.
    private func wait(for event: CInt, until deadline: ContinuousClock.Instant) throws(ControlClient.Failure) {
        var entry = pollfd(fd: socket, events: Int16(event), revents: 0)
        while true {
            let left = (deadline - .now) / .milliseconds(1)
            // Also where something comes without end.
            if left <= 0 { throw ControlClient.late }
            let code = poll(&entry, 1, CInt(left) + 1)
            if code > 0 { return }
            if code < 0, errno != EINTR { throw .unusable("it doesn't answer: \(String(cString: strerror(errno)))") }
        }
    }

    private func receive(until deadline: ContinuousClock.Instant) throws(ControlClient.Failure) {
        try wait(for: POLLIN, until: deadline)
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(socket, &chunk, chunk.count, 0)
        if count == 0 { throw .unusable("it ended before it answered") }
        if count < 0 { throw .unusable("it doesn't answer: \(String(cString: strerror(errno)))") }
        received += chunk[..<count]
    }
}
