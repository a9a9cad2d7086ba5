import CivilTime

/// vnStat's history of one interface, by the wall clock of its machine.
///
/// Source: the schema that vnstatd 2.10 makes (`sqlite3 vnstat.db .schema`), and its `--json` output, version 2.
/// vnStat's tables hold the same bytes by different periods, each for as long as its configuration says.
package struct VnStatInterface: Sendable {
    /// The words of its tables, from the finest to the coarsest, and of the sum of all time.
    package enum Table: CaseIterable, Comparable, Sendable {
        case fiveminute, hour, day, month, year, total
    }

    /// A row of one of its tables. The date is like `2026-11-21` or `2026-11-21 22:30:00`.
    package typealias Record = (date: String, total: Total)

    package var name: [UInt8]
    /// When it was counted first and last.
    package var created: String
    package var updated: String
    package var rows: [Table: [Record]] = [:]
    /// The bytes of all time; `nil` if the number makes no sense.
    package var total: Total?
    /// Known problems, a line of text each.
    package private(set) var problems: [String] = []
    /// The rows that are left out because of them.
    fileprivate var leftOut: [(table: Table, date: String)] = []

    package init(name: [UInt8], created: String, updated: String) {
        self.name = name
        self.created = created
        self.updated = updated
    }

    package mutating func leaveOut(_ table: Table, _ date: String, because reason: String) {
        problems.append("\(table) \(date): \(reason)")
        leftOut.append((table, date))
    }

    /// When the wall clock shows a date and time: from the first time to the last, if it does so twice.
    package static func moment(_ text: String, by calendar: LocalCalendar) -> ClosedRange<Timestamp>? {
        let reader = VnStatReader(calendar: calendar, now: .latest, created: .latest, end: .latest)
        return reader.moment(text).map { $0...(reader.again($0) ?? $0) }
    }

    /// The tables as spans of time with bytes.
    ///
    /// A day is divided into its hours, unless they have more bytes than the day; an hour into its five minutes
    /// likewise. The rest is spread over the time without finer rows: a day's before its first hour, a month's before
    /// its first day, and so on. So the sum is vnStat's total, unless something is left out.
    ///
    /// Months begin on the day of vnStat's `MonthRotate`, which none of its files holds. It is the day by which the
    /// months' rows equal the sums of their days. Months add no more than the total has.
    ///
    /// - Parameters:
    ///   - calendar: The zone that vnStat counted in.
    ///   - now: Later rows are left out.
    package func slots(by calendar: LocalCalendar, at now: Timestamp) -> (
        slots: [ImportedAccount.Slot], problems: [String]
    ) {
        var reader = VnStatReader(calendar: calendar, now: now, created: now, end: now)
        if let updated = reader.moment(updated) { reader.end = min(now, reader.again(updated) ?? updated) }
        reader.created = min(reader.moment(created) ?? reader.end, reader.end.adding(seconds: -1))
        if reader.moment(created) == nil { reader.problems.append("created \(created): there is no such time") }
        reader.read(self)
        return (reader.slots, problems + reader.problems)
    }
}

/// Turns one interface's tables into spans.
private struct VnStatReader {
    let calendar: LocalCalendar
    let now: Timestamp
    /// When counting began and ended.
    var created: Timestamp
    var end: Timestamp
    var slots: [ImportedAccount.Slot] = []
    var problems: [String] = []

    /// The part of the total that is in no day and isn't spread yet.
    var unknown: Total?
    /// Rows that are left out because they lie in the future.
    var ahead: [LeftOut] = []

    typealias LeftOut = (table: VnStatInterface.Table, start: Timestamp)
    private typealias Row = (start: Timestamp, total: Total)
    /// The bytes of a period with its parts, and when the first part begins.
    private typealias Stated = (total: Total, from: Timestamp)

