import ArgumentParser
import Configuration
import Exporter
import FoundationEssentials
import Reports

/// `netusage quota …`.
struct QuotaCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quota", abstract: "Show the quotas; enter the provider's figures and top-ups.",
        discussion: """
            Without a subcommand it shows them: netusage quota [NAME] [--json]. Exits with 1 if that fails, with 64 for wrong \
            arguments, with 78 if the configuration has errors.
            """,
        subcommands: [Show.self, Correct.self, TopUp.self, Undo.self], defaultSubcommand: Show.self)

    /// `netusage quota [NAME]`.
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show each quota: what is used, what is left, and the forecast.")

        @OptionGroup var common: CommonOptions

        @Argument(help: "Only the quota, rate limit or committed rate of this name.")
        var name: String?

        @Flag(help: "For programs: bytes as integers, times in RFC 3339.")
        var json = false

        mutating func run() async throws {
            var report = try await common.ledgerAccess.answer { try await $0.plans() }
            if let name {
                let known =
                    report.quotas.map(\.name) + report.rateLimits.map(\.name) + report.committedRates.map(\.name)
                report.quotas.removeAll { $0.name != name }
                report.rateLimits.removeAll { $0.name != name }
                report.committedRates.removeAll { $0.name != name }
                if report.isEmpty {
                    let error = OrderError.unknownQuota(name, known: known, in: report.configuration)
                    throw Refusal("\(error)" + (report.note.map { "; \($0)" } ?? ""))
                }
            }
            if json {
                try output(jsonText(report))
            } else if report.isEmpty {
                // The note says if the daemon couldn't be asked: it may have another configuration.
                let note = report.note.map { "\($0).\n" } ?? ""
                try output(
                    note
                        + "There are no quotas: \(report.configuration) has none. Add one under quotas; the manual (plans.md) shows how.\n"
                )
            } else {
                try output(QuotaTable(terminal: .standardOutput).text(report))
            }
        }
    }

    /// `netusage quota correct NAME --used SIZE`.
    struct Correct: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Enter what the provider has counted in this cycle.",
            discussion: """
                From that moment until the cycle ends, the used bytes are the provider's figure plus the bytes metered since. The \
                ledger keeps the correction; netusage quota undo takes it back.
                """)

        @OptionGroup var common: CommonOptions

        @Argument(help: "The quota.")
        var name: String

        // A value that begins with a dash is a wrong size, not a flag.
        @Option(parsing: .unconditional, help: "The provider's figure, such as \"312 GB\".")
        var used: String

        @Option(
            help: "The time of that figure: 09:00 for today, \"2026-11-20 09:00\", or RFC 3339. (default: now)")
        var at: String?

        mutating func validate() throws {
            _ = try parsedSize(used, "--used")
            if let at, !QuotaRequest.isTime(at) { throw ValidationError("--at: \(OrderError.notATime(at))") }
        }

        mutating func run() async throws {
            let request = QuotaRequest(quota: name, kind: .correct(usedBytes: try parsedSize(used, "--used"), at: at))
            let access = common.ledgerAccess
            let kept = try await access.carryOut(request)
            try output("\(kept.quota): \(sizeText(kept.bytes)) used until \(kept.at) (correction \(kept.id))\n")
            let quota = try? await access.answer { try await $0.plans() }.quotas.first { $0.name == name }
            if let last = quota?.use.adjustments.last(where: { $0.kind == kept.kind }), last.id != kept.id {
                try output("Correction \(last.id) still applies, because its moment is later: \(last.at).\n")
            }
        }
    }

    /// `netusage quota top-up NAME SIZE`.
    struct TopUp: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "top-up", abstract: "Raise the limit of this cycle.",
            discussion: "The ledger keeps the top-up; netusage quota undo takes it back.")

        @OptionGroup var common: CommonOptions

        @Argument(help: "The quota.")
        var name: String

        @Argument(help: "By how much, such as \"50 GB\".")
        var size: String

        mutating func validate() throws {
            if try parsedSize(size, "SIZE") == 0 {
                throw ValidationError("SIZE \(size): write a size above 0, such as \"50 GB\"")
            }
        }

        mutating func run() async throws {
            let request = QuotaRequest(quota: name, kind: .topUp(bytes: try parsedSize(size, "SIZE")))
            let kept = try await common.ledgerAccess.carryOut(request)
            try output("\(kept.quota): \(sizeText(kept.bytes)) more in this cycle (top-up \(kept.id))\n")
        }
    }

    /// `netusage quota undo NAME`.
    struct Undo: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take back a correction or a top-up.",
            discussion:
                "Without --id it is the last one of the open cycle. With --id, the quota need not be in the configuration any more."
        )

        @OptionGroup var common: CommonOptions

        @Argument(help: "The quota.")
        var name: String

        @Option(help: "The number of the correction or top-up, as netusage quota shows it.")
        var id: Int64?

        mutating func run() async throws {
            let undone = try await common.ledgerAccess.carryOut(QuotaRequest(quota: name, kind: .undo(id: id)))
            try output(
                "\(undone.quota): \(undone.kind) \(undone.id) of \(sizeText(undone.bytes)) of \(undone.at) is taken back\n"
            )
        }
    }
}

/// The bytes of an argument.
private func parsedSize(_ text: String, _ name: String) throws -> UInt64 {
    try argument(name) { try bytes(ofSize: text) }
}

/// A report as JSON, for programs.
func jsonText(_ report: some Encodable) -> String {
    String(decoding: json(report, isPretty: true), as: UTF8.self) + "\n"
}
