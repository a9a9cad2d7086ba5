import Accounting
import Applications
import Configuration
import Logging

/// What counts the bytes of applications. `KernelCounts` is the real one; tests pass in another.
protocol ApplicationSource: AnyObject {
    /// Which attachment it is; see `Ledger`.
    var attachment: UInt64 { get }
    /// Whether it is of this version of netusage.
    var isCurrent: Bool { get }

    func read(into counters: inout [ApplicationCounterKey: PacketCounter]) throws(KernelCounts.Failure)
    var attachedAt: BootTime { get }
    /// How many counters the last reading found.
    var keyCount: Int { get }
    /// How many packets had no room for a counter of their own.
    var overflows: UInt64 { get }
    func place(ofCgroup cgroup: UInt64) -> Place.Answer
    /// Removes a counter.
    ///
    /// - Returns: What it showed last.
    func remove(_ key: ApplicationCounterKey) throws(KernelCounts.Failure) -> PacketCounter
    /// Whether a cgroup certainly isn't there any more.
    func isGone(_ cgroup: UInt64) -> Bool
    /// The cgroups of which it is known where they are, or were.
    func placedCgroups() -> Set<UInt64>
    /// Forgets where a cgroup was.
    func forgetPlace(ofCgroup cgroup: UInt64)
    /// Has what passes these uplinks counted from here on, and not that of other devices.
    func follow(_ uplinks: Set<UInt32>) throws(UplinkLanes.Failure)
    /// What has passed uplinks while it was counted.
    func readLanes() throws(KernelCounts.Failure) -> [LaneKey: PacketCounter]
    /// What to know of the network from here on.
    func update(_ scopes: ScopeTable) throws(KernelCounts.Failure)
}

extension KernelCounts: ApplicationSource {
    func follow(_ uplinks: Set<UInt32>) throws(UplinkLanes.Failure) { try lanes.follow(uplinks) }
    func readLanes() throws(KernelCounts.Failure) -> [LaneKey: PacketCounter] { try lanes.read() }
}

/// Whether applications are metered.
struct MeteredApplications {
    /// `nil` while they aren't.
    var reader: ApplicationReader?
    /// Why not, and what helps; `nil` while they are, or before that is clear.
    var problem: String?
}

/// Reads the counters of applications into the ledger.
struct ApplicationReader {
    /// One, except before the ledger has said which attachment it knows: after a restart there may be two.
    ///
    /// The first one is read.
    private var sources: [any ApplicationSource]
    /// Whether the first one goes on where the second one ends, and the store doesn't have that yet.
    private var isSuccessor = false
    /// Called with each attachment that isn't read; `nil` if nobody keeps them but this process.
    private let drop: ((UInt64) -> Void)?
    private let machine: String
    private let logger: Logger
    /// Used again for each reading.
    private var reading = ApplicationReading(attachment: 0)
    /// Uplinks of which can't be counted what passes them, when that was tried, and whether it will always be so.
    private var uncountable: (uplinks: Set<UInt32>, at: BootTime, isForGood: Bool)?
    private var failures: [Part: String] = [:]
    /// How full the map of counters is, at the last reading.
    private(set) var status = ApplicationCounterStatus()
    private var scopeBasis: ScopeBasis?
    /// When idle counters were looked for.
    private var retiredAt: BootTime?
    /// When it was looked for places of cgroups that are gone, which of them are left to look at, and which seem needless.
    private var sweptAt: BootTime?
    private var unsweptPlaces: [UInt64] = []
    private var needlessPlaces: Set<UInt64> = []
    private var names: [Configuration.Applications.Name]?

    private enum Part {
        case counts, scopes, lanes
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
        _ sources: [any ApplicationSource], machine: String, logger: Logger, drop: ((UInt64) -> Void)? = nil
    ) {
        precondition(!sources.isEmpty, "nothing to read")
        self.sources = sources
        self.machine = machine
        self.drop = drop
        self.logger = logger
    }

    /// When the programs were attached.
    var attachedAt: BootTime { sources[sources.count - 1].attachedAt }

    /// Whether somebody keeps the programs when the daemon ends.
    var isKept: Bool { drop != nil }

    /// Has all programs dropped. They go with this reader, if nobody else keeps them.
    func stop() {
        for source in sources { drop?(source.attachment) }
    }

