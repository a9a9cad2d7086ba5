import Accounting
import CLinux
import CivilTime
import Glibc
import Logging

/// A quota's program that is to be started, and what it is told.
struct Announcement: Sendable {
    let event: QuotaEvent
    let command: [String]
    /// What is added to the environment.
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

/// Starts the programs of quotas and looks after them: of each quota one after the other, of all a few at a time.
struct Announcer: Sendable {
    let logger: Logger
    /// Told before a program is started; says whether it is to be.
    let willStart: @Sendable (QuotaEvent) async -> Bool

    /// A program that takes longer is ended.
    private static let timeLimit = Duration.seconds(60)
    /// How many of a quota's may wait; the ledger knows of more.
    private static let maximumWaiting = 256
    /// How many run at a time.
    private static let maximumPrograms = 8

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
            "quota": "\(announcement.event.quota)", "program": "\(announcement.command.joined(separator: " "))",
        ]
        do {
            guard let problem = try await Self.end(of: announcement) else {
                logger.info("a quota's program ended", metadata: metadata)
                return
            }
            metadata["error"] = "\(problem)"
            logger.error("a quota's program failed", metadata: metadata)
        } catch {}  // The daemon stops; the program goes on by itself.
    }

    /// - Returns: What went wrong, or `nil`.
    /// - Throws: `CancellationError` when nobody waits any more.
    private static func end(of announcement: Announcement) async throws -> String? {
        let child: ChildProcess
        do throws(ChildProcess.Failure) {
            child = try ChildProcess(announcement.command, environment: environment(announcement))
        } catch {
            return error.description
        }
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: timeLimit)
        var pause = Duration.milliseconds(5)
        while true {
            if let status = child.status() { return status.problem }
            if clock.now >= deadline {
                child.kill()
                return "it took longer than \(timeLimit.components.seconds) s and was ended"
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(200))
        }
    }

    /// The daemon's environment, without what belongs to its own service manager.
    private static func environment(_ announcement: Announcement) -> [String] {
        let own = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]
        var lines: [String] = []
        var entry = environ
        while let text = entry.pointee {
            let line = String(cString: text)
            let name = line.prefix { $0 != "=" }
            if !own.contains(String(name)), !announcement.variables.contains(where: { $0.name == name }) {
                lines.append(line)
            }
            entry += 1
        }
        return lines + announcement.variables.map { "\($0.name)=\($0.value)" }
    }
}

/// How many may do something at a time.
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

/// A program that was started, in a process group of its own, without input and output.
struct ChildProcess: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// How a process ended.
    struct Status {
        let raw: CInt

        /// What is wrong with it; `nil` when it ended with 0. See wait(2).
        var problem: String? {
            let signal = raw & 0x7F
            if signal != 0 { return "it was ended by signal \(signal)" }
            let code = (raw >> 8) & 0xFF
            return code == 0 ? nil : "it ended with \(code)"
        }
    }

    private let processID: pid_t

    /// - Throws: `Failure` when it can't be started.
    init(_ command: [String], environment: [String]) throws(Failure) {
        let process = Self.withCStrings(command) { arguments in
            Self.withCStrings(environment) { netusage_spawn(arguments, $0) }
        }
        if process < 0 { throw Failure(description: "it can't be started: \(String(cString: strerror(-process)))") }
        processID = process
    }

    private static func withCStrings<Value>(
        _ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var pointers = texts.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { preconditionFailure("an array with an element has an address") }
            return body(start)
        }
    }

    /// How it ended, once, or `nil` while it runs.
    func status() -> Status? {
        var raw: CInt = 0
        switch waitpid(processID, &raw, WNOHANG) {
        case 0: return nil
        case processID: return Status(raw: raw)
        default: return errno == EINTR ? nil : Status(raw: 0)  // Somebody else has waited for it; nobody does.
        }
    }

    /// Ends it and all that it has started.
    func kill() {
        _ = Glibc.kill(-processID, SIGKILL)
        var raw: CInt = 0
        while waitpid(processID, &raw, 0) < 0, errno == EINTR {}
    }
}
