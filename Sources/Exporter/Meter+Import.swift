import Accounting
import CivilTime

/// What is to be taken over from another meter.
struct TakeOver: Sendable {
    var accounts: [ImportedAccount]
    var isTrial: Bool
}

extension Meter {
    struct WaitingTakeOver {
        let takeOver: TakeOver
        let answer: CheckedContinuation<Result<[ImportOutcome], OrderError>, Never>
    }

    /// Has the store take it over, when everything that was metered up to now is in it.
    func takeOver(_ takeOver: TakeOver) async -> Result<[ImportOutcome], OrderError> {
        if isEnding { return .failure(.ending) }
        guard ledger.isPersistent else { return .failure(.noLedger) }
        guard waitingTakeOver == nil, takeOverUnderWay == nil else { return .failure(.importing) }
        read(endsInterval: false)
        isUrgent = true
        wakeStore.yield()
        return await withCheckedContinuation { waitingTakeOver = .init(takeOver: takeOver, answer: $0) }
    }

    /// The store did it, or not; what it has is read again.
    func tookOver(_ result: Result<[ImportOutcome], OrderError>) {
        guard let waiting = takeOverUnderWay else { return }
        takeOverUnderWay = nil
        if case .success(let outcomes) = result, !waiting.takeOver.isTrial {
            // The uplink's are those of a device.
            let devices = outcomes.filter { $0.key != .uplink }
            let taken = (devices.isEmpty ? outcomes : devices).reduce(into: Total.zero) { $0 += $1.taken.total }
            if !taken.isZero {
                logger.notice("another meter's records were taken over", metadata: ["bytes": "\(taken.bytes)"])
            }
            ledger.outdatePlanBook()
            wakeStore.yield()
        }
        waiting.answer.resume(returning: result)
    }

    func refuseTakeOver(_ error: OrderError) {
        waitingTakeOver?.answer.resume(returning: .failure(error))
        waitingTakeOver = nil
    }
}
