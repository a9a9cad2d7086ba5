import Accounting
import CivilTime

/// Settings and checks outside of a plan that its decoding needs.
struct PlanContext {
    let weekStarts: Weekday
    let exclude: [DevicePattern]
    let zoneProblem: (String) -> String?
    /// Whether a device that matches a pattern exists now.
    let isPresent: (DevicePattern) -> Bool
    let isProgram: (String) -> Bool
}

extension Plans {
    /// More than anybody needs. Each plan is checked once a second.
    private static let limit = 2000
    /// Each one keeps its cycle's samples in memory.
    private static let committedRateLimit = 100

    init(_ file: inout MappingReader, _ context: PlanContext) {
        let quotas = Self.plans("quotas", of: &file, limit: Self.limit) { reader, name in
            Quota(&reader, name: name, context)
        }
        let rateLimits = Self.plans("rate_limits", of: &file, limit: Self.limit) { reader, name in
            RateLimit(&reader, name: name, context)
        }
        let committedRates = Self.plans("committed_rates", of: &file, limit: Self.committedRateLimit) { reader, name in
            CommittedRate(&reader, name: name, context)
        }
        self.init(quotas: quotas, rateLimits: rateLimits, committedRates: committedRates)
    }

    /// A list of plans with different names.
    private static func plans<Plan>(
        _ key: String, of file: inout MappingReader, limit: Int, _ decode: (inout MappingReader, String) -> Plan
    ) -> [Plan] {
        var names: Set<String> = []
        return file.mappings(key, limit: limit) { reader in
            let name = reader.required("name", planName, remedy: "give it a name, as name: home-fibre", default: "")
            if !name.isEmpty, !names.insert(name).inserted {
                reader.complain(
                    about: "name", "\(quoted(name)) is the name of an earlier one",
                    remedy: "give each a name of its own")
            }
            return decode(&reader, name)
        }
    }
}

/// Decodes the name of a plan. Prometheus has it as a label, and commands take it as an argument.
private func planName(_ node: YAMLNode) throws(Complaint) -> String {
    let remedy = "write a short name, such as home-fibre"
    let text = try node.text(of: "a name", remedy: remedy)
    guard !text.isEmpty, text.utf8.count <= 100, !text.hasPrefix("-"), text.first != " ", text.last != " ",
        !text.unicodeScalars.contains(where: \.isInvisible)
    else {
        throw Complaint(
            problem: "\(quoted(text)) can't be a name",
            remedy: "\(remedy): up to 100 bytes, all visible, no hyphen in front")
    }
    return text
}

extension Quota {
    fileprivate init(_ reader: inout MappingReader, name: String, _ context: PlanContext) {
        self.init(
            name: name, count: Selection(ofQuota: &reader, context), direction: reader.direction(default: .total),
            limitBytes: reader.required("limit", size, remedy: "write one such as limit: 1 TB", default: 1),
            cycle: Cycle(&reader, context))
        warnAt = reader.list("warn_at", share, limit: 20, default: []).sorted()
        free = FreeTime(&reader)
        rolloverMaximumBytes = reader.optionalMapping("rollover", example: "{ max: 100 GB }") {
            $0.required("max", size, remedy: "say how much may be carried over, as max: 100 GB", default: 1)
        }
        price = reader.optionalMapping("price", example: "{ currency: EUR, base: 9.90 }") { Price(&$0) }
        run = reader.sequence("run", limit: 64, example: commandExample, isSecret: true, argument) ?? []
        guard let program = run.first else { return }
        let shown = quoted(shownProgram(program))
        if !program.hasPrefix("/") {
            reader.complain(
                about: "run", "\(shown) is not the path of a program",
                remedy: "write the whole path, such as /usr/local/bin/on-quota; there is no shell")
        } else if !context.isProgram(program) {
            reader.note(
                about: "run", item: 0, "\(shown) isn't a program that this user can start now",
                remedy: "make sure that it exists and is executable before the quota needs it")
        }
    }
}

/// An example of a program in the file.
private let commandExample = "[/usr/local/bin/on-quota, --verbose], with the program and each argument as an item"

