import Accounting
import Applications
import Configuration
import Logging

/// What counts the bytes of applications. `KernelCounts` is the real one; tests pass in another.
protocol ApplicationSource: AnyObject {
    /// Which attachment it is; see `Ledger`.
    var attachment: UInt64 { get }

    func read(into counters: inout [ApplicationCounterKey: ApplicationCounter]) throws(KernelCounts.Failure)
    /// How full the map of counters was at the last reading.
    var status: ApplicationCounterStatus { get }
    func place(ofCgroup cgroup: UInt64) -> Place.Answer
    /// What to know of the network from here on.
    func update(_ scopes: ScopeTable) throws(KernelCounts.Failure)
}

extension KernelCounts: ApplicationSource {
    var status: ApplicationCounterStatus { ApplicationCounterStatus(keys: UInt64(keyCount), overflows: overflows) }
}

/// Reads the counters of applications into the ledger.
struct ApplicationReader {
    /// One, except before the ledger has said which attachment it knows: after a restart there may be two.
    private var sources: [any ApplicationSource]
    /// Called with each attachment that isn't read.
    private let drop: (UInt64) -> Void
    private let machine: String
    private let logger: Logger
    /// Used again for each reading.
    private var counters: [ApplicationCounterKey: ApplicationCounter] = [:]
    private var failures: [Part: String] = [:]
    /// How full the map of counters is, at the last reading.
    private(set) var status = ApplicationCounterStatus()
    private var scopeBasis: ScopeBasis?
    private var names: [Configuration.Applications.Name]?

    private enum Part {
        case counts, scopes
    }

    /// What the scopes that the kernel has were made of.
    private struct ScopeBasis: Equatable {
        let links: UInt64
        let uplinks: Set<UInt32>
        let lan: [AddressPrefix]
    }

    /// - Parameters:
    ///   - sources: At least one, by the time at which they were attached.
    ///   - machine: The machine's node name.
    ///   - drop: Called with each attachment that isn't read.
    init(
        _ sources: [any ApplicationSource], machine: String, logger: Logger, drop: @escaping (UInt64) -> Void
    ) {
        precondition(!sources.isEmpty, "nothing to read")
        self.sources = sources
        self.machine = machine
        self.drop = drop
        self.logger = logger
    }

    /// Books what was counted since the last reading. Until the store is read, nobody knows what is booked already; the
    /// counters wait in the kernel.
    mutating func read(
        into ledger: inout Ledger, _ settings: Configuration.Applications, _ links: LinkTable, uplinks: Set<UInt32>,
        at now: Moment
    ) {
        if ledger.isAwaitingStore { return }
        if sources.count > 1 { choose(for: ledger) }
        let source = sources[0]
        do {
            try source.read(into: &counters)
            note(.counts, nil)
            book(source, into: &ledger, settings, at: now)
        } catch {
            note(.counts, error)
        }
        // What was carried until now was judged by the scopes until now.
        let basis = ScopeBasis(links: links.version, uplinks: uplinks, lan: settings.lan)
        if scopeBasis == basis { return }
        do {
            try source.update(ScopeTable(links, uplinks: uplinks, lan: settings.lan))
            scopeBasis = basis
            note(.scopes, nil)
        } catch {
            note(.scopes, error)
        }
    }

    /// Keeps the attachment whose counters are booked in part, or else the last one: it has the least that is old.
    private mutating func choose(for ledger: Ledger) {
        let known = sources.firstIndex { $0.attachment == ledger.applicationAttachment } ?? sources.count - 1
        for (place, source) in sources.enumerated() where place != known { drop(source.attachment) }
        sources = [sources[known]]
    }

    private mutating func book(
        _ source: any ApplicationSource, into ledger: inout Ledger, _ settings: Configuration.Applications,
        at now: Moment
    ) {
        status = source.status
        let naming = ApplicationNaming(machine: machine, names: settings.names.map { ($0.pattern, $0.name) })
        func name(_ key: ApplicationCounterKey) -> ApplicationName? {
            switch source.place(ofCgroup: key.cgroup) {
            case .found(let place): naming.name(of: key, at: place)
            case .unknown: naming.name(of: key, at: nil)
            case .beingWritten: nil
            }
        }
        ledger.record(counters, of: source.attachment, at: now, name: name)
        // Also at the start: the configuration may have changed meanwhile.
        if names != settings.names { ledger.renameApplications(name) }
        names = settings.names
    }

    private mutating func note(_ part: Part, _ failure: KernelCounts.Failure?) {
        if failures[part] == failure?.description { return }
        failures[part] = failure?.description
        if let failure {
            logger.error("\(failure.description); it is tried again, and nothing is lost meanwhile")
        } else {
            logger.notice("the kernel's counts of applications can be used again")
        }
    }
}
