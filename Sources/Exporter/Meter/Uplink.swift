import Accounting
import CivilTime
import Netlink

/// The default route, and when the kernel must be asked for it again.
struct Uplink {
    /// Without one, this machine is offline.
    private(set) var route: DefaultRoute?
    /// Whether something happened that may have changed the route.
    private(set) var isOutdated = true
    private var readAt = BootTime(nanoseconds: 0)
    private var took = Span.zero

    var links: [UInt32] { route?.links ?? [] }

    mutating func outdate() { isOutdated = true }

    /// - Returns: Whether it leads over other links than before.
    mutating func take(_ route: DefaultRoute?) -> Bool {
        let isChanged = links != route?.links ?? []
        self.route = route
        isOutdated = false
        return isChanged
    }

    /// The kernel was asked for the route, with or without success.
    mutating func asked(from start: BootTime, to end: BootTime) {
        readAt = end
        // Time asleep in the midst is no work.
        took = min(end.elapsed(since: start), Self.longestQuestion)
    }

    // MARK: - Time

    /// How often the kernel is asked without a reason. It removes some routes without an event, as those out of a link that
    /// goes down, and the uplink may be two seconds late. A question takes
    /// microseconds.
    private static let interval = Span(nanoseconds: 1_900_000_000)

    /// Two seconds, and what a timer may be late.
    private static let latest = Span(nanoseconds: 2_050_000_000)

    private static let longestQuestion = Span(seconds: 1)

    /// A large router's list of routes takes long to read; that gets at most a twentieth of the time.
    private var pause: Span { max(Self.interval, took.times(20)) }

    /// Whether to ask the kernel now, at a reading: if it is time, or would be before the next reading. A question of its
    /// own would wake the program once more.
    func isDue(at now: BootTime, untilNextReading wait: Span = .zero) -> Bool {
        let elapsed = now.elapsed(since: readAt)
        return (isOutdated || elapsed >= Self.interval || isLate(elapsed, wait)) && elapsed >= took.times(20)
    }

    /// When to ask between two readings; `nil` if the next reading, which asks by itself, comes soon enough.
    func untilDue(at now: BootTime, untilNextReading wait: Span) -> Span? {
        let elapsed = now.elapsed(since: readAt)
        let until = max(1_000_000, pause.nanoseconds - elapsed.nanoseconds)
        return isLate(elapsed, wait) && until < wait.nanoseconds ? Span(nanoseconds: until) : nil
    }

    /// Whether the next reading comes too late to ask.
    private func isLate(_ elapsed: Span, _ wait: Span) -> Bool {
        elapsed.nanoseconds + wait.nanoseconds > max(Self.latest, pause).nanoseconds
    }
}
