import Glibc

/// How long a file system may take before somebody is told.
private let patience = Duration.seconds(10)

/// Does work that may wait for a file system, even for ever, on a thread of its own. The event loops mustn't wait for it,
/// nor the few threads that all tasks share.
///
/// Whoever calls it bounds how many such threads there are at a time.
///
/// - Parameters:
///   - grace: How long a task that is cancelled still waits, for work that mustn't be left half done.
///   - late: Called once if the work takes longer than ten seconds.
/// - Throws: `CancellationError` when the task is cancelled and the grace is over; the thread then ends when it can.
package func onOwnThread<Value: Sendable>(
    grace: Duration = .zero, _ work: @escaping @Sendable () -> Value, late: @escaping @Sendable () async -> Void
) async throws(CancellationError) -> Value {
    let (results, result) = AsyncStream.makeStream(of: Value.self)
    startThread {
        result.yield(work())
        result.finish()
    }
    // A task of its own isn't cancelled with the caller.
    let waiting = Task { await results.first { _ in true } }
    let lateness = Task {
        // Cancelled when the work is done in time.
        guard (try? await Task.sleep(for: patience)) != nil else { return }
        await late()
    }
    let value = await withTaskCancellationHandler {
        await waiting.value
    } onCancel: {
        Task {
            try? await Task.sleep(for: grace)  // Nobody cancels it.
            waiting.cancel()
        }
    }
    lateness.cancel()
    await lateness.value  // What it has begun to say comes before what the value says.
    guard let value else { throw CancellationError() }
    return value
}

/// What a thread does; a class, as the C library takes a pointer to it.
private final class ThreadWork: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}

private func startThread(_ body: @escaping @Sendable () -> Void) {
    let work = Unmanaged.passRetained(ThreadWork(body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { work in
            if let work { Unmanaged<ThreadWork>.fromOpaque(work).takeRetainedValue().body() }
            return nil
        }, work.toOpaque())
    if code == 0 {
        pthread_detach(thread)
    } else {
        work.takeRetainedValue().body()  // There are no threads left, so it is done here.
    }
}
