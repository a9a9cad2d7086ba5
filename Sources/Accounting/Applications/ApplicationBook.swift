/// How far the counters of the kernel programs are booked, and for which applications.
struct ApplicationBook: Sendable {
    /// Which attachment the baselines belong to; `nil` before the first reading.
    private(set) var attachment: UInt64?
    /// Whether the store has another attachment.
    private var isNewAttachment = false
    /// The attachment whose baselines the store has.
    var storedAttachment: UInt64?
    /// By the kernel's key.
    private(set) var baselines: [ApplicationCounterKey: ApplicationBaseline] = [:]
    private(set) var laneBaselines: [LaneKey: PacketBaseline] = [:]
    /// Baselines that no commit has taken yet.
    private var changed: Set<ApplicationCounterKey> = []
    private var changedLanes: Set<LaneKey> = []
    private var retiredLanes: Set<LaneKey> = []
    var uplinks = UplinkBasis()
    /// Counters that are gone from the kernel, and no commit has that yet.
    private var retired: Set<ApplicationCounterKey> = []
    /// When each counter was seen to grow, in this run of the program.
    private var grownAt: [ApplicationCounterKey: BootTime] = [:]
    /// When the counters were read last; `nil` before the first reading of this boot.
    var readAt: Moment?
    /// The devices that were the uplink then.
    var readUplink: Set<DeviceIndex> = []
    /// Whether any of what passed the uplink since then is counted by scope.
    var isCountedByLanes = false
    /// When a ledger began that is new; `nil` for others.
    var ledgerBeganAt: BootTime?
    /// When the rates of applications were computed last; `nil` while there are none.
    var sampledAt: BootTime?
    /// Whether the counters were read since the program started: until then more may have been exposed than is known.
    var isRead = false
    /// Whether the last run of the program in this boot ended without its last commit.
    private let isUnclean: Bool
    /// The applications that metrics show by name.
    var shown: Set<ApplicationName> = [] {
        didSet { shownVersion &+= 1 }
    }
    /// Changes with ``shown``.
    private(set) var shownVersion: UInt64 = 0
    /// When they were chosen.
    var chosenAt = BootTime(nanoseconds: .min / 2)

    init() {
        isUnclean = false
    }

    /// What the store has.
    ///
    /// - Parameters:
    ///   - readAt: The last reading, if that was in this boot.
    ///   - isUnclean: Whether the last run of the program in this boot ended without its last commit.
    init(_ stored: StoredApplications, readAt: Moment?, isUnclean: Bool) {
        (attachment, storedAttachment) = (stored.attachment, stored.attachment)
        baselines = stored.baselines
        laneBaselines = stored.lanes
        self.readAt = readAt
        self.isUnclean = isUnclean
        // In another boot, devices have other numbers.
        if readAt != nil { uplinks = UplinkBasis(stored.bases) }
    }

    /// Every counter of another attachment began at 0.
    ///
    /// - Returns: What was exposed and may not be counted again.
    mutating func begin(_ attachment: UInt64) -> Loss {
        let isUncertain = isUnclean && !isRead
        if self.attachment == attachment { return isUncertain ? .ofOthers : .none }
        (baselines, laneBaselines, changed, changedLanes) = ([:], [:], [], [])
        (retired, retiredLanes, grownAt) = ([], [], [:])
        uplinks.restart()
        self.attachment = attachment
        isNewAttachment = true
        return isUncertain ? .ofAll : .none
    }

    /// Which open counters may have shown more than they will be counted up to.
    enum Loss {
        case none
        /// What the last run booked after its last commit is booked again, but other applications may be shown by name.
        case ofOthers
        /// What the last run booked after its last commit is lost.
        case ofAll
    }

    mutating func set(_ baseline: ApplicationBaseline, for key: ApplicationCounterKey) {
        baselines[key] = baseline
        changed.insert(key)
        retired.remove(key)
    }

    mutating func noteGrowth(of key: ApplicationCounterKey, at now: BootTime) { grownAt[key] = now }

