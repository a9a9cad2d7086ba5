import Accounting
import CivilTime

/// A question about usage: which time, how finely divided, which devices.
package struct UsageQuery: Hashable, Sendable {
    /// The open period of the local calendar.
    package enum Period: String, CaseIterable, Sendable {
        case day, week, month, year
        /// Since metering began.
        case all
    }

    /// How long each entry of a report is.
    package enum Grain: String, CaseIterable, Sendable {
        /// One sum.
        case total
        case fiveMinutes = "5m"
        case hour, day, month, year

        /// Whether it is finer than days, which are kept for ever.
        var isFine: Bool { self == .fiveMinutes || self == .hour }
    }

    /// What each line of a report is about.
    package enum Subject: String, CaseIterable, Sendable {
        case device, application
    }

    package var period: Period?
    package var grain = Grain.total
    package var subject = Subject.device
    /// A date, which stands for its beginning, or a moment; see ``LocalCalendar/moment(_:at:)``.
    package var since: String?
    /// A date, which stands for its end, or a moment.
    package var until: String?
    /// Only the last entries, as many as this.
    package var last: Int?
    /// Names or patterns; all if there are none.
    package var devices: [String] = []
    /// The same for applications.
    package var applications: [String] = []
    /// Only what applications carried to and from there; everywhere if there are none.
    package var scopes: [TrafficScope] = []
    /// Whether an empty span is an error: people don't mean it.
    package var refusesNoTime = false
    /// Whether to report the uplink alone, if no devices are named and it has bytes.
    package var prefersUplink = false

    package init(_ period: Period? = nil, grain: Grain = .total, by subject: Subject = .device) {
        self.subject = subject
        self.period = period
        self.grain = grain
    }

    /// The most entries of all accounts in one report; `export` has no such limit.
    package static let maximumEntries = 20_000

    /// Whether it asks for one sum of everything metered.
    var isLifetime: Bool { period == .all && grain == .total && since == nil && until == nil }

    /// The query as parameters of the API.
    package var parameters: [(name: String, value: String)] {
        var parameters = [("grain", grain.rawValue)]
        if let period { parameters.append(("period", period.rawValue)) }
        if let since { parameters.append(("since", since)) }
        if let until { parameters.append(("until", until)) }
        if let last { parameters.append(("last", String(last))) }
        if refusesNoTime { parameters.append(("strict", "true")) }
        if prefersUplink { parameters.append(("prefer", "uplink")) }
        if subject != .device { parameters.append(("by", subject.rawValue)) }
        return parameters + devices.map { ("device", $0) } + applications.map { ("application", $0) }
            + scopes.map { ("scope", $0.rawValue) }
    }

    /// Checks what can be checked without the ledger.
    ///
    /// - Throws: `UsageError`.
    package func check() throws(UsageError) {
        if subject == .device, !scopes.isEmpty || !applications.isEmpty { throw .needsApplications }
        if subject == .application, !devices.isEmpty { throw .needsDevices }
        // Neither the zone nor the moment matters.
        var query = self
        query.refusesNoTime = false
        _ = try query.span(by: .utc, at: Timestamp(secondsSinceEpoch: 253_402_000_000))
    }

    /// The span that the query asks for.
    ///
    /// - Throws: `UsageError` when it makes no sense.
    func span(by calendar: LocalCalendar, at now: Timestamp) throws(UsageError) -> UsageSpan {
        if let last, !(1...Self.maximumEntries).contains(last) { throw .notACount(last) }
        let slots = Slots(grain: grain, calendar: calendar)
        let window = PeriodWindow(calendar, at: now)
        let open = grain.isFine ? slots.end(ofSlotAt: now) : window.daySpan.upperBound
        let end = try until.map { text throws(UsageError) in
            min(open, try moment(text, isEnd: true, by: calendar, at: now))
        }
        var start = try since.map { text throws(UsageError) in
            try moment(text, isEnd: false, by: calendar, at: now)
        }
        let periodStart: Timestamp? =
            switch period {
            case .day: window.daySpan.lowerBound
            case .week: window.weekStartTime
            case .month: window.monthStartTime
            case .year: Slots(grain: .year, calendar: calendar).start(ofSlotAt: now)
            case .all, nil: nil
            }
        start = [start, periodStart].compactMap { $0 }.max().map { max($0, Self.firstMoment) }
        let limit = end.map { max($0, Self.firstMoment) } ?? open
        if refusesNoTime, let start, start >= end ?? open {
            throw .isEmpty(since: since ?? calendar.rfc3339(start), until: until)
        }
        if let last, grain != .total {
            var first = slots.start(ofSlotAt: limit.adding(seconds: -1))
            for _ in 1..<last where first > Self.firstMoment {
                first = slots.start(ofSlotAt: first.adding(seconds: -1))
            }
            start = max(start ?? Self.firstMoment, first)
        }
        func isMidnight(_ moment: Timestamp) -> Bool {
            calendar.start(of: calendar.day(containing: moment)) == moment
        }
        var span = UsageSpan(
            since: start, until: limit, grain: grain,
            isWholeDays: !grain.isFine && (start.map(isMidnight) ?? true) && isMidnight(limit),
            calendar: calendar, now: now)
        // An empty span isn't rounded, or it would get some time.
        if !span.isWholeDays, !span.isEmpty {
            // Nothing finer than buckets is known.
            span.since = span.since.map { Bucket(containing: $0).start }
            span.until = Bucket(containing: span.until.adding(seconds: -1)).end
        }
        return span
    }

    /// 0001-01-01: earlier moments have no form in RFC 3339.
    private static let firstMoment = Timestamp(secondsSinceEpoch: -62_135_596_800)

    private func moment(_ text: String, isEnd: Bool, by calendar: LocalCalendar, at now: Timestamp)
        throws(UsageError) -> Timestamp
    {
        let window = PeriodWindow(calendar, at: now)
        let date =
            switch text {
            case "today": window.today
            case "yesterday": window.previousDay
            default: CivilDate(text)
            }
        if text == "now" { return now }
        if let date { return isEnd ? calendar.span(ofDay: date).upperBound : calendar.start(of: date) }
        guard let moment = calendar.moment(text, at: now) else { throw .notATime(text) }
        return moment
    }
}

