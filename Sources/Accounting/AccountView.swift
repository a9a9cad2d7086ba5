/// What can be seen of an account at one moment.
package struct AccountView: Sendable {
    package var key: AccountKey
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
    /// How many places ``view(at:)`` knows.
    package var accountCount: Int { accounts.count }

    /// The account at a place, or `nil` if it has become part of another.
    package func view(at index: Int) -> AccountView? {
        accounts[index].isFolded ? nil : view(of: index)
    }

    private func view(of index: Int) -> AccountView {
        let account = accounts[index]
        var view = AccountView(
            key: account.key, isLive: account.isLive, counter: account.counter, rate: account.rate.current,
            peak: account.rate.peak, periods: account.periods, lifetime: account.lifetime, events: account.events)
        if let total = hiddenTotal(at: index) { hide(total, in: &view) }
        if !falls.isEmpty {
            let held = heldDays(at: index)
            view.periods.add(window.totals(of: held))
            for entry in held.entries { view.lifetime += entry.total }
        }
        return view
    }

    /// What of the account at a place isn't shown until it is in the store; `nil` if that is nothing.
    func hiddenTotal(at index: Int) -> Total? {
        guard let waiting = unexposed[index] else { return unexposedInFlight[index] }
        return waiting.adding(unexposedInFlight[index] ?? .zero)
    }

    package var uplinkPlace: Int { uplinkAccount }

    package var uplinkView: AccountView { view(of: uplinkAccount) }

    /// The devices whose bytes go to the uplink now.
    package var currentUplink: Set<DeviceIndex> { uplinkDevices }

    /// The devices that are booked to each account, by its place, in the order of their numbers.
    package var membersByPlace: [Int: [DeviceIndex]] {
        Dictionary(grouping: devices.keys.sorted()) { devices[$0]?.account ?? uplinkAccount }
    }

    private func hide(_ total: Total, in view: inout AccountView) {
        view.counter.received &-= total.received
        view.counter.transmitted &-= total.transmitted
        view.lifetime = view.lifetime.without(total)
        view.periods.day = view.periods.day.without(total)
        view.periods.week = view.periods.week.without(total)
        view.periods.month = view.periods.month.without(total)
    }
}

extension Account {
    fileprivate var isLive: Bool {
        switch key {
        case .device: memberCount > 0
        case .collapsed: hadMembers || !periods.month.isZero
        case .uplink: true
        }
    }
}
