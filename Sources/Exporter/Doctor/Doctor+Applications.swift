import Accounting
import Applications
import Configuration
import Reports

extension Doctor {
    /// Whether applications are metered, and how; otherwise why not, and what helps.
    static func applications(_ setup: LedgerAccess.Setup, _ access: LedgerAccess) async -> [Finding] {
        if setup.configuration.applications.mode == .off {
            return [.good("they aren't metered: the configuration says applications: off")]
        }
        do {
            guard let daemon = try await access.daemon() else {
                return [.advice("nobody knows whether they can be metered until a daemon runs")]
            }
            guard let status = try await daemon.status().applications else {
                return [.advice("the daemon that runs is older than this command: restart it")]
            }
            return findings(status)
        } catch {
            return [.problem("\(error)")]
        }
    }

    static func findings(_ status: StatusReport.Applications) -> [Finding] {
        guard status.attached else {
            let reason = status.problem ?? "the kernel's programs are being attached"
            return [.advice("they aren't metered: \(reason)")]
        }
        let since = status.attachedAt.map { " since \($0)" } ?? ""
        let means =
            status.survivesRestarts == true
            ? "the service manager keeps the kernel's programs over restarts"
            : "the kernel's programs end with the daemon"
        var findings = [Finding.good("they are metered\(since); \(means)")]
        findings.append(
            status.overflows == 0
                ? .good("\(status.keys) of \(KernelCounts.maximumKeys) counters are in use")
                : .problem(
                    "\(status.keys) of \(KernelCounts.maximumKeys) counters are in use, and \(status.overflows) packets had no room for another one: they count for (other)"
                ))
        findings.append(
            status.countsUplinkScopes
                ? .good("what passes the uplink is counted by scope, with what is forwarded")
                : .advice(
                    "what passes the uplink isn't counted by scope (that needs Linux 6.6 and an uplink that allows it; the log names the reason): only what this machine's own programs carry is known to be the LAN's"
                ))
        findings.append(basis(status.receiveBasis, of: "receive", status.receiveHeaderBytes, since))
        findings.append(basis(status.transmitBasis, of: "transmit", status.transmitHeaderBytes, since))
        return findings
    }

    /// Drivers differ in what they count of merged packets, and few people know it.
    private static func basis(_ basis: String?, of direction: String, _ headers: UInt64, _ since: String) -> Finding {
        switch basis {
        case "merged"?:
            .advice(
                "the uplink's \(direction) counter has the headers of merged packets once: \(sizeText(headers)) of headers\(since) were on the cable, and aren't in it"
            )
        case "wire"?: .good("the uplink's \(direction) counter has every packet with its headers, as on the cable")
        default:
            .good("too few merged packets so far to see what the uplink's \(direction) counter makes of them")
        }
    }
}
