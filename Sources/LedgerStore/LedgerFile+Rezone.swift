import Accounting
import CivilTime

/// Another calendar for the same bytes.
extension LedgerFile {
    /// Books days again from their buckets if this calendar begins them at other moments than when they were booked.
    /// Bytes without a kept bucket stay on their day, so changing the calendar and changing it back restores the days.
    /// Call it within a transaction.
    func rebookDays(by calendar: LocalCalendar) throws {
        guard let from: Timestamp = try connection.value("SELECT buckets_from FROM ledger") else { return }
        let starts = try dayStarts()
        let previous = starts[(starts.lastIndex { $0.start <= from } ?? 0)...]
        guard previous.contains(where: { calendar.start(of: $0.day) != $0.start }) else { return }
        // The bytes of the kept buckets by account and day: by the previous calendar and by the new one.
        var sums: [AccountID: [CivilDate: Total]] = [:]
        var moved: [Bookings.DayKey: Total] = [:]
        var place = previous.startIndex
        var span = Timestamp(secondsSinceEpoch: 0)..<Timestamp(secondsSinceEpoch: 0)
        var day = CivilDate(daysSinceEpoch: 0)
        try forEachBucket(from: from, before: .latest) { start, account, total in
            while place + 1 < previous.endIndex, previous[place + 1].start <= start { place += 1 }
            if !span.contains(start) {
                day = calendar.day(containing: start)
                span = calendar.span(ofDay: day)
            }
            sums[account, default: [:]][previous[place].day, default: .zero] += total
            moved[.init(account: account, day: day), default: .zero] += total
        }
        let first = previous[previous.startIndex].day
        let kept = try totals(from: first, without: sums)
        try connection.run("DELETE FROM day WHERE day >= ?1", first)
        try connection.run("DELETE FROM day_start WHERE day >= ?1", first)
        for (account, days) in kept {
            for (day, total) in days where !total.isZero { try add(total, to: account, on: day, calendar: calendar) }
        }
        for (key, total) in moved { try add(total, to: key.account, on: key.day, calendar: calendar) }
        // A day before `first` may have got bytes, too. It now begins where this calendar begins it.
        for day in Set(moved.keys.map(\.day)) where day < first {
            try connection.run("UPDATE day_start SET start = ?2 WHERE day = ?1", day, calendar.start(of: day))
        }
    }

    func dayStarts() throws -> [(day: CivilDate, start: Timestamp)] {
        try connection.rows("SELECT day, start FROM day_start ORDER BY day") { row in
            guard let day = Int32(exactly: row[0] as Int64) else { throw damaged("it has an impossible day") }
            return (CivilDate(daysSinceEpoch: day), row[1])
        }
    }

    /// The bytes of the days from `first` on, without `sums`.
    private func totals(from first: CivilDate, without sums: [AccountID: [CivilDate: Total]]) throws
        -> [AccountID: [CivilDate: Total]]
    {
        var totals: [AccountID: [CivilDate: Total]] = [:]
        try connection.forEach("SELECT day, account, received, transmitted FROM day WHERE day >= ?1", first) { row in
            let entry = try day(in: row)
            totals[entry.account, default: [:]][entry.day] = entry.total
        }
        for (account, sums) in sums {
            // If days don't begin with a bucket, a bucket may lie on two days. Then the first day has less than its
            // buckets, and the next day has the rest.
            var owed = Total.zero
            var days = totals[account] ?? [:]
            for day in Set(sums.keys).union(days.keys).sorted() {
                let total = days[day] ?? .zero
                let taken = owed.adding(sums[day] ?? .zero)
                days[day] = total.without(taken)
                owed = taken.without(total)
            }
            totals[account] = days
        }
        return totals
    }
}