    /// Books what was counted since the last reading. Until the store is read, nobody knows what is booked already; the
    /// counters wait in the kernel.
    ///
    /// - Parameters:
    ///   - isWithDevices: Whether the ledger has the devices' counters of the same moment.
    ///   - endsInterval: Whether a sampling interval ends here.
    ///   - isLast: Whether nobody reads the kernel's programs again.
    /// - Returns: Whether to commit at once.
    mutating func read(
        into ledger: inout Ledger, _ settings: Configuration.Applications, _ links: LinkTable, uplinks: Set<UInt32>,
        at now: Moment, isWithDevices: Bool, endsInterval: Bool, isLast: Bool = false
    ) -> Bool {
        reading.isWithDevices = isWithDevices
        // What was carried until now was judged by the scopes until now.
        defer { updateScopes(links, uplinks: uplinks, lan: settings.lan) }
        if ledger.isAwaitingStore { return false }
        var isUrgent = false
        do {
            if sources.count > 1 { isUrgent = try choose(for: &ledger, settings, at: now) }
            let source = sources[0]
            try source.read(into: &reading.counters)
            note(.counts, nil)
            readLanes(source, uplinks, at: now.sinceBoot)
            book(source, into: &ledger, settings, at: now, endsInterval: endsInterval, isLast: isLast)
            if retire(source, in: &ledger, at: now) { isUrgent = true }
        } catch {
            note(.counts, error)
            ledger.stopApplicationRates()
        }
        return isUrgent
    }

    private mutating func updateScopes(_ links: LinkTable, uplinks: Set<UInt32>, lan: [AddressPrefix]) {
        let basis = ScopeBasis(links: links.version, uplinks: uplinks, lan: lan)
        if scopeBasis == basis { return }
        do {
            for source in sources { try source.update(ScopeTable(links, uplinks: uplinks, lan: lan)) }
            scopeBasis = basis
            note(.scopes, nil)
        } catch {
            note(.scopes, error)
        }
    }

    private static let idleSpan = Span(seconds: 600)
    private static let minute = Span(seconds: 60)
    /// Removing a counter takes a few microseconds, and so does looking for a cgroup; a reading doesn't take longer than some
    /// milliseconds for it.
    private static let retirementsPerReading = 500

    /// Removes idle counters of cgroups that are gone, and others once the kernel's map is half full.
    ///
    /// - Returns: Whether to commit at once.
    private mutating func retire(_ source: any ApplicationSource, in ledger: inout Ledger, at now: Moment) -> Bool {
        if let retiredAt, now.sinceBoot.elapsed(since: retiredAt) < Self.minute { return false }
        retiredAt = now.sinceBoot
        sweepPlaces(source, knownTo: ledger, at: now)
        let isFull = source.keyCount > KernelCounts.maximumKeys / 2
        // The counters of cgroup 0 take what has no room. Each of the others has its turn.
        let idle = ledger.idleCounters(for: Self.idleSpan, at: now).filter { $0.cgroup != 0 }.shuffled()
        var hasRetired = false
        for key in idle.prefix(Self.retirementsPerReading) where isFull || source.isGone(key.cgroup) {
            guard let last = try? source.remove(key) else { break }  // It stays, and does no harm.
            ledger.retire(key, last: last, at: now)
            hasRetired = true
        }
        return hasRetired
    }

    /// Many cgroups have sockets that never carry anything to count.
    private mutating func sweepPlaces(_ source: any ApplicationSource, knownTo ledger: Ledger, at now: Moment) {
        if unsweptPlaces.isEmpty {
            if let sweptAt, now.sinceBoot.elapsed(since: sweptAt) < Self.idleSpan { return }
            sweptAt = now.sinceBoot
            let places = source.placedCgroups()
            unsweptPlaces = Array(places)
            needlessPlaces.formIntersection(places)
        }
        let known = ledger.applicationCgroups
        for cgroup in unsweptPlaces.suffix(Self.retirementsPerReading)
        where !known.contains(cgroup) && source.isGone(cgroup) {
            // One that has just gone may have a counter that isn't read yet.
            if needlessPlaces.insert(cgroup).inserted { continue }
            source.forgetPlace(ofCgroup: cgroup)
            needlessPlaces.remove(cgroup)
        }
        unsweptPlaces.removeLast(min(Self.retirementsPerReading, unsweptPlaces.count))
    }

