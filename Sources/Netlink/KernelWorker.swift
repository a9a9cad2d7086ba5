import CLinux
import Glibc
import Synchronization

/// A thread that asks the kernel, so that callers can limit how long they wait for an answer.
///
/// The kernel answers most requests under one lock (RTNL) for the whole network configuration. It holds this lock for
/// seconds while it removes a namespace with hundreds of links. A thread that waits for the lock can't be interrupted.
///
/// Used by one thread at a time.
final class KernelWorker {
    private let exchange = Exchange()
    private let threadID: pthread_t
    /// The processor that the thread is pinned to; -1 if it isn't pinned.
    private var processor: CInt = -1

    /// - Parameter queries: Only the worker's thread uses them from here on.
    /// - Throws: `NetlinkError` if no thread can be started.
    init(_ queries: sending KernelQueries) throws(NetlinkError) {
        let thread = Unmanaged.passRetained(Body(queries, exchange))
        var id = pthread_t()
        let code = pthread_create(
            &id, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, thread.toOpaque())
        if code != 0 {
            thread.release()
            throw NetlinkError(.system(code), "a thread can't be started: \(String(cString: strerror(code)))")
        }
        pthread_detach(id)
        threadID = id
    }

    deinit {
        exchange.state.withLock { $0.isEnding = true }
        exchange.wake.signal()
    }

    /// Runs `body` on the thread and waits for the result.
    ///
    /// - Throws: `NetlinkError` with `.busy` if it takes longer than `milliseconds`, or if the thread still waits for
    ///   an earlier answer.
    func ask<Value: Sendable>(
        within milliseconds: Int, _ body: @escaping @Sendable (KernelQueries) -> Value
    ) throws(NetlinkError) -> Value {
        let answer = Answer<Value>()
        let isFree = exchange.state.withLock { state in
            if state.isBusy { return false }
            state.isBusy = true
            state.job = { queries in
                let result = body(queries)
                return { answer.result.withLock { $0 = result } }
            }
            return true
        }
        guard isFree else { throw busy() }
        // The asking thread sleeps until the answer comes, so its processor is free, awake, and has the data in its
        // caches. The scheduler alone would wake another processor, which costs more than the answer.
        processor = netusage_keep_beside_me(threadID, processor)
        exchange.wake.signal()
        let deadline = Self.now(plus: milliseconds)
        while true {
            // The signal may belong to an earlier request whose caller gave up.
            if let result = answer.result.withLock({ $0 }) { return result }
            if !exchange.done.wait(until: deadline) { throw busy() }
        }
    }

    /// Unpins the thread until the next question, because its processor may have no time for it.
    private func busy() -> NetlinkError {
        processor = -1
        netusage_keep_nowhere(threadID)
        return NetlinkError(
            .busy, "the kernel is busy with network configuration (its RTNL lock is held) and doesn't answer")
    }

    private static func now(plus milliseconds: Int) -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let nanoseconds = time.tv_nsec + milliseconds * 1_000_000
        return timespec(tv_sec: time.tv_sec + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    }

    private final class Answer<Value: Sendable>: Sendable {
        let result = Mutex<Value?>(nil)
    }

    private struct State {
        /// Asks, and returns a closure that hands over the answer.
        var job: (@Sendable (KernelQueries) -> () -> Void)?
        var isBusy = false
        var isEnding = false
    }

    private final class Exchange: Sendable {
        let state = Mutex(State())
        let wake = Semaphore()
        let done = Semaphore()
    }

    /// What the thread runs. A class, because it is passed as a pointer.
    private final class Body {
        private let queries: KernelQueries
        private let exchange: Exchange

        init(_ queries: KernelQueries, _ exchange: Exchange) {
            self.queries = queries
            self.exchange = exchange
        }

        func run() {
            while true {
                exchange.wake.wait()
                let (job, isEnding) = exchange.state.withLock { state in
                    defer { state.job = nil }
                    return (state.job, state.isEnding)
                }
                if isEnding { return }
                // The signal has no job: an earlier round took both.
                guard let job else { continue }
                let handOver = job(queries)
                // The caller may ask again as soon as it has the answer.
                exchange.state.withLock { $0.isBusy = false }
                handOver()
                exchange.done.signal()
            }
        }
    }
}

/// A semaphore (sem_overview(7)): one thread signals, another waits.
private final class Semaphore: Sendable {
    /// Several threads may use it at a time.
    nonisolated(unsafe) private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() {
        sem_init(semaphore, 0, 0)
    }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func signal() { sem_post(semaphore) }

    func wait() {
        while sem_wait(semaphore) != 0 {}  // A signal handler ran.
    }

    /// - Parameter deadline: By the monotonic clock.
    /// - Returns: Whether there was a signal before it.
    func wait(until deadline: timespec) -> Bool {
        var deadline = deadline
        while netusage_semaphore_wait(semaphore, &deadline) != 0 {
            if errno != EINTR { return false }
        }
        return true
    }
}
