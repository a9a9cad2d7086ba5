import Accounting
import CivilTime

/// Another calendar for the same bytes.
extension LedgerFile {
    /// Books the days anew from their buckets where this calendar begins days at other moments than the one they were
    /// booked by. Days whose buckets aren't kept any more stay as they are. Part of a transaction.
    func rebookDays(by calendar: LocalCalendar) throws {
        guard let first = try firstCoveredDay(), try differs(calendar, from: first.day) else { return }
        try rebook(from: first.day, startingAt: first.start, calendar: calendar)
    }

    /// The first day all of whose buckets are there.
    private func firstCoveredDay() throws -> (day: CivilDate, start: Int64)? {
        let rows = try statement(
            """
            SELECT day, start FROM day_start WHERE start >= (SELECT buckets_from FROM ledger) ORDER BY day LIMIT 1
            """)
        try rows.bind([])
        guard try rows.step() else { return nil }
        guard let day = Int32(exactly: rows.integer(0)) else { throw damaged("it has an impossible day") }
        let start = rows.integer(1)
        try rows.bind([])
        return (CivilDate(daysSinceEpoch: day), start)
    }

    private func differs(_ calendar: LocalCalendar, from day: CivilDate) throws -> Bool {
        let rows = try statement("SELECT day, start FROM day_start WHERE day >= ?1")
        try rows.bind([.integer(Int64(day.daysSinceEpoch))])
        var differs = false
        while try rows.step() {
            guard let day = Int32(exactly: rows.integer(0)) else { throw damaged("it has an impossible day") }
            if calendar.start(of: CivilDate(daysSinceEpoch: day)).secondsSinceEpoch != rows.integer(1) {
                differs = true
            }
        }
        return differs
    }

    private func rebook(from first: CivilDate, startingAt start: Int64, calendar: LocalCalendar) throws {
        var remainders: [AccountID: Total] = [:]
        let former = try statement("SELECT day, account, received, transmitted FROM day WHERE day >= ?1")
        try former.bind([.integer(Int64(first.daysSinceEpoch))])
        while try former.step() {
            guard let entry = storedDay(in: former) else { throw damaged("it has an impossible day") }
            remainders[entry.account, default: .zero] += entry.total
        }
        try statement("DELETE FROM day WHERE day >= ?1").run(.integer(Int64(first.daysSinceEpoch)))
        try statement("DELETE FROM day_start WHERE day >= ?1").run(.integer(Int64(first.daysSinceEpoch)))
        // Days that stay keep what was carried before `start`, so one that begins earlier by this calendar isn't covered.
        if try hasDays() { try omitBuckets(before: Timestamp(secondsSinceEpoch: start)) }
        for (key, total) in try dailySums(from: start, calendar: calendar) {
            remainders[key.account] = remainders[key.account]?.without(total)
            try add(total, to: key.account, on: key.day, calendar: calendar)
        }
        // A day that doesn't begin with a bucket has bytes in one that began before it.
        let day = calendar.day(containing: Timestamp(secondsSinceEpoch: start))
        for (account, total) in remainders where !total.isZero {
            try add(total, to: account, on: day, calendar: calendar)
        }
    }

    private func hasDays() throws -> Bool {
        try connection.integer("SELECT EXISTS (SELECT 1 FROM day)") == 1
    }

    private func dailySums(from start: Int64, calendar: LocalCalendar) throws -> [Commit.DayKey: Total] {
        let rows = try statement(
            "SELECT start, account, received, transmitted FROM bucket WHERE start >= ?1 ORDER BY start")
        try rows.bind([.integer(start)])
        var sums: [Commit.DayKey: Total] = [:]
        var day = CivilDate(daysSinceEpoch: 0)
        var span = Timestamp(secondsSinceEpoch: 0)..<Timestamp(secondsSinceEpoch: 0)
        while try rows.step() {
            let moment = Timestamp(secondsSinceEpoch: rows.integer(0))
            if !span.contains(moment) {
                day = calendar.day(containing: moment)
                span = calendar.span(ofDay: day)
            }
            sums[.init(account: AccountID(rawValue: rows.integer(1)), day: day), default: .zero] += total(
                in: rows, from: 2)
        }
        return sums
    }
}
