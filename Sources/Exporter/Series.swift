import Accounting
import Exposition
import Netlink
import Reports

/// The labels of everything that is shown, rendered once and kept until a device or a link changes.
struct Series {
    /// How many gone devices are shown by themselves.
    static let maximumGone = 50

    struct Entry {
        /// The account's place in the ledger.
        let place: Int
        let labels: LabelSet
        let infoLabels: LabelSet
        let addressLabels: [LabelSet]
        let members: [DeviceIndex]
    }

    let entries: [Entry]
    private let ledgerVersion: UInt64
    private let linksVersion: UInt64

    init(_ ledger: Ledger, _ links: LinkTable) {
        ledgerVersion = ledger.structureVersion
        linksVersion = links.version
        let keys = (0..<ledger.accountCount).lazy.compactMap { ledger.view(at: $0)?.key }
        let names = AccountNames(keys, collapse: ledger.rules.collapse)
        let members = ledger.membersByPlace
        let addresses = Dictionary(grouping: links.addresses) { DeviceIndex(rawValue: $0.index) }
        var entries: [Entry] = []
        for place in 0..<ledger.accountCount {
            guard place != ledger.uplinkPlace, let view = ledger.view(at: place) else { continue }
            entries.append(
                Self.entry(place, view.key, members[place] ?? [], links, names) { addresses[$0] ?? [] })
        }
        // By bytes, so that the order is the same in every locale.
        self.entries = entries.sorted { $0.labels.precedes($1.labels) }
    }

    /// Whether anything that shows in a label has changed since.
    func isOutdated(_ ledger: Ledger, _ links: LinkTable) -> Bool {
        ledger.structureVersion != ledgerVersion || links.version != linksVersion
    }

    private static func entry(
        _ place: Int, _ key: AccountKey, _ members: [DeviceIndex], _ links: LinkTable, _ names: AccountNames,
        addresses: (DeviceIndex) -> [InterfaceAddress]
    ) -> Entry {
        let label: String
        var kind = "collapsed"
        var alias = ""
        var addressLabels: [LabelSet] = []
        switch key {
        case .device(let name):
            label = names.label(of: name)
            let link = members.first.flatMap { links[$0.rawValue] }
            kind = link?.kind ?? "unknown"
            alias = link.map { String(validating: $0.alias, as: UTF8.self) ?? rawLabel($0.alias) } ?? ""
            // The same address may be there with several prefixes or peers.
            addressLabels = Set(members.flatMap(addresses).map { [$0.family.rawValue, $0.text] })
                .sorted { $0.lexicographicallyPrecedes($1) }
                .map { LabelSet([("device", label), ("family", $0[0]), ("address", $0[1])]) }
        case .collapsed(let pattern): label = pattern
        case .uplink: label = ""
        }
        return Entry(
            place: place, labels: LabelSet([("device", label)]),
            infoLabels: LabelSet([("device", label), ("kind", kind), ("alias", alias)]), addressLabels: addressLabels,
            members: members)
    }

    /// What the ledger shows now under these labels.
    func snapshots(of ledger: Ledger, _ links: LinkTable) -> [DeviceSnapshot] {
        var live: [DeviceSnapshot] = []
        live.reserveCapacity(entries.count)
        var gone: [DeviceSnapshot] = []
        for entry in entries {
            guard let view = ledger.view(at: entry.place) else { continue }
            if !view.isLive && view.periods.month.isZero { continue }
            let snapshot = DeviceSnapshot(
                labels: entry.labels, view: view, isUp: entry.members.contains { links[$0.rawValue]?.isUp == true },
                isUplink: entry.members.contains(where: ledger.currentUplink.contains), infoLabels: entry.infoLabels,
                addressLabels: entry.addressLabels)
            if view.isLive { live.append(snapshot) } else { gone.append(snapshot) }
        }
        if gone.isEmpty { return live }
        return (live + Self.limited(gone)).sorted { $0.labels.precedes($1.labels) }
    }

    /// The largest of the month's gone devices, and the sum of all others.
    private static func limited(_ gone: [DeviceSnapshot]) -> [DeviceSnapshot] {
        if gone.count <= maximumGone { return gone }
        let ranked = gone.sorted { $0.view.periods.month.bytes > $1.view.periods.month.bytes }
        var other = ranked[maximumGone]
        other.labels = LabelSet([("device", AccountNames.otherLabel)])
        for snapshot in ranked[(maximumGone + 1)...] { other.view.add(snapshot.view) }
        return ranked[..<maximumGone] + [other]
    }
}

extension AccountView {
    /// Adds what another account has in its periods.
    fileprivate mutating func add(_ other: AccountView) {
        lifetime += other.lifetime
        periods.add(other.periods)
    }
}
