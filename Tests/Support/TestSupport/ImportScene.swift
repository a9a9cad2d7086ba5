import Accounting
import CivilTime

/// A device's traffic by the minute. Another meter counts it from the first minute on. The ledger counts it from a
/// random minute on.
package struct ImportScene {
    private static let minutes: Int64 = 4 * 1440
    private let seed: UInt64
    private var random: SeededGenerator
    private let calendar: LocalCalendar
    private let begin: Timestamp
    private var bytes: [UInt64] = []
    /// The first minute that the ledger meters.
    private let ownFrom: Int64
    /// The other meter counts until this minute.
    private let otherUntil: Int64
    /// Whether readings are sometimes late, so that a minute's bytes are in the next slot.
    private let isLate: Bool
    /// The minutes from which on the other meter still has hours, and five minutes.
    private var hoursFrom: Int64
    private var fivesFrom: Int64
    /// How long buckets are kept.
    private let keepsSeconds: Int64?

    package init(seed: UInt64) throws {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        let zones = ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<-0930>9:30", "EST5EDT,M3.2.0,M11.1.0"]
        calendar = LocalCalendar(
            zone: try Zone(posix: zones.randomElement(using: &random) ?? ""), weekStart: .monday)
        // In some scenes, clocks change.
        let firsts = [CivilDate(year: 2026, month: 11, day: 18), CivilDate(year: 2026, month: 10, day: 23)]
        let first = firsts.compactMap { $0 }.randomElement(using: &random) ?? .earliest
        begin = calendar.start(of: first).adding(seconds: 7 * 3600 + 11 * 60)
        var isIdle = false
        for _ in 0..<Self.minutes {
            if Int.random(in: 0..<50, using: &random) == 0 { isIdle.toggle() }
            bytes.append(isIdle ? 0 : UInt64.random(in: 0...1_000_000, using: &random))
        }
        ownFrom = Int64.random(in: 0..<Self.minutes, using: &random)
        // It ends with a bucket. Within one, nobody could know which of the bucket's bytes both meters have counted.
        otherUntil =
            [Int64.random(in: 1...Self.minutes / 5, using: &random) * 5 + 4, .max].randomElement(using: &random)
            ?? .max
        isLate = Bool.random(using: &random)
        hoursFrom = Int64.random(in: 0..<Self.minutes, using: &random)
        fivesFrom = Int64.random(in: hoursFrom..<Self.minutes, using: &random)
        keepsSeconds = [nil, 86_400, 30 * 3600].randomElement(using: &random) ?? nil
        self.random = random
    }

    /// The other meter forgets some of its finer records.
    private mutating func forget() {
        hoursFrom = Int64.random(in: hoursFrom..<Self.minutes, using: &random)
        fivesFrom = Int64.random(in: max(hoursFrom, fivesFrom)..<Self.minutes, using: &random)
    }

    private func horizon(at minute: Int64) -> Timestamp {
        keepsSeconds.map { moment(minute).adding(seconds: -$0) } ?? .earliest
    }

    private func moment(_ minute: Int64) -> Timestamp { begin.adding(seconds: minute * 60) }

    private func total(_ range: Range<Int64>) -> Total {
        let sum = range.isEmpty ? 0 : bytes[Int(range.lowerBound)..<Int(range.upperBound)].reduce(0, +)
        return Total(received: sum, transmitted: sum / 3)
    }

    /// The minute up to which the other meter has read at `minute`.
    private func read(at minute: Int64) -> Int64 { isLate && minute * 7919 % 5 < 2 ? max(0, minute - 1) : minute }

    /// What the other meter reports at the minute `now`.
    private func slots(at now: Int64) -> [ImportedAccount.Slot] {
        let end = min(now, otherUntil)
        var slots: [ImportedAccount.Slot] = []
        var minute: Int64 = 0
        while minute < end {
            let start = moment(minute)
            let day = calendar.span(ofDay: calendar.day(containing: start))
            // Hours of the zone's local time.
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

    private static let account: Int64 = 1

    /// Plays the scene. At random minutes, the ledger meters, and imports the other meter's report twice.
    ///
    /// - Returns: The rules that didn't hold, as sentences.
    package mutating func play(to ledger: inout some ImportingLedger) throws -> [String] {
        var broken: [String] = []
        var now: Int64 = 0
        var sequence: Int64 = 0
        var booked = ownFrom
        var lastReading: Int64 = 0
        while now < Self.minutes {
            now = min(Self.minutes, now + Int64.random(in: 1...900, using: &random))
            let isRunning = now == Self.minutes || Bool.random(using: &random)
            if isRunning {
                sequence += 1
                try ledger.apply(commit(sequence, from: booked, to: now), by: calendar, horizon: horizon(at: now))
                booked = max(booked, now)
                lastReading = now
            } else if sequence == 0 {
                continue
            }
            if Bool.random(using: &random) { forget() }
            let account = ImportedAccount(.device(DeviceName("eth0")), slots: slots(at: now))
            let size = Int.random(in: 1...200, using: &random)
            try add(account, piecesOf: size, at: now, to: &ledger)
            let bytes = try ledger.bytes()
            let reported = total(0..<min(read(at: min(now, otherUntil)), ownFrom)).received
            let own = total(min(lastReading, ownFrom)..<lastReading).received
            let sum = bytes.days.values.reduce(into: Total.zero) { $0 += $1 }
            // Late bytes are in the wrong slot, and nobody can know which ones: up to a minute's bytes at either end.
            let slack: UInt64 = isLate ? 2_000_000 : 0
            if sum.received > reported + own + slack { broken.append("seed \(seed) at \(now): nothing counts twice") }
            // An import leaves out bytes that the ledger may yet read itself. If only the sum is left of the day on which
            // the other meter was switched off, nobody knows when its bytes came.
            if isRunning, otherUntil == .max || keepsSeconds == nil, sum.received + slack < reported + own {
                broken.append("seed \(seed) at \(now): nothing is lost")
            }
            if keepsSeconds == nil, bytes.days != bytes.bucketsByDay(calendar) {
                broken.append("seed \(seed) at \(now): days are the sums of their buckets")
            }
            try add(account, piecesOf: size, at: now, to: &ledger)
            if try ledger.bytes() != bytes { broken.append("seed \(seed) at \(now): the same again changes nothing") }
        }
        return broken
    }

    /// What the ledger has metered since its last commit.
    private func commit(_ sequence: Int64, from booked: Int64, to now: Int64) -> Commit {
        let isFirst = booked == ownFrom && now > booked
        var commit = Commit.make(sequence, accounts: isFirst ? [.make(Self.account, "eth0")] : [])
        commit.header.lastReading = Moment(
            wallNanoseconds: moment(now).secondsSinceEpoch * 1_000_000_000, sinceBoot: BootTime(nanoseconds: sequence))
        if isFirst { commit.bookings.unread = [.earliest..<moment(ownFrom)] }
        for minute in booked..<max(booked, now) {
            let total = total(minute..<minute + 1)
            if total.isZero { continue }
            // The ledger's readings may be late, too.
            let late: Int64 = isLate && minute * 31 % 7 == 0 ? 60 : 0
            commit.book(
                Self.account, total.received, total.transmitted, at: moment(minute).secondsSinceEpoch + late, calendar)
        }
        return commit
    }

    private func add(
        _ account: ImportedAccount, piecesOf size: Int, at now: Int64, to ledger: inout some ImportingLedger
    ) throws {
        for piece in ImportedAccount.pieces(of: [account], ofSlots: size, by: calendar) {
            try ledger.add(piece, by: calendar, at: moment(now), horizon: horizon(at: now))
        }
    }
}

/// A ledger for which a scene can be played.
package protocol ImportingLedger {
    mutating func apply(_ commit: Commit, by calendar: LocalCalendar, horizon: Timestamp) throws
    mutating func add(
        _ parts: [ImportedAccount], by calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp) throws
    func bytes() throws -> BookedBytes
}

/// All bytes that a ledger has booked.
package struct BookedBytes: Equatable {
    package var buckets: [Bookings.BucketKey: Total]
    package var days: [Bookings.DayKey: Total]

    package init(buckets: [Bookings.BucketKey: Total], days: [Bookings.DayKey: Total]) {
        self.buckets = buckets
        self.days = days
    }

    func bucketsByDay(_ calendar: LocalCalendar) -> [Bookings.DayKey: Total] {
        var sums: [Bookings.DayKey: Total] = [:]
        for (key, total) in buckets {
            sums[.init(account: key.account, day: calendar.day(containing: key.bucket.start)), default: .zero] += total
        }
        return sums
    }
}

extension ModelStore: ImportingLedger {
    package mutating func apply(_ commit: Commit, by calendar: LocalCalendar, horizon: Timestamp) {
        _ = apply(commit, horizon: horizon)
    }

    package mutating func add(
        _ parts: [ImportedAccount], by calendar: LocalCalendar, at now: Timestamp, horizon: Timestamp
    ) throws {
        _ = try outcomes(of: parts, by: calendar, at: now, horizon: horizon)
    }

    package func bytes() -> BookedBytes { BookedBytes(buckets: buckets, days: days) }
}
