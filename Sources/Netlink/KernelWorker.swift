import CLinux
import Glibc
import Synchronization

/// A thread that asks the kernel, so that whoever needs the answer waits no longer than it wants to.
///
/// The kernel answers most requests under one lock (RTNL) for all network configuration of the machine. While it takes
/// down a namespace with hundreds of links, it holds that lock for seconds, and a thread that waits for it can't be
/// interrupted.
final class KernelWorker: Sendable {
    private let exchange = Exchange()

    /// - Parameter queries: For the worker's thread alone from here on.
    /// - Throws: `NetlinkError` when there is no thread to be had.
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
    }

    deinit {
        exchange.state.withLock { $0.isEnding = true }
        exchange.wake.signal()
    }

    /// Has the thread do something, and waits for that.
    ///
    /// - Throws: `NetlinkError`: what `body` throws; `.busy` when it takes longer than `milliseconds`, or the thread still
    ///   waits for an earlier answer.
    func ask<Value: Sendable>(
        within milliseconds: Int, _ body: @escaping @Sendable (KernelQueries) throws(NetlinkError) -> Value
    ) throws(NetlinkError) -> Value {
        let answer = Answer<Value>()
        let isFree = exchange.state.withLock { state in
            if state.isBusy { return false }
            state.isBusy = true
            state.job = { queries in
                let result: Result<Value, NetlinkError>
                do throws(NetlinkError) {
                    result = .success(try body(queries))
                } catch {
                    result = .failure(error)
                }
                answer.result.withLock { $0 = result }
            }
            return true
        }
        guard isFree else { throw Self.busy }
        exchange.wake.signal()
        let deadline = Self.monotonicMilliseconds() + milliseconds
        while true {
            // A signal may be that of an earlier request, for which nobody waited.
            if let result = answer.result.withLock({ $0 }) { return try result.get() }
            let rest = deadline - Self.monotonicMilliseconds()
            if rest <= 0 { throw Self.busy }
            exchange.done.wait(milliseconds: rest)
        }
    }

    private static let busy = NetlinkError(
        .busy, "the kernel is busy with network configuration (its RTNL lock is held) and doesn't answer")

    private static func monotonicMilliseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    private final class Answer<Value: Sendable>: Sendable {
        let result = Mutex<Result<Value, NetlinkError>?>(nil)
    }

    private struct State {
        var job: (@Sendable (KernelQueries) -> Void)?
        var isBusy = false
        var isEnding = false
    }

    private final class Exchange: Sendable {
        let state = Mutex(State())
        let wake = EventCounter()
        let done = EventCounter()
    }

    /// What the thread runs. A class, for it is handed over as a pointer.
    private final class Body {
        private let queries: KernelQueries
        private let exchange: Exchange

        init(_ queries: KernelQueries, _ exchange: Exchange) {
            self.queries = queries
            self.exchange = exchange
        }

        func run() {
            while true {
                exchange.wake.wait(milliseconds: -1)
                let (job, isEnding) = exchange.state.withLock { state in
                    defer { state.job = nil }
                    return (state.job, state.isEnding)
                }
                if isEnding { return }
                // A signal without a job: an earlier round took both it and the job.
                guard let job else { continue }
                job(queries)
                exchange.state.withLock { $0.isBusy = false }
                exchange.done.signal()
            }
        }
    }
}

/// An eventfd(2): what one thread signals, another waits for.
private final class EventCounter: Sendable {
    private let descriptor: CInt

    init() {
        descriptor = eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
        precondition(descriptor >= 0, "there are no descriptors left at start: raise the limit (ulimit -n)")
    }

    deinit {
        close(descriptor)
    }

    func signal() {
        var one: UInt64 = 1
        // It can't fail before 2^64 signals.
        _ = write(descriptor, &one, 8)
    }

    /// Waits for a signal, and takes all there are.
    ///
    /// - Parameter milliseconds: How long at most; -1 for ever.
    func wait(milliseconds: Int) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        if poll(&entry, 1, CInt(clamping: milliseconds)) <= 0 { return }
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)  // Another thread may have been faster.
    }
}
