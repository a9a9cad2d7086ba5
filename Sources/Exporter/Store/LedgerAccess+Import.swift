import Accounting
import CivilTime
import Configuration
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Netlink
import Reports

/// How commands import another meter's history.
extension LedgerAccess {
    /// So many slots are imported at a time: some 400 kB for the daemon.
    private static let slotsAtATime = 5000

    /// Imports what another meter has counted, piece by piece. If it is broken off, it can be done again.
    ///
    /// - Parameters:
    ///   - source: Its times are by the ledger's zone where they have none.
    ///   - uplink: A device whose bytes are booked to the uplink, too.
    ///   - replaces: Whether earlier imports of the same devices are forgotten first.
    ///   - isTrial: Whether everything stays as it was.
    ///   - progress: Called with how much is done, from 0 to 1.
    /// - Throws: `Failure`.
    package func importHistory(
        _ source: ImportSource, uplink: String?, replaces: Bool, isTrial: Bool, progress: (Double) -> Void
    ) async throws(Failure) -> ImportReport {
        try checkDirectory()
        let setup = try setup()
        // As the daemon books, should it go by another configuration.
        let basis =
            try askDaemon(.basis)?.basis ?? Control.BookingBasis(calendar: setup.localCalendar, rules: setup.rules)
        var contents: ImportFile.Contents
        do throws(ImportFile.Problem) {
            contents = try source.contents(by: basis.calendar, at: setup.now)
        } catch {
            throw .refused(error.description)
        }
        contents.leaveOutImpossible()
        if let uplink {
            if contents.accounts.contains(where: { $0.key == .uplink }) {
                throw .refused("--uplink \(uplink): the file has the uplink itself; leave it out")
            }
            let devices = contents.accounts.filter { $0.key.kind == "device" }
            guard let device = devices.first(where: { $0.source == uplink }) else {
                let known = devices.map(\.source).sorted().prefix(20).joined(separator: ", ")
                throw .refused(
                    "--uplink \(uplink): there is no such device in the file"
                        + (known.isEmpty ? "" : "; it has \(known)"))
            }
            contents.accounts.append(
                ImportedAccount(.uplink, from: device.source, slots: device.slots, clock: device.clock))
        }
        contents.book(by: basis.rules)
        var pieces = ImportedAccount.pieces(of: contents.accounts, ofSlots: Self.slotsAtATime, by: basis.calendar)
        if replaces {
            // All is forgotten before anything is taken; nothing of that stays where everything is a trial.
            let booked = contents.accounts.filter { $0.key != .uplink }
            let toUplink = booked.count < contents.accounts.count ? [""] : booked.map(\.source).filter { !$0.isEmpty }
            let all =
                booked.map { ImportedAccount($0.key, from: $0.source, slots: [], replaces: true) }
                + toUplink.map { ImportedAccount(.uplink, from: $0, slots: [], replaces: true) }
            pieces = isTrial ? pieces.map { all + $0 } : [all] + pieces
        }
        let isNew = !LedgerFile.exists(at: storagePath)
        if !isNew {
            try checkClocks(of: contents.accounts, forgetting: replaces ? pieces[0].filter(\.replaces) : [], setup)
        }
        // What root makes in the service's place, the service's user can't write.
        if isNew, storagePath == LedgerPlace.resolved(StoragePath.system) { throw noLedger }
        if isNew, !isTrial { try await beginLedger() }
        var outcomes: [AccountKey: ImportOutcome] = [:]
        let ofFile = Set(contents.accounts.map(\.key))
        for (number, piece) in pieces.enumerated() {
            let done =
                isNew && isTrial
                ? try importIntoNothing(piece, setup) : try importPiece(piece, setup, isTrial: isTrial)
            for var outcome in done {
                let isOfFile = ofFile.contains(outcome.key)
                // Each piece of a trial forgets all.
                if isTrial, number > 0 { outcome.forgotten = .init(.zero) }
                if isOfFile || !outcome.forgotten.total.isZero {
                    outcomes[outcome.key, default: .init(outcome.key)].add(outcome)
                }
            }
            progress(Double(number + 1) / Double(pieces.count))
        }
        var report = ImportReport(Array(outcomes.values), contents.problems, basis.calendar, isTrial: isTrial)
        report.begunLedger = isNew ? storagePath : nil
        return report
    }

    /// By another clock the same bytes have other times: that is seen before anything is taken.
    private func checkClocks(
        of accounts: [ImportedAccount], forgetting forgotten: [ImportedAccount], _ setup: Setup
    ) throws(Failure) {
        let clocked = accounts.filter { $0.clock != nil }
        let nothing = clocked.map { ImportedAccount($0.key, from: $0.source, slots: [], clock: $0.clock) }
        guard let clock = clocked.first?.clock,
            let other = try importPiece(forgotten + nothing, setup, isTrial: true).lazy.compactMap(\.otherClock).first
        else { return }
        throw .refused(
            "the last import went by a clock with \(other), and this one goes by a clock with \(clock): name the last one's zone with --timezone, or begin again with --replace"
        )
    }

    private func importPiece(_ piece: [ImportedAccount], _ setup: Setup, isTrial: Bool) throws(Failure)
        -> [ImportOutcome]
    {
        if let answer = try askDaemon(.importPiece(piece, isTrial: isTrial)) {
            guard let done = answer.imported else { throw .refused(answer.error ?? "the daemon gave no answer") }
            return done
        }
        return try reportingFailures { () throws(StoreError) in
            let file = try LedgerFile(path: storagePath)
            let outcomes = try file.importPiece(
                piece, calendar: setup.localCalendar, at: setup.now, horizon: setup.horizon, isTrial: isTrial)
            try? file.tidy()  // It is kept, in the log if not in the file.
            return outcomes
        }
    }

    /// What would become of it in a ledger that is begun now.
    private func importIntoNothing(_ piece: [ImportedAccount], _ setup: Setup) throws(Failure) -> [ImportOutcome] {
        guard let directory = TemporaryDirectory() else { throw .refused("no temporary directory can be made") }
        return try reportingFailures { () throws(StoreError) in
            try LedgerFile(path: directory.path + "/ledger.db").importPiece(
                piece, calendar: setup.localCalendar, at: setup.now, horizon: setup.horizon, isTrial: false)
        }
    }
}
