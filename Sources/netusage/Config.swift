import ArgumentParser
import Configuration
import Exporter
import Glibc

/// `netusage config …`.
struct Config: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Work with the configuration.", subcommands: [Check.self])

    /// `netusage config check`.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a configuration and list all of its errors.",
            discussion: "Exits with 0 if the file is good, with 78 if it has errors.")

        @OptionGroup var common: CommonOptions

        @Argument(help: "The file to check. (default: that of --config.file)", completion: .file())
        var file: String?

        mutating func run() throws {
            let path = file ?? common.configurationFile ?? ConfigurationFile.defaultPath
            let configuration = try ConfigurationFile.load(
                path, isRequired: (file ?? common.configurationFile) != nil)
            for note in configuration.notes { StandardError.print("note: \(note)") }
            for finding in common.ledgerAccess.planFindings(configuration) {
                StandardError.print("note: on this machine, \(finding)")
            }
            let exists = ConfigurationFile.exists(path)
            try output(exists ? "\(path): good\n" : "\(path): not there, so the defaults apply\n")
        }
    }
}

/// Messages for people about errors.
enum StandardError {
    static func print(_ line: String) {
        // The text may repeat names and lines of files.
        let lines = line.split(separator: "\n", omittingEmptySubsequences: false).map { Terminal.printable(String($0)) }
        let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }
}
