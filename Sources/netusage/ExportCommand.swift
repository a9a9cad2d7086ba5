import ArgumentParser
import Exporter
import Glibc
import Machine
import Reports

/// `netusage export`.
struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Export traffic for other programs.",
        discussion: """
            CSV (RFC 4180) and JSON have a row for each device and each five minutes, hour or local day with bytes. OpenMetrics has \
            the past as Prometheus would have scraped it: rates at every entry, and totals of day, week, month and lifetime at every \
            full hour. promtool tsdb create-blocks-from openmetrics makes blocks of it. By application, each row has an application and a \
            scope, and OpenMetrics has the totals of whole days. Five-minute records are kept as long as keep_buckets in the \
            configuration says, there and under applications; days are kept for ever.
            """)

    @OptionGroup var common: CommonOptions

    @Option(help: "csv, json or openmetrics.")
    var format = ExportQuery.Format.csv

    @Option(
        help: "5m, hour or day. (default: 5m for openmetrics, otherwise day)",
        completion: .list(["5m", "hour", "day"]))
    var grain: String?

    @OptionGroup var span: SpanOptions

    @Option(
        name: .customLong("device"), parsing: .singleValue,
        help: "Only this device, the devices that match a pattern, or uplink; may be repeated.", completion: .devices)
    var devices: [String] = []

    @OptionGroup var subjectOptions: ApplicationOptions

    @Option(
        name: .customLong("label"), parsing: .singleValue,
        help:
            "A label of each series of openmetrics, name=value; may be repeated. (default: job=netusage and instance=localhost:10073, as your Prometheus has them)"
    )
    var labels: [String] = []

    @Option(
        name: .shortAndLong,
        help: "Write to this file (created only when the export is complete); - is standard output. (default: -)",
        completion: .file())
    var output: String?

    private var query: ExportQuery {
        get throws {
            let grain = self.grain.map { UsageQuery.Grain(rawValue: $0) } ?? ExportQuery.standardGrain(of: format)
            guard let grain, ExportQuery.grains.contains(grain) else {
                throw ValidationError("--grain \(self.grain ?? ""): write 5m, hour or day")
            }
            var query = ExportQuery(format, grain: grain)
            query.usage.since = span.since
            query.usage.until = span.until
            query.usage.refusesNoTime = true
            query.usage.subject = subjectOptions.subject ?? .device
            query.usage.devices = devices
            query.usage.applications = subjectOptions.applications
            query.usage.scopes = subjectOptions.scopes
            if !labels.isEmpty { query.labels = [] }
            for text in labels {
                guard let label = ExportQuery.Label(text) else {
                    throw ValidationError(
                        "--label \(text): write name=value, with a name of letters, digits and _; device, application, scope and names that begin with __ are taken"
                    )
                }
                query.set(label)
            }
            return query
        }
    }

    mutating func validate() throws {
        let query = try query
        if !labels.isEmpty, format != .openmetrics { throw ValidationError("--label is for openmetrics only") }
        try argument { try query.usage.check() }
    }

    mutating func run() async throws {
        let progress = ProgressBar(isShown: isatty(STDOUT_FILENO) == 0)
        let path = output == "-" ? nil : output
        if path != nil { Interruption.watch() }
        let target = try path.map { path in try Self.writing(path) { try ReplacementFile(path) } }
        let isOnTerminal = isatty(STDOUT_FILENO) == 1
        // The end of the last piece, which may be half a character.
        var line: [UInt8] = []
        do {
            defer { progress.clear() }
            try await common.ledgerAccess.export(try query) { bytes in
                if let target, let path {
                    if Interruption.isAsked { throw Refusal("interrupted: nothing was written") }
                    try Self.writing(path, "free some space") { try target.write(bytes) }
                } else if isOnTerminal {
                    line += bytes
                    let end = line.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
                    try Self.show(Self.printable(Array(line[..<end])))
                    line.removeFirst(end)
                } else {
                    try Self.show(bytes)
                }
                progress.show(bytes: bytes.count)
            }
        }
        try Self.show(Self.printable(line))
        if let target, let path { try Self.writing(path) { try target.finish() } }
    }

    private static func show(_ bytes: [UInt8]) throws {
        if !writeAll(bytes) { throw Refusal("standard output can't be written: \(errorText())") }
    }

    /// - Throws: `Refusal` in place of any other error.
    private static func writing<Value>(
        _ path: String, _ remedy: String = "name another file", _ body: () throws -> Value
    ) throws -> Value {
        do {
            return try body()
        } catch {
            if isBrokenPipe(error) { endByBrokenPipe() }
            throw Refusal("\(path): can't be written: \(error); \(remedy)")
        }
    }

    /// Lines for people, not for programs: without characters that control the terminal.
    private static func printable(_ bytes: [UInt8]) -> [UInt8] {
        // Lines of CSV end with a carriage return, too.
        let lines = String(decoding: bytes.filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
        return Array(Terminal.printableLines(lines).utf8)
    }
}

extension ExportQuery.Format: ExpressibleByArgument {}
