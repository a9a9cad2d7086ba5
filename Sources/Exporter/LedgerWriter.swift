import Accounting
import LedgerStore
import Logging

/// Carries what the meter books to the store: one piece of work at a time.
struct LedgerWriter: Sendable {
    let store: Store
    let meter: Meter
    let logger: Logger
    /// Told when the ledger is open: this process is its owner.
    let opened: @Sendable () async -> Void

    /// Opens the ledger and works whenever the meter asks for it, until the stream ends.
    ///
    /// - Parameter ended: Told once how opening it ended, and not before the baselines are in it: a crash from then on
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
    private func carry(_ work: Meter.StoreWork) async -> StoreFailure? {
        switch await outcome(of: work) {
        case .opened(let stored, let book, let calendar, let sizeBytes):
            await meter.takeUp(stored, book, calendar: calendar, sizeBytes: sizeBytes)
            await opened()
        case .looked(let stored, let book, let calendar, let sizeBytes, let failure):
            await meter.takeUp(stored, book, calendar: calendar, sizeBytes: sizeBytes, isOwned: false)
            await meter.storeFailed(failure)
            return failure
        case .committed(let adopted, let sizeBytes): await meter.committed(adopted, sizeBytes: sizeBytes)
        case .history(let stored, let book, let calendar, let sizeBytes):
            if await meter.take(stored, book, calendar: calendar, sizeBytes: sizeBytes) { await opened() }
        case .seenHistory(let stored, let book, let calendar, let sizeBytes, let failure):
            _ = await meter.take(stored, book, calendar: calendar, sizeBytes: sizeBytes, isOwned: false)
            await meter.storeFailed(failure)
            return failure
        case .scanned(let scan): await meter.take(scan)
        case .adjusted(let result, let book): await meter.adjusted(result, book)
        case .tookOver(let outcomes): await meter.tookOver(.success(outcomes))
        case .begunAnew: await meter.storeBegunAnew()
        case .notOurs: await meter.goWithoutStore()
        case .failed(let failure):
            await meter.storeFailed(failure)
            return failure
        }
        return nil
    }

    private func outcome(of work: Meter.StoreWork) async -> Store.Outcome {
        switch work {
        case .open(let names, let daysFrom, let calendar, let plans):
            await store.open(daysFrom: daysFrom, names: names, calendar: calendar, plans: plans)
        case .commit(let commit, let calendar, let horizon):
            await store.apply(commit, calendar: calendar, horizon: horizon)
        case .history(let calendar, let daysFrom, let plans):
            await store.history(calendar, daysFrom: daysFrom, plans: plans)
        case .scan(let scan): await store.scan(scan)
        case .takeOver(let takeOver, let calendar, let now, let horizon):
            await store.takeOver(takeOver, calendar: calendar, at: now, horizon: horizon)
        case .adjust(let order, let moment, let plans): await store.adjust(order, enteredAt: moment, plans: plans)
        }
    }
}
