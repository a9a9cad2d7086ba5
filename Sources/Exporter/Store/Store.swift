import Accounting
import CivilTime
import LedgerStore
import Logging
import Machine
import NIOCore
import Reports

/// The ledger's file on its own thread: a slow or failing disk makes commits wait and merge, never a scrape.
actor Store {
    nonisolated let unownedExecutor: UnownedSerialExecutor
    private let path: String
    private let logger: Logger
    private var file: LedgerFile?
    /// What was read of a ledger that can't be written yet.
    private var look: Look?
    private var lastFailure: String?

    init(on loop: any EventLoop, path: String, logger: Logger) {
        unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.path = path
        self.logger = logger
    }

    /// The identity and state of the ledger that was read.
    private struct Look {
        let identity: Int64
        let sequence: Int64
        /// The calendar of the days that were read.
        let calendar: LocalCalendar
        /// The file in memory, with its days by that calendar, while reports need it.
        var image: LedgerFile?
    }

    /// Does a piece of work.
    func perform(_ work: StoreWork) -> StoreOutcome {
        switch work {
        case .open(let request): open(request)
        case .commit(let commit, let calendar, let horizon, let applicationHorizon):
            apply(commit, calendar: calendar, horizon, applicationHorizon)
        case .history(let request): history(request)
        case .scan(let scan): self.scan(scan)
        case .importPiece(let piece, let calendar, let now, let horizon):
            importPiece(piece, calendar: calendar, at: now, horizon: horizon)
        case .adjust(let order, let moment, let plans): adjust(order, enteredAt: moment, plans: plans)
        }
    }

    /// Opens the file and reads what the program needs; a damaged file is moved aside and a new one begun.
    private func open(_ request: LedgerRequest) -> StoreOutcome {
        work { () throws(StoreError) in
            do throws(StoreError) {
                return try openOnce(request)
            } catch let error where error.code == .damaged {
                try moveAside(because: error)
                return try openOnce(request)
            } catch let error where error.code == .newer || error.code == .foreign {
                logger.error(
                    "there is no ledger: what is metered is kept in memory only", metadata: ["error": "\(error)"])
                return .notOurs
            } catch let error where error.code == .unavailable || error.code == .full {
                guard let seen = try? lookOnce(request) else { throw error }
                return .looked(seen, StoreFailure(error: error, isNews: true))
            }
        }
    }

    private func openOnce(_ request: LedgerRequest) throws(StoreError) -> StoreOutcome {
        let opened = try LedgerFile(path: path)
        let seen = try request.read(opened)
        file = opened
        return .opened(seen)
    }

    /// Reads a ledger that can't be written. Its days are booked by the request's calendar in memory only.
    ///
    /// - Returns: `nil` if nothing was ever written in it.
    private func lookOnce(_ request: LedgerRequest) throws(StoreError) -> SeenLedger? {
        let file = try LedgerFile(reading: path)
        // A file without a schema, as on a full disk, has nothing to read.
        guard file.isInUse else { return nil }
        let seen = try request.read(file)
        look = Look(
            identity: file.identity, sequence: seen.stored.header?.sequence ?? 0, calendar: request.calendar)
        return seen
    }

    /// The file; `nil` when it was lost.
    ///
    /// - Parameter calendar: The calendar of its days from here on, if it could only be read until now.
    private func writableFile(_ calendar: LocalCalendar?) throws(StoreError) -> LedgerFile? {
        if let file { return file }
        look?.image = nil
        guard let look, LedgerFile.exists(at: path) else { return nil }
        let opened = try LedgerFile(path: path)
        try check(opened, is: look)
        _ = try opened.load(rezonedTo: calendar ?? look.calendar, daysFrom: .latest, names: [])
        file = opened
        self.look = nil
        return opened
    }

    private func check(_ file: LedgerFile, is look: Look) throws(StoreError) {
        guard file.identity == look.identity, try (file.header()?.sequence ?? 0) == look.sequence else {
            throw StoreError(.replaced, path: path, "another netusage has written it since it was read")
        }
    }

    /// The file to read from.
    private func readableFile() throws(StoreError) -> LedgerFile {
        if let open = file ?? look?.image { return open }
        guard let look else { throw StoreError(.unavailable, path: path, "the ledger isn't open now") }
        let image = try LedgerFile(reading: path)
        try check(image, is: look)
        _ = try image.load(rezonedTo: look.calendar, daysFrom: .latest, names: [])
        self.look?.image = image
        return image
    }

    private func apply(
        _ commit: Commit, calendar: LocalCalendar, _ horizon: Timestamp, _ applicationHorizon: Timestamp
    ) -> StoreOutcome {
        withFile(calendar) { file throws(StoreError) in
            let adopted = try file.apply(
                commit, calendar: calendar, horizon: horizon, applicationHorizon: applicationHorizon)
            return .committed(adopted, sizeBytes: file.sizeBytes)
        }
    }

    /// Books the days by another calendar and reads them.
    private func history(_ request: LedgerRequest) -> StoreOutcome {
        let outcome = withFile(request.calendar) { file throws(StoreError) in .history(try request.read(file)) }
        guard case .failed(let failure) = outcome, look != nil,
            // If it can't be read either, the reason is the same.
            let seen = try? lookOnce(request)
        else { return outcome }
        return .seenHistory(seen, failure)
    }

    // MARK: - For reports

    /// Every account's days from a date on, after the last commit.
    func days(from first: CivilDate) throws(StoreError) -> StoredDays {
        try look { file throws(StoreError) in try file.days(from: first) }
    }

    /// Some buckets, after the last commit; see ``LedgerFile/buckets(from:before:rowsPerPage:only:)``.
    func buckets(
        from start: Timestamp, before end: Timestamp, only: (key: AccountKey, numbers: Set<AccountID>)?
    ) throws(StoreError) -> StoredBuckets {
        try look { file throws(StoreError) in
            try file.buckets(from: start, before: end, rowsPerPage: BucketPage.rows, only: only)
        }
    }

    /// Reports leave a broken file to the next commit, which finds and handles it.
    private func look<Value>(_ body: (LedgerFile) throws(StoreError) -> Value) throws(StoreError) -> Value {
        let file = try readableFile()
        defer { file.rest() }
        return try body(file)
    }

    /// Books the new part of another meter's history.
    private func importPiece(_ piece: ImportPiece, calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp)
        -> StoreOutcome
    {
        withFile { file throws(StoreError) in
            .imported(
                try file.importPiece(
                    piece.accounts, calendar: calendar, at: now, horizon: horizon, isTrial: piece.isTrial))
        }
    }

    // MARK: - For plans

    /// Continues to read the quotas' use of the last weeks.
    private func scan(_ scan: HistoryScan) -> StoreOutcome {
        withFile { file throws(StoreError) in .scanned(try file.continueScan(scan)) }
    }

    /// Stores a correction or a top-up, or takes one back.
    private func adjust(_ order: QuotaOrder, enteredAt moment: Timestamp, plans: PlanRequest) -> StoreOutcome {
        let outcome = withFile { file throws(StoreError) in
            let adjustment: Adjustment
            do throws(OrderError) {
                guard let done = try order.carryOut(in: file, at: moment) else {
                    return .adjusted(.failure(.nothingToUndo(order)), nil)
                }
                adjustment = done
            } catch {
                if case .store(let failure) = error { throw failure }
                return .adjusted(.failure(error), nil)
            }
            // The adjustment is stored, even if reading the rest fails; that is tried again.
            do throws(StoreError) {
                return .adjusted(.success(adjustment), try plans.book(of: file))
            } catch {
                return .adjusted(.success(adjustment), nil)
            }
        }
        if case .failed(let failure) = outcome { return .adjusted(.failure(.store(failure.error)), nil) }
        return outcome
    }

    /// Closes the file, and leaves one tidy file behind.
    func close() {
        do throws(StoreError) {
            try file?.tidy()
        } catch {
            logger.warning("the ledger's log couldn't be copied into its file", metadata: ["error": "\(error)"])
        }
        file = nil
    }

    private func withFile(
        _ calendar: LocalCalendar? = nil, _ body: (LedgerFile) throws(StoreError) -> StoreOutcome
    ) -> StoreOutcome {
        work { () throws(StoreError) in
            do throws(StoreError) {
                guard let file = try writableFile(calendar) else { return try beginAnew() }
                return try body(file)
            } catch let error where error.code == .damaged {
                try moveAside(because: error)
                return try beginAnew()
            } catch let error where error.code == .replaced && !LedgerFile.exists(at: path) {
                logger.error("the ledger's file is gone; a new one is begun", metadata: ["path": "\(path)"])
                return try beginAnew()
            }
        }
    }

    private func work(_ body: () throws(StoreError) -> StoreOutcome) -> StoreOutcome {
        do throws(StoreError) {
            defer { file?.rest() }
            let outcome = try body()
            if case .looked(_, let failure) = outcome {
                lastFailure = failure.error.description
            } else {
                lastFailure = nil
            }
            return outcome
        } catch {
            let failure = StoreFailure(error: error, isNews: lastFailure != error.description)
            lastFailure = error.description
            return .failed(failure)
        }
    }

    private func moveAside(because error: StoreError) throws(StoreError) {
        file = nil
        look = nil
        let aside = try LedgerFile.moveAside(path: path, at: SystemClock.now().timestamp)
        logger.error(
            "the ledger was damaged; it was moved aside and a new one is begun",
            metadata: ["error": "\(error.message)", "moved_to": "\(aside)"])
    }

    /// Begins a new file after the old one was lost.
    private func beginAnew() throws(StoreError) -> StoreOutcome {
        (file, look) = (nil, nil)
        let opened = try LedgerFile(path: path)
        if opened.isInUse {
            throw StoreError(.replaced, path: path, "another ledger has taken the place of the one that was lost")
        }
        file = opened
        return .begunAnew
    }
}
