import Accounting
import Configuration
import Netlink

/// Finds plans that count what their owner doesn't expect: nothing at all, too much, or some bytes twice.
struct PlanCheck {
    private let links: [Link]
    private let uplink: [UInt32]
    /// The account of each metered device.
    private let accounts: [DeviceName: AccountKey]
    /// All accounts: of devices that are metered now, and in the ledger; `nil` while the ledger isn't read.
    private let known: Set<AccountKey>?
    /// The links of the uplink, if none of them is metered.
    private let excludedUplink: [Link]
    /// Most plans name single devices. They are looked up here: a thousand plans can't each search a thousand links.
    private let linksByName: [DeviceName: [Link]]

    /// - Parameters:
    ///   - uplink: The links that the default route leads over.
    ///   - accounts: The ledger's accounts, including those of gone devices; `nil` if it can't be read.
    init(links: [Link], uplink: [UInt32], rules: AccountingRules, accounts: Set<AccountKey>?) {
        self.links = links
        self.uplink = uplink
        linksByName = Dictionary(grouping: links, by: \.deviceName)
        let metered = linksByName.compactMap { name, _ in rules.account(for: name).map { (name, $0) } }
        self.accounts = Dictionary(uniqueKeysWithValues: metered)
        known = accounts?.union(metered.map(\.1))
        let unmetered = links.filter { uplink.contains($0.index) && rules.account(for: $0.deviceName) == nil }
        excludedUplink = unmetered.count == uplink.count ? unmetered : []
    }

    /// The links that match any of these patterns.
    private func links(fitting patterns: [DevicePattern]) -> [Link] {
        if patterns.contains(where: { $0.literalName == nil }) {
            return links.filter { link in patterns.contains { $0.matches(link.deviceName) } }
        }
        let names = Set(patterns.compactMap(\.literalName))
        return names.flatMap { linksByName[$0] ?? [] }.sorted { $0.index < $1.index }
    }

    /// Whether a plan with these patterns counts one of these accounts.
    private static func isAny(of known: Set<AccountKey>, includedBy patterns: [DevicePattern]) -> Bool {
        for pattern in patterns {
            guard let name = pattern.literalName else {
                return known.contains(where: Selection.devices(patterns).includes)
            }
            if known.contains(.device(name)) { return true }
        }
        return false
    }

    /// A device whose bytes are part of another's.
    struct Stack {
        let part: Link
        let whole: Link
        /// Between the names of both, such as "is a part of".
        let relation: String
    }

    // MARK: - Nothing

    /// Why a plan counts nothing, and what to do about it; `nil` if it counts something.
    func problem(with count: Selection) -> String? {
        switch count {
        case .uplink, .uplinkWithout:
            if excludedUplink.isEmpty { return nil }
            return
                "it counts nothing: the uplink is \(names(excludedUplink)), which isn't metered; take it out of devices.exclude"
        case .applications:
            return knowsApplications
                ? nil : "it counts nothing: applications aren't metered; netusage doctor says what helps"
        case .devices(let patterns):
            guard let known, !Self.isAny(of: known, includedBy: patterns) else { return nil }
            let excluded = links(fitting: patterns).filter { accounts[$0.deviceName] == nil }
            if !excluded.isEmpty {
                return "it counts nothing: \(names(excluded)) isn't metered; take it out of devices.exclude"
            }
            let texts = patterns.map(\.text).joined(separator: ", ")
            return
                "it counts nothing: there is no device \(texts) now or in the ledger; netusage doctor lists the devices"
        }
    }

    /// Why `csv_log` writes nothing for its device; `nil` if it writes something.
    func problem(withCSVDevice name: String) -> String? {
        if name == "uplink" { return problem(with: .uplink) }
        guard let known else { return nil }
        let isKnown = known.contains { key in
            switch key {
            case .device(let device): device.label { _ in false } == name
            case .collapsed(let pattern): pattern == name
            case .uplink, .application, .elsewhere, .uplinkScope: false
            }
        }
        return isKnown
            ? nil
            : "nothing is written: there is no device \(name) now or in the ledger; netusage doctor lists the devices"
    }

    // MARK: - Twice

    /// Links whose bytes another link carries, too: parts of bridges and bonds, and VLANs and others on a carrier.
    static func stacks(of links: [Link]) -> [Stack] {
        let byIndex = Dictionary(links.map { ($0.index, $0) }, uniquingKeysWith: { $1 })
        var stacks: [Stack] = []
        for link in links {
            if let master = link.master.flatMap({ byIndex[$0] }) {
                stacks.append(Stack(part: link, whole: master, relation: "is a part of"))
            }
            if let carrier = link.carrier.flatMap({ byIndex[$0] }) {
                stacks.append(Stack(part: link, whole: carrier, relation: "is a \(link.kind) on"))
            }
        }
        return stacks
    }

