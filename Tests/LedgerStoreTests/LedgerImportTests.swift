import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import LedgerStore

@Suite("Taking over what another meter has counted")
struct LedgerImportTests {
    /// A device's traffic by the minute, which another meter counts from its first minute on, and the ledger from some
    /// minute on.
    private struct Scene {
        static let minutes: Int64 = 4 * 1440
        var random: SeededGenerator
        let calendar: LocalCalendar
        let begin: Timestamp
        var bytes: [UInt64] = []
        /// The first that the ledger meters.
        let ownFrom: Int64
        /// The other meter is switched off with this one.
        let otherUntil: Int64
        /// Whether it reads late now and then, so that a minute's bytes come into the next slot.
        let isLate: Bool
        /// From when on the other meter keeps hours, and five minutes.
        var hoursFrom: Int64
        var fivesFrom: Int64
        /// How long buckets are kept.
        let keepsSeconds: Int64?

        init(seed: UInt64) throws {
            var random = SeededGenerator(seed: seed)
            let zones = ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<-0930>9:30", "EST5EDT,M3.2.0,M11.1.0"]
            calendar = LocalCalendar(
                zone: try Zone(posix: zones.randomElement(using: &random) ?? ""), weekStart: .monday)
            // Some scenes have a change of the clock in them.
            let firsts = [CivilDate(year: 2026, month: 11, day: 18), CivilDate(year: 2026, month: 10, day: 23)]
            begin = calendar.start(of: try #require(firsts.randomElement(using: &random) ?? nil)).adding(
                seconds: 7 * 3600 + 11 * 60)
            var isIdle = false
            for _ in 0..<Self.minutes {
                if Int.random(in: 0..<50, using: &random) == 0 { isIdle.toggle() }
                bytes.append(isIdle ? 0 : UInt64.random(in: 0...1_000_000, using: &random))
            }
            ownFrom = Int64.random(in: 0..<Self.minutes, using: &random)
            // Where it ends within a bucket, nobody can tell what of the bucket both have metered.
            otherUntil =
                [Int64.random(in: 1...Self.minutes / 5, using: &random) * 5 + 4, .max].randomElement(using: &random)
                ?? .max
            isLate = Bool.random(using: &random)
            hoursFrom = Int64.random(in: 0..<Self.minutes, using: &random)
            fivesFrom = Int64.random(in: hoursFrom..<Self.minutes, using: &random)
            keepsSeconds = [nil, 86_400, 30 * 3600].randomElement(using: &random) ?? nil
            self.random = random
        }

        /// The other meter has forgotten what was finer.
        mutating func forget() {
            hoursFrom = Int64.random(in: hoursFrom..<Self.minutes, using: &random)
            fivesFrom = Int64.random(in: max(hoursFrom, fivesFrom)..<Self.minutes, using: &random)
        }

        func horizon(at minute: Int64) -> Timestamp {
            keepsSeconds.map { moment(minute).adding(seconds: -$0) } ?? .earliest
        }

        func moment(_ minute: Int64) -> Timestamp { begin.adding(seconds: minute * 60) }

        func total(_ range: Range<Int64>) -> Total {
            let sum = range.isEmpty ? 0 : bytes[Int(range.lowerBound)..<Int(range.upperBound)].reduce(0, +)
            return Total(received: sum, transmitted: sum / 3)
        }

        /// Up to which minute the other meter has read at a minute.
        func read(at minute: Int64) -> Int64 { isLate && minute * 7919 % 5 < 2 ? max(0, minute - 1) : minute }

        /// What the other meter tells at a minute.
        func slots(at now: Int64) -> [ImportedAccount.Slot] {
            let end = min(now, otherUntil)
            var slots: [ImportedAccount.Slot] = []
            var minute: Int64 = 0
            while minute < end {
                let start = moment(minute)
                let day = calendar.span(ofDay: calendar.day(containing: start))
                // Hours of this zone.
                let inHour = (start.secondsSinceEpoch - day.lowerBound.secondsSinceEpoch) % 3600 / 60
                let inFive = (start.secondsSinceEpoch % 300) / 60
                var next = minute + (day.upperBound.secondsSinceEpoch - start.secondsSinceEpoch) / 60
                if minute < hoursFrom { next = min(next, max(minute + 1, hoursFrom - hoursFrom % 60)) }
                if minute >= hoursFrom { next = min(next, minute + 60 - inHour) }
                if minute >= fivesFrom { next = min(next, minute + 5 - inFive) }
                next = max(minute + 1, min(next, end))
                slots.append(.init(start..<moment(next), total(read(at: minute)..<read(at: next))))
                minute = next
            }
            return slots
        }
    }