/// The time that a query is about.
struct UsageSpan: Sendable {
    /// `nil` for everything that was metered.
    var since: Timestamp?
    var until: Timestamp
    var grain: UsageQuery.Grain
    /// Whether local days, which are kept for ever, cover all of it. Otherwise its ``edges`` need buckets.
    var isWholeDays: Bool
    var calendar: LocalCalendar
    var now: Timestamp

    /// Moves the start to when metering began, if that lies in the span.
    ///
    /// - Parameters:
    ///   - first: The first day on which anything was metered, as far as that is known.
    ///   - meteredFrom: When metering began, if that is known.
    mutating func begin(with first: CivilDate?, meteredFrom: Timestamp?) {
        guard let meteredFrom else {
            if since == nil { since = first.map(calendar.start(of:)) }
            return
        }
        var start = grain.isFine ? Bucket(containing: meteredFrom).start : meteredFrom
        // An import, or a clock that was set back, may have bytes on earlier days.
        if let first, first < calendar.day(containing: meteredFrom) { start = calendar.start(of: first) }
        if start < until { since = max(since ?? start, start) }
        if since == nil, first != nil { since = start }
    }

    /// The parts that need buckets: all of it for fine entries, otherwise the partial days at its ends.
    var edges: [Range<Timestamp>] {
        guard let since, since < until else { return [] }
        if isWholeDays { return [] }
        let firstEnd = calendar.span(ofDay: calendar.day(containing: since)).upperBound
        let lastStart = calendar.start(of: lastDay)
        if grain.isFine || firstEnd > lastStart { return [since..<until] }
        let isBegun = calendar.start(of: calendar.day(containing: since)) == since
        let isEnded = calendar.span(ofDay: lastDay).upperBound == until
        return (isBegun ? [] : [since..<firstEnd]) + (isEnded ? [] : [lastStart..<until])
    }

    /// Whether it has no time: it ends before it begins.
    var isEmpty: Bool { since.map { $0 >= until } ?? false }

