import Accounting
import CivilTime
import FoundationEssentials
import Glibc
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

        /// Whether it is only looked at something.
        var isHarmless: Bool {
            switch self {
            case .plans, .usage, .live: true
            case .order: false
            }
        }
    }

    struct Answer: Codable, Sendable {
        var error: String?
        var plans: PlansReport?
        var adjustment: AdjustmentReport?
        var usage: UsageReport?
        var live: LiveReport?
    }

    /// Lines longer than this aren't requests.
    static let maximumRequestBytes = 64 * 1024

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
    /// How many requests have no answer yet.
    private var answering: NIOLoopBoundBox<Int>?

    init(path: String, meter: Meter, ledger: LiveLedger, logger: Logger) {
        self.path = path
        self.meter = meter
        self.ledger = ledger
        self.logger = logger
    }

    /// As many commands at a time; each is answered at once.
    private static let maximumConnections = 16

    /// Listens from now on. To be called by the ledger's owner only: the socket of another is taken away.
    ///
    /// Where that doesn't work it is told, and commands don't reach the daemon.
    func start(on loop: any EventLoop) async {
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
                        let timeout = IdleStateHandler(allTimeout: .seconds(60))
                        try channel.pipeline.syncOperations.addHandlers([
                            timeout, ControlHandler(meter: meter, ledger: ledger, answering: answering),
                        ])
                    }
                }
                .bind(unixDomainSocketPath: short.text).get()
            chmod(path, 0o660)
        } catch {
            logger.warning(
                "commands can't reach this daemon: its socket can't be made",
                metadata: ["socket": "\(path)", "error": "\(error)"])
        }
    }

    /// Listens no more, and leaves no socket behind.
    func stop() async {
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
        let answer = channel.eventLoop.makeFutureWithTask { [meter, ledger] in
            await Control.answer(line, of: meter, ledger)
        }
        answer.whenSuccess { bytes in
            channel.writeAndFlush(ByteBuffer(bytes: bytes)).whenComplete { _ in channel.close(promise: nil) }
        }
    }
}

extension Control {
    /// Answers a line of the socket; what takes long for many quotas isn't done on the meter's thread.
    fileprivate static func answer(_ line: [UInt8], of meter: Meter, _ ledger: LiveLedger) async -> [UInt8] {
        var answer = Answer()
        if let request = try? JSONDecoder().decode(Request.self, from: Data(line)) {
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
    }

    /// How long an answer may take; a slow disk takes some time to keep a correction.
    private static let patienceSeconds = 30

    /// - Throws: `Failure`.
    func ask(_ request: Control.Request) throws(Failure) -> Control.Answer {
        let socket = try connected()
        // Once it is sent, nobody knows.
        let doubt = request.isHarmless ? "" : "; look with netusage quota whether it was done"
        defer { close(socket) }
        // Its values are all representable.
        var line = Array((try? JSONEncoder().encode(request)) ?? Data()) + [UInt8(ascii: "\n")]
        while !line.isEmpty {
            let count = send(socket, line, line.count, CInt(MSG_NOSIGNAL))
            if count <= 0 { throw .unusable("it doesn't take requests: \(String(cString: strerror(errno)))\(doubt)") }
            line.removeFirst(count)
        }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(socket, &chunk, chunk.count, 0)
            if count == 0 { break }
            if count < 0 {
                let isLate = errno == EAGAIN || errno == EWOULDBLOCK
                let problem = isLate ? "no word for \(Self.patienceSeconds) s" : String(cString: strerror(errno))
                throw .unusable("it doesn't answer: \(problem)\(doubt)")
            }
            answer += chunk[..<count]
        }
        if answer.isEmpty {
            throw .unusable("it ended before it answered\(doubt)")
        }
        guard let decoded = try? JSONDecoder().decode(Control.Answer.self, from: Data(answer)) else {
            throw .unusable("its answer makes no sense; restart it, so that both are of one version\(doubt)")
        }
        return decoded
    }

    private func connected() throws(Failure) -> CInt {
        guard let short = ShortSocketPath(path) else { throw .nobody }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        var patience = timeval(tv_sec: Self.patienceSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
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
        if reason == EACCES {
            throw .unusable("only the daemon's user and group may; run it as one of them, or with sudo")
        }
        throw .unusable("its socket can't be used: \(String(cString: strerror(reason)))")
    }
}
