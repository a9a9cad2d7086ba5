import Accounting
import ArgumentParser
import Exporter
import Reports

/// The options that all commands for traffic share.
struct UsageOptions: ParsableArguments {
    @OptionGroup var common: CommonOptions

    @Option(
        name: .customLong("device"), parsing: .singleValue,
        help: "Only this device, the devices that match a pattern, or uplink; may be repeated.", completion: .devices)
    var devices: [String] = []

    @Flag(help: "For programs: bytes as integers, times in RFC 3339.")
    var json = false

    @Flag(help: "Show rates in bits per second.")
    var bits = false
}

/// Applications instead of devices.
struct ApplicationOptions: ParsableArguments {
    @Option(help: "What each line is about: device or application; application if --application or --scope is given.")
    var by: UsageQuery.Subject?

    @Option(
        name: .customLong("application"), parsing: .singleValue,
        help: "Only this application, or those that match a pattern; may be repeated.")
    var applications: [String] = []

    @Option(
        name: .customLong("scope"), parsing: .singleValue,
        help: "Only what applications carried to and from there: internet, lan or tunnel; may be repeated.")
    var scopes: [TrafficScope] = []

    /// What each line is about; `nil` if no option says it.
    var subject: UsageQuery.Subject? { by ?? (applications.isEmpty && scopes.isEmpty ? nil : .application) }
}

/// A span of time, for commands that aren't about the open period.
struct SpanOptions: ParsableArguments {
    @Option(help: "The start: 2026-11-20, \"2026-11-20 09:00\", today, yesterday, or RFC 3339.")
    var since: String?

    @Option(help: "The end; a date includes its whole day. (default: now)")
    var until: String?

    var isGiven: Bool { since != nil || until != nil }
}

/// A command that shows traffic.
protocol UsageCommand: AsyncParsableCommand {
    var options: UsageOptions { get }
    var subjectOptions: ApplicationOptions { get }
    var query: UsageQuery { get }
    /// The title of the table. The table's start follows it.
    var title: String { get }
    /// What each line is about, if no option says it.
    var subject: UsageQuery.Subject { get }
}

extension UsageQuery.Subject: ExpressibleByArgument {}
extension TrafficScope: ExpressibleByArgument {}

extension UsageCommand {
    var subject: UsageQuery.Subject { .device }

    private var wholeQuery: UsageQuery {
        var query = query
        query.subject = subjectOptions.subject ?? subject
        query.devices = options.devices
        query.applications = subjectOptions.applications
        query.scopes = subjectOptions.scopes
        query.refusesNoTime = true
        return query
    }

    mutating func validate() throws { try argument { try wholeQuery.check() } }

    mutating func run() async throws {
        let query = wholeQuery
        let report = try await options.common.ledgerAccess.answer { try await $0.usage(query) }
        if options.json { return try output(jsonText(report)) }
        if query.subject == .application, query.grain == .total {
            return try output(ApplicationTable(terminal: .standardOutput).text(report, title: title))
        }
        let table = UsageTable(terminal: .standardOutput, inBits: options.bits)
        try output(table.text(report, title: title))
    }
}

/// `netusage today`.
struct Today: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what each device has carried since local midnight.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    var query: UsageQuery { UsageQuery(.day) }
    var title: String { "Today" }
}

/// `netusage apps`.
struct Apps: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what each application has carried since local midnight.",
        discussion: """
            The same as netusage today --by application. Every command for a span of time takes --by application. What \
            belongs to no application is in the line unattributed: with it, internet and LAN add up to the uplink.
            """)
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    var query: UsageQuery { UsageQuery(.day) }
    var title: String { "Today" }
    var subject: UsageQuery.Subject { .application }
}

/// `netusage week`.
struct Week: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what each device has carried in this week.",
        discussion: "It begins on Monday, or on the day that week_starts of the configuration names.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    var query: UsageQuery { UsageQuery(.week) }
    var title: String { "This week" }
}

/// `netusage month`.
struct Month: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what each device has carried since the 1st.",
        discussion: "For the cycle that a provider bills, see netusage quota.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    var query: UsageQuery { UsageQuery(.month) }
    var title: String { "This month" }
}

/// `netusage year`.
struct Year: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what each device has carried since January 1st.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    var query: UsageQuery { UsageQuery(.year) }
    var title: String { "This year" }
}

/// `netusage summary`.
struct Summary: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what each device has carried since metering began, or in any span of time.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    @OptionGroup var span: SpanOptions
    var query: UsageQuery { UsageQuery(span.isGiven ? nil : .all, span: span) }
    var title: String { "Metered" }
}

/// `netusage days`.
struct Days: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the last days, one by one.", discussion: "Shows the uplink, unless you name devices.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    @OptionGroup var span: SpanOptions
    @Option(name: [.customShort("n"), .customLong("count")], help: "How many. (default: 30, or all of a span)")
    var count: Int?
    var query: UsageQuery { UsageQuery(grain: .day, span: span, last: count ?? (span.isGiven ? nil : 30)) }
    var title: String { "by day" }
}

/// `netusage months`.
struct Months: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the last months, one by one.", discussion: "Shows the uplink, unless you name devices.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    @OptionGroup var span: SpanOptions
    @Option(name: [.customShort("n"), .customLong("count")], help: "How many. (default: 12, or all of a span)")
    var count: Int?
    var query: UsageQuery { UsageQuery(grain: .month, span: span, last: count ?? (span.isGiven ? nil : 12)) }
    var title: String { "by month" }
}

/// `netusage recent`.
struct Recent: UsageCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the last five-minute records, one by one.",
        discussion:
            "Shows the uplink, unless you name devices. Records are kept for keep_buckets of the configuration.")
    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions
    @OptionGroup var span: SpanOptions
    @Option(name: [.customShort("n"), .customLong("count")], help: "How many. (default: 5, or all of a span)")
    var count: Int?
    var query: UsageQuery { UsageQuery(grain: .fiveMinutes, span: span, last: count ?? (span.isGiven ? nil : 5)) }
    var title: String { "by five minutes" }
}

extension UsageQuery {
    fileprivate init(_ period: Period? = nil, grain: Grain = .total, span: SpanOptions, last: Int? = nil) {
        self.init(period, grain: grain)
        since = span.since
        until = span.until
        self.last = last
        prefersUplink = grain != .total
    }
}
