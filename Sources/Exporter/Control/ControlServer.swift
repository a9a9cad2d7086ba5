import Accounting
import Glibc
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Web

/// The socket beside the ledger, at which the daemon answers commands.
///
/// It serves the same HTTP as the other listeners, and it alone takes changes of the ledger. The permissions of its file
/// say which users may connect; they may do what the daemon's owner may.
actor ControlServer {
    private let path: String
    private let logger: Logger
    private let makeServer: @Sendable () async throws -> NIOLoopBound<HTTPServer>
    private let loop: any EventLoop
    private var server: NIOLoopBound<HTTPServer>?
    private var socketFile: FileIdentity?
    /// Why the socket can't be made now. It is logged once.
    private var problem: String?
    private var isStarted = false
    private var isStopped = false
    /// Makes the socket, or takes it away. Both wait for the event loop, and one must end before the other begins.
    private var lastStep: Task<Void, Never>?

    /// - Parameter makeServer: Makes what answers.
    init(
        path: String, on loop: any EventLoop, logger: Logger,
        makeServer: @escaping @Sendable () async throws -> NIOLoopBound<HTTPServer>
    ) {
        self.path = path
        self.loop = loop
        self.logger = logger
        self.makeServer = makeServer
    }

    /// As many commands at a time.
    static let maximumConnections = 16

    /// Listens from now on. To be called by the ledger's owner only: the socket of another is taken away.
    ///
    /// If that doesn't work, it is logged, and commands don't reach the daemon.
    func start() async {
        await inOrder { control in
            if control.isStarted || control.isStopped { return }
            control.isStarted = true
            await control.listen()
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

    /// Makes the socket again if it isn't there.
    private func keepListening() async {
        guard isStarted, !isStopped else { return }
        let found = try? await ledgersFiles { [path] in FileIdentity(path: path) }
        if let socketFile, found == socketFile { return }
        if socketFile != nil {
            logger.notice("the socket for commands isn't there; it is made again", metadata: ["socket": "\(path)"])
        }
        await stopListening()  // Nobody finds it any more.
        await listen()
    }

    private func listen() async {
        do {
            let server = if let server { server } else { try await makeServer() }
            self.server = server
            let socket = try await ledgersFiles { [path] in ListeningSocket.make(at: path) }.get()
            _ = try await HTTPServer.listen(server, at: .commands(socket.descriptor), on: loop)
            socketFile = socket.file
            if problem != nil { logger.notice("commands reach this daemon again", metadata: ["socket": "\(path)"]) }
            problem = nil
        } catch {
            socketFile = nil
            if problem != "\(error)" {
                logger.warning(
                    "commands can't reach this daemon: its socket can't be made",
                    metadata: ["socket": "\(path)", "error": "\(error)"])
            }
            problem = "\(error)"
        }
    }

    /// Does work on the ledger's directory, whose file system may not answer.
    private func ledgersFiles<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async throws -> Value {
        try await onOwnThread(work) { [logger, path] in
            logger.warning("the file system of the socket for commands doesn't answer", metadata: ["socket": "\(path)"])
        }
    }

    private func stopListening() async {
        guard let server else { return }
        try? await loop.submit { server.value.stopListening() }.get()  // It only fails where the loop has ended.
    }

    /// Listens no more, and leaves no socket behind.
    func stop() async {
        isStopped = true
        await inOrder { control in
            if control.server == nil { return }
            _ = try? await control.ledgersFiles { [path = control.path] in unlink(path) }  // It may be gone.
            await control.stopListening()
        }
    }

    /// Waits for the last answers to be on their way, for a second at most; the store must have done its work.
    func finish() async {
        guard let server else { return }
        for _ in 0..<50 {
            let isResponding = try? await loop.submit { server.value.isResponding }.get()
            if isResponding != true { return }
            try? await Task.sleep(for: .milliseconds(20))  // Nobody cancels it.
        }
    }
}

/// A Unix socket that listens, and its file.
private struct ListeningSocket: Sendable {
    let descriptor: CInt
    let file: FileIdentity?

    /// Makes one in the place of what is there. Its owner and group may use it.
    static func make(at path: String) -> Result<ListeningSocket, IOError> {
        guard let short = ShortSocketPath(path) else { return .failure(IOError(errnoCode: errno, reason: "open")) }
        unlink(path)
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        let code = descriptor < 0 ? -1 : short.withAddress { bind(descriptor, $0, $1) }
        guard descriptor >= 0, code == 0, fchmodat(AT_FDCWD, path, 0o660, AT_SYMLINK_NOFOLLOW) == 0,
            Glibc.listen(descriptor, 16) == 0
        else {
            let reason = errno
            if descriptor >= 0 { close(descriptor) }
            return .failure(IOError(errnoCode: reason, reason: "bind"))
        }
        return .success(ListeningSocket(descriptor: descriptor, file: FileIdentity(path: path)))
    }
}