    /// Whether a day's own record is enough: all of the day lies in the span, except what was before metering began.
    func hasWhole(_ day: CivilDate) -> Bool {
        if isEmpty || grain.isFine || day < firstDay || day > lastDay { return false }
        let span = calendar.span(ofDay: day)
        return !edges.contains { $0.overlaps(span) }
    }

    var firstDay: CivilDate { since.map(calendar.day(containing:)) ?? .earliest }
    var lastDay: CivilDate { calendar.day(containing: until.adding(seconds: -1)) }
}

/// Divides time into the entries of a report, which tile it.
struct Slots {
    let grain: UsageQuery.Grain
    let calendar: LocalCalendar

    func start(ofSlotAt moment: Timestamp) -> Timestamp {
        switch grain {
        case .total: .earliest
        case .fiveMinutes: Bucket(containing: moment).start
        // By the wall clock: its offset may not be whole hours.
        case .hour: moment.adding(seconds: -Int64(calendar.localTime(at: moment).secondsOfDay % 3600))
        case .day: calendar.start(of: calendar.day(containing: moment))
        case .month: calendar.start(of: calendar.day(containing: moment).firstOfMonth)
        case .year: calendar.start(of: Self.firstOfYear(calendar.day(containing: moment)))
        }
    }

    func end(ofSlotAt moment: Timestamp) -> Timestamp {
        var day: CivilDate { calendar.day(containing: moment) }
        return switch grain {
        case .total: .latest
        case .fiveMinutes: Bucket(containing: moment).end
        case .hour: start(ofSlotAt: moment).adding(seconds: 3600)
        case .day: calendar.span(ofDay: day).upperBound
        case .month: calendar.start(of: day.firstOfMonth.adding(days: 31).firstOfMonth)
        case .year: calendar.start(of: Self.firstOfYear(Self.firstOfYear(day).adding(days: 366)))
        }
    }

    private static func firstOfYear(_ date: CivilDate) -> CivilDate {
        CivilDate(year: date.year, month: 1, day: 1) ?? .earliest
    }
}

/// Why a report can't be made.
package enum UsageError: Error, Sendable, CustomStringConvertible {
    case notACount(Int)
    case notATime(String)
    /// The span is empty.
    case isEmpty(since: String, until: String?)
    case tooLong(entries: Int)
    case unknownDevice(String, known: [String])
    case unknownApplication(String)
    /// What only applications have is asked of devices.
    case needsApplications
    /// What only devices have is asked of applications.
    case needsDevices
    /// There are no 5-minute records, because there is no store.
    case noLedger

    /// Whether there is nothing of a name, as far as was looked.
    var isOfUnknownName: Bool {
        switch self {
        case .unknownDevice, .unknownApplication: true
        case .notACount, .notATime, .isEmpty, .tooLong, .needsApplications, .needsDevices, .noLedger: false
        }
    }

    package var description: String {
        switch self {
        case .notACount(let count): "\(count) is not a number of entries; write 1 to \(UsageQuery.maximumEntries)"
        case .notATime(let text):
            "\(text) is not a time; write 2026-11-20, \"2026-11-20 09:00\", 09:00, today, yesterday, or RFC 3339 such as 2026-11-20T09:00:00+01:00"
        case .isEmpty(let since, let until):
            "there is no time between \(since) and \(until ?? "now"); since must be before until"
        case .tooLong(let entries):
            "that would be \(entries) entries, more than \(UsageQuery.maximumEntries); ask for less time, for coarser entries, or for one device or application; or export it"
        case .unknownDevice(let name, let known):
            known.isEmpty
                ? "nothing was metered yet, so there is no \(name)"
                : "nothing called \(name) was metered; there is \(known.joined(separator: ", "))"
        case .unknownApplication(let name):
            "no application called \(name) was metered; see those of the month with netusage month --by application"
        case .needsApplications: "only applications have scopes; ask by application"
        case .needsDevices: "applications aren't metered by device; leave the device out"
        case .noLedger:
            "there is no ledger, so only days since the daemon's start are known; see what its log says about the file"
        }
    }
}
