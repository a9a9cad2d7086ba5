import Accounting
import CivilTime
import Netlink

/// The kernel's links by its lists and events, and what each change of a link means for the ledger.
///
/// Pure. Whoever owns it hands over lists and events in the order in which they came, and carries out the changes.
struct LinkTracker {
    /// What the ledger or the uplink has to know.
    enum Change: Equatable {
        /// A link is new.
        case appeared(Link)
        /// The last counters of a link under the name that it had until now.
        case showed(LinkCounters)
        /// Links that have these names from now on, all at once: two may have swapped theirs.
        case named([DeviceIndex: DeviceName])
        case hardwareAddress([UInt8], of: DeviceIndex)
        /// The speed of this link may differ from before.
        case speed(of: Link)
        /// A link is gone; `final` are its last counters, if they are known.
        case departed(DeviceIndex, final: Counters?, movedAway: Bool)
        /// The default route may be another one.
        case routes
        /// Events were lost.
        case lost
    }

    private(set) var table = LinkTable()
    /// Whether the list of links must be read.
    private(set) var isListOutdated = false
    private var hasListFailed = false
    private var listReadAt: BootTime
    /// Links that an event renamed or deleted after the last dump of counters began. The dump's counters for them are
    /// stale, or those of another link that has the number now.
    private var superseded: Set<UInt32> = []
    /// Links that an event reported on after the last list of links began.
    private var touched: Set<UInt32> = []

    init(_ stock: KernelStock, at now: BootTime) {
        for link in stock.links { table.update(link) }
        table.replaceAddresses(stock.addresses)
        isListOutdated = !stock.isSettled
        listReadAt = now
    }

    // MARK: - Events

    mutating func take(_ event: KernelNetwork.Event) -> [Change] {
        switch event {
        case .linkChanged(let link): return changed(link)
        case .linkRemoved(let link): return removed(link)
        case .addressAdded(let address):
            table.insert(address)
            return []
        case .addressRemoved(let address):
            table.remove(address)
            return [.routes]  // IPv4 routes that prefer it as a source go without an event.
        case .defaultRouteChanged: return [.routes]
        case .lost:
            // The kernel reports the loss before it hands over what is still queued. That comes first.
            isListOutdated = true
            return [.lost]
        }
    }

    private mutating func changed(_ link: Link) -> [Change] {
        touched.insert(link.index)
        let previous = table[link.index]
        table.update(link)
        guard let previous else { return [.appeared(link)] }
        var changes: [Change] = []
        if previous.name != link.name {
            if let counters = link.counters {
                superseded.insert(link.index)
                changes.append(.showed(counters))
            }
            // The link may be metered under one of the two names only.
            changes += [.named([link.deviceIndex: link.deviceName]), .routes]
        }
        if previous.hardwareAddress != link.hardwareAddress {
            changes.append(.hardwareAddress(link.hardwareAddress, of: link.deviceIndex))
        }
        if previous.flags != link.flags || previous.operationalState != link.operationalState {
            // IPv4 routes out of a link that goes down go without an event.
            changes += [.speed(of: link), .routes]
        }
        return changes
    }

    private mutating func removed(_ link: Link) -> [Change] {
        touched.insert(link.index)
        superseded.insert(link.index)
        guard let previous = table[link.index] else { return [] }
        table.remove(link.index)
        var changes: [Change] = []
        if previous.hardwareAddress != link.hardwareAddress, !link.hardwareAddress.isEmpty {
            changes.append(.hardwareAddress(link.hardwareAddress, of: link.deviceIndex))
        }
        changes += [
            .departed(link.deviceIndex, final: link.counters?.counters, movedAway: link.movedAway), .routes,
        ]
        return changes
    }

    mutating func eventsFailed() { isListOutdated = true }

    // MARK: - Counters

    /// The counters are dumped next.
    mutating func beginCounters() { superseded.removeAll(keepingCapacity: true) }

    /// The dumped counters that are those of the links they are said to be of.
    mutating func sure(_ counters: [LinkCounters], at now: BootTime) -> [Reading] {
        // A link that no event reported on: the event was lost, or is about to come.
        if counters.count != table.links.count, superseded.isEmpty { isListOutdated = true }
        // Not every change is an event: nobody hears of a new alias of a link that is down.
        if now.elapsed(since: listReadAt) >= Self.listInterval { isListOutdated = true }
        if superseded.isEmpty { return counters.map { $0.reading } }
        return counters.compactMap { superseded.contains($0.index) ? nil : $0.reading }
    }

    // MARK: - Lists

    /// How often the list of links is read without a reason. It takes 4 ms at 1,000 links.
    private static let listInterval = Span(seconds: 60)

    /// Whether to read the list of links now. If it couldn't be read, it is tried again once a second.
    func wantsList(at now: BootTime) -> Bool {
        isListOutdated && (!hasListFailed || now.elapsed(since: listReadAt) >= Span(seconds: 1))
    }

    /// The list of links is read next.
    mutating func beginList(at now: BootTime) {
        isListOutdated = false
        listReadAt = now
        touched.removeAll(keepingCapacity: true)
    }

    /// Every difference to the list counts as an event, unless an event has reported on the link since the list began: then
    /// the list is older, and the event had the last bytes of what is gone.
    mutating func take(list: [Link]) -> [Change] {
        let listed = Set(list.map(\.index))
        let present = list.filter { !touched.contains($0.index) }
        var changes: [Change] = []
        for index in table.links.keys.sorted() where !listed.contains(index) && !touched.contains(index) {
            table.remove(index)
            changes.append(.departed(DeviceIndex(rawValue: index), final: nil, movedAway: false))
        }
        let known = present.filter { table[$0.index] != nil }
        let names = known.map { ($0.deviceIndex, $0.deviceName) }
        changes.append(.named(Dictionary(names, uniquingKeysWith: { $1 })))
        for link in present {
            if table[link.index] == nil { changes.append(.appeared(link)) }
            table.update(link)
            // The kernel may have been too busy to name the speed when the link appeared.
            changes += [.hardwareAddress(link.hardwareAddress, of: link.deviceIndex), .speed(of: link)]
        }
        changes.append(.routes)
        hasListFailed = false
        return changes
    }

    mutating func take(addresses: [InterfaceAddress]) { table.replaceAddresses(addresses) }

    mutating func listFailed() {
        isListOutdated = true
        hasListFailed = true
    }
}
