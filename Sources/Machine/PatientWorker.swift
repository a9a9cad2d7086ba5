import CLinux
import Glibc
import Synchronization

/// Why a ``PatientWorker`` has no answer. It isn't nested in that: the optimizer of Swift 6.3.1 crashes on generic errors.
package enum PatientWorkerFailure: Error {
    /// The answer takes too long, or the thread still waits for an earlier one.
    case busy
    /// No thread can be started, with this `errno`.
    case noThread(CInt)
}

/// A thread that asks the kernel, so that callers can limit how long they wait for an answer.
///
/// The kernel answers most requests about the network under one lock (RTNL) for its whole configuration. It holds this lock for
/// seconds while it removes a namespace with hundreds of links. A thread that waits for the lock can't be interrupted.
///
/// Used by one thread at a time.
package final class PatientWorker<Tool> {
    private let exchange = Exchange()
    private let threadID: pthread_t
    /// The processor that the thread is pinned to; -1 if it isn't pinned.
    private var processor: CInt = -1

    /// - Parameter tool: What the questions need. Only the worker's thread uses it from here on, and destroys it.
    /// - Throws: `PatientWorkerFailure` if no thread can be started.
    package init(_ tool: sending Tool) throws(PatientWorkerFailure) {
        let thread = Unmanaged.passRetained(Body(tool, exchange))
        var id = pthread_t()
        let code = pthread_create(
            &id, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<AnyBody>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, thread.toOpaque())
        if code != 0 {
            thread.release()
            throw .noThread(code)
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
    /// - Throws: `PatientWorkerFailure` if it takes longer than `milliseconds`, or if the thread still waits for an earlier
    ///   answer. The work is done nevertheless.
    package func ask<Value: Sendable>(
        within milliseconds: Int, _ body: @escaping @Sendable (Tool) -> Value
    ) throws(PatientWorkerFailure) -> Value {
        let answer = Answer<Value>()
        let isFree = exchange.state.withLock { state in
            if state.isBusy { return false }
            state.isBusy = true
            state.job = { tool in
                let result = body(tool)
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
    private func busy() -> PatientWorkerFailure {
        processor = -1
        netusage_keep_nowhere(threadID)
        return .busy
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
        var job: (@Sendable (Tool) -> () -> Void)?
        var isBusy = false
        var isEnding = false
    }

    private final class Exchange: Sendable {
        let state = Mutex(State())
        let wake = Semaphore()
        let done = Semaphore()
    }

    /// What the thread runs. A class, because it is passed as a pointer.
    private final class Body: AnyBody {
        private let tool: Tool
        private let exchange: Exchange

        init(_ tool: Tool, _ exchange: Exchange) {
            self.tool = tool
            self.exchange = exchange
        }

        override func run() {
            while true {
                exchange.wake.wait()
                let (job, isEnding) = exchange.state.withLock { state in
                    defer { state.job = nil }
                    return (state.job, state.isEnding)
                }
                if isEnding { return }
                // The signal has no job: an earlier round took both.
                guard let job else { continue }
                let handOver = job(tool)
                // The caller may ask again as soon as it has the answer.
                exchange.state.withLock { $0.isBusy = false }
                handOver()
                exchange.done.signal()
            }
        }
    }
}

/// What a thread begins with can't name the tool.
private class AnyBody {
    func run() {}
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
