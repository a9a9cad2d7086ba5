import CSQLite
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
        "account": "id, kind, name, received_offset, transmitted_offset, boot, resets, gap_bytes, suspect_bytes",
        "device": "ifindex, name, account, received, transmitted, state, uplink",
        "bucket": "start, account, received, transmitted", "day": "day, account, received, transmitted",
        "day_start": "day, start",
    ]

    init(_ directory: TemporaryDirectory) throws {
        let copy = try directory.copy()
        let connection = try Connection(path: copy.ledger)
        for (table, columns) in Self.columns {
            let literals = columns.split(separator: ", ").map { "quote(\($0))" }.joined(separator: " || ' ' || ")
            let statement = try connection.prepare("SELECT \(literals) AS row FROM \(table) ORDER BY row")
            try statement.bind([])
            while try statement.step() { rows[table, default: []].append(statement.text(0)) }
        }
    }

    /// What `PRAGMA integrity_check` says: `ok` when all is well.
    static func integrity(of directory: TemporaryDirectory) throws -> String {
        let copy = try directory.copy()
        let statement = try Connection(path: copy.ledger).prepare("PRAGMA integrity_check")
        try statement.bind([])
        return try statement.step() ? statement.text(0) : ""
    }
}

/// The bytes in a ledger's file, read without the code under test.
struct StoredBytes: Equatable {
    var buckets: [Commit.BucketKey: Total] = [:]
    var days: [Commit.DayKey: Total] = [:]
    var dayStarts: [CivilDate: Timestamp] = [:]
    /// Buckets that start before it may be gone.
    var bucketsFrom = Timestamp.earliest

    init(_ directory: TemporaryDirectory) throws {
        let copy = try directory.copy()
        let connection = try Connection(path: copy.ledger)
        let buckets = try connection.prepare("SELECT start, account, received, transmitted FROM bucket")
        while try buckets.step() {
            let bucket = Bucket(containing: Timestamp(secondsSinceEpoch: buckets.integer(0)))
            #expect(bucket.start.secondsSinceEpoch == buckets.integer(0), "a bucket starts at five minutes of UTC")
            self.buckets[.init(account: AccountID(rawValue: buckets.integer(1)), bucket: bucket)] = Self.total(buckets)
        }
        let days = try connection.prepare("SELECT day, account, received, transmitted FROM day")
        while try days.step() {
            let day = CivilDate(daysSinceEpoch: Int32(days.integer(0)))
            self.days[.init(account: AccountID(rawValue: days.integer(1)), day: day)] = Self.total(days)
        }
        let starts = try connection.prepare("SELECT day, start FROM day_start")
        while try starts.step() {
            dayStarts[CivilDate(daysSinceEpoch: Int32(starts.integer(0)))] =
                Timestamp(secondsSinceEpoch: starts.integer(1))
        }
        bucketsFrom = Timestamp(secondsSinceEpoch: try connection.integer("SELECT buckets_from FROM ledger") ?? .min)
    }

    private static func total(_ row: Statement) -> Total {
        Total(received: UInt64(row.integer(2)), transmitted: UInt64(row.integer(3)))
    }

    /// What each account has booked since its first booking.
    var lifetimes: [AccountID: Total] {
        days.reduce(into: [:]) { $0[$1.key.account, default: .zero] += $1.value }
    }

    var bucketSums: [AccountID: Total] {
        buckets.reduce(into: [:]) { $0[$1.key.account, default: .zero] += $1.value }
    }

    /// The first day all of whose buckets are there, in whatever zone it was booked first.
    var firstCoveredDay: CivilDate? {
        // Zones are up to 26 hours apart.
        let start = bucketsFrom.adding(seconds: 27 * 3600)
        return dayStarts.filter { $0.value >= start }.keys.min()
    }

    /// The days from this one on.
    func days(from first: CivilDate) -> [Commit.DayKey: Total] { days.filter { $0.key.day >= first } }

    /// The same days as sums of buckets.
    func days(from first: CivilDate, summedBy calendar: LocalCalendar) -> [Commit.DayKey: Total] {
        var sums: [Commit.DayKey: Total] = [:]
        for (key, total) in buckets {
            let day = calendar.day(containing: key.bucket.start)
            if day >= first { sums[.init(account: key.account, day: day), default: .zero] += total }
        }
        return sums
    }
}