private func argument(_ node: YAMLNode) throws(Complaint) -> String {
    let text = try node.text(
        of: "an argument", remedy: "write the program and its arguments, each as an item of the list")
    if text.utf8.contains(0) {
        throw Complaint(problem: "has a zero byte in it", remedy: "no program can take it; remove it")
    }
    return text
}

extension Price {
    fileprivate init(_ reader: inout MappingReader) {
        self.init(
            currency: reader.required(
                "currency", currencyCode, remedy: "write the three letters of ISO 4217, as currency: EUR",
                default: .euro),
            base: reader.value("base", money, default: .zero),
            perGigabyte: reader.value("per_gb", money, default: .zero),
            overLimit: reader.optionalMapping("over_limit", example: "{ per: 50 GB, price: 6 }") { Blocks(&$0) })
    }
}

extension Price.Blocks {
    fileprivate init(_ reader: inout MappingReader) {
        self.init(
            blockBytes: reader.required("per", size, remedy: "write the size of a block, as per: 50 GB", default: 1),
            price: reader.required("price", money, remedy: "write what a block costs, as price: 6.00", default: .zero),
            max: reader.optional("max", money))
    }
}

extension FreeTime {
    fileprivate init(_ reader: inout MappingReader) {
        let lines = reader.list("free", freeWindows, limit: 100, default: [])
        var merged = FreeTime.none
        func minutes(_ time: FreeTime) -> Int { time.windows.reduce(0) { $0 + $1.count } }
        for (index, line) in lines.enumerated() {
            let separate = minutes(merged) + minutes(FreeTime(line))
            merged = FreeTime(merged.windows + line)
            if minutes(merged) < separate {
                reader.note(
                    about: "free", item: index, "overlaps with an earlier window", remedy: "both count as one window")
            }
        }
        if merged.windows == [0..<FreeTime.minutesPerWeek] {
            reader.note(about: "free", "is the whole week", remedy: "nothing will be counted")
        }
        self = merged
    }
}

extension RateLimit {
    fileprivate init(_ reader: inout MappingReader, name: String, _ context: PlanContext) {
        let range = Span(seconds: 1)...Span(seconds: 86_400)
        self.init(
            name: name, count: Selection(&reader, context), direction: reader.direction(default: .total),
            limitBitsPerSecond: reader.required(
                "limit", bitsPerSecond, remedy: "write one such as limit: 1 MB/s", default: 1),
            hold: reader.value("for", duration(in: range), default: Span(seconds: 10)))
    }
}

extension CommittedRate {
    fileprivate init(_ reader: inout MappingReader, name: String, _ context: PlanContext) {
        self.init(
            name: name, count: Selection(&reader, context), direction: reader.direction(default: .greater),
            limitBitsPerSecond: reader.required(
                "limit", bitsPerSecond, remedy: "write one such as limit: 100 Mbit/s", default: 1),
            cycle: Cycle(&reader, context).short(&reader),
            missing: reader.value(
                "missing", { node throws(Complaint) in try choice(node, "missing samples") }, default: .zero))
    }
}

extension MappingReader {
    fileprivate mutating func direction(default fallback: ByteDirection) -> ByteDirection {
        value("direction", { node throws(Complaint) in try choice(node, "a direction") }, default: fallback)
    }
}

/// Decodes one of a few words.
private func choice<Choice>(_ node: YAMLNode, _ kind: String) throws(Complaint) -> Choice
where Choice: RawRepresentable & CaseIterable, Choice.RawValue == String {
    let words = Choice.allCases.map(\.rawValue)
    let remedy = "write one of \(words.joined(separator: ", "))"
    let text = try node.text(of: kind, remedy: remedy)
    if let choice = Choice(rawValue: text) { return choice }
    let nearest = nearestName(to: text, among: words).map { "did you mean \($0)?" }
    throw Complaint(problem: "\(quoted(text)) is not one of the words for \(kind)", remedy: nearest ?? remedy)
}

extension Selection {
    private static let patternLimit = 1000

