import LedgerStore
import Logging

/// Carries what the meter books to the store: one piece of work at a time.
struct LedgerWriter: Sendable {
    let store: Store
    let meter: Meter
    let logger: Logger
    /// Called when the ledger is open: this process is its owner.
    let opened: @Sendable () async -> Void

    /// Opens the ledger and works whenever the meter asks for it, until the stream ends.
    ///
    /// - Parameter ended: Called once with the outcome of opening it, after the baselines are in it: a crash from then on
    ///   must find them.
    func run(_ wakeups: AsyncStream<Void>, ended: @Sendable (StoreError?) -> Void) async {
        // What can wait until the metrics are there to see, waits.
        ended(await carry(scans: false)?.error)
        await carry()
        for await _ in wakeups { await carry() }
    }

    /// Writes the last commit.
    ///
    /// - Throws: `StoreError` when it can't be written.
    func finish() async throws {
        // The one under way comes first, and when the file was lost meanwhile the new one needs everything.
        for _ in 0..<5 {
            guard let work = await meter.takeStoreWork(isFinal: true) else { break }
            if let failure = await carry(work) {
                logger.error("the last commit wasn't written")
                throw failure.error
            }
            if await meter.isClosed { break }
        }
        await store.close()
    }

    @discardableResult
    private func carry(scans: Bool = true) async -> StoreFailure? {
        while let work = await meter.takeStoreWork(scans: scans) {
            if let failure = await carry(work) { return failure }
        }
        return nil
    }

    /// - Returns: Why it failed, or `nil`.
    private func carry(_ work: StoreWork) async -> StoreFailure? {
        let (failure, becameOwner) = await meter.take(store.perform(work))
        if becameOwner { await opened() }
        return failure
    }
}
