import Accounting
import CivilTime
import Configuration
import Logging
import Machine
import Synchronization
import Testing

@testable import Exporter

@Suite("Programs of quotas")
struct AnnouncerTests {
    @Test("A program that the ledger knows as started is started, though the daemon is stopped at that moment")
    func aStopDoesNotLoseAProgram() async {
        for _ in 0..<20 {
            let log = RecordedLog()
            let (announcements, announcement) = AsyncStream.makeStream(of: Announcement.self)
            let (stops, stop) = AsyncStream.makeStream(of: Void.self)
            let announcer = Announcer(
                logger: log.logger, children: Children(isFirstProcess: false),
                willStart: { _ in
                    stop.yield()
                    // The commit ends after the daemon was told to stop.
                    while !Task.isCancelled { await Task.yield() }
                    return true
                })
            let running = Task { await announcer.run(announcements) }
            announcement.yield(Self.announcement(command: ["/nowhere/program"]))
            _ = await stops.first { _ in true }
            running.cancel()
            await running.value
            #expect(log.messages == ["a quota's program failed"])
        }
    }

    private static func announcement(command: [String]) -> Announcement {
        let quota = Quota(
            name: "home", count: .uplink, direction: .total, limitBytes: 1,
            cycle: Cycle(.init(.month(day: 1)), timezone: .local), warnAt: [], free: FreeTime([]),
            rolloverMaximumBytes: nil, run: command)
        let start = Timestamp(secondsSinceEpoch: 0)
        return Announcement(
            QuotaEvent(
                quota: quota.name, cycle: start..<Timestamp(secondsSinceEpoch: 86_400), kind: .breach, share: .whole,
                at: start, usedBytes: 1, limitBytes: 1),
            of: quota, calendar: .utc)
    }
}

/// Keeps the messages that are logged.
private final class RecordedLog: Sendable {
    private let recorded = Mutex<[String]>([])
    var messages: [String] { recorded.withLock { $0 } }
    var logger: Logger { Logger(label: "test") { [self] _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var logLevel = Logger.Level.info
        var metadata: Logger.Metadata = [:]
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { log.recorded.withLock { $0.append(event.message.description) } }
    }
}
