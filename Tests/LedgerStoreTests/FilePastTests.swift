import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

/// `ReconciliationTests` play imports to a model; this ties the model to the file.
@Suite("What a file has booked, as an import asks for it")
struct FilePastTests {
    private static let begin = Timestamp(secondsSinceEpoch: testStart)
    private static let now = begin.adding(seconds: 4 * 86_400)

    private static let keys: [AccountKey] =
        [.uplink] + ["eth0", "veth1", "veth2"].map { .device(DeviceName($0)) } + [
            .collapsed("veth*"), .collapsed("v*"),
        ]

    private func span(_ random: inout SeededGenerator, atMost seconds: Int64) -> Range<Timestamp> {
        let start = Self.begin.adding(seconds: Int64.random(in: -86_400...4 * 86_400, using: &random))
        return start..<start.adding(seconds: Int64.random(in: 1...seconds, using: &random))
    }

    /// What was metered: some hours of each account, and some gaps.
    private func commit(_ random: inout SeededGenerator) -> Commit {
        var commit = Commit.make(1, accounts: Self.keys.enumerated().map { .make(Int64($0.offset + 1), $0.element) })
        commit.header.lastReading = Moment(
            wallNanoseconds: Self.now.secondsSinceEpoch * 1_000_000_000, sinceBoot: BootTime(nanoseconds: 1))
        commit.bookings.unread = [.earliest..<Self.begin.adding(seconds: 43_200)]
        var gap = Self.begin.adding(seconds: 50_000)
        for _ in 0..<4 {
            let end = gap.adding(seconds: Int64.random(in: 1...7200, using: &random))
            commit.bookings.unread.append(gap..<end)
            gap = end.adding(seconds: Int64.random(in: 1...50_000, using: &random))
        }
        for account in 1...Int64(Self.keys.count) {
            for _ in 0..<30 {
                let second = testStart + 43_200 + Int64.random(in: 0..<3 * 86_400, using: &random)
                commit.book(account, UInt64.random(in: 1...100_000, using: &random), 1, at: second, .utc)
            }
        }
        return commit
    }

    /// An import of one source into an account that may have its bytes.
    private func part(_ random: inout SeededGenerator) -> ImportedAccount {
        let name = ["eth0", "veth1", "veth2"].randomElement(using: &random) ?? ""
        let keys = Self.keys.filter { key in
            switch key {
            case .uplink: true
            case .device(let device): device == DeviceName(name)
            case .collapsed(let text): DevicePattern(text)?.matches(DeviceName(name)) ?? false
            case .application, .elsewhere, .uplinkScope: false
            }
        }
        let first = Int64.random(in: -24...72, using: &random)
        let slots = (0..<Int64.random(in: 1...24, using: &random)).map { hour in
            let start = Self.begin.adding(seconds: (first + hour) * 3600)
            let bytes = UInt64.random(in: 0...150_000, using: &random)
            return ImportedAccount.Slot(start..<start.adding(seconds: 3600), Total(received: bytes, transmitted: 2))
        }
        return ImportedAccount(keys.randomElement(using: &random) ?? .uplink, from: name, slots: slots)
    }

    @Test func theFileAnswersAsTheModelDoes() throws {
        var counts = [0, 0, 0, 0]
        for seed in 0..<30 as Range<UInt64> { try compare(seed, &counts) }
        // The questions had answers: gaps, and the three kinds of imported rows.
        #expect(counts.allSatisfy { $0 > 10 }, "\(counts)")
    }

    private func compare(_ seed: UInt64, _ counts: inout [Int]) throws {
        var random = SeededGenerator(seed: seed)
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var model = ModelStore()
        let commit = commit(&random)
        try file.apply(commit)
        _ = model.apply(commit)
        for _ in 0..<12 {
            let part = part(&random)
            let done = try file.importPiece([part], calendar: .utc, at: Self.now, horizon: .earliest, isTrial: false)
            let expected = try model.outcomes(of: [part], by: .utc, at: Self.now)
            #expect(done.map(\.taken.total) == expected.map(\.taken.total), "seed \(seed)")
            #expect(done.map(\.known.total) == expected.map(\.known.total), "seed \(seed)")
        }
        let past = file.past
        #expect(try past.keptFrom() == model.keptFrom() && past.meteredFrom() == model.meteredFrom())
        #expect(try past.lastReading() == model.lastReading())
        for source in ["eth0", "veth1", "vx", ""] {
            #expect(try past.accounts(ofSource: source) == model.accounts(ofSource: source), "\(source)")
        }
        for account in (1...Int64(Self.keys.count)).map({ AccountID(rawValue: $0) }) {
            #expect(try past.key(of: account) == model.key(of: account))
            #expect(try past.hasImport(account) == model.hasImport(account), "seed \(seed) \(account)")
            #expect(try past.ownFrom(of: account) == model.ownFrom(of: account), "seed \(seed) \(account)")
            for _ in 0..<20 {
                let span = span(&random, atMost: 3 * 86_400)
                #expect(
                    try past.firstBucket(of: account, from: span.lowerBound)
                        == model.firstBucket(of: account, from: span.lowerBound))
                let buckets = try past.bucketRows(of: account, from: span.lowerBound, before: span.upperBound)
                let expected = model.bucketRows(of: account, from: span.lowerBound, before: span.upperBound)
                #expect(buckets.map(\.span) == expected.map(\.span) && buckets.map(\.total) == expected.map(\.total))
                let dates =
                    LocalCalendar.utc.day(
                        containing: span.lowerBound)...LocalCalendar.utc.day(containing: span.upperBound)
                let (days, expectedDays) = (try past.dayRows(of: account, dates), model.dayRows(of: account, dates))
                #expect(days.map(\.day) == expectedDays.map(\.day) && days.map(\.total) == expectedDays.map(\.total))
                let gaps = try past.gaps(in: span)
                #expect(gaps == model.gaps(in: span), "seed \(seed) \(span)")
                counts[0] += gaps.count
                let owners: [ImportOwner] = [
                    .account(account), .source("veth1", in: account), .sourceElsewhere("veth1", than: account),
                    .ownElsewhere(than: account),
                ]
                for (place, owner) in owners.enumerated() {
                    let rows = try past.importedRows(owner, in: span)
                    #expect(Set(rows) == Set(model.importedRows(owner, in: span)), "seed \(seed) \(owner) \(span)")
                    #expect(rows.map(\.slot.lowerBound) == rows.map(\.slot.lowerBound).sorted())
                    if place > 0 { counts[place] += rows.count }
                }
            }
        }
    }
}
