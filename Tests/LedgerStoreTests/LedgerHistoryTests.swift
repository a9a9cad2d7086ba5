import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

@Suite("Histories of a machine in the real store")
struct LedgerHistoryTests {
    @Test(arguments: 0..<24)
    func theFileHoldsWhatTheModelHoldsWhateverHappens(seed: UInt64) throws {
        let directory = try TemporaryDirectory()
        let zone = seed % 3 == 0 ? try Zone(posix: "<+0545>-5:45") : .utc
        let keeps: Int64? = seed % 2 == 0 ? nil : Int64(seed % 7) * 86_400
        var world = try StoredWorld(
            seed: seed, path: directory.ledger, calendar: LocalCalendar(zone: zone, weekStart: .monday),
            keepsBucketsSeconds: keeps)
        for _ in 0..<250 { try world.step() }
        if keeps == nil { try world.checkPlans("seed \(seed)") }
        try world.close()

        let bytes = try StoredBytes(directory)
        #expect(bytes.buckets == world.model.buckets, "seed \(seed)")
        #expect(bytes.days == world.model.days, "seed \(seed)")
        #expect(try FileContents.integrity(of: directory) == "ok", "seed \(seed)")
        let stored = try LedgerFile(path: directory.ledger).loadAll()
        #expect(Normalized(stored) == Normalized(world.model.load(daysFrom: .earliest, names: [])), "seed \(seed)")
        let lifetimes = stored.accounts.reduce(into: [:]) { $0[$1.record.id] = $1.lifetime }.filter { !$0.value.isZero }
        #expect(lifetimes == bytes.lifetimes, "seed \(seed)")
        if keeps == nil { #expect(bytes.bucketSums == bytes.lifetimes, "seed \(seed)") }
    }
}