    /// Quotas may count applications, and leave out some bytes of the uplink.
    fileprivate init(ofQuota reader: inout MappingReader, _ context: PlanContext) {
        let scope = reader.value(
            "scope", { node throws(Complaint) in try choice(node, "a scope") }, default: QuotaScope.all)
        let excepted = reader.optionalMapping("except", example: applicationsExample) { Self.applications(&$0) }
        if reader.isMapping("count") {
            self = .applications(reader.mapping("count", example: applicationsExample) { Self.applications(&$0) })
        } else {
            self.init(&reader, context)
        }
        if self == .uplink {
            let exception = Exception(lan: scope == .internet, applications: excepted ?? [])
            if exception.lan || !exception.applications.isEmpty { self = .uplinkWithout(exception) }
            return
        }
        let remedy = "write count: uplink, or remove it"
        if scope == .internet { reader.complain(about: "scope", "goes with count: uplink only", remedy: remedy) }
        if excepted != nil { reader.complain(about: "except", "goes with count: uplink only", remedy: remedy) }
    }

    private static func applications(_ reader: inout MappingReader) -> [DevicePattern] {
        let patterns = reader.list("applications", applicationPattern, limit: patternLimit, default: [])
        if patterns.isEmpty, reader.findings.isEmpty {
            reader.complain(about: "applications", "names no application", remedy: "write \(applicationsExample)")
        }
        return patterns
    }

    fileprivate init(_ reader: inout MappingReader, _ context: PlanContext) {
        switch reader.value("count", uplinkOrList, default: .uplink) {
        case .uplink: self = .uplink
        case .list:
            let patterns = reader.list("count", countedDevice, limit: Self.patternLimit, default: [])
            for (index, pattern) in patterns.enumerated() {
                if context.exclude.contains(where: { $0.covers(pattern) }) {
                    reader.note(
                        about: "count", item: index,
                        "\(quoted(pattern.text)) isn't metered, because devices.exclude names it",
                        remedy: "it counts nothing until you remove it there")
                } else if !context.isPresent(pattern) {
                    reader.note(
                        about: "count", item: index, "\(quoted(pattern.text)) matches no device now",
                        remedy: "it counts as soon as there is one")
                }
            }
            self = .devices(patterns)
        }
    }

    fileprivate enum Form { case uplink, list }
}

/// Which of the uplink's bytes a quota counts.
private enum QuotaScope: String, CaseIterable {
    case all, internet
}

private let applicationsExample = "{ applications: [steam, \"*.exe\"] }"

/// Decodes a name of an application, or a pattern of names.
private func applicationPattern(_ node: YAMLNode) throws(Complaint) -> DevicePattern {
    try node.parsed("an application", remedy: "write a name that netusage apps shows, or a pattern such as \"*.exe\"") {
        $0.unicodeScalars.contains(where: \.isInvisible) ? nil : DevicePattern($0)
    }
}

private func uplinkOrList(_ node: YAMLNode) throws(Complaint) -> Selection.Form {
    let remedy = "write uplink, or a list such as [eth0, \"wwan*\"]"
    if case .sequence(let items) = node.content {
        if items.isEmpty { throw Complaint(problem: "names no device", remedy: remedy) }
        return .list
    }
    let text = try node.text(of: "uplink or a list of devices", remedy: remedy)
    if text == "uplink" { return .uplink }
    throw Complaint(
        problem: "\(quoted(text)) is neither uplink nor a list of devices", remedy: "write uplink, or [\(text)]")
}

private func countedDevice(_ node: YAMLNode) throws(Complaint) -> DevicePattern {
    let pattern = try devicePattern(node)
    if pattern.text == "uplink" {
        throw Complaint(
            problem: "\"uplink\" is in a list of devices",
            remedy: "write count: uplink for the default route's device, or \"[u]plink\" for a device of that name")
    }
    return pattern
}

extension Cycle {
    fileprivate init(_ reader: inout MappingReader, _ context: PlanContext) {
        self = reader.mapping("cycle", example: "{ every: month }") { Cycle(keysOf: &$0, context) }
    }

