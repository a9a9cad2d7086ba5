import Accounting
import Exposition
import Netlink
import Reports

/// The labels of everything that is shown, and what is known of the links. They are kept until a device, a link or the
/// uplink changes, so a value that changes otherwise belongs elsewhere: see ``DeviceSnapshot``.
struct Series {
    /// How many gone devices are shown by themselves.
    static let maximumGone = 50

    /// What a row of ``labels`` stands for.
    struct Entry: BitwiseCopyable {
        /// The account's place in the ledger; `nil` for the sum of gone devices that aren't shown by themselves.
        var place: Int?
        var isUp = false
        var isUplink = false
    }

    /// One for each row, in the order of the labels' bytes, so that it is the same in every locale.
    let entries: [Entry]
    /// `device`.
    let labels: LabelColumn
    /// `device`, `kind` and `alias`.
    let infoLabels: LabelColumn
    /// `device`, `family` and `address`, one row for each address of a device that is there.
    let addressLabels: LabelColumn
    private let ledgerVersion: UInt64
    private let linksVersion: UInt64
    private let uplink: Set<DeviceIndex>

    private struct Account {
        var entry: Entry
        var labels: LabelSet
        var infoLabels = LabelSet.none
        var addressLabels: [LabelSet] = []
    }

    /// Of nothing.
    init() {
        (entries, labels, infoLabels, addressLabels) = ([], LabelColumn([]), LabelColumn([]), LabelColumn([]))
        (ledgerVersion, linksVersion, uplink) = (.max, .max, [])
    }

    init(_ ledger: Ledger, _ links: LinkTable) {
        ledgerVersion = ledger.structureVersion
        linksVersion = links.version
        uplink = ledger.currentUplink
        let keys = ledger.places.compactMap { place in ledger.key(at: place).map { (place, $0) } }
        let names = AccountNames(keys.lazy.map(\.1), collapse: ledger.rules.collapse)
        let members = ledger.membersByPlace
        let addresses = Dictionary(grouping: links.addresses) { DeviceIndex(rawValue: $0.index) }
        var accounts = [Account(entry: Entry(place: nil), labels: LabelSet([("device", AccountNames.otherLabel)]))]
        for (place, key) in keys where place != ledger.uplinkPlace && key.isOfDevices {
            let members = members[place] ?? []
            let entry = Entry(
                place: place, isUp: members.contains { links[$0.rawValue]?.isUp == true },
                isUplink: members.contains(where: uplink.contains))
            accounts.append(Self.account(entry, key, members, links, names) { addresses[$0] ?? [] })
        }
        accounts.sort { $0.labels.precedes($1.labels) }
        entries = accounts.map(\.entry)
        labels = LabelColumn(accounts.map(\.labels))
        infoLabels = LabelColumn(accounts.map(\.infoLabels))
        addressLabels = LabelColumn(accounts.flatMap(\.addressLabels))
    }

    /// Whether anything that shows in a label, or that an entry says, has changed since.
    func isOutdated(_ ledger: Ledger, _ links: LinkTable) -> Bool {
        ledger.structureVersion != ledgerVersion || links.version != linksVersion || ledger.currentUplink != uplink
    }

    private static func account(
        _ entry: Entry, _ key: AccountKey, _ members: [DeviceIndex], _ links: LinkTable, _ names: AccountNames,
        addresses: (DeviceIndex) -> [InterfaceAddress]
    ) -> Account {
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
        case .uplink, .application, .elsewhere, .uplinkScope: label = ""
        }
        return Account(
            entry: entry, labels: LabelSet([("device", label)]),
            infoLabels: LabelSet([("device", label), ("kind", kind), ("alias", alias)]), addressLabels: addressLabels)
    }

    /// What the ledger shows now under these labels.
    func snapshots(of ledger: Ledger) -> [DeviceSnapshot] {
        var snapshots: [DeviceSnapshot] = []
        snapshots.reserveCapacity(entries.count)
        var goneCount = 0
        for (row, entry) in entries.enumerated() {
            guard let place = entry.place, let view = ledger.view(at: place) else { continue }
            if !view.isLive {
                if view.periods.month.isZero { continue }
                goneCount += 1
            }
            snapshots.append(DeviceSnapshot(row: row, isUp: entry.isUp, isUplink: entry.isUplink, view: view))
        }
        return goneCount > Self.maximumGone ? limited(snapshots) : snapshots
    }

    /// The same with the largest of the month's gone devices, and the sum of all others.
    private func limited(_ snapshots: [DeviceSnapshot]) -> [DeviceSnapshot] {
        let ranked = snapshots.filter { !$0.view.isLive }
            .sorted { $0.view.periods.month.bytes > $1.view.periods.month.bytes }
        var other = ranked[Self.maximumGone]
        for snapshot in ranked[(Self.maximumGone + 1)...] {
            other.view.lifetime += snapshot.view.lifetime
            other.view.periods.add(snapshot.view.periods)
        }
        if let row = entries.firstIndex(where: { $0.place == nil }) { other.row = row }
        let shown = snapshots.filter(\.view.isLive) + ranked[..<Self.maximumGone] + [other]
        return shown.sorted { $0.row < $1.row }
    }
}
