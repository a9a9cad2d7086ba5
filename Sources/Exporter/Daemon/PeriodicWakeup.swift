import Synchronization

/// Wakes a task once in each period of time, however often the clock is looked at: to wake a task in vain costs two switches
/// between threads.
final class PeriodicWakeup: Sendable {  // A class, for the thread that ticks and the task share it.
    /// For the one task that waits for it.
    let wakeups: AsyncStream<Void>
    private let wakeup: AsyncStream<Void>.Continuation
    private let lastPeriod: Atomic<Int64>

    /// - Parameter period: The number of a period that wakes nobody any more; `nil` when the first tick always does.
    init(after period: Int64? = nil) {
        lastPeriod = Atomic(period ?? .min)
        (wakeups, wakeup) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Wakes the task unless the last tick was of the same period. Never waits.
    func tick(_ period: Int64) {
        if lastPeriod.exchange(period, ordering: .relaxed) != period { wakeup.yield() }
    }

    /// Wakes the task whatever the period. Never waits.
    func wake() { wakeup.yield() }
}
