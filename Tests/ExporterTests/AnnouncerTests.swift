import Accounting
import CivilTime
import Configuration
import Machine
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
            #expect(log.take().map { $0.contains("a quota's program failed") } == [true])
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