    private func isCounted(_ link: Link, by count: Selection) -> Bool {
        accounts[link.deviceName].map(count.includes) ?? false
    }

    /// The links that a plan counts one by one.
    private func counted(by count: Selection) -> [Link] {
        switch count {
        case .uplink, .uplinkWithout, .applications: []
        case .devices(let patterns): links(fitting: patterns).filter { isCounted($0, by: count) }
        }
    }

    /// Counted links whose bytes another counted link carries again, with the nearest such links.
    ///
    /// - Parameter wholes: ``stacks(of:)`` by the number of the part.
    private func doubled(
        _ counted: [Link], by count: Selection, _ wholes: [UInt32: [Stack]]
    ) -> [(part: Link, whole: Link)] {
        counted.flatMap { link -> [(part: Link, whole: Link)] in
            guard let first = wholes[link.index] else { return [] }
            var seen: Set<UInt32> = [link.index]
            var next = first.map(\.whole)
            var found: [Link] = []
            while let whole = next.popLast() {
                if !seen.insert(whole.index).inserted { continue }
                if isCounted(whole, by: count) {
                    found.append(whole)
                } else {
                    next += wholes[whole.index]?.map(\.whole) ?? []
                }
            }
            return found.map { (link, $0) }
        }
    }

    /// Tunnels that a plan counts beside the uplink. The kernel doesn't say which link carries a tunnel.
    private func tunnelsBesideUplink(_ counted: [Link]) -> (tunnels: [Link], uplink: [Link]) {
        (counted.filter(\.isTunnel), counted.filter { uplink.contains($0.index) && !$0.isTunnel })
    }

    // MARK: - All plans

    /// What is wrong with the plans of a configuration, a sentence each.
    func findings(_ plans: Plans, csvLog: Configuration.CSVLog?) -> [String] {
        countingNothing(plans, csvLog: csvLog) + countingTwice(plans) + leavingNothingOut(plans)
    }

    /// Whether applications are metered or were; also if nobody knows.
    private var knowsApplications: Bool {
        known?.contains(where: \.isApplication) ?? true
    }

    func leavingNothingOut(_ plans: Plans) -> [String] {
        if knowsApplications { return [] }
        return Self.counts(of: plans).compactMap { plan, count in
            guard case .uplinkWithout = count else { return nil }
            return "\(plan): it leaves nothing out: applications aren't metered; netusage doctor says what helps"
        }
    }

    func countingNothing(_ plans: Plans, csvLog: Configuration.CSVLog?) -> [String] {
        var findings = Self.counts(of: plans).compactMap { plan, count in
            problem(with: count).map { "\(plan): \($0)" }
        }
        if let csvLog, let problem = problem(withCSVDevice: csvLog.device) { findings.append("csv_log: \(problem)") }
        return findings
    }

    func countingTwice(_ plans: Plans) -> [String] {
        let wholes = Dictionary(grouping: Self.stacks(of: links), by: \.part.index)
        return Self.counts(of: plans).flatMap { plan, count -> [String] in
            let counted = counted(by: count)
            let doubled = doubled(counted, by: count, wholes)
            var findings = doubled.map { part, whole in
                "\(plan) counts both \(names([part])) and \(names([whole])), so most bytes twice: name one of them under count"
            }
            var (tunnels, uplink) = tunnelsBesideUplink(counted)
            tunnels.removeAll { tunnel in doubled.contains { $0.part.index == tunnel.index } }
            if !tunnels.isEmpty, !uplink.isEmpty {
                findings.append(
                    "\(plan) counts the tunnel \(names(tunnels)) and the uplink \(names(uplink)), which may carry the tunnel's bytes, too, so they count twice: name one of them under count"
                )
            }
            return findings
        }
    }

    private static func counts(of plans: Plans) -> [(plan: String, count: Selection)] {
        plans.quotas.map { ("the quota \($0.name)", $0.count) }
            + plans.rateLimits.map { ("the rate limit \($0.name)", $0.count) }
            + plans.committedRates.map { ("the committed rate \($0.name)", $0.count) }
    }

    private func names(_ links: [Link]) -> String {
        links.map { $0.deviceName.label { _ in false } }.sorted().joined(separator: ", ")
    }
}

extension PlanCheck {
    /// Checks against the kernel as it is now and the accounts of the last commit.
    ///
    /// - Throws: `NetlinkError` when the kernel can't be read.
    init(rules: AccountingRules, accounts: Set<AccountKey>?) throws(NetlinkError) {
        let kernel = try KernelNetwork()
        let links = try kernel.links()
        self.init(
            links: links, uplink: try kernel.defaultRoute(DefaultRoute.LinkRoles(links))?.links ?? [], rules: rules,
            accounts: accounts)
    }
}
