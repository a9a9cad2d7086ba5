import ArgumentParser
import Exporter
import Reports

/// `netusage doctor`.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Show what is metered, what isn't, and what may be wrong.",
        discussion: """
            As root it also sends a million bytes through a private cable and shows the error of each way to read counters. \
            Exits with 0 if all is well, with 1 if something is wrong.
            """)

    @OptionGroup var common: CommonOptions

    @Flag(help: "For programs.")
    var json = false

    mutating func run() async throws {
        let terminal = Terminal.standardOutput
        let sections = await Doctor.sections(of: common.ledgerAccess)
        let problems = sections.flatMap(\.findings).filter { $0.level == .problem }.count
        let verdict =
            switch problems {
            case 0: terminal.coloured("All is well.", .green)
            case 1: terminal.coloured("One thing isn't as it should be.", .red)
            default: terminal.coloured("\(problems) things aren't as they should be.", .red)
            }
        let blocks = sections.map { text($0, terminal) } + [verdict]
        try output(json ? jsonText(["sections": sections]) : blocks.joined(separator: "\n") + "\n")
        if problems > 0 { throw ExitCode(1) }
    }

    private func text(_ section: Doctor.Section, _ terminal: Terminal) -> String {
        var text = terminal.bold(section.title) + "\n"
        for finding in section.findings {
            for (number, line) in terminal.wrapped(finding.text, to: terminal.columns - 6).enumerated() {
                text += "  \(number == 0 ? mark(finding.level, terminal) : "   ") \(Terminal.printable(line))\n"
            }
        }
        return text
    }

    private func mark(_ level: Doctor.Level, _ terminal: Terminal) -> String {
        switch level {
        case .good: terminal.coloured("ok ", .green)
        case .advice: terminal.coloured(" i ", .yellow)
        case .problem: terminal.coloured("!! ", .red)
        }
    }
}
