import Accounting
import CivilTime
import LedgerStore
import Machine
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
        return try await reportingFailures {
            try await imported(source, uplink, replaces, isTrial, by: try await changes(), progress)
        }
    }

    private func imported(
        _ source: ImportSource, _ uplink: String?, _ replaces: Bool, _ isTrial: Bool, by changes: any LedgerChanges,
        _ progress: (Double) -> Void
    ) async throws -> ImportReport {
        // As the daemon books, should it go by another configuration.
        let basis = try await changes.bookingBasis()
        var contents: ImportFile.Contents
        do throws(ImportFile.Problem) {
            contents = try source.contents(by: basis.calendar, at: SystemClock.now().timestamp)
        } catch {
            throw Failure.refused(error.description)
        }
        contents.leaveOutImpossible()
        if let uplink {
            if contents.accounts.contains(where: { $0.key == .uplink }) {
                throw Failure.refused("--uplink \(uplink): the file has the uplink itself; leave it out")
            }
            let devices = contents.accounts.filter { $0.key.kind == "device" }
            guard let device = devices.first(where: { $0.source == uplink }) else {
                let known = devices.map(\.source).sorted().prefix(20).joined(separator: ", ")
                throw Failure.refused(
                    "--uplink \(uplink): there is no such device in the file"
                        + (known.isEmpty ? "" : "; it has \(known)"))
            }
            contents.accounts.append(
                ImportedAccount(.uplink, from: device.source, slots: device.slots, clock: device.clock))
        }
        contents.book(by: basis.rules)
        var pieces = ImportedAccount.pieces(of: contents.accounts, ofSlots: Self.slotsAtATime, by: basis.calendar)
        let isNew = !LedgerFile.exists(at: storagePath)
        if replaces, !isNew {
            // All is forgotten before anything is taken; nothing of that stays where everything is a trial.
            let booked = contents.accounts.filter { $0.key != .uplink }
            let toUplink = booked.count < contents.accounts.count ? [""] : booked.map(\.source).filter { !$0.isEmpty }
            let all =
                booked.map { ImportedAccount($0.key, from: $0.source, slots: [], replaces: true) }
                + toUplink.map { ImportedAccount(.uplink, from: $0, slots: [], replaces: true) }
            pieces = isTrial ? pieces.map { all + $0 } : [all] + pieces
        }
        if !isNew {
            try await checkClocks(
                of: contents.accounts, forgetting: replaces ? pieces[0].filter(\.replaces) : [], changes)
        }
        // What root makes in the service's place, the service's user can't write.
        if isNew, storagePath == LedgerPlace.resolved(StoragePath.system) { throw noLedger }
        if isNew, !isTrial { try await OfflineLedger(self).begin() }
        let outcomes =
            isNew && isTrial
            ? try await importedIntoNothing(pieces, progress)
            : try await Self.imported(pieces, isTrial: isTrial, by: changes, progress)
        let ofFile = Set(contents.accounts.map(\.key))
        var report = ImportReport(
            outcomes.filter { ofFile.contains($0.key) || !$0.forgotten.total.isZero }, contents.problems,
            basis.calendar, isTrial: isTrial)
        report.begunLedger = isNew ? storagePath : nil
        return report
    }

    /// By another clock the same bytes have other times: that is seen before anything is taken.
    private func checkClocks(
        of accounts: [ImportedAccount], forgetting forgotten: [ImportedAccount], _ changes: any LedgerChanges
    ) async throws {
        let clocked = accounts.filter { $0.clock != nil }
        let nothing = clocked.map { ImportedAccount($0.key, from: $0.source, slots: [], clock: $0.clock) }
        guard let clock = clocked.first?.clock else { return }
        let trial = try await changes.carryOut(ImportPiece(accounts: forgotten + nothing, isTrial: true))
        guard let other = trial.lazy.compactMap(\.otherClock).first else { return }
        throw Failure.refused(
            "the last import went by a clock with \(other), and this one goes by a clock with \(clock): name the last one's zone with --timezone, or begin again with --replace"
        )
    }

    private static func imported(
        _ pieces: [[ImportedAccount]], isTrial: Bool, by changes: any LedgerChanges, _ progress: (Double) -> Void
    ) async throws -> [ImportOutcome] {
        var outcomes: [AccountKey: ImportOutcome] = [:]
        for (number, piece) in pieces.enumerated() {
            for var outcome in try await changes.carryOut(ImportPiece(accounts: piece, isTrial: isTrial)) {
                // Each piece of a trial forgets all.
                if isTrial, number > 0 { outcome.forgotten = .init(.zero) }
                outcomes[outcome.key, default: .init(outcome.key)].add(outcome)
            }
            progress(Double(number + 1) / Double(pieces.count))
        }
        return Array(outcomes.values)
    }

    /// What would become of it in a ledger that is begun now.
    private func importedIntoNothing(_ pieces: [[ImportedAccount]], _ progress: (Double) -> Void) async throws
        -> [ImportOutcome]
    {
        guard let directory = TemporaryDirectory() else { throw Failure.refused("no temporary directory can be made") }
        let access = LedgerAccess(
            configurationPath: configurationPath, isConfigurationRequired: isConfigurationRequired,
            storagePath: directory.path + "/ledger.db")
        return try await Self.imported(pieces, isTrial: false, by: OfflineLedger(access), progress)
    }
}
