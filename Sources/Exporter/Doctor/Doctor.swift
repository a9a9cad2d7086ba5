import Accounting
import CLinux
import CivilTime
import Configuration
import Glibc
import LedgerStore
import Machine
import Netlink
import Reports

/// Reports in plain words what is metered here, what isn't, and what may be wrong.
package struct Doctor {
    /// How serious a finding is.
    package enum Level: String, Codable, Sendable {
        case good
        /// Worth knowing; nothing has to be done.
        case advice
        /// Something is wrong.
        case problem
    }

    package struct Finding: Codable, Sendable {
        package var level: Level
        package var text: String
    }

    package struct Section: Codable, Sendable {
        package var title: String
        package var findings: [Finding]
    }

    private let access: LedgerAccess
    private var sections: [Section] = []

    /// Looks at everything.
    package static func sections(of access: LedgerAccess) async -> [Section] {
        var doctor = Doctor(access: access)
        await doctor.look()
        return doctor.sections
    }

    private init(access: LedgerAccess) {
        self.access = access
    }

    private mutating func look() async {
        let setup: LedgerAccess.Setup
        do throws(LedgerAccess.Failure) {
            setup = try access.setup()
            let path = access.configurationPath
            let configuration =
                ConfigurationFile.exists(path) ? "\(path): good" : "\(path) isn't there, so the defaults apply"
            let notes = setup.configuration.notes.map { Finding(level: .advice, text: "\($0)") }
            add("Configuration", [Finding(level: .good, text: configuration)] + notes)
        } catch {
            add("Configuration", [Finding(level: .problem, text: error.description)])
            return
        }
        lookAtDevices(setup)
        add("Clock", clock(setup))
        add("Ledger", await ledger(setup))
        add("Counting", CountingTest.findings())
    }

    private mutating func add(_ title: String, _ findings: [Finding]) {
        sections.append(Section(title: title, findings: findings))
    }

    // MARK: - Devices

    private mutating func lookAtDevices(_ setup: LedgerAccess.Setup) {
        let links: [Link]
        let routes: [DefaultRoute]
        let best: DefaultRoute?
        do {
            let kernel = try KernelNetwork()
            links = try kernel.links()
            routes = try kernel.defaultRoutes()
            best = try kernel.defaultRoute(DefaultRoute.LinkRoles(links))
        } catch {
            add("Devices", [Finding(level: .problem, text: "the kernel can't be read: \(error)")])
            return
        }
        add("Devices", links.sorted { $0.deviceName < $1.deviceName }.map { Self.device($0, setup.rules) })
        add("Uplink", Self.uplink(links, routes, best, setup.rules))
        let check = PlanCheck(
            links: links, uplink: best?.links ?? [], rules: setup.rules, accounts: access.storedAccounts())
        func problems(_ texts: [String]) -> [Finding] { texts.map { Finding(level: .problem, text: $0) } }
        add("Bytes that are counted twice", Self.hazards(links) + problems(check.countingTwice(setup.plans)))
        add(
            "Bytes that nobody counts",
            [Self.offload()]
                + problems(check.countingNothing(setup.plans, csvLog: setup.configuration.csvLog)))
    }

    private static func name(_ link: Link) -> String { link.deviceName.label { _ in false } }

    private static func device(_ link: Link, _ rules: AccountingRules) -> Finding {
        let about = "\(name(link)) (\(link.kind), \(link.isUp ? "up" : "down"))"
        switch rules.account(for: link.deviceName) {
        case .collapsed(let pattern):
            return Finding(level: .good, text: "\(about) is metered with all others that fit \(pattern), as one series")
        case .device: return Finding(level: .good, text: "\(about) is metered by itself")
        case .uplink, nil:
            let pattern = rules.exclude.first { $0.matches(link.deviceName) }?.text ?? ""
            return Finding(level: .good, text: "\(about) isn't metered: devices.exclude has \(pattern)")
        }
    }

    static func uplink(
        _ links: [Link], _ routes: [DefaultRoute], _ best: DefaultRoute?, _ rules: AccountingRules
    ) -> [Finding] {
        let byIndex = Dictionary(links.map { ($0.index, $0) }, uniquingKeysWith: { $1 })
        func names(_ route: DefaultRoute) -> String {
            route.links.compactMap { byIndex[$0] }.map(name).sorted().joined(separator: " and ")
        }
        guard let best, !best.links.isEmpty else {
            let refused = routes.contains {
                $0.links.isEmpty && $0.lostNexthop == nil && $0.table == DefaultRoute.mainTable
            }
            let lost = lostRoutes(routes)
            if !refused, !lost.isEmpty {
                return lost + [
                    Finding(
                        level: .advice,
                        text: "no default route leads out, so this machine is offline and nothing is the uplink")
                ]
            }
            return [
                Finding(
                    level: .advice,
                    text: refused
                        ? "the default route refuses packets (blackhole or unreachable), so nothing is the uplink"
                        : "there is no default route, so this machine is offline and nothing is the uplink")
            ]
        }
        let table = best.table == DefaultRoute.mainTable ? "" : " in table \(best.table)"
        let several =
            best.links.count > 1 ? " together: the route leads over all of them (ECMP), and each byte counts once" : ""
        var findings = [
            Finding(
                level: .good,
                text:
                    "\(names(best)) \(best.links.count > 1 ? "are" : "is") the uplink\(several): the best default route is its \(best.family == .ipv4 ? "IPv4" : "IPv6") one\(table), with metric \(best.metric)"
            )
        ]
        let carriers = best.links.compactMap { byIndex[$0] }
        let metered = carriers.filter { rules.account(for: $0.deviceName) != nil }
        let effect =
            metered.isEmpty
            ? "nothing is counted for the uplink"
            : "of the uplink only \(metered.map(name).sorted().joined(separator: " and ")) is counted"
        for link in carriers where rules.account(for: link.deviceName) == nil {
            findings.append(
                Finding(
                    level: .problem,
                    text: "the uplink \(name(link)) isn't metered, so \(effect): take it out of devices.exclude"))
        }
        for route in routes where !route.links.isEmpty && !route.links.allSatisfy(best.links.contains) {
            let isTunnel = route.links.contains { byIndex[$0]?.isTunnel ?? false }
            let reason =
                isTunnel
                ? "it is a tunnel, whose bytes \(names(best)) or another device carries"
                : "its metric is \(route.metric)\(route.table == DefaultRoute.mainTable ? "" : ", in table \(route.table)")"
            findings.append(
                Finding(level: .good, text: "\(names(route)) has a default route too, but isn't the uplink: \(reason)"))
        }
        return findings + lostRoutes(routes)
    }

    private static func lostRoutes(_ routes: [DefaultRoute]) -> [Finding] {
        routes.compactMap { route in
            guard let nexthop = route.lostNexthop else { return nil }
            let family = route.family == .ipv4 ? "IPv4" : "IPv6"
            return Finding(
                level: .advice,
                text:
                    "the \(family) default route with metric \(route.metric) leads nowhere: its nexthop object \(nexthop) is gone, or its link is down (see ip nexthop show)"
            )
        }
    }

    // MARK: - Double counting

    private static func hazards(_ links: [Link]) -> [Finding] {
        var findings: [Finding] = []
        for tunnel in links where tunnel.isTunnel {
            findings.append(
                Finding(
                    level: .advice,
                    text:
                        "\(name(tunnel)) is a tunnel (\(tunnel.kind)): the device that it goes out of carries its bytes again, inside other packets"
                ))
        }
        for link in links where link.kind == "ppp" {
            findings.append(
                Finding(
                    level: .advice,
                    text:
                        "\(name(link)) is a PPP link: over Ethernet (PPPoE, as with DSL) the device that it goes out of carries its bytes again"
                ))
        }
        for stack in PlanCheck.stacks(of: links) where !stack.part.isTunnel {
            findings.append(
                Finding(
                    level: .advice,
                    text:
                        "\(name(stack.part)) \(stack.relation) \(name(stack.whole)) (\(stack.whole.kind)): a sum over both counts most bytes twice; the uplink doesn't"
                ))
        }
        return findings.isEmpty
            ? [
                Finding(
                    level: .good, text: "no bridge, bond, VLAN, macvlan or tunnel carries another device's bytes again")
            ] : findings
    }

    // MARK: - Offload

    /// A flow table in hardware may forward packets past the devices' counters (nf_flowtable of the kernel's
    /// documentation). `/proc/net/nf_conntrack` marks such flows.
    private static func offload() -> Finding {
        if Glibc.access("/sys/module/nf_flow_table", F_OK) != 0 {
            return Finding(level: .good, text: "no flow table is loaded, so the counters see all forwarded bytes")
        }
        guard let flows = fopen("/proc/net/nf_conntrack", "r") else {
            return Finding(
                level: .advice,
                text:
                    "a flow table is loaded; only root can see whether hardware forwards past the counters (flags offload in nft list flowtables)"
            )
        }
        defer { fclose(flows) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        var count = 0
        while getline(&line, &capacity, flows) > 0 {
            if let line, strstr(line, "[HW_OFFLOAD]") != nil { count += 1 }
        }
        return count == 0
            ? Finding(level: .good, text: "a flow table is loaded, but no flow is in hardware now")
            : Finding(
                level: .problem,
                text:
                    "hardware forwards \(count) flows past the counters, so they aren't metered: remove flags offload from the flow table"
            )
    }

    // MARK: - Clock

    private func clock(_ setup: LedgerAccess.Setup) -> [Finding] {
        let calendar = setup.localCalendar
        let today = calendar.day(containing: setup.now)
        let span = calendar.span(ofDay: today)
        let hours = Double(span.upperBound.secondsSinceEpoch - span.lowerBound.secondsSinceEpoch) / 3600
        let zone = setup.configuration.timezone
        let named =
            switch zone {
            case .local: "the system's zone"
            case .named(let name): name
            case .fixed: "a fixed offset"
            }
        let boot =
            SystemClock.bootID() == Epoch.unknownBoot
            ? [Finding(level: .problem, text: Daemon.unknownBootProblem)] : []
        return boot + [
            netusage_clock_is_synchronised() == 1
                ? Finding(level: .good, text: "the clock is synchronised")
                : Finding(
                    level: .advice,
                    text:
                        "the clock isn't synchronised, so bytes may go to the wrong day near midnight: enable systemd-timesyncd or chrony"
                ),
            Finding(
                level: .good,
                text:
                    "days are those of \(named): it is \(calendar.rfc3339(setup.now)), and the next day begins at \(calendar.rfc3339(span.upperBound)), after \(decimalText(hours, decimals: hours.rounded() == hours ? 0 : 1)) hours"
            ),
        ]
    }

    // MARK: - Ledger

    private func ledger(_ setup: LedgerAccess.Setup) async -> [Finding] {
        var findings: [Finding] = []
        var hasDaemon = false
        do throws(LedgerAccess.Failure) {
            try access.checkDirectory()
        } catch {
            return [Finding(level: .problem, text: error.description)]
        }
        do {
            hasDaemon = try await access.daemon()?.live() != nil
            findings.append(
                hasDaemon
                    ? Finding(level: .good, text: "a daemon runs on it, and answers this user")
                    : Finding(
                        level: .problem,
                        text:
                            "no daemon runs on it, so nothing is metered now: start netusage serve, or netusage service start"
                    ))
        } catch {
            findings.append(Finding(level: .problem, text: "\(error)"))
        }
        guard LedgerFile.exists(at: access.storagePath) else {
            return findings + [
                Finding(
                    level: .problem, text: "\(access.storagePath): there is no ledger yet; netusage serve begins one")
            ]
        }
        do throws(StoreError) {
            let file = try LedgerFile(reading: access.storagePath)
            findings.append(
                Finding(
                    level: .good,
                    text: "\(access.storagePath): \(sizeText(UInt64(max(0, file.sizeBytes)))), of this version"))
            if let problem = try file.problem() {
                findings.append(
                    Finding(
                        level: .problem,
                        text: "it is damaged: \(problem); the daemon moves it aside and begins a new one"))
            } else {
                findings.append(Finding(level: .good, text: "its integrity check passed"))
            }
            let days = try file.days(from: .earliest)
            if let first = days.days.first?.day {
                findings.append(
                    Finding(
                        level: .good,
                        text:
                            "it has \(Set(days.days.map(\.day)).count) days since \(first), of \(days.accounts.count) accounts"
                    ))
            }
            if let last = try file.header()?.lastReading.timestamp {
                let age = setup.now.secondsSinceEpoch - last.secondsSinceEpoch
                let isOld = hasDaemon && age > setup.freshSeconds
                findings.append(
                    Finding(
                        level: isOld ? .problem : .good,
                        text:
                            "it was written last at \(setup.localCalendar.rfc3339(last))\(isOld ? ", too long ago: see the daemon's log" : "")"
                    ))
            }
        } catch {
            let isMerelyDenied = hasDaemon && error.code == .unavailable
            findings.append(Finding(level: isMerelyDenied ? .advice : .problem, text: error.description))
        }
        return findings
    }
}
