import Accounting
import LedgerStore
import Logging

/// Carries what the meter books to the store: one piece of work at a time.
struct LedgerWriter: Sendable {
    let store: Store
    let meter: Meter
    let logger: Logger

    /// Opens the ledger and lets the meter begin.
    ///
    /// - Throws: `StoreError` when another process writes the ledger.
    func start() async throws {
        do {
            await meter.begin(try await open(), isPersistent: true)
        } catch let error as StoreError {
            switch error.code {
            case .locked: throw error
            case .newer, .foreign:
                logger.error(
                    "there is no ledger: what is metered is kept in memory only", metadata: ["error": "\(error)"])
                await meter.beginWithoutStore(mayReturn: false)
            case .damaged, .replaced, .full, .unavailable:
                logger.error("the ledger can't be opened; it is tried again", metadata: ["error": "\(error)"])
                await meter.beginWithoutStore(mayReturn: true)
            }
        }
        // A crash from here on must find the baselines, so they are in the store before anything is shown.
        await carry()
    }

    /// Works whenever the meter asks for it, until the stream ends.
    func run(_ wakeups: AsyncStream<Void>) async {
        for await _ in wakeups {
            if await meter.isStoreRetryDue { await openAgain() }
            await carry()
        }
    }

    /// Writes the last commit.
    ///
    /// - Throws: `StoreError` when it can't be written.
    func finish() async throws {
        // More than once when the file was lost meanwhile, so that a new one is begun, which needs everything.
        for _ in 0..<3 {
            guard let work = await meter.takeStoreWork(isFinal: true) else { return }
            if let problem = await carry(work) {
                throw StoreError(.unavailable, path: "ledger", "the last commit wasn't written: \(problem.message)")
            }
            if await meter.isEverythingStored { return }
        }
    }

    private func open() async throws -> StoredLedger {
        let (names, daysFrom, calendar) = await meter.needs()
        return try await store.open(daysFrom: daysFrom, names: names, calendar: calendar)
    }

    private func openAgain() async {
        do {
            await meter.resume(try await open())
        } catch {
            await meter.storeIsStillAway()
        }
    }

    private func carry() async {
        while let work = await meter.takeStoreWork() {
            if await carry(work) != nil { return }
        }
    }

    /// - Returns: Why it failed, or `nil`.
    private func carry(_ work: Meter.StoreWork) async -> StoreFailure? {
        let outcome: Store.Outcome
        switch work {
        case .commit(let commit, let calendar, let horizon):
            outcome = await store.apply(commit, calendar: calendar, horizon: horizon)
        case .history(let calendar, let daysFrom):
            switch await store.history(calendar, daysFrom: daysFrom) {
            case .success(let (stored, sizeBytes)):
                await meter.take(stored, calendar: calendar, sizeBytes: sizeBytes)
                return nil
            case .failure(let failed): outcome = failed.outcome
            }
        }
        switch outcome {
        case .committed(let adopted, let sizeBytes): await meter.committed(adopted, sizeBytes: sizeBytes)
        case .begunAnew: await meter.storeBegunAnew()
        case .failed(let failure):
            await meter.storeFailed(failure)
            return failure
        }
        return nil
    }
}
