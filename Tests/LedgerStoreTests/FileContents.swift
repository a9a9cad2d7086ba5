import SQLite
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// Everything in a ledger's file, read without the code under test.
struct FileContents: Equatable {
    /// Each table's rows; each row's values as SQL literals, so that types count too.
    var rows: [String: [String]] = [:]

    private static let columns = [
        "ledger": "ledger_id, sequence, boot_id, netns, boot, read_at_ns, read_boot_ns, clean, buckets_from",
        "account": "id, kind, name, scope, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes",
        "device": "ifindex, name, account, received, transmitted, state, uplink",
        "bucket": "start, account, received, transmitted", "day": "day, account, received, transmitted",
        "day_start": "day, start",
        "application_counter":
            "cgroup, process, scope, passage, application, received, transmitted, saved_received, saved_transmitted, withheld_received, withheld_transmitted",
    ]

    init(_ directory: TemporaryDirectory) throws {
        let copy = try directory.copy()
        let connection = try Connection(path: copy.ledger)
        for (table, columns) in Self.columns {
            let literals = columns.split(separator: ", ").map { "quote(\($0))" }.joined(separator: " || ' ' || ")
            rows[table] = try connection.rows("SELECT \(literals) AS row FROM \(table) ORDER BY row") { $0[0] }
        }
    }

    /// The answer of `PRAGMA integrity_check`: `ok` when all is well.
    static func integrity(of directory: TemporaryDirectory) throws -> String {
        let copy = try directory.copy()
        return try Connection(path: copy.ledger).value("PRAGMA integrity_check") ?? ""
    }
}

/// The bytes in a ledger's file, read without the code under test.
struct StoredBytes: Equatable {
    var buckets: [Bookings.BucketKey: Total] = [:]
    var days: [Bookings.DayKey: Total] = [:]
    var dayStarts: [CivilDate: Timestamp] = [:]
    /// Buckets that start before it may be gone.
    var bucketsFrom = Timestamp.earliest

    init(_ directory: TemporaryDirectory) throws {
        let copy = try directory.copy()
        let connection = try Connection(path: copy.ledger)
        try connection.forEach("SELECT start, account, received, transmitted FROM bucket") { row in
            let start = Timestamp(secondsSinceEpoch: row[0])
            let bucket = Bucket(containing: start)
            #expect(bucket.start == start, "a bucket starts at five minutes of UTC")
            buckets[.init(account: AccountID(rawValue: row[1]), bucket: bucket)] = Self.total(row)
        }
        try connection.forEach("SELECT day, account, received, transmitted FROM day") { row in
            let day = CivilDate(daysSinceEpoch: Int32(row[0] as Int64))
            days[.init(account: AccountID(rawValue: row[1]), day: day)] = Self.total(row)
        }
        try connection.forEach("SELECT day, start FROM day_start") { row in
            dayStarts[CivilDate(daysSinceEpoch: Int32(row[0] as Int64))] = Timestamp(secondsSinceEpoch: row[1])
        }
        bucketsFrom = Timestamp(secondsSinceEpoch: try connection.value("SELECT buckets_from FROM ledger") ?? .min)
    }

    private static func total(_ row: Row) -> Total {
        Total(received: UInt64(row[2] as Int64), transmitted: UInt64(row[3] as Int64))
    }

    /// What each account has booked since its first booking.
    var lifetimes: [AccountID: Total] {
        days.reduce(into: [:]) { $0[$1.key.account, default: .zero] += $1.value }
    }

    var bucketSums: [AccountID: Total] {
        buckets.reduce(into: [:]) { $0[$1.key.account, default: .zero] += $1.value }
    }

    /// The first day that has all of its buckets, whatever the zone in which it was booked first.
    var firstCoveredDay: CivilDate? {
        // Zones are up to 26 hours apart.
        let start = bucketsFrom.adding(seconds: 27 * 3600)
        return dayStarts.filter { $0.value >= start }.keys.min()
    }

    /// The days from this one on.
    func days(from first: CivilDate) -> [Bookings.DayKey: Total] { days.filter { $0.key.day >= first } }

    /// The same days as sums of buckets.
    func days(from first: CivilDate, summedBy calendar: LocalCalendar) -> [Bookings.DayKey: Total] {
        var sums: [Bookings.DayKey: Total] = [:]
        for (key, total) in buckets {
            let day = calendar.day(containing: key.bucket.start)
            if day >= first { sums[.init(account: key.account, day: day), default: .zero] += total }
        }
        return sums
    }
}