    mutating func read(_ interface: VnStatInterface) {
        let hours = rows(.hour, of: interface)
        let fives = rows(.fiveminute, of: interface)
        var days: [CivilDate: Stated] = [:]
        for row in rows(.day, of: interface) {
            let day = calendar.day(containing: row.start)
            days[day] = ((days[day]?.total ?? .zero).adding(row.total), calendar.start(of: day))
        }
        let dayRows = Set(days.keys)
        let hoursByDay = Dictionary(grouping: hours) { calendar.day(containing: $0.start) }
        for (day, rows) in hoursByDay where days[day] == nil { days[day] = (sum(rows), rows[0].start) }
        for (day, stated) in days.sorted(by: { $0.key < $1.key }) {
            add(day, stated.total, hoursByDay[day] ?? [], hoursFrom: hours.first?.start, fives)
        }
        let ofDays = days.values.reduce(into: Total.zero) { $0 += $1.total }
        if let total = interface.total, !ofDays.without(total).isZero {
            problems.append("total: \(total.bytes) bytes, fewer than the \(ofDays.bytes) of its days, which are taken")
        }
        let (monthRows, yearRows) = (rows(.month, of: interface), rows(.year, of: interface))
        // A day's own row covers its left-out hours, too.
        let leftOut = (interface.leftOut.compactMap { entry in moment(entry.date).map { (entry.table, $0) } } + ahead)
            .filter { $0.0 > .hour || !dayRows.contains(calendar.day(containing: $0.1)) }
        let rotation = rotation(of: monthRows, leftOut, by: days)
        let rotated = monthRows.map {
            (calendar.start(of: calendar.day(containing: $0.start).adding(days: rotation - 1)), $0.total)
        }
        if let total = interface.total { unknown = total.without(ofDays) }
        let months = addRests(.month, rotated, leftOut, of: days) { day in
            let first = day.adding(days: 1 - rotation).firstOfMonth
            return (first.adding(days: rotation - 1), first.adding(days: 31).firstOfMonth.adding(days: rotation - 1))
        }
        if rotation != 1, interface.total == nil, !yearRows.isEmpty {
            problems.append("year: months that begin on day \(rotation) aren't parts of years, and there is no total")
        }
        // Months that cross the end of a year aren't parts of years.
        let years = addRests(.year, rotation == 1 ? yearRows : [], leftOut, of: months) {
            ($0.firstOfYear, $0.firstOfYear.adding(days: 366).firstOfYear)
        }
        guard let total = interface.total else { return }
        let first = calendar.day(containing: created)
        _ = addRests(.total, [(created, total)], leftOut, of: years) { _ in (first, .latest) }
    }

    /// The day on which months begin: the first by which every month with all its days kept equals their sum.
    private func rotation(
        of months: [Row], _ leftOut: [LeftOut], by days: [CivilDate: Stated]
    ) -> Int {
        guard let firstDay = days.keys.min() else { return 1 }
        let isComplete = firstDay <= calendar.day(containing: created)
        return (1...28).first { rotation in
            var difference: [CivilDate: (days: Total, month: Total)] = [:]
            for (day, stated) in days {
                difference[day.adding(days: 1 - rotation).firstOfMonth, default: (.zero, .zero)].days += stated.total
            }
            for row in months {
                difference[calendar.day(containing: row.start).firstOfMonth, default: (.zero, .zero)].month += row.total
            }
            let isKnown = difference.filter { month, _ in
                let span =
                    month.adding(days: rotation - 1)..<month.adding(days: 31).firstOfMonth.adding(days: rotation - 1)
                return (isComplete ? span.upperBound > firstDay : span.lowerBound >= firstDay)
                    && !leftOut.contains { span.contains(calendar.day(containing: $0.start)) }
            }
            return isKnown.allSatisfy { $0.value.days == $0.value.month }
                && (rotation == 1 || isKnown.contains { !$0.value.days.isZero })
        } ?? 1
    }

    /// In order; rows in the future, or at times that don't exist, are left out.
    private mutating func rows(_ table: VnStatInterface.Table, of interface: VnStatInterface) -> [Row] {
        var rows: [Row] = []
        var late: [String] = []
        for record in interface.rows[table] ?? [] {
            guard let start = moment(record.date) else {
                problems.append("\(table) \(record.date): there is no such time")
                continue
            }
            if start < now {
                rows.append((start, record.total))
            } else {
                late.append(record.date)
                ahead.append((table, start))
            }
        }
        if let first = late.min(), let last = late.max() {
            let dates = first == last ? first : "\(first) to \(last)"
            problems.append("\(table) \(dates): ahead of the clock by this time zone")
        }
        return rows.sorted { $0.start < $1.start }
    }

    private func sum(_ rows: some Sequence<Row>) -> Total { rows.reduce(into: .zero) { $0 += $1.total } }

    private mutating func add(_ day: CivilDate, _ total: Total, _ hours: [Row], hoursFrom: Timestamp?, _ fives: [Row]) {
        let span = calendar.span(ofDay: day)
        let known = sum(hours)
        guard !hours.isEmpty, known.without(total).isZero else {
            if !hours.isEmpty { problems.append("day \(day): its hours say more than the day, which is spread evenly") }
            return add(total, span)
        }
        for (number, hour) in hours.enumerated() {
            let next = number + 1 < hours.count ? hours[number + 1].start : span.upperBound
            addHour(hour, until: min(next, hourEnd(hour.start)), fives)
        }
        let kept = max(span.lowerBound, hoursFrom ?? span.lowerBound)
        add(total.without(known), kept > span.lowerBound ? span.lowerBound..<kept : span)
    }

