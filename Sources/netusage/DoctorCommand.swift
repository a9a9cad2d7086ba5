import ArgumentParser
import Exporter

/// `netusage doctor`.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Say what is metered, what isn't, and what may be wrong.",
        discussion: """
            As root it also sends a million bytes through a private cable and says by how many each way of reading counters is wrong. \
            Exits with 0 if all is well, with 1 if something isn't as it should be.
            """)

    @OptionGroup var common: CommonOptions

    @Flag(help: "For programs.")
    var json = false

    mutating func run() throws {
        let terminal = Terminal.standardOutput
        let sections = Doctor.sections(of: common.ledgerAccess)
        if json {
            try output(jsonText(["sections": sections]))
            if sections.contains(where: { $0.findings.contains { $0.level == .problem } }) { throw ExitCode(1) }
            return
        }
        for section in sections {
            print(terminal.bold(section.title))
            for finding in section.findings {
                for (number, line) in terminal.wrapped(finding.text, to: terminal.columns - 6).enumerated() {
                    print("  \(number == 0 ? mark(finding.level, terminal) : "   ") \(Terminal.printable(line))")
                }
            }
            print()
        }
        let problems = sections.flatMap(\.findings).filter { $0.level == .problem }.count
        if problems == 0 {
            print(terminal.coloured("All is well.", .green))
        } else {
            print(
                terminal.coloured(
                    problems == 1 ? "One thing isn't as it should be." : "\(problems) things aren't as they should be.",
                    .red))
            throw ExitCode(1)
        }
    }

    private func mark(_ level: Doctor.Level, _ terminal: Terminal) -> String {
        switch level {
        case .good: terminal.coloured("ok ", .green)
        case .advice: terminal.coloured(" i ", .yellow)
        case .problem: terminal.coloured("!! ", .red)
        }
    }
}
