/// What can be seen of an account at one moment: nothing but numbers, so that it is copied without counting references.
package struct AccountView: Sendable, BitwiseCopyable {
    /// Whether it is more than history: a device of the kernel is booked to it now, or it is a class of devices that come
    /// and go.
    package var isLive: Bool
    package var counter: Counters
    package var rate: Rate
    package var peak: Rate
    package var periods: PeriodTotals
    package var lifetime: Total
    package var events: AccountEvents
}

extension Ledger {
    /// The places of all accounts; ``view(at:)`` and ``key(at:)`` go by them until ``structureVersion`` changes.
    package var places: Range<Int> { accounts.indices }

    /// The key of the account at a place, or `nil` if it has become part of another.
    package func key(at place: Int) -> AccountKey? { accounts[place].isFolded ? nil : accounts[place].key }

    /// The account at a place, or `nil` if it has become part of another.
    package func view(at place: Int) -> AccountView? { accounts[place].isFolded ? nil : view(of: place) }

    /// All accounts of devices with their keys, but those that have become part of another.
    package var views: [(place: Int, key: AccountKey, view: AccountView)] { views(where: \.isOfDevices) }

    /// The same with what the kernel programs count.
    var allViews: [(place: Int, key: AccountKey, view: AccountView)] { views { _ in true } }

    private func views(where isWanted: (AccountKey) -> Bool) -> [(place: Int, key: AccountKey, view: AccountView)] {
        places.compactMap { place in
            key(at: place).flatMap { isWanted($0) ? (place, $0, view(of: place)) : nil }
        }
    }

    private func view(of place: Int) -> AccountView {
        var view = accounts[place].view
        if let total = accounts.hiddenTotal(at: place) { view.hide(total) }
        if !devices.falls.isEmpty {
            let held = heldDays(at: place)
            view.periods.add(window.totals(of: held))
            for entry in held.entries { view.lifetime += entry.total }
        }
        return view
    }

    package var uplinkPlace: Int { accounts.uplink }

    package var uplinkView: AccountView { view(of: accounts.uplink) }

    /// The devices whose bytes go to the uplink now.
    package var currentUplink: Set<DeviceIndex> { devices.uplink }

    /// The devices that are booked to each account, by its place, in the order of their numbers.
    package var membersByPlace: [Int: [DeviceIndex]] {
        Dictionary(grouping: devices.metered.keys.sorted()) { devices[$0]?.account ?? accounts.uplink }
    }
}

extension AccountView {
    /// Takes out bytes that were carried today.
    fileprivate mutating func hide(_ total: Total) {
        counter.received &-= total.received
        counter.transmitted &-= total.transmitted
        lifetime = lifetime.without(total)
        periods.day = periods.day.without(total)
        periods.week = periods.week.without(total)
        periods.month = periods.month.without(total)
    }
}

extension Account {
    fileprivate var view: AccountView {
        AccountView(
            isLive: isLive, counter: counter, rate: rate.current, peak: rate.peak, periods: periods,
            lifetime: lifetime, events: events)
    }

    private var isLive: Bool {
        switch key {
        case .device: memberCount > 0
        case .collapsed: hadMembers || !periods.month.isZero
        case .uplink: true
        case .application, .elsewhere, .uplinkScope: !periods.month.isZero
        }
    }
}
