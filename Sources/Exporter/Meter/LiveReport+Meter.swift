import Accounting
import CivilTime
import Reports

extension LiveReport {
    init(
        _ ledger: Ledger, _ links: LinkTable, isOnline: Bool, showsAddresses: Bool, collapse: [DevicePattern],
        at now: Timestamp, by subject: UsageQuery.Subject
    ) {
        let views = subject == .device ? ledger.views : [(ledger.uplinkPlace, AccountKey.uplink, ledger.uplinkView)]
        let names = AccountNames(views.lazy.map(\.key), collapse: collapse)
        let members = ledger.membersByPlace
        let addresses = showsAddresses ? Dictionary(grouping: links.addresses) { DeviceIndex(rawValue: $0.index) } : [:]
        let accounts = views.filter(\.view.isLive).map { place, key, view in
            // The uplink is where the default route is.
            let devices = key == .uplink ? ledger.currentUplink.sorted() : members[place] ?? []
            let link = key.isOneLink ? devices.first.flatMap { links[$0.rawValue] } : nil
            return Account(
                view, name: names.name(of: key), kind: key.kind, link: link?.kind,
                up: devices.contains { links[$0.rawValue]?.isUp == true },
                uplink: devices.contains(where: ledger.currentUplink.contains),
                addresses: key.isOneLink
                    ? Set(devices.flatMap { addresses[$0] ?? [] }.map(\.text)).sorted() : [])
        }.sorted { ($0.kind == "uplink" ? 0 : 1, $0.name) < ($1.kind == "uplink" ? 0 : 1, $1.name) }
        self.init(
            asOf: ledger.calendar.local(now), online: isOnline,
            accounts: subject == .device ? accounts : accounts + Self.applications(of: ledger))
    }

    /// What applications carried today, one account for each scope: the busiest first.
    private static func applications(of ledger: Ledger) -> [Account] {
        let accounts = ledger.places.compactMap { place -> Account? in
            guard case .application(let name, let scope)? = ledger.key(at: place), let view = ledger.view(at: place),
                !view.periods.day.isZero
            else { return nil }
            return Account(
                view, name: name.text, kind: "application", link: nil, up: view.peak != .zero, uplink: false,
                addresses: [], scope: scope.rawValue)
        }
        func rate(_ account: Account) -> Double {
            account.receiveBytesPerSecond + account.transmitBytesPerSecond
        }
        return accounts.sorted {
            (rate($1), $1.today.totalBytes, $0.name) < (rate($0), $0.today.totalBytes, $1.name)
        }
    }
}

extension AccountKey {
    /// Whether it stands for one link at a time.
    fileprivate var isOneLink: Bool {
        switch self {
        case .device, .uplink: true
        case .collapsed, .application, .elsewhere, .uplinkScope: false
        }
    }
}