    private static let id: Int64 = 1

    @Test(arguments: 0..<24)
    func everyByteIsThereOnceHoweverOftenItIsTakenOver(seed: UInt64) throws {
        var scene = try Scene(seed: seed)
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var now: Int64 = 0
        var sequence: Int64 = 0
        var booked = scene.ownFrom
        var lastReading: Int64 = 0
        while now < Scene.minutes {
            now = min(Scene.minutes, now + Int64.random(in: 1...900, using: &scene.random))
            let isRunning = now == Scene.minutes || Bool.random(using: &scene.random)
            if isRunning {
                // All is in the store when something is taken over.
                sequence += 1
                let isFirst = booked == scene.ownFrom && now > booked
                var commit = Commit.make(sequence, accounts: isFirst ? [.make(Self.id, "eth0")] : [])
                commit.header.lastReading = Moment(
                    wallNanoseconds: scene.moment(now).secondsSinceEpoch * 1_000_000_000,
                    sinceBoot: BootTime(nanoseconds: sequence))
                if isFirst { commit.unread = [.earliest..<scene.moment(scene.ownFrom)] }
                for minute in booked..<max(booked, now) {
                    let total = scene.total(minute..<minute + 1)
                    if total.isZero { continue }
                    // The ledger's readings may be the late ones as well.
                    let late: Int64 = scene.isLate && minute * 31 % 7 == 0 ? 60 : 0
                    commit.book(
                        Self.id, total.received, total.transmitted, at: scene.moment(minute).secondsSinceEpoch + late,
                        scene.calendar)
                }
                booked = max(booked, now)
                lastReading = now
                try file.apply(commit, calendar: scene.calendar, horizon: scene.horizon(at: now))
            } else if sequence == 0 {
                continue
            }
            if Bool.random(using: &scene.random) { scene.forget() }
            let account = ImportedAccount(.device(DeviceName("eth0")), slots: scene.slots(at: now))
            let size = Int.random(in: 1...200, using: &scene.random)
            try take(account, piecesOf: size, scene, now, file)
            let bytes = try StoredBytes(directory)
            let told = scene.total(0..<min(scene.read(at: min(now, scene.otherUntil)), scene.ownFrom)).received
            let own = scene.total(min(lastReading, scene.ownFrom)..<lastReading).received
            let sum = bytes.days.values.reduce(into: Total.zero) { $0 += $1 }
            // What lies in a slot can't be told from what came late into it: a minute's bytes at either end.
            let slack: UInt64 = scene.isLate ? 2_000_000 : 0
            #expect(sum.received <= told + own + slack, "seed \(seed) at \(now): nothing counts twice")
            // What the ledger may yet read itself isn't taken over. Of a day in whose midst the other meter was switched off
            // nobody can tell, when only its sum is kept.
            if isRunning, scene.otherUntil == .max || scene.keepsSeconds == nil {
                #expect(sum.received + slack >= told + own, "seed \(seed) at \(now): nothing is lost")
            }
            if scene.keepsSeconds == nil {
                let sums = bytes.days(from: .earliest, summedBy: scene.calendar)
                #expect(bytes.days(from: .earliest) == sums, "seed \(seed): days are the sums of their buckets")
            }
            try take(account, piecesOf: size, scene, now, file)
            #expect(try StoredBytes(directory) == bytes, "seed \(seed): the same again changes nothing")
        }
    }

    private func take(
        _ account: ImportedAccount, piecesOf size: Int, _ scene: Scene, _ now: Int64, _ file: LedgerFile
    ) throws {
        for piece in ImportedAccount.pieces(of: [account], ofSlots: size, by: scene.calendar) {
            _ = try file.takeOver(
                piece, calendar: scene.calendar, at: scene.moment(now), horizon: scene.horizon(at: now), isTrial: false)
        }
    }
}
