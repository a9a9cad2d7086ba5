import Accounting
import CivilTime

/// A part of an import, which the store books at once.
struct ImportPiece: Sendable {
    let accounts: [ImportedAccount]
    /// Whether nothing is kept.
    let isTrial: Bool
}

extension Meter {
    struct WaitingImport {
        let piece: ImportPiece
        let answer: CheckedContinuation<Result<[ImportOutcome], OrderError>, Never>
    }

    /// Has the store import a piece, after everything that was metered up to now is in it.
    func carryOut(_ piece: ImportPiece) async -> Result<[ImportOutcome], OrderError> {
        if isEnding { return .failure(.ending) }
        guard ledger.isPersistent else { return .failure(.noLedger) }
        guard waitingImport == nil, importUnderWay == nil else { return .failure(.importing) }
        read(endsInterval: false)
        isUrgent = true
        wakeStore.yield()
        return await withCheckedContinuation { waitingImport = .init(piece: piece, answer: $0) }
    }

    /// The store has imported the piece, or not; what plans have counted is read again.
    func importEnded(_ result: Result<[ImportOutcome], OrderError>) {
        guard let waiting = importUnderWay else { return }
        importUnderWay = nil
        if case .success(let outcomes) = result, !waiting.piece.isTrial {
            // The uplink's are those of a device.
            let devices = outcomes.filter { $0.key != .uplink }
            let taken = (devices.isEmpty ? outcomes : devices).reduce(into: Total.zero) { $0 += $1.taken.total }
            if !taken.isZero {
                logger.notice("another meter's history was imported", metadata: ["bytes": "\(taken.bytes)"])
            }
            ledger.outdatePlanBook()
            wakeStore.yield()
        }
        waiting.answer.resume(returning: result)
    }

    func refuseImport(_ error: OrderError) {
        waitingImport?.answer.resume(returning: .failure(error))
        waitingImport = nil
    }
}
