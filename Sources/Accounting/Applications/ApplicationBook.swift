/// How far the counters of the kernel programs are booked, and for which applications.
struct ApplicationBook: Sendable {
    /// Which attachment the baselines belong to; `nil` before the first reading.
    private(set) var attachment: UInt64?
    /// By the kernel's key.
    private(set) var baselines: [ApplicationCounterKey: ApplicationBaseline] = [:]
    /// Baselines that no commit has taken yet.
    private var changed: Set<ApplicationCounterKey> = []
    /// When the counters were read last; `nil` before the first reading of this boot.
    var readAt: Moment?
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
        attachment = stored.attachment
        baselines = stored.baselines
        self.readAt = readAt
        self.isUnclean = isUnclean
    }

    /// Every counter of another attachment began at 0.
    ///
    /// - Returns: What was exposed and may not be counted again.
    mutating func begin(_ attachment: UInt64) -> Loss {
        let isUncertain = isUnclean && !isRead
        if self.attachment == attachment { return isUncertain ? .ofOthers : .none }
        (baselines, changed) = ([:], [])
        self.attachment = attachment
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
    }

    /// What the store lacks; `nil` if that is nothing.
    mutating func takeChanges() -> ApplicationChanges? {
        guard let attachment, !changed.isEmpty else { return nil }
        defer { changed = [] }
        return ApplicationChanges(
            attachment: attachment, baselines: baselines.filter { changed.contains($0.key) })
    }

    /// A new file has none of the baselines.
    mutating func recommit() { changed = Set(baselines.keys) }
}

/// Up to where a counter is booked, and for which application.
package struct ApplicationBaseline: Hashable, Sendable {
    package var counter: ApplicationCounter
    package var application: ApplicationName

    package init(counter: ApplicationCounter, application: ApplicationName) {
        self.counter = counter
        self.application = application
    }
}

/// The store's record of the counters of applications.
package struct StoredApplications: Sendable {
    package var attachment: UInt64
    package var baselines: [ApplicationCounterKey: ApplicationBaseline]

    package init(attachment: UInt64, baselines: [ApplicationCounterKey: ApplicationBaseline]) {
        self.attachment = attachment
        self.baselines = baselines
    }
}

/// What a commit changes about the counters of applications.
package struct ApplicationChanges: Sendable {
    /// Baselines of any other attachment are forgotten.
    package var attachment: UInt64
    package var baselines: [ApplicationCounterKey: ApplicationBaseline]
}