    private init(keysOf cycle: inout MappingReader, _ context: PlanContext) {
        let every = cycle.has("every") ? cycle.optional("every", cycleLength) : .month
        let kind = every.map { Self.kind($0, &cycle, context) }
        self.init(
            CycleRule(kind ?? .day, at: cycle.value("at", timeOfDay, default: 0)),
            timezone: cycle.value("timezone", timeZone(zoneProblem: context.zoneProblem), default: .local))
        // If the length is wrong, nobody knows which keys belong to it. `has` makes all of them known.
        for key in ["day", "from", "until"] where cycle.has(key) {
            guard let every, let home = every.homes[key] else { continue }
            cycle.complain(
                about: key, "means nothing with every: \(every.text)", remedy: "remove it, or write every: \(home)")
        }
    }

    private static func kind(
        _ every: CycleLength, _ cycle: inout MappingReader, _ context: PlanContext
    ) -> CycleRule.Kind {
        switch every {
        case .day: return .day
        case .week: return .week(cycle.value("day", weekday, default: context.weekStarts))
        case .month: return .month(day: cycle.value("day", dayOfMonth, default: 1))
        case .year: return cycle.value("day", dayOfYear, default: .year(month: 1, day: 1))
        case .days(let count):
            let remedy = "write the date on which one of them begins, as from: 2026-01-15"
            return .days(count, from: cycle.required("from", date, remedy: remedy, default: .epoch))
        case .once:
            let from = cycle.required("from", date, remedy: "write its first day, as from: 2026-01-15", default: .epoch)
            let remedy = "write the first day after it, as until: 2026-02-15"
            let until = cycle.required("until", date, remedy: remedy, default: .latest)
            if until <= from {
                let remedy = "write a day after the one in from"
                cycle.complain(about: "until", "\(until) isn't after \(from)", remedy: remedy)
            }
            return .once(from: from, until: until)
        }
    }
}

extension Cycle {
    /// Samples are kept in memory, so their cycle may not be too long.
    fileprivate func short(_ reader: inout MappingReader) -> Cycle {
        let days: Int
        switch rule.kind {
        case .day, .week, .month, .year: return self
        case .days(let count, _): days = count
        case .once(let from, let until): days = Int(until.daysSinceEpoch) - Int(from.daysSinceEpoch)
        }
        if days > 366 {
            reader.complain(about: "cycle", "has \(days) days", remedy: "write a cycle of at most 366 days")
        }
        return self
    }
}

/// The value of `every`.
private enum CycleLength {
    case day, week, month, year, once
    case days(Int)

    /// The lengths that are one word.
    static let words: [CycleLength] = [.day, .week, .month, .year, .once]

    var text: String {
        switch self {
        case .day: "day"
        case .week: "week"
        case .month: "month"
        case .year: "year"
        case .once: "once"
        case .days(let count): "\"\(count) days\""
        }
    }

    /// Keys that only other lengths have, with one of those lengths.
    var homes: [String: String] {
        switch self {
        case .day: ["day": "month", "from": "once", "until": "once"]
        case .week, .month, .year: ["from": "once", "until": "once"]
        case .days: ["day": "month", "until": "once"]
        case .once: ["day": "month"]
        }
    }
}

private func cycleLength(_ node: YAMLNode) throws(Complaint) -> CycleLength {
    let remedy = "write day, week, month, year, once or a number of days such as \"30 days\""
    let text = try node.text(of: "a cycle", remedy: remedy)
    if let length = CycleLength.words.first(where: { $0.text == text }) { return length }
    let words = text.split(separator: " ")
    if words.count == 2, ["day", "days"].contains(words[1]), words[0].utf8.allSatisfy(\.isASCIIDigit),
        let count = Int(words[0])
    {
        guard (1...3660).contains(count) else {
            throw Complaint(problem: "\(quoted(text)) is out of range", remedy: "write from 1 to 3660 days")
        }
        return .days(count)
    }
    let nearest = nearestName(to: text, among: CycleLength.words.map(\.text)).map { "did you mean \($0)?" }
    throw Complaint(problem: "\(quoted(text)) is not a cycle", remedy: nearest ?? remedy)
}

extension CivilDate {
    fileprivate static let epoch = CivilDate(daysSinceEpoch: 0)
}
