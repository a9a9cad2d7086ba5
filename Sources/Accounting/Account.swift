import CivilTime

/// The permanent number of an account, in memory and in the store.
package struct AccountID: Hashable, Comparable, Sendable {
    package let rawValue: Int64

    package init(rawValue: Int64) {
        self.rawValue = rawValue
    }

    package static func < (a: AccountID, b: AccountID) -> Bool { a.rawValue < b.rawValue }
}

/// What bytes are booked to.
package enum AccountKey: Hashable, Codable, Sendable {
    case device(DeviceName)
    /// A class of devices shown as one series, by its pattern.
    case collapsed(String)
    /// The devices that carry the default route.
    case uplink
    /// What an application carried, by where the other ends are.
    case application(ApplicationName, TrafficScope)
    /// What of an application's bytes isn't known to have passed the uplink.
    case elsewhere(ApplicationName, TrafficScope)
    /// What passed the uplink, by where the other ends are.
    case uplinkScope(UplinkScope)

    /// Whether it may stand for several devices, or for none.
    var isShared: Bool {
        switch self {
        case .device: false
        case .collapsed, .uplink, .application, .elsewhere, .uplinkScope: true
        }
    }

    package var isApplication: Bool {
        if case .application = self { true } else { false }
    }

    /// Whether its bytes of five minutes are kept only as long as those of applications.
    package var isOfApplication: Bool {
        switch self {
        case .application, .elsewhere: true
        case .device, .collapsed, .uplink, .uplinkScope: false
        }
    }

    /// Whether it gets the bytes of devices' own counters.
    package var isOfDevices: Bool {
        switch self {
        case .device, .collapsed, .uplink: true
        case .application, .elsewhere, .uplinkScope: false
        }
    }
}

/// Events that limit the trust in an account's bytes.
package struct AccountEvents: Hashable, Sendable, BitwiseCopyable {
    package var resets: UInt64 = 0
    package var gapBytes: UInt64 = 0
    package var suspectBytes: UInt64 = 0

    package init(resets: UInt64 = 0, gapBytes: UInt64 = 0, suspectBytes: UInt64 = 0) {
        self.resets = resets
        self.gapBytes = gapBytes
        self.suspectBytes = suspectBytes
    }

    package mutating func add(_ other: AccountEvents) {
        resets = saturatingSum(resets, other.resets)
        gapBytes = saturatingSum(gapBytes, other.gapBytes)
        suspectBytes = saturatingSum(suspectBytes, other.suspectBytes)
    }
}

/// An account's bytes in the open periods, and in the previous day and month.
package struct PeriodTotals: Hashable, Sendable, BitwiseCopyable {
    package var day = Total.zero
    package var week = Total.zero
    package var month = Total.zero
    package var previousDay = Total.zero
    package var previousMonth = Total.zero

    package init(
        day: Total = .zero, week: Total = .zero, month: Total = .zero, previousDay: Total = .zero,
        previousMonth: Total = .zero
    ) {
        self.day = day
        self.week = week
        self.month = month
        self.previousDay = previousDay
        self.previousMonth = previousMonth
    }

    package mutating func add(_ other: PeriodTotals) {
        day += other.day
        week += other.week
        month += other.month
        previousDay += other.previousDay
        previousMonth += other.previousMonth
    }
}

/// One account of the ledger while the program runs.
struct Account {
    let id: AccountID
    var key: AccountKey
    /// The value of `_total`: what the members' counters have shown in this boot. It wraps like a kernel counter.
    var counter = Counters.zero
    var lifetime = Total.zero
    var days = DayTotals()
    var periods = PeriodTotals()
    var events = AccountEvents()
    var rate = RateGauge()
    /// How many devices of the kernel are booked to this account now.
    var memberCount = 0
    /// Whether a device was booked to it at any time since the program started.
    var hadMembers = false
    /// Whether no device has been counted here in this boot. Then `counter` starts at what the first members show.
    var isFresh = false
    /// Whether this account was merged into another one.
    var isFolded = false
    /// The plans that count this account.
    var counting = PlanBook.Counting()
    /// The store's record of this account; `nil` if it has none.
    var persisted: AccountRecord?
}

extension Account {
    /// - Parameter boot: The boot of the ledger.
    init(_ stored: StoredLedger.StoredAccount, boot: Int64) {
        self.init(
            id: stored.record.id, key: stored.record.key, lifetime: stored.lifetime, events: stored.record.events,
            persisted: stored.record)
        isFresh = stored.record.offsetBoot != boot
        if !isFresh { counter = stored.record.counterOffset }
    }

    mutating func countUp(_ delta: Delta) {
        counter.received &+= delta.received
        counter.transmitted &+= delta.transmitted
    }

    /// Starts to count a member whose counters show this. The counter of a fresh account starts there.
    mutating func beginCounting(at counters: Counters) {
        if isFresh { countUp(Delta(sinceCreation: counters)) }
    }

    /// Adds what another ledger booked to this account later, except days. The later counter continues: it was exposed.
    mutating func absorb(_ later: Account) {
        counter = later.counter
        isFresh = later.isFresh
        lifetime += later.lifetime
        events.add(later.events)
        rate = later.rate
        hadMembers = hadMembers || later.hadMembers
    }

    /// Takes all that another account has.
    mutating func take(_ other: Account, in window: PeriodWindow) {
        countUp(Delta(sinceCreation: other.counter))
        lifetime += other.lifetime
        events.add(other.events)
        rate.add(other.rate)
        memberCount += other.memberCount
        for entry in other.days.entries { days.add(entry.total, on: entry.day) }
        periods = window.totals(of: days)
    }

    /// Empties the account after it was merged into another one.
    mutating func becomeFolded() {
        days = DayTotals()
        periods = PeriodTotals()
        lifetime = .zero
        memberCount = 0
        isFolded = true
        rate.stop()
    }
}

/// An account's bytes by local day, in order.
struct DayTotals {
    private(set) var entries: [(day: CivilDate, total: Total)] = []

    mutating func add(_ total: Total, on day: CivilDate) {
        let index = firstIndex(notBefore: day)
        if index < entries.count, entries[index].day == day {
            entries[index].total += total
        } else {
            entries.insert((day, total), at: index)
        }
    }

    func sum(from start: CivilDate, before end: CivilDate) -> Total {
        entries[firstIndex(notBefore: start)...].prefix { $0.day < end }.reduce(into: Total.zero) { $0 += $1.total }
    }

    mutating func removeAll(before day: CivilDate) {
        entries.removeFirst(firstIndex(notBefore: day))
    }

    /// Most look-ups are for the last day, so it is tried first.
    private func firstIndex(notBefore day: CivilDate) -> Int {
        if let last = entries.last, last.day < day { return entries.count }
        return entries.firstPlace { $0.day >= day }
    }
}
