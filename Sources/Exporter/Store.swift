import Accounting
import CivilTime
import LedgerStore
import Logging
import NIOCore

/// The ledger's file on its own thread: a slow or failing disk makes commits wait and merge, never a scrape.
actor Store {
    nonisolated let unownedExecutor: UnownedSerialExecutor
    private let path: String
    private let logger: Logger
    private var file: LedgerFile?
    private var lastFailure: String?

    init(on loop: any EventLoop, path: String, logger: Logger) {
        unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.path = path
        self.logger = logger
    }

    /// Opens the file and reads what the program needs; a damaged file is moved aside and a new one begun.
    ///
    /// - Throws: `StoreError` as for `LedgerFile.init(path:)`, but never `.damaged`.
    func open(
        daysFrom: CivilDate, names: Set<DeviceName>, calendar: LocalCalendar
    ) throws(StoreError) -> StoredLedger {
        do {
            return try openOnce(daysFrom: daysFrom, names: names, calendar: calendar)
        } catch let error where error.code == .damaged {
            try beginAnew(because: error)
            return try openOnce(daysFrom: daysFrom, names: names, calendar: calendar)
        }
    }

    private func openOnce(
        daysFrom: CivilDate, names: Set<DeviceName>, calendar: LocalCalendar
    ) throws(StoreError) -> StoredLedger {
        let opened = try LedgerFile(path: path)
        try opened.rezone(to: calendar)
        let stored = try opened.load(daysFrom: daysFrom, names: names)
        file = opened
        return stored
    }

    private func beginAnew(because error: StoreError) throws(StoreError) {
        file = nil
        let aside = try LedgerFile.moveAside(path: path, at: SystemClock.now().timestamp)
        logger.error(
            "the ledger was damaged; it was moved aside and a new one is begun",
            metadata: ["error": "\(error.message)", "moved_to": "\(aside)"])
    }

    /// How a commit ended.
    enum Outcome: Sendable {
        case committed([AdoptedHistory], sizeBytes: Int64)
        /// The file is a new one, without anything in it.
        case begunAnew
        case failed(StoreFailure)
    }

    func apply(_ commit: Commit, calendar: LocalCalendar, horizon: Timestamp) -> Outcome {
        do {
            guard let file else { return try reopen() }
            let adopted = try file.apply(commit, calendar: calendar, horizon: horizon)
            lastFailure = nil
            return .committed(adopted, sizeBytes: file.sizeBytes)
        } catch {
            return recover(from: error)
        }
    }

    /// Books the days by this calendar and reads them.
    func history(_ calendar: LocalCalendar, daysFrom: CivilDate) -> Result<
        (StoredLedger, sizeBytes: Int64), FailedHistory
    > {
        guard let file else {
            return .failure(FailedHistory(outcome: .failed(failure("the ledger's file isn't open"))))
        }
        do {
            try file.rezone(to: calendar)
            return .success((try file.load(daysFrom: daysFrom, names: []), file.sizeBytes))
        } catch {
            return .failure(FailedHistory(outcome: recover(from: error)))
        }
    }

    struct FailedHistory: Error, Sendable {
        var outcome: Outcome
    }

    private func recover(from error: StoreError) -> Outcome {
        do {
            switch error.code {
            case .damaged:
                try beginAnew(because: error)
                return try reopen()
            case .replaced where !LedgerFile.exists(at: path):
                logger.error("the ledger's file is gone; a new one is begun", metadata: ["path": "\(path)"])
                file = nil
                return try reopen()
            case .locked, .newer, .foreign, .replaced, .full, .unavailable:
                return .failed(failure("\(error)"))
            }
        } catch {
            return .failed(failure("\(error)"))
        }
    }

    /// Opens the path anew after the file was lost.
    private func reopen() throws(StoreError) -> Outcome {
        let opened = try LedgerFile(path: path)
        if try opened.isInUse() {
            throw StoreError(.replaced, path: path, "another ledger has taken the place of the one that was lost")
        }
        file = opened
        return .begunAnew
    }

    private func failure(_ message: String) -> StoreFailure {
        defer { lastFailure = message }
        return StoreFailure(message: message, isFirst: lastFailure != message)
    }
}
