import TestSupport

@testable import Accounting
@testable import CivilTime
@testable import Reports

/// A ledger in memory with random traffic over some weeks, and its reader.
struct ReportWorld: LedgerReader {
    let calendar: LocalCalendar
    let now: Timestamp
    /// When metering began.
    let begin: Timestamp
    /// Buckets that start before aren't kept.
    let keptFrom: Timestamp
    /// The same for applications.
    let applicationsKeptFrom: Timestamp
    /// Ascending by time.
    let rows: [BucketRow]
    let keys: [AccountKey]
    var rowsPerPage = 7

    static let zones = [
        "UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "EST5EDT,M3.2.0,M11.1.0",
        "<+0545>-5:45",
    ]

    static let standardKeys: [AccountKey] = [
        .uplink, .device(DeviceName("eth0")), .device(DeviceName("wlan, \"0\"")), .collapsed("veth*"),
        .device(DeviceName(bytes: [0x65, 0xFF])),
    ]

    /// - Parameters:
    ///   - keepsAll: Whether all buckets are kept.
    ///   - keepsApplications: Whether those of applications are kept as long as all others.
    init(seed: UInt64, keepsAll: Bool = true, keepsApplications: Bool = true, keys: [AccountKey] = standardKeys) throws
    {
        var random = SeededGenerator(seed: seed)
        calendar = LocalCalendar(
            zone: try Zone(posix: Self.zones.randomElement(using: &random) ?? "UTC0"), weekStart: .monday)
        // Clocks change in some of these weeks.
        begin = Timestamp(secondsSinceEpoch: Int64.random(in: 1_761_000_000...1_761_600_000, using: &random))
        now = begin.adding(seconds: Int64.random(in: 86_400 * 3...86_400 * 12, using: &random))
        keptFrom = keepsAll ? .earliest : Bucket(containing: now.adding(seconds: -2 * 86_400)).start
        applicationsKeptFrom = keepsApplications ? keptFrom : Bucket(containing: now.adding(seconds: -2 * 86_400)).start
        self.keys = keys
        var rows: [BucketRow] = []
        for key in keys {
            for _ in 0..<60 {
                let moment = begin.adding(
                    seconds: Int64.random(in: 0...now.secondsSinceEpoch - begin.secondsSinceEpoch, using: &random))
                let total = Total(
                    received: UInt64.random(in: 0...1_000_000, using: &random),
                    transmitted: UInt64.random(in: 1...1000, using: &random))
                rows.append(BucketRow(start: Bucket(containing: moment).start, key: key, total: total))
            }
        }
        self.rows = rows.sorted { $0.start < $1.start }
    }

    /// What an account carried in a span of time.
    func total(of key: AccountKey, in span: Range<Timestamp>) -> Total {
        rows.filter { $0.key == key && span.contains($0.start) }.reduce(into: .zero) { $0 += $1.total }
    }

    // MARK: - LedgerReader

    func basis() -> ReportBasis {
        ReportBasis(now: now, asOf: now, calendar: calendar, collapse: [DevicePattern("veth*")].compactMap { $0 })
    }

    func days(from first: CivilDate, everybody: Bool) -> DayHistory {
        let entries = keys.map { key in
            let days = Dictionary(grouping: rows.filter { $0.key == key }) { calendar.day(containing: $0.start) }
                .mapValues { $0.reduce(into: Total.zero) { $0 += $1.total } }.sorted { $0.key < $1.key }
            return DayHistory.Entry(
                key: key, isLive: true, lifetime: days.reduce(into: Total.zero) { $0 += $1.value },
                first: days.first?.key, days: days.filter { $0.key >= first }.map { ($0.key, $0.value) })
        }
        return DayHistory(entries: entries, meteredFrom: begin)
    }

    /// In pages of few rows, whole buckets of time.
    func buckets(from start: Timestamp, before end: Timestamp, only: AccountKey?) -> BucketPage {
        let wanted = rows.filter {
            $0.start >= max(start, $0.key.isOfApplication ? applicationsKeptFrom : keptFrom) && $0.start < end
                && (only == nil || $0.key == only)
        }
        var page = BucketPage(
            rows: [], until: end, keptFrom: keptFrom, applicationsKeptFrom: applicationsKeptFrom,
            first: max(rows[0].start, keptFrom))
        for row in wanted {
            if page.rows.count >= rowsPerPage, page.rows.last?.start != row.start {
                page.until = row.start
                break
            }
            page.rows.append(row)
        }
        return page
    }
}