    private mutating func addHour(_ hour: Row, until hourEnd: Timestamp, _ fives: [Row]) {
        let span = hour.start..<max(hour.start.adding(seconds: 1), hourEnd)
        let parts = fives[fives.firstPlace { $0.start >= span.lowerBound }...].prefix { $0.start < span.upperBound }
        let known = sum(parts)
        // Five minutes that the wall clock shows twice belong to both hours.
        guard !parts.isEmpty, again(span.lowerBound) == nil else { return add(hour.total, span) }
        guard known.without(hour.total).isZero else {
            problems.append(
                "hour \(calendar.rfc3339(hour.start)): its five minutes say more than the hour, which is spread evenly")
            return add(hour.total, span)
        }
        for part in parts { add(part.total, part.start..<part.start.adding(seconds: Bucket.seconds)) }
        let kept = max(span.lowerBound, fives.first?.start ?? span.lowerBound)
        add(hour.total.without(known), kept > span.lowerBound ? span.lowerBound..<kept : span)
    }

    /// Adds the bytes of periods that are in none of their parts: they were carried before the first part that is kept.
    ///
    /// - Parameter period: The first day of the period that holds a date, and of the next one.
    /// - Returns: By each period's first day.
    private mutating func addRests(
        _ table: VnStatInterface.Table, _ rows: [Row], _ leftOut: [LeftOut], of parts: [CivilDate: Stated],
        period: (CivilDate) -> (first: CivilDate, next: CivilDate)
    ) -> [CivilDate: Stated] {
        var known: [CivilDate: Stated] = [:]
        for (day, part) in parts {
            let first = period(day).first
            let sum = known[first] ?? (.zero, part.from)
            known[first] = (sum.total.adding(part.total), min(sum.from, part.from))
        }
        for row in rows {
            let (first, next) = period(calendar.day(containing: row.start))
            let span = calendar.start(of: first)..<calendar.start(of: next)
            let stated = known[first] ?? (.zero, span.upperBound)
            // For the total, this problem is reported before.
            if table != .total, !stated.total.without(row.total).isZero {
                problems.append(
                    "\(table) \(first): \(row.total.bytes) bytes, fewer than the \(stated.total.bytes) of its parts, which are taken"
                )
            }
            let rest = row.total.without(stated.total)
            let begin = max(span.lowerBound, calendar.start(of: calendar.day(containing: min(created, end))))
            known[first] = (stated.total, min(stated.from, begin))
            if rest.isZero { continue }
            // Only left-out rows of finer tables can be part of the rest.
            if leftOut.contains(where: { $0.table < table && span.contains($0.start) }) {
                problems.append(
                    "\(table) \(first): holds what is left out, and \(rest.bytes) bytes more than its parts")
            } else {
                let isMore = table == .total ? Total.zero : unknown.map { rest.without($0) } ?? .zero
                if !isMore.isZero {
                    problems.append("\(table) \(first): holds \(isMore.bytes) bytes more than the total has")
                }
                let taken = rest.without(isMore)
                unknown = unknown?.without(taken)
                // If no time lies before the first part, any of the parts may lack these bytes.
                add(taken, begin < stated.from ? begin..<stated.from : span)
                known[first]?.total += taken
            }
        }
        return known
    }

    private mutating func add(_ total: Total, _ span: Range<Timestamp>) {
        if total.isZero { return }
        let last = max(span.lowerBound.adding(seconds: 1), min(span.upperBound, end))
        slots.append(.init(span.lowerBound..<last, total))
    }

    /// The end of the wall clock's hour that begins then; where the clock is set back, the end of the second one.
    private func hourEnd(_ start: Timestamp) -> Timestamp {
        let local = calendar.localTime(at: start)
        let next = (local.secondsOfDay / 3600 + 1) * 3600
        return calendar.firstInstant(on: local.date, secondsOfDay: next)
    }

    /// When the wall clock shows the same for the second time, because it is set back.
    func again(_ moment: Timestamp) -> Timestamp? {
        let local = calendar.localTime(at: moment)
        return [1800, 3600].lazy.map { moment.adding(seconds: $0) }.first {
            let later = calendar.localTime(at: $0)
            return later.date == local.date && later.secondsOfDay == local.secondsOfDay
        }
    }

    /// The first instant at which the wall clock shows this date or time; `nil` before 1971.
    func moment(_ text: String) -> Timestamp? {
        guard let date = CivilDate(text.prefix(10)), date.daysSinceEpoch >= 365 else { return nil }
        let rest = text.dropFirst(10)
        if rest.isEmpty { return calendar.start(of: date) }
        let numbers = rest.dropFirst().split(separator: ":", omittingEmptySubsequences: false).map { UInt8($0) }
        guard numbers.count == 3, let hour = numbers[0], let minute = numbers[1], let second = numbers[2], hour < 24,
            minute < 60, second < 60
        else { return nil }
        return calendar.firstInstant(on: date, secondsOfDay: Int(hour) * 3600 + Int(minute) * 60 + Int(second))
    }
}
