import Applications
import ArgumentParser
import Glibc
import Machine

/// `netusage applications`.
struct ApplicationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "applications", abstract: "Attach the kernel's programs that count by application.",
        subcommands: [Attach.self])

    /// `netusage applications attach`.
    struct Attach: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Attach the programs, and hand them over to the daemon.",
            discussion: """
                netusage serve runs this by itself if it has the privilege. It needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
                for a moment; the daemon needs none of them.
                """)

        @Flag(help: .hidden)
        var toParent = false

        func run() throws {
            if toParent { return try Handover.attach(for: Handover.childSocket) }
            let manager = SystemdNotifier(storedPrefix: Handover.storedPrefix)
            guard manager.hasManager else {
                throw Refusal(
                    "nothing takes the programs over here: as root, netusage serve runs this by itself; for a service, see netusage service install --applications"
                )
            }
            do {
                try Handover.attach(for: manager)
            } catch {
                throw Refusal("applications can't be metered: \(error)")
            }
        }
    }
}
