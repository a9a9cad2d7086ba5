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
package enum Doctor {
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

        static func good(_ text: String) -> Finding { Finding(level: .good, text: text) }
        static func advice(_ text: String) -> Finding { Finding(level: .advice, text: text) }
        static func problem(_ text: String) -> Finding { Finding(level: .problem, text: text) }
    }

    package struct Section: Codable, Sendable {
        package var title: String
        package var findings: [Finding]
    }

    /// Looks at everything.
    package static func sections(of access: LedgerAccess) async -> [Section] {
        let setup: LedgerAccess.Setup
        do throws(LedgerAccess.Failure) {
            setup = try access.setup()
        } catch {
            return [Section(title: "Configuration", findings: [.problem(error.description)])]
        }
        let path = access.configurationPath
        let configuration =
            ConfigurationFile.exists(path) ? "\(path): good" : "\(path) isn't there, so the defaults apply"
        let notes = setup.configuration.notes.map { Finding.advice("\($0)") }
        var sections = [Section(title: "Configuration", findings: [Finding.good(configuration)] + notes)]
        sections += devices(setup, access)
        sections.append(Section(title: "Applications", findings: await applications(setup, access)))
        sections.append(Section(title: "Clock", findings: clock(setup)))
        sections.append(Section(title: "Ledger", findings: await ledger(setup, access)))
        sections.append(Section(title: "Counting", findings: CountingTest.findings()))
        return sections
    }

    // MARK: - Devices

    private static func devices(_ setup: LedgerAccess.Setup, _ access: LedgerAccess) -> [Section] {
        let links: [Link]
        let routes: [DefaultRoute]
        let best: DefaultRoute?
        do {
            let kernel = try KernelNetwork()
            links = try kernel.links()
            routes = try kernel.defaultRoutes()
            best = try kernel.defaultRoute(DefaultRoute.LinkRoles(links))
        } catch {
            return [Section(title: "Devices", findings: [.problem("the kernel can't be read: \(error)")])]
        }
        let check = PlanCheck(
            links: links, uplink: best?.links ?? [], rules: setup.rules, accounts: access.storedAccounts())
        let devices = links.sorted { $0.deviceName < $1.deviceName }.map { device($0, setup.rules) }
        let twice = check.countingTwice(setup.plans).map(Finding.problem)
        let nothing =
            (check.countingNothing(setup.plans, csvLog: setup.configuration.csvLog)
            + check.leavingNothingOut(setup.plans)).map(Finding.problem)
        return [
            Section(title: "Devices", findings: devices),
            Section(title: "Uplink", findings: uplink(links, routes, best, setup.rules)),
            Section(title: "Bytes that are counted twice", findings: hazards(links) + twice),
            Section(title: "Bytes that nobody counts", findings: [offload()] + nothing),
        ]
    }

    private static func name(_ link: Link) -> String { link.deviceName.label { _ in false } }

    private static func device(_ link: Link, _ rules: AccountingRules) -> Finding {
        let about = "\(name(link)) (\(link.kind), \(link.isUp ? "up" : "down"))"
        switch rules.account(for: link.deviceName) {
        case .collapsed(let pattern):
            return .good("\(about) is metered with all others that fit \(pattern), as one series")
        case .device: return .good("\(about) is metered by itself")
        case .uplink, .application, .elsewhere, .uplinkScope, nil:
            let pattern = rules.exclude.first { $0.matches(link.deviceName) }?.text ?? ""
            return .good("\(about) isn't metered: devices.exclude has \(pattern)")
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
            if refused {
                return [
                    .advice("the default route refuses packets (blackhole or unreachable), so nothing is the uplink")
                ]
            }
            let lost = lostRoutes(routes)
            let problem = lost.isEmpty ? "there is no default route" : "no default route leads out"
            return lost + [Finding.advice("\(problem), so this machine is offline and nothing is the uplink")]
        }
        let table = best.table == DefaultRoute.mainTable ? "" : " in table \(best.table)"
        let several =
            best.links.count > 1 ? " together: the route leads over all of them (ECMP), and each byte counts once" : ""
        var findings = [
            Finding.good(
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
                .problem("the uplink \(name(link)) isn't metered, so \(effect): take it out of devices.exclude"))
        }
        for route in routes where !route.links.isEmpty && !route.links.allSatisfy(best.links.contains) {
            let isTunnel = route.links.contains { byIndex[$0]?.isTunnel ?? false }
            let reason =
                isTunnel
                ? "it is a tunnel, whose bytes \(names(best)) or another device carries"
                : "its metric is \(route.metric)\(route.table == DefaultRoute.mainTable ? "" : ", in table \(route.table)")"
            findings.append(.good("\(names(route)) has a default route too, but isn't the uplink: \(reason)"))
        }
        return findings + lostRoutes(routes)
    }

    private static func lostRoutes(_ routes: [DefaultRoute]) -> [Finding] {
        routes.compactMap { route in
            guard let nexthop = route.lostNexthop else { return nil }
            let family = route.family == .ipv4 ? "IPv4" : "IPv6"
            return .advice(
                "the \(family) default route with metric \(route.metric) leads nowhere: its nexthop object \(nexthop) is gone, or its link is down (see ip nexthop show)"
            )
        }
    }

    // MARK: - Double counting

    private static func hazards(_ links: [Link]) -> [Finding] {
        let tunnels = links.filter(\.isTunnel).map {
            "\(name($0)) is a tunnel (\($0.kind)): the device that it goes out of carries its bytes again, inside other packets"
        }
        let pppLinks = links.filter { $0.kind == "ppp" }.map {
            "\(name($0)) is a PPP link: over Ethernet (PPPoE, as with DSL) the device that it goes out of carries its bytes again"
        }
        let stacks = PlanCheck.stacks(of: links).filter { !$0.part.isTunnel }.map {
            "\(name($0.part)) \($0.relation) \(name($0.whole)) (\($0.whole.kind)): a sum over both counts most bytes twice; the uplink doesn't"
        }
        let hazards = tunnels + pppLinks + stacks
        if !hazards.isEmpty { return hazards.map(Finding.advice) }
        return [.good("no bridge, bond, VLAN, macvlan or tunnel carries another device's bytes again")]
    }

    // MARK: - Offload

    /// A flow table in hardware may forward packets past the devices' counters (nf_flowtable of the kernel's
    /// documentation). `/proc/net/nf_conntrack` marks such flows.
    private static func offload() -> Finding {
        if Glibc.access("/sys/module/nf_flow_table", F_OK) != 0 {
            return .good("no flow table is loaded, so the counters see all forwarded bytes")
        }
        guard let flows = fopen("/proc/net/nf_conntrack", "r") else {
            return .advice(
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
            ? .good("a flow table is loaded, but no flow is in hardware now")
            : .problem(
                "hardware forwards \(count) flows past the counters, so they aren't metered: remove flags offload from the flow table"
            )
    }

    // MARK: - Clock

    private static func clock(_ setup: LedgerAccess.Setup) -> [Finding] {
        let calendar = setup.localCalendar
        let span = calendar.span(ofDay: calendar.day(containing: setup.now))
        let hours = Double(span.upperBound.secondsSinceEpoch - span.lowerBound.secondsSinceEpoch) / 3600
        let named =
            switch setup.configuration.timezone {
            case .local: "the system's zone"
            case .named(let name): name
            case .fixed: "a fixed offset"
            }
        var findings: [Finding] = [
            netusage_clock_is_synchronised() == 1
                ? .good("the clock is synchronised")
                : .advice(
                    "the clock isn't synchronised, so bytes may go to the wrong day near midnight: enable systemd-timesyncd or chrony"
                ),
            .good(
                "days are those of \(named): it is \(calendar.rfc3339(setup.now)), and the next day begins at \(calendar.rfc3339(span.upperBound)), after \(decimalText(hours, decimals: hours.rounded() == hours ? 0 : 1)) hours"
            ),
        ]
        if SystemClock.bootID() == Epoch.unknownBoot { findings.insert(.problem(Daemon.unknownBootProblem), at: 0) }
        return findings
    }

    // MARK: - Ledger

    /// Whether a daemon meters other devices or counts other plans than the configuration says, or by another clock.
    private static func hasOtherSettings(_ daemon: DaemonClient, _ setup: LedgerAccess.Setup) async throws -> Bool {
        let basis = try await daemon.bookingBasis()
        let plans = try await daemon.plans()
        let (rules, ours) = (basis.rules, setup.rules)
        return rules.exclude != ours.exclude || rules.collapse != ours.collapse || rules.counted != ours.counted
            || basis.calendar != setup.localCalendar
            || Set(plans.quotas.map(\.plan.name)) != Set(setup.plans.quotas.map(\.name))
    }

    private static func ledger(_ setup: LedgerAccess.Setup, _ access: LedgerAccess) async -> [Finding] {
        do throws(LedgerAccess.Failure) {
            try access.checkDirectory()
        } catch {
            return [.problem(error.description)]
        }
        var findings: [Finding] = []
        var hasDaemon = false
        do {
            let daemon = try await access.daemon()
            hasDaemon = try await daemon?.live(by: .device) != nil
            if let daemon, try await hasOtherSettings(daemon, setup) {
                findings.append(
                    .problem(
                        "the daemon goes by another configuration than \(access.configurationName), which is judged here: name the daemon's with --config.file"
                    ))
            }
            findings.append(
                hasDaemon
                    ? .good("a daemon runs on it, and answers this user")
                    : .problem(
                        "no daemon runs on it, so nothing is metered now: start netusage serve, or netusage service start"
                    ))
        } catch {
            findings.append(.problem("\(error)"))
        }
        guard LedgerFile.exists(at: access.storagePath) else {
            return findings + [
                Finding.problem("\(access.storagePath): there is no ledger yet; netusage serve begins one")
            ]
        }
        do throws(StoreError) {
            let file = try LedgerFile(reading: access.storagePath)
            findings.append(
                .good("\(access.storagePath): \(sizeText(UInt64(max(0, file.sizeBytes)))), of this version"))
            if let problem = try file.problem() {
                findings.append(.problem("it is damaged: \(problem); the daemon moves it aside and begins a new one"))
            } else {
                findings.append(.good("its integrity check passed"))
            }
            let days = try file.days(from: .earliest)
            if let first = days.days.first?.day {
                let count = Set(days.days.map(\.day)).count
                let unit = count == 1 ? "day" : "days"
                findings.append(.good("it has \(count) \(unit) since \(first), of \(days.accounts.count) accounts"))
            }
            if let last = try file.header()?.lastReading.timestamp {
                let age = setup.now.secondsSinceEpoch - last.secondsSinceEpoch
                let isOld = hasDaemon && age > setup.freshSeconds
                let text = "it was written last at \(setup.localCalendar.rfc3339(last))"
                findings.append(isOld ? .problem("\(text), too long ago: see the daemon's log") : .good(text))
            }
        } catch {
            let isMerelyDenied = hasDaemon && error.code == .unavailable
            findings.append(Finding(level: isMerelyDenied ? .advice : .problem, text: error.description))
        }
        return findings
    }
}
