import Synchronization

/// Wakes a task once in each period of time, however often it is told the time: a task that is woken in vain costs two
/// switches between threads.
final class PeriodicWakeup: Sendable {
    /// For the one task that waits for it.
    let wakeups: AsyncStream<Void>
    private let wakeup: AsyncStream<Void>.Continuation
    private let lastPeriod: Atomic<Int64>

    /// - Parameter period: The number of the period that is over already; `nil` when the first one wakes, too.
    init(after period: Int64? = nil) {
        lastPeriod = Atomic(period ?? -1)
        (wakeups, wakeup) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// It is the period of this number now. Never waits.
    func tick(_ period: Int64) {
        if lastPeriod.exchange(period, ordering: .relaxed) != period { wakeup.yield() }
    }

    /// Wakes the task whatever the time. Never waits.
    func wake() { wakeup.yield() }
}
