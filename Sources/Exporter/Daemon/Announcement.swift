import Accounting
import CivilTime
import Configuration
import Glibc
import Logging
import Machine

/// A quota's program to start, with its environment.
struct Announcement: Sendable {
    let event: QuotaEvent
    let command: [String]
    /// Variables that are added to the environment.
    let variables: [(name: String, value: String)]

    init(_ event: QuotaEvent, of quota: Quota, calendar: LocalCalendar) {
        self.event = event
        command = quota.run
        variables = [
            ("NETUSAGE_QUOTA", event.quota), ("NETUSAGE_EVENT", event.kind.rawValue),
            ("NETUSAGE_THRESHOLD", event.share.description), ("NETUSAGE_USED_BYTES", String(event.usedBytes)),
            ("NETUSAGE_LIMIT_BYTES", String(event.limitBytes)),
            ("NETUSAGE_CYCLE_START", calendar.rfc3339(event.cycle.lowerBound)),
            ("NETUSAGE_CYCLE_END", calendar.rfc3339(event.cycle.upperBound)),
        ]
    }
}

/// Holds programs of quotas back until it is certain that this daemon serves.
struct HeldAnnouncements {
    let announce: @Sendable (Announcement) -> Void
    private(set) var held: [Announcement]? = []

    mutating func start(_ announcement: Announcement) {
        if held == nil {
            announce(announcement)
        } else {
            held?.append(announcement)
        }
    }

    /// Programs are started from now on.
    mutating func release() {
        for announcement in held ?? [] { announce(announcement) }
        held = nil
    }
}

/// Starts the programs of quotas and waits for them: one after the other for each quota, and a few at a time.
struct Announcer: Sendable {
    let logger: Logger
    let children: Children
    /// Called before a program starts; answers whether to start it.
    let willStart: @Sendable (QuotaEvent) async -> Bool

    /// A program that takes longer is killed.
    private static let timeLimit = Duration.seconds(60)
    /// How many programs of one quota may wait; the ledger remembers the others.
    private static let maximumWaiting = 256
    /// How many run at a time: more than anybody's hanging programs, and far below `TasksMax=` of the unit.
    private static let maximumPrograms = 64
    /// How long the daemon's exit waits for a program that is being started: the ledger already has it as started. If
    /// its file system takes longer, the kernel completes the start alone.
    private static let startGrace = Duration.seconds(2)

    /// Runs until the stream ends.
    func run(_ announcements: AsyncStream<Announcement>) async {
        let permits = Permits(Self.maximumPrograms)
        await withTaskGroup(of: Void.self) { quotas in
            var queues: [String: AsyncStream<Announcement>.Continuation] = [:]
            for await announcement in announcements {
                let name = announcement.event.quota
                if queues[name] == nil {
                    let (queue, continuation) = AsyncStream.makeStream(
                        of: Announcement.self, bufferingPolicy: .bufferingOldest(Self.maximumWaiting))
                    queues[name] = continuation
                    quotas.addTask {
                        for await announcement in queue {
                            await permits.take()
                            await run(announcement)
                            await permits.give()
                        }
                    }
                }
                if case .dropped = queues[name]?.yield(announcement) {
                    logger.error(
                        "too many programs of a quota wait; this one waits for the next start of netusage",
                        metadata: ["quota": "\(name)"])
                }
            }
            quotas.cancelAll()
        }
    }

    private func run(_ announcement: Announcement) async {
        if Task.isCancelled { return }
        guard await willStart(announcement.event) else { return }
        var metadata: Logger.Metadata = [
            "quota": "\(announcement.event.quota)", "program": "\(shownProgram(announcement.command.first ?? ""))",
            // The arguments may be secret.
            "arguments": "\(announcement.command.count - 1)",
        ]
        do {
            guard let problem = try await end(of: announcement) else {
                logger.info("a quota's program ended", metadata: metadata)
                return
            }
            metadata["error"] = "\(problem)"
            logger.error("a quota's program failed", metadata: metadata)
        } catch {}  // The daemon stops; the program continues alone.
    }

    /// - Returns: What went wrong, or `nil`.
    /// - Throws: `CancellationError` when the daemon stops.
    private func end(of announcement: Announcement) async throws -> String? {
        let start = try await onOwnThread(grace: Self.startGrace) { [children] in
            Result { () throws(Children.Failure) in
                try children.start(
                    announcement.command, environment: Self.environment(of: announcement, inherited: Self.inherited()))
            }
        } late: { [logger] in
            logger.error(
                "a quota's program can't be started, as its file system doesn't answer; it starts when it does",
                metadata: [
                    "quota": "\(announcement.event.quota)",
                    "program": "\(shownProgram(announcement.command.first ?? ""))",
                ])
        }
        let child: Children.Child
        do throws(Children.Failure) {
            child = try start.get()
        } catch {
            return error.description
        }
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: Self.timeLimit)
        var pause = Duration.milliseconds(5)
        while true {
            if let status = children.status(of: child) { return status.problem }
            if clock.now >= deadline {
                children.kill(child)
                return "it took longer than \(Self.timeLimit.components.seconds) s and was ended"
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(200))
        }
    }

    /// The daemon's own environment: the bytes of `name=value` lines.
    private static func inherited() -> [[UInt8]] {
        var lines: [[UInt8]] = []
        var entry = environ
        while let text = entry.pointee {
            lines.append(Array(UnsafeRawBufferPointer(start: text, count: strlen(text))))
            entry += 1
        }
        return lines
    }

    /// Variables of the service manager for the daemon alone: its sockets, credentials and log. See systemd.exec(5),
    /// "Environment Variables in Spawned Processes".
    private static let ownVariables: Set<String> = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
        "LISTEN_PIDFDID",
        "CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "FDSTORE", "MAINPID", "JOURNAL_STREAM", "INVOCATION_ID",
        "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE",
    ]

    /// A program's environment: the daemon's without ``ownVariables``, and the announcement's variables.
    static func environment(of announcement: Announcement, inherited: [[UInt8]]) -> [[UInt8]] {
        let others = ownVariables.union(announcement.variables.map(\.name))
        let kept = inherited.filter { line in
            !others.contains(String(decoding: line.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self))
        }
        return kept + announcement.variables.map { Array("\($0.name)=\($0.value)".utf8) }
    }
}

/// Limits how many tasks do something at a time.
private actor Permits {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) {
        free = count
    }

    func take() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func give() {
        if waiting.isEmpty {
            free += 1
        } else {
            waiting.removeFirst().resume()
        }
    }
}
