import Accounting
import Glibc
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix

/// The daemon's end.
actor ControlServer {
    private let path: String
    private let meter: Meter
    private let ledger: LiveLedger
    private let logger: Logger
    private var listener: (any Channel)?
    private var socketFile: FileIdentity?
    private var loop: (any EventLoop)?
    private var isStopped = false
    /// Makes the socket, or takes it away. Both wait for the event loop, and one must end before the other begins.
    private var lastStep: Task<Void, Never>?
    /// How many requests have no answer yet.
    private var answering: NIOLoopBoundBox<Int>?

    init(path: String, meter: Meter, ledger: LiveLedger, logger: Logger) {
        self.path = path
        self.meter = meter
        self.ledger = ledger
        self.logger = logger
    }

    /// What ends a connection on which nothing happens.
    static let timeoutName = "timeout"

    /// As many commands at a time; each is answered at once.
    private static let maximumConnections = 16

    /// Listens from now on. To be called by the ledger's owner only: the socket of another is taken away.
    ///
    /// If that doesn't work, it is logged, and commands don't reach the daemon.
    func start(on loop: any EventLoop) async {
        await inOrder { server in
            if server.loop != nil || server.isStopped { return }
            server.loop = loop
            await server.listen(on: loop)
        }
    }

    private func inOrder(_ step: @escaping @Sendable (isolated ControlServer) async -> Void) async {
        let previous = lastStep
        let task = Task {
            await previous?.value
            await step(self)
        }
        lastStep = task
        await task.value
    }

    /// How often it is looked whether the socket is still there.
    private static let interval = Span(seconds: 15)
    private let looks = PeriodicWakeup(after: ControlServer.period())

    /// It may be time to look whether the socket is still there. Never waits.
    nonisolated func tick() { looks.tick(Self.period()) }

    private static func period() -> Int64 { SystemClock.now().sinceBoot.nanoseconds / interval.nanoseconds }

    /// Looks after the socket until the task is cancelled.
    func run() async {
        for await _ in looks.wakeups { await inOrder { await $0.keepListening() } }
    }

    /// Makes the socket again if somebody has taken it away.
    private func keepListening() async {
        guard let loop, !isStopped, socketFile == nil || FileIdentity(path: path) != socketFile else { return }
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
        isStopped = true
        await inOrder { server in
            guard let listener = server.listener else { return }
            unlink(server.path)
            try? await listener.close()  // It ends with the process anyway.
            server.listener = nil
        }
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