    /// Forgets a counter that is gone from the kernel.
    mutating func retire(_ key: ApplicationCounterKey) {
        if baselines.removeValue(forKey: key) != nil { retired.insert(key) }
        changed.remove(key)
        grownAt[key] = nil
    }

    /// Counters that didn't grow for so long, and that the store knows as they are.
    mutating func idle(for span: Span, at now: BootTime) -> [ApplicationCounterKey] {
        baselines.keys.compactMap { key in
            // Nobody knows when a counter grew that was loaded.
            let grown = grownAt[key, default: now]
            if grownAt[key] == nil { grownAt[key] = now }
            return changed.contains(key) || now.elapsed(since: grown) < span ? nil : key
        }
    }

    mutating func set(_ baseline: PacketBaseline, for key: LaneKey) {
        laneBaselines[key] = baseline
        changedLanes.insert(key)
        retiredLanes.remove(key)
    }

    /// Forgets lanes that are gone from the kernel.
    mutating func retireLanes(besides lanes: Dictionary<LaneKey, PacketCounter>.Keys) {
        for key in laneBaselines.keys where !lanes.contains(key) {
            laneBaselines[key] = nil
            changedLanes.remove(key)
            retiredLanes.insert(key)
        }
    }

    /// What the store lacks; `nil` if that is nothing.
    mutating func takeChanges() -> ApplicationChanges? {
        let isNews =
            isNewAttachment || !changed.isEmpty || !changedLanes.isEmpty || !retired.isEmpty || !retiredLanes.isEmpty
            || uplinks.hasNews
        guard let attachment, isNews else { return nil }
        defer { forgetChanges() }
        return ApplicationChanges(
            attachment: attachment, baselines: baselines.filter { changed.contains($0.key) },
            lanes: laneBaselines.filter { changedLanes.contains($0.key) }, retired: retired, retiredLanes: retiredLanes,
            bases: uplinks.hasNews ? uplinks.learnt : nil)
    }

    /// Without a store nothing waits for a commit.
    mutating func forgetChanges() {
        (changed, changedLanes, retired, retiredLanes) = ([], [], [], [])
        (uplinks.hasNews, isNewAttachment) = (false, false)
    }

    /// A new file has none of the baselines.
    mutating func recommit() {
        (changed, changedLanes) = (Set(baselines.keys), Set(laneBaselines.keys))
        (retired, retiredLanes, uplinks.hasNews, isNewAttachment) = ([], [], true, true)
    }
}

/// Up to where a counter is booked, and for which application.
package struct ApplicationBaseline: Hashable, Sendable {
    package var booked: PacketBaseline
    package var application: ApplicationName

    package init(booked: PacketBaseline, application: ApplicationName) {
        self.booked = booked
        self.application = application
    }
}

/// The store's record of the kernel programs' counters.
package struct StoredApplications: Sendable {
    package var attachment: UInt64
    package var baselines: [ApplicationCounterKey: ApplicationBaseline]
    package var lanes: [LaneKey: PacketBaseline]
    /// What is learnt of uplinks; number 0 is the uplink as a whole.
    package var bases: [DeviceIndex: LinkBasis] = [:]

    package init(
        attachment: UInt64, baselines: [ApplicationCounterKey: ApplicationBaseline] = [:],
        lanes: [LaneKey: PacketBaseline] = [:]
    ) {
        self.attachment = attachment
        self.baselines = baselines
        self.lanes = lanes
    }
}

/// What a commit changes about the kernel programs' counters.
package struct ApplicationChanges: Sendable {
    /// Baselines of any other attachment are forgotten.
    package var attachment: UInt64
    package var baselines: [ApplicationCounterKey: ApplicationBaseline]
    package var lanes: [LaneKey: PacketBaseline]
    /// Baselines of counters that are gone.
    package var retired: Set<ApplicationCounterKey>
    package var retiredLanes: Set<LaneKey>
    /// All that is learnt of uplinks; `nil` if that is in the store.
    package var bases: [DeviceIndex: LinkBasis]?
}
