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

    // MARK: - Files

    private static let begin: Int64 = 1_790_812_800  // 2026-10-01, UTC
    private static let day: Int64 = 86_400

    private static func slot(_ start: Int64, _ end: Int64, _ bytes: UInt64) -> ImportedAccount.Slot {
        let span = Timestamp(secondsSinceEpoch: start)..<Timestamp(secondsSinceEpoch: end)
        return .init(span, Total(received: bytes, transmitted: bytes / 2))
    }

    private static func hours(_ hours: [Int64], _ bytes: UInt64 = 1000) -> [ImportedAccount.Slot] {
        hours.map { slot(begin + $0 * 3600, begin + ($0 + 1) * 3600, bytes) }
    }

    /// A ledger whose account 2 has metered 777 bytes on 2026-11-20.
    private func ledger(in directory: TemporaryDirectory) throws -> LedgerFile {
        let file = try LedgerFile(path: directory.ledger)
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        commit.book(2, 777, 77, at: Self.begin + 50 * Self.day, .utc)
        try file.apply(commit)
        return file
    }

    @discardableResult
    private func take(
        _ accounts: ImportedAccount..., in file: LedgerFile, by calendar: LocalCalendar = .utc
    ) throws -> ImportOutcome {
        let now = Timestamp(secondsSinceEpoch: Self.begin + 50 * Self.day + 3600)
        return try file.takeOver(accounts, calendar: calendar, at: now, horizon: .earliest, isTrial: false)[0]
    }

    private func received(in directory: TemporaryDirectory) throws -> UInt64 {
        let bytes = try StoredBytes(directory)
        #expect(bytes.bucketSums == bytes.lifetimes)
        return bytes.lifetimes.values.reduce(0) { $0 + $1.received }
    }

    @Test(arguments: [
        (Array(0...11), [0] + Array(12...23)), ([0, 3, 5, 9], [3, 13]),
        (Array(stride(from: 0, to: 24, by: 2)), [1, 3, 5]),
    ])
    func aFileWithOtherHoursOfADayAddsThem(first: [Int64], second: [Int64]) throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        for hours in [first, second, first] {
            try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: Self.hours(hours)), in: file)
        }
        #expect(try received(in: directory) == 777 + UInt64(Set(first + second).count) * 1000)
    }

    /// Bytes at the very end of five minutes, which one meter reads before and the other behind it.
    @Test func whatOneMeterReadsInTheNextFiveMinutesCountsOnce() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        let open = Self.begin + 20 * 3600
        func five(_ number: Int64, _ bytes: UInt64) -> ImportedAccount.Slot {
            Self.slot(open + number * 300, open + number * 300 + 300, bytes)
        }
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        for (number, bytes) in [84402, 43764, 44806].enumerated() {
            commit.book(2, UInt64(bytes), UInt64(bytes / 2), at: open + Int64(number) * 300, .utc)
        }
        try file.apply(commit)
        let slots = [five(-2, 98990), five(-1, 41680), five(0, 86486), five(2, 44806)]
        let done = try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: slots), in: file)
        #expect(done.taken.received == 98990)
    }

    @Test func daysOfAnotherZoneAreTakenOnce() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let berlin = LocalCalendar(zone: try Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3"), weekStart: .monday)
        // One of them has 25 hours.
        let days = (0..<40).map { number in
            let span = berlin.span(ofDay: CivilDate(daysSinceEpoch: Int32(Self.begin / Self.day) + Int32(number)))
            return Self.slot(span.lowerBound.secondsSinceEpoch, span.upperBound.secondsSinceEpoch, 1_000_000)
        }
        let account = ImportedAccount(.device(DeviceName("eth0")), from: "eth0", slots: days)
        #expect(try take(account, in: file).taken.received == 40_000_000)
        #expect(try take(account, in: file).taken.received == 0)
        #expect(try take(account, in: file, by: berlin).taken.received == 0)
        #expect(try received(in: directory) == 777 + 40_000_000)
    }

    @Test func devicesThatShareAnAccountDoNotExplainEachOther() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let key = AccountKey.collapsed("veth*")
        let parts = [
            ImportedAccount(key, from: "veth1", slots: [Self.slot(Self.begin, Self.begin + 10 * Self.day, 10_000_000)]),
            ImportedAccount(
                key, from: "veth2",
                slots: [Self.slot(Self.begin + 5 * Self.day, Self.begin + 14 * Self.day, 9_000_000)]),
        ]
        for _ in 0..<3 { try take(parts[0], parts[1], in: file) }
        #expect(try received(in: directory) == 777 + 19_000_000)
        // All of the account, by the ledger's own export of another machine.
        let all = ImportedAccount(key, slots: [Self.slot(Self.begin, Self.begin + 20 * Self.day, 19_000_000)])
        #expect(try take(all, in: file).taken.received == 0)
    }

    @Test func allOfAnAccountExplainsEachByteOfItsDevicesOnce() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let key = AccountKey.collapsed("veth*")
        try take(.init(key, slots: Self.hours([0], 100)), in: file)
        let parts = ["veth1", "veth2"].map { ImportedAccount(key, from: $0, slots: Self.hours([0], 100)) }
        for _ in 0..<2 { try take(parts[0], parts[1], in: file) }
        #expect(try received(in: directory) == 777 + 200)
    }

    @Test func aDeviceOfAnotherClassThanBeforeCountsOnce() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let slots = Self.hours([0], 1000)
        try take(.init(.collapsed("veth*"), from: "veth9", slots: slots), in: file)
        for key in [AccountKey.collapsed("v*"), .device(DeviceName("veth9"))] {
            #expect(try take(.init(key, from: "veth9", slots: slots), in: file).taken.received == 0)
        }
        try take(.init(.collapsed("v*"), from: "veth9", slots: slots, replaces: true), in: file)
        try take(.init(.device(DeviceName("veth9")), from: "veth9", slots: slots, replaces: true), in: file)
        try take(.init(.collapsed("v*"), from: "veth9", slots: slots, replaces: true), in: file)
        #expect(try received(in: directory) == 777 + 1000)
        #expect(try StoredBytes(directory).lifetimes.values.filter { $0.received == 1000 }.count == 1)
    }

    /// It was metered by itself, then with its class, or the other way round: what was metered then doesn't come again.
    @Test(arguments: [false, true])
    func aDeviceThatChangedAccountsCountsOnce(isOfClassFirst: Bool) throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        let keys = [AccountKey.device(DeviceName("veth9")), .collapsed("veth*")]
        let (former, now) = isOfClassFirst ? (keys[1], keys[0]) : (keys[0], keys[1])
        var commit = Commit.make(1, accounts: [.make(2, former), .make(3, now), .make(4, .collapsed("wlan*"))])
        commit.book(4, 5, 0, at: Self.begin, .utc)
        // The class has another device, too.
        let (before, since) = isOfClassFirst ? (2000, 1000) : (1000, 2000)
        for hour in 10..<20 { commit.book(2, UInt64(before), 0, at: Self.begin + Int64(hour) * 3600 + 1800, .utc) }
        for hour in 20..<30 { commit.book(3, UInt64(since), 0, at: Self.begin + Int64(hour) * 3600 + 1800, .utc) }
        try file.apply(commit)
        let account = ImportedAccount(now, from: "veth9", slots: Self.hours(Array(0..<30), 1000))
        for _ in 0..<2 { try take(account, in: file) }
        #expect(try received(in: directory) == 5 + 40 * 1000)
        #expect(try take(account, in: file).missed.received == 0)
        // Another device of the class wasn't in the first one's account.
        let other = ImportedAccount(.collapsed("veth*"), from: "veth1", slots: Self.hours(Array(0..<30), 1000))
        let done = try take(other, in: file)
        #expect(done.taken.received == (isOfClassFirst ? 10_000 : 20_000))
    }

    /// Each of them was in the class: what the class has counted explains the bytes of one of them only.
    @Test(arguments: [false, true])
    func devicesThatLeaveAClassCountOnce(isFineFirst: Bool) throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        let names = ["veth1", "veth2", "veth3"]
        var commit = Commit.make(1, accounts: [.make(2, .collapsed("veth*"))])
        for hour in 8..<30 { commit.book(2, 3000, 0, at: Self.begin + Int64(hour) * 3600 + 1800, .utc) }
        try file.apply(commit)
        let days = [Self.slot(Self.begin, Self.begin + Self.day, 24_000)]
        for slots in [isFineFirst ? Self.hours(Array(0..<30)) : days, days] {
            for name in names {
                try take(.init(.device(DeviceName(name)), from: name, slots: slots), in: file)
            }
        }
        #expect(try received(in: directory) == 22 * 3000 + 8 * 3000)
    }

    /// What was carried in a gap is booked evenly; the other meter knows when it was.
    @Test(arguments: [600, 1800, 7200, 36_000])
    func whatAGapBeginsWithCountsOnce(length: Int64) throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        let open = Self.begin + 9 * 3600 + 20
        let gap = Timestamp(secondsSinceEpoch: open + 180)..<Timestamp(secondsSinceEpoch: open + 180 + length)
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        commit.unread = [.earliest..<Timestamp(secondsSinceEpoch: open), gap]
        commit.book(2, 333, 0, at: open, .utc)
        let spread = Spread(Delta(received: 1_000_000_007, transmitted: 0), from: gap.lowerBound, to: gap.upperBound)
        spread.forEachBucket(since: .earliest) { bucket, share in
            commit.book(2, share.received, 0, at: bucket.start.secondsSinceEpoch, .utc)
        }
        commit.book(2, 444, 0, at: gap.upperBound.secondsSinceEpoch + 600, .utc)
        try file.apply(commit)
        // 5555 of them before the first reading, and the gap's right at its beginning.
        let first = Self.begin + 9 * 3600
        let slots = [
            Self.slot(first - 300, first, 5000), Self.slot(first, first + 300, 555 + 333 + 1_000_000_007),
            Self.slot(gap.upperBound.secondsSinceEpoch, gap.upperBound.secondsSinceEpoch + 900, 444),
        ]
        let done = try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: slots), in: file)
        #expect(done.taken.received == 5555)
    }

    @Test func aBootWithAWrongClockDoesNotRefuseThePast() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        commit.unread = [.earliest..<Timestamp(secondsSinceEpoch: Self.begin + 20 * Self.day)]
        for day in [-400, 20, 21] as [Int64] { commit.book(2, 100, 0, at: Self.begin + day * Self.day, .utc) }
        commit.header.lastReading = Moment(
            wallNanoseconds: (Self.begin + 22 * Self.day) * 1_000_000_000, sinceBoot: BootTime(nanoseconds: 1))
        try file.apply(commit)
        let slots = (0..<20).map { Self.slot(Self.begin + $0 * Self.day, Self.begin + $0 * Self.day + Self.day, 1000) }
        let done = try take(.init(.device(DeviceName("eth0")), from: "eth0", slots: slots), in: file)
        #expect(done.taken.received == 20_000)
    }

    /// A device that wasn't the uplink since the first reading: what it has carried since isn't booked to it.
    @Test func theUplinkGetsWhatADeviceCarriedBeforeTheFirstReading() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        let noon = Self.begin + 12 * 3600
        var commit = Commit.make(1, accounts: [.make(2, "eth0"), .make(3, .uplink), .make(4, "wwan0")])
        commit.unread = [.earliest..<Timestamp(secondsSinceEpoch: noon)]
        for hour in 0..<12 as Range<Int64> {
            commit.book(2, 100, 0, at: noon + hour * 3600 + 1800, .utc)
            commit.book(3, 100, 0, at: noon + hour * 3600 + 1800, .utc)
            commit.book(4, 30, 0, at: noon + hour * 3600 + 1800, .utc)
        }
        try file.apply(commit)
        for (name, bytes) in [("wwan0", 30), ("eth0", 100)] as [(String, UInt64)] {
            let slots = [Self.slot(Self.begin, Self.begin + Self.day, 24 * bytes)]
            for _ in 0..<2 {
                let account = ImportedAccount(.device(DeviceName(name)), from: name, slots: slots)
                try take(account, .init(.uplink, from: name, slots: slots), in: file)
            }
        }
        let sums = try StoredBytes(directory).lifetimes
        #expect(
            sums.mapValues(\.received) == [
                AccountID(rawValue: 2): 2400, AccountID(rawValue: 3): 1200 + 12 * 130, AccountID(rawValue: 4): 720,
            ])
    }

    @Test func anotherClockIsRefusedUntilAllIsReplaced() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let key = AccountKey.device(DeviceName("eth0"))
        func take(_ clock: String?, _ slots: [ImportedAccount.Slot], replaces: Bool = false) throws -> ImportOutcome {
            try self.take(.init(key, from: "eth0", slots: slots, replaces: replaces, clock: clock), in: file)
        }
        #expect(try take("UTC", Self.hours([0, 1, 2])).taken.received == 3000)
        let refused = try take("UTC+01:00", Self.hours([-1, 0, 1]))
        #expect(refused.otherClock == "UTC" && refused.taken.received == 0)
        // Those of a CSV have offsets.
        #expect(try take(nil, Self.hours([3])).taken.received == 1000)
        #expect(try take("UTC", Self.hours([4])).taken.received == 1000)
        let replaced = try take("UTC+01:00", Self.hours([-1, 0, 1]), replaces: true)
        #expect(replaced.forgotten.received == 5000 && replaced.taken.received == 3000)
        #expect(try received(in: directory) == 777 + 3000)
        // What is replaced of one device of a class leaves the others' as they were.
        let veth = AccountKey.collapsed("veth*")
        for name in ["veth1", "veth2"] {
            try self.take(.init(veth, from: name, slots: Self.hours([0]), clock: "UTC"), in: file)
        }
        let part = ImportedAccount(veth, from: "veth1", slots: Self.hours([1]), replaces: true, clock: "UTC+01:00")
        #expect(try self.take(part, in: file).otherClock == "UTC")
    }

    @Test func whatIsReplacedGoesAndNothingElse() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let key = AccountKey.device(DeviceName("eth0"))
        let before = try StoredBytes(directory)
        try take(
            .init(key, from: "eth0", slots: [Self.slot(Self.begin + 100, Self.begin + 40 * Self.day, 12_345)]), in: file
        )
        // The clock was behind: own bytes in the time of what was taken over.
        var commit = Commit.make(2)
        commit.book(2, 500, 50, at: Self.begin + 20 * Self.day, .utc)
        try file.apply(commit)
        try take(.init(key, from: "eth0", slots: [], replaces: true), in: file)
        var expected = before
        expected.buckets[
            .init(
                account: AccountID(rawValue: 2),
                bucket: Bucket(containing: Timestamp(secondsSinceEpoch: Self.begin + 20 * Self.day)))] =
            Total(received: 500, transmitted: 50)
        let after = try StoredBytes(directory)
        #expect(after.buckets == expected.buckets)
        #expect(after.lifetimes[AccountID(rawValue: 2)] == Total(received: 1277, transmitted: 127))
    }

    /// Own bytes by the hour, and a file that has as many in all but not in each.
    @Test(arguments: [false, true])
    func whatTheLedgerHasMeteredIsNotOpenedByReplacing(replaces: Bool) throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        var commit = Commit.make(1, accounts: [.make(2, "eth0")])
        for hour in 0..<24 { commit.book(2, hour % 2 == 0 ? 900 : 1000, 0, at: Self.begin + Int64(hour) * 3600, .utc) }
        try file.apply(commit)
        let slots = (0..<24).map { Self.hours([$0], $0 % 2 == 0 ? 1000 : 900)[0] }
        let key = AccountKey.device(DeviceName("eth0"))
        try take(.init(key, from: "eth0", slots: slots, replaces: replaces), in: file)
        try take(.init(key, from: "eth0", slots: slots), in: file)
        #expect(try received(in: directory) <= 24 * 950 + 100)
    }

    @Test func aCoarseRowExplainsNothingBeyondItsTime() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let key = AccountKey.device(DeviceName("eth0"))
        try take(.init(key, from: "eth0", slots: Self.hours([0], 1200)), in: file)
        let fives = (10..<22).map { Self.slot(Self.begin + $0 * 300, Self.begin + $0 * 300 + 300, 100) }
        #expect(try take(.init(key, from: "eth0", slots: fives), in: file).taken.received == 1000)
    }

    @Test func ownBytesExplainOnlyOneOfTwoSources() throws {
        let directory = try TemporaryDirectory()
        let file = try LedgerFile(path: directory.ledger)
        let key = AccountKey.collapsed("veth*")
        var commit = Commit.make(1, accounts: [.make(2, key)])
        commit.book(2, 200, 0, at: Self.begin + 1800, .utc)
        try file.apply(commit)
        for source in ["veth1", "veth2", "veth1", "veth2"] {
            try take(.init(key, from: source, slots: Self.hours([0], 150)), in: file)
        }
        #expect(try received(in: directory) == 300)
    }

    @Test func afterAChangeOfTheZoneReplacingTakesAllAway() throws {
        let directory = try TemporaryDirectory()
        let file = try ledger(in: directory)
        let berlin = LocalCalendar(zone: try Zone(posix: "CET-1CEST,M3.5.0,M10.5.0/3"), weekStart: .monday)
        let key = AccountKey.device(DeviceName("eth0"))
        // The last hour of a day, and none of the next.
        try take(.init(key, from: "eth0", slots: Self.hours([23])), in: file)
        try take(.init(key, from: "eth0", slots: Self.hours([23]), replaces: true), in: file, by: berlin)
        #expect(try received(in: directory) == 777 + 1000)
    }

    /// A class whose devices are in several pieces: the class's own bytes explain each of theirs once.
    @Test func devicesOfAClassStayTogether() {
        let key = AccountKey.collapsed("veth*")
        let accounts = (0..<7).map { number in
            ImportedAccount(key, from: "veth\(number)", slots: Self.hours(Array(0..<240), UInt64(number)))
        }
        let pieces = ImportedAccount.pieces(of: accounts, ofSlots: 100, by: .utc)
        #expect(pieces.count > 7)
        for account in accounts {
            #expect(pieces.flatMap { $0 }.filter { $0.source == account.source }.flatMap(\.slots) == account.slots)
        }
        for (piece, next) in zip(pieces, pieces.dropFirst()) {
            let end = piece.flatMap(\.slots).map(\.end).max() ?? 0
            #expect(next.flatMap(\.slots).allSatisfy { $0.start >= end })
        }
    }

    @Test func piecesAreCutBetweenSlotsEvenIfADayIsLong() {
        let slots = (0..<1000).map { Self.slot(Self.begin + $0 * 60, Self.begin + $0 * 60 + 60, 1) }
        let long = Self.slot(Self.begin + 2 * Self.day, Self.begin + 9 * Self.day, 1)
        let within = (0..<300).map {
            Self.slot(Self.begin + 3 * Self.day + $0 * 60, Self.begin + 3 * Self.day + $0 * 60 + 60, 1)
        }
        let account = ImportedAccount(.uplink, slots: slots + [long] + within)
        let pieces = ImportedAccount.pieces(of: [account], ofSlots: 100, by: .utc).flatMap { $0 }
        #expect(pieces.flatMap(\.slots) == account.slots)
        #expect(pieces.map(\.slots.count).max() == 301)
        for (piece, next) in zip(pieces, pieces.dropFirst()) {
            #expect((piece.slots.map(\.end).max() ?? 0) <= next.slots[0].start)
        }
    }
}
