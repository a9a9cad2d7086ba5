import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

@Suite("Buckets of applications")
struct ApplicationBucketTests {
    private let directory: TemporaryDirectory
    private let file: LedgerFile
    private static let curl = AccountKey.application(ApplicationName("curl"), .internet)

    init() throws {
        directory = try TemporaryDirectory()
        file = try LedgerFile(path: directory.ledger)
        var records = [AccountRecord.make(1, "eth0"), .make(2, "curl"), .make(3, "lan"), .make(4, "uplink")]
        records[1].key = Self.curl
        records[2].key = .uplinkScope(.lan)
        records[3].key = .uplink
        var commit = Commit.make(1, accounts: records)
        for number: Int64 in 0..<20 {
            for account: Int64 in 1...4 { commit.book(account, 1, 2, at: testStart + number * 300, .utc) }
        }
        try file.apply(commit)
    }

    private static func moment(_ seconds: Int64) -> Timestamp { Timestamp(secondsSinceEpoch: testStart + seconds) }

    private func prune(to horizon: Timestamp, _ sequences: ClosedRange<Int64>) throws {
        for sequence in sequences {
            try file.apply(.make(sequence), calendar: .utc, horizon: .earliest, applicationHorizon: horizon)
        }
    }

    @Test func theyGoEarlierThanThoseOfDevicesAndTheirDaysStay() throws {
        let days = try StoredBytes(directory).days
        try prune(to: Self.moment(3100), 2...9)
        let page = try file.buckets(from: .earliest, before: .latest, rowsPerPage: 1000)
        func starts(_ id: Int64) -> [Timestamp] { page.rows.filter { $0.account.rawValue == id }.map(\.bucket.start) }
        #expect(starts(1).count == 20 && starts(3).count == 20)
        #expect(starts(2) == (10..<20).map { Self.moment($0 * 300) })
        #expect(page.keptFrom == .earliest && page.applicationsKeptFrom == Self.moment(3000))
        #expect(try StoredBytes(directory).days == days)
    }

    @Test func aClockThatWasWrongForAMomentCostsAFewOnly() throws {
        try prune(to: .latest, 2...2)
        let page = try file.buckets(from: .earliest, before: .latest, rowsPerPage: 1000)
        #expect(page.rows.filter { $0.account.rawValue == 2 }.count == 18)
    }

    /// Free time needs buckets; the bytes of those that are gone count at the beginning of their day.
    @Test(arguments: [[], [60..<120]])
    func aQuotaCountsBytesWhoseBucketsAreGone(free: [Range<Int>]) throws {
        try prune(to: Self.moment(3100), 2...9)
        let quota = Quota(
            name: "q", count: .applications(["curl"].compactMap { DevicePattern($0) }), direction: .total,
            limitBytes: 1000, cycle: Cycle(.init(.month(day: 1))), free: FreeTime(free))
        let book = try file.planBook(
            Plans(quotas: [quota], rateLimits: [], committedRates: []), calendars: [.local: .utc], at: Self.moment(6000)
        )
        #expect(book.quotaStates(at: Self.moment(6000)).map(\.usedBytes) == [60])
    }

    /// Of applications without buckets nobody knows whether the uplink's bytes at that time are free. Those can't be left out.
    @Test func onlyWhatCertainlyCountsIsLeftOut() throws {
        try prune(to: Self.moment(3100), 2...9)
        // Of the twenty buckets those from the sixth to the tenth are free, and the application's first ten are gone.
        var commit = Commit.make(10)
        for number: Int64 in 0..<20 { commit.book(4, 2, 4, at: Self.moment(0).secondsSinceEpoch + number * 300, .utc) }
        try file.apply(commit)
        let minutes = 5 * 1440  // A Saturday's first.
        let quota = Quota(
            name: "q",
            count: .uplinkWithout(.init(lan: false, applications: ["curl"].compactMap { DevicePattern($0) })),
            direction: .total, limitBytes: 1000, cycle: Cycle(.init(.month(day: 1))),
            free: FreeTime([minutes + 25..<minutes + 50]))
        let book = try file.planBook(
            Plans(quotas: [quota], rateLimits: [], committedRates: []), calendars: [.local: .utc], at: Self.moment(6000)
        )
        // Fifteen buckets of the uplink with nine bytes, without ten of the application with three.
        #expect(book.quotaStates(at: Self.moment(6000)).map(\.usedBytes) == [105])
    }

    @Test func daysAreBookedAgainByAnotherCalendarWithoutALoss() throws {
        try prune(to: Self.moment(3100), 2...9)
        try file.rezone(to: LocalCalendar(zone: Zone(fixedOffsetSeconds: -3600), weekStart: .monday))
        let bytes = try StoredBytes(directory)
        #expect(bytes.lifetimes.values.allSatisfy { $0 == Total(received: 20, transmitted: 40) })
    }
}
