import Glibc

/// How long a file system may take before `late` is called.
private let patience = Duration.seconds(10)

/// Runs work that may block on a file system, even for ever, on a thread of its own: it must not block the event loops
/// or the few threads that all tasks share.
///
/// The caller limits how many such threads there are at a time.
///
/// - Parameters:
///   - grace: How long a cancelled task still waits, for work that must not be left half done.
///   - late: Called once if the work takes longer than ten seconds.
/// - Throws: `CancellationError` when the task is cancelled and the grace is over. The thread ends when its work does.
package func onOwnThread<Value: Sendable>(
    grace: Duration = .zero, _ work: @escaping @Sendable () -> Value, late: @escaping @Sendable () async -> Void
) async throws(CancellationError) -> Value {
    let (results, result) = AsyncStream.makeStream(of: Value.self)
    startThread {
        result.yield(work())
        result.finish()
    }
    // A separate task isn't cancelled with the caller.
    let waiting = Task { await results.first { _ in true } }
    let lateness = Task {
        // The sleep is cancelled if the work is done in time.
        guard (try? await Task.sleep(for: patience)) != nil else { return }
        await late()
    }
    let value = await withTaskCancellationHandler {
        await waiting.value
    } onCancel: {
        Task {
            try? await Task.sleep(for: grace)  // Can't throw: nobody cancels this task.
            waiting.cancel()
        }
    }
    lateness.cancel()
    await lateness.value  // If `late` has begun, let it end before the caller goes on.
    guard let value else { throw CancellationError() }
    return value
}

/// The work of a thread. A class, because the C library takes a pointer to it.
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
        work.takeRetainedValue().body()  // No thread can be created, so the work is done here.
    }
}