    /// Has lanes of the uplinks counted, and reads them. Older kernels can't, and some devices can't be had.
    private mutating func readLanes(_ source: any ApplicationSource, _ uplinks: Set<UInt32>, at now: BootTime) {
        if let tried = uncountable, !uplinks.isEmpty {
            let isDue = !tried.isForGood && now.elapsed(since: tried.at) >= Self.minute
            if isDue || tried.uplinks != uplinks { uncountable = nil }
        }
        // What passes a device while it isn't the uplink isn't counted.
        let wanted = uncountable == nil ? uplinks : []
        reading.countsLanes = false
        do throws(UplinkLanes.Failure) {
            try source.follow(wanted)
            reading.countsLanes = !wanted.isEmpty
            if reading.countsLanes { failures[.lanes] = nil }
        } catch {
            switch error {
            case .busy: break  // The next reading asks again.
            case .refused(let reason, let isForGood):
                uncountable = (uplinks, now, isForGood)
                try? source.follow([])  // If that takes long, the next reading does it.
                if failures[.lanes] == reason { break }
                failures[.lanes] = reason
                let need = isForGood ? "that needs Linux 6.6 or later, and permission" : "it is tried again each minute"
                logger.notice(
                    "what passes the uplink isn't counted by scope: \(need)", metadata: ["reason": "\(reason)"])
            }
        }
        reading.lanes = try? source.readLanes()
    }

    /// Keeps the attachment whose counters are booked in part, or else the first one since the last reading: nothing of it is
    /// booked, and it began at 0. If it is of another version of netusage, that of this version goes on where it ends.
    ///
    /// - Returns: Whether to commit at once.
    /// - Throws: `KernelCounts.Failure`; try again then.
    private mutating func choose(
        for ledger: inout Ledger, _ settings: Configuration.Applications, at now: Moment
    ) throws(KernelCounts.Failure) -> Bool {
        if isSuccessor {
            // The end of the one before must be in the store before it is dropped.
            if ledger.storedAttachment == sources[0].attachment || !ledger.isPersistent { keep([sources[0]]) }
            return false
        }
        let known =
            sources.first { $0.attachment == ledger.applicationAttachment }
            ?? sources.first { $0.attachedAt >= ledger.applicationsReadAt } ?? sources[sources.count - 1]
        guard !known.isCurrent, let next = sources.last(where: \.isCurrent) else {
            keep([known])
            return false
        }
        let isWithDevices = reading.isWithDevices
        defer { reading.isWithDevices = isWithDevices }
        var begin = ApplicationReading(attachment: next.attachment)
        try known.read(into: &reading.counters)
        try next.read(into: &begin.counters)
        try? known.follow([])  // If that takes long, its lanes end a moment later.
        (reading.lanes, reading.isWithDevices) = (try? known.readLanes(), false)
        reading.countsLanes = reading.lanes?.isEmpty == false
        book(known, into: &ledger, settings, at: now, endsInterval: false, isLast: true)
        ledger.succeed(with: begin, at: now, name: naming(settings, of: next, isLast: false))
        keep([next, known])
        isSuccessor = true
        return true
    }

    private mutating func keep(_ kept: [any ApplicationSource]) {
        for source in sources where !kept.contains(where: { $0 === source }) { drop?(source.attachment) }
        (sources, isSuccessor) = (kept, false)
    }

    private func naming(
        _ settings: Configuration.Applications, of source: any ApplicationSource, isLast: Bool
    ) -> (ApplicationCounterKey) -> ApplicationName? {
        let naming = ApplicationNaming(machine: machine, names: settings.names.map { ($0.pattern, $0.name) })
        return { key in
            if key.cgroup == 0 { return naming.name(of: key, at: nil) }
            return switch source.place(ofCgroup: key.cgroup) {
            case .found(let place): naming.name(of: key, at: place)
            case .unknown: naming.name(of: key, at: nil)
            // It can wait, but not if nobody ever reads it again.
            case .beingWritten: isLast ? naming.name(of: key, at: nil) : nil
            }
        }
    }

    private mutating func book(
        _ source: any ApplicationSource, into ledger: inout Ledger, _ settings: Configuration.Applications,
        at now: Moment, endsInterval: Bool, isLast: Bool
    ) {
        status.countsLanes = reading.countsLanes
        (status.keys, status.overflows) = (UInt64(source.keyCount), source.overflows)
        let name = naming(settings, of: source, isLast: isLast)
        (reading.attachment, reading.attachedAt) = (source.attachment, source.attachedAt)
        ledger.record(reading, at: now, endsInterval: endsInterval, name: name)
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
