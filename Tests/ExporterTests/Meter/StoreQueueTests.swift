import Accounting
import CivilTime
import Configuration
import LedgerStore
import Reports
import Synchronization
import Testing

@testable import Exporter

/// A ledger with a queue, and a store that does what a test says.
private struct Desk {
    var ledger: Ledger
    var queue: StoreQueue
    var settings: MeterSettings
    /// What the store has about the plans.
    var records = PlanRecords.none
    private(set) var seconds: Int64 = 0
    private var carried: UInt64 = 0

    private static let device = DeviceIndex(rawValue: 2)

    init(plans: Plans = .none) throws {
        var configuration = Configuration.defaults
        configuration.timezone = .fixed(seconds: 0)
        configuration.plans = plans
        settings = MeterSettings(configuration, try Zones.load(configuration))
        let now = FakeClock().now
        ledger = .awaitingStore(
            devices: [(Device(index: Self.device, name: DeviceName("eth0")), .zero)],
            planBook: settings.newPlanBook(at: now.timestamp), rules: settings.rules, calendar: settings.calendar,
            epoch: Epoch(bootID: "boot", networkNamespace: 1), now: now)
        queue = StoreQueue(at: now.sinceBoot)
    }

    var now: Moment {
        let start = FakeClock().now
        return Moment(
            wallNanoseconds: start.wallNanoseconds + seconds * 1_000_000_000,
            sinceBoot: BootTime(nanoseconds: start.sinceBoot.nanoseconds + seconds * 1_000_000_000))
    }

    /// The store is opened: it is empty.
    static func open(plans: Plans = .none) throws -> Desk {
        var desk = try Desk(plans: plans)
        guard case .open = desk.next() else { throw Unexpected() }
        desk.take(.opened(desk.seen))
        return desk
    }

    struct Unexpected: Error {}

    var seen: SeenLedger {
        SeenLedger(
            stored: .empty(daysFrom: CivilDate(daysSinceEpoch: 0)),
            book: PlanBook(
                settings.plans, calendars: settings.calendars, records: records, meteredFrom: .earliest,
                at: now.timestamp), calendar: settings.calendar, sizeBytes: 1)
    }

    mutating func next(isFinal: Bool = false) -> StoreWork? {
        queue.next(&ledger, settings, at: now, isFinal: isFinal, scans: false)
    }

    @discardableResult
    mutating func take(_ outcome: StoreOutcome) -> [StoreQueue.Event] {
        queue.take(outcome, into: &ledger, settings, wasShown: true, at: now)
    }

    /// The store does everything that waits for it.
    ///
    /// - Returns: The kinds of work, in order.
    @discardableResult
    mutating func work(_ limit: Int = 20) -> [Kind] {
        var done: [Kind] = []
        while done.count < limit, let work = next() {
            done.append(Kind(work))
            take(success(of: work))
        }
        return done
    }

    func success(of work: StoreWork) -> StoreOutcome {
        switch work {
        case .open: .opened(seen)
        case .commit: .committed([], sizeBytes: 2)
        case .history: .history(seen)
        case .scan(let scan): .scanned(scan)
        case .adjust(let order, let moment, _):
            .adjusted(
                .success(
                    Adjustment(id: 1, quota: order.quota, kind: .topUp(bytes: 1), at: moment, enteredAt: moment)), nil
            )
        case .importPiece: .imported([])
        }
    }

    mutating func pass(seconds: Int64) {
        self.seconds += seconds
        carried += 1000
        ledger.record(
            [Reading(device: Self.device, counters: Counters(received: carried, transmitted: 0))], at: now,
            endsInterval: true)
    }
}

/// A kind of work, to compare.
private enum Kind: Equatable {
    case open, commit, history, scan, adjust, importPiece

    init(_ work: StoreWork) {
        switch work {
        case .open: self = .open
        case .commit: self = .commit
        case .history: self = .history
        case .scan: self = .scan
        case .adjust: self = .adjust
        case .importPiece: self = .importPiece
        }
    }
}

/// Keeps answers.
private final class Answers<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])
    var all: [Value] { values.withLock { $0 } }
    func add(_ value: Value) { values.withLock { $0.append(value) } }
}

@Suite("The order of the store's work")
struct StoreQueueTests {
    private static let topUp = QuotaOrder(quota: "home", kind: .topUp(bytes: 1))

    @Test func theFileIsOpenedThenTheBaselinesAreCommittedThenNothingWaits() throws {
        var desk = try Desk()
        #expect(desk.work() == [.open, .commit])
        #expect(desk.queue.status.isUp && desk.queue.status.sizeBytes == 2)
        #expect(desk.queue.status.lastCommitSeconds == 1_795_298_400)
    }

    @Test func bookingsWaitForTheFlush() throws {
        var desk = try Desk()
        desk.work()
        desk.pass(seconds: 59)
        #expect(desk.work().isEmpty && !desk.queue.isDue(desk.settings, at: desk.now.sinceBoot))
        #expect(desk.queue.untilDue(desk.settings, at: desk.now.sinceBoot) == Span(seconds: 1))
        desk.pass(seconds: 1)
        #expect(desk.queue.isDue(desk.settings, at: desk.now.sinceBoot) && desk.work() == [.commit])
    }

    @Test func aFailedCommitIsTriedAgainAfterFiveSecondsAndWhatCameMeanwhileFollowsAtOnce() throws {
        var desk = try Desk()
        desk.work()
        desk.pass(seconds: 60)
        guard case .commit(let commit, _, _, _) = desk.next() else { throw Desk.Unexpected() }
        let failure = StoreFailure(error: StoreError(.full, path: "ledger.db", "no space"), isNews: true)
        let events = desk.take(.failed(failure))
        #expect(events.count == 1 && !desk.queue.status.isUp && desk.queue.status.commitFailures == 1)
        desk.pass(seconds: 4)
        #expect(desk.next() == nil && desk.queue.untilDue(desk.settings, at: desk.now.sinceBoot) == Span(seconds: 1))
        desk.queue.note(isUrgent: true)
        desk.pass(seconds: 1)
        guard case .commit(let again, _, _, _) = desk.next() else { throw Desk.Unexpected() }
        #expect(again.header.sequence == commit.header.sequence)
        let recovered = desk.take(.committed([], sizeBytes: 3))
        #expect(recovered.contains { if case .recovered = $0 { true } else { false } })
        #expect(desk.work() == [.commit] && desk.queue.status.isUp)
    }

    @Test func newSettingsAreTriedAtOnceThoughTheStoreFailedAMomentAgo() throws {
        var desk = try Desk()
        desk.work()
        desk.queue.note(isUrgent: true)
        _ = desk.next()
        desk.take(.failed(StoreFailure(error: StoreError(.full, path: "ledger.db", "no space"), isNews: true)))
        #expect(desk.next() == nil)
        desk.queue.hurry()
        #expect(desk.work() == [.commit, .commit])
    }

    @Test func anOrderComesAfterWhatWasCarriedBeforeItAndIsAnsweredOnce() throws {
        var desk = try Desk.open()
        let answers = Answers<Bool>()
        desk.queue.enter(Self.topUp, at: desk.now.timestamp) { answers.add((try? $0.get()) != nil) }
        // The book is made again, because the outcome brought none.
        #expect(desk.work() == [.commit, .adjust, .history] && answers.all == [true])
    }

    /// On some machines links come and go all the time, so that a commit is always urgent.
    @Test func urgentCommitsDoNotHoldUpOrdersAndImports() throws {
        var desk = try Desk.open()
        desk.queue.enter(Self.topUp, at: desk.now.timestamp) { _ in }
        desk.queue.enter(ImportPiece(accounts: [], isTrial: true)) { _ in }
        var done: [Kind] = []
        for _ in 0..<8 {
            desk.queue.note(isUrgent: true)
            guard let work = desk.next() else { break }
            done.append(Kind(work))
            desk.take(desk.success(of: work))
        }
        #expect(done.prefix(4) == [.commit, .adjust, .commit, .importPiece])
        #expect(done.count == 8 && done.contains(.history))
    }

    @Test func orderersAndImportersHearWhyNothingCanBeDone() throws {
        var desk = try Desk()
        desk.work()
        let answers = Answers<String>()
        desk.queue.enter(Self.topUp, at: desk.now.timestamp) {
            if case .failure(let error) = $0 { answers.add("order: \(error)") }
        }
        desk.queue.enter(ImportPiece(accounts: [], isTrial: false)) {
            if case .failure(let error) = $0 { answers.add("import: \(error)") }
        }
        #expect(desk.queue.refusalOfImport(desk.ledger).map { "\($0)" }?.contains("another import") == true)
        _ = desk.next()
        desk.take(.failed(StoreFailure(error: StoreError(.full, path: "ledger.db", "no space"), isNews: true)))
        #expect(answers.all.count == 2 && answers.all.allSatisfy { $0.contains("no space") })
        #expect(desk.queue.refusal(of: desk.ledger) == nil)
        for _ in 0..<16 { desk.queue.enter(Self.topUp, at: desk.now.timestamp) { _ in } }
        #expect(desk.queue.refusal(of: desk.ledger).map { "\($0)" }?.contains("busy") == true)
        desk.queue.end(&desk.ledger)
        #expect(desk.queue.refusal(of: desk.ledger).map { "\($0)" }?.contains("ends") == true)
    }

    @Test func aNewFileNeedsEverythingAndTheOrderUnderWayFollows() throws {
        var desk = try Desk.open()
        let answers = Answers<Bool>()
        desk.queue.enter(Self.topUp, at: desk.now.timestamp) { answers.add((try? $0.get()) != nil) }
        #expect(desk.next().map { Kind($0) } == .commit)
        desk.take(.committed([], sizeBytes: 2))
        #expect(desk.next().map { Kind($0) } == .adjust)
        desk.take(.begunAnew)
        guard case .commit(let commit, _, _, _) = desk.next() else { throw Desk.Unexpected() }
        #expect(commit.bookings.isWhole && answers.all.isEmpty)
        desk.take(.committed([], sizeBytes: 2))
        #expect(desk.work().first == .adjust && answers.all == [true])
    }

    @Test func aProgramStartsOnlyOnceTheStoreKnows() throws {
        var desk = try Desk.open()
        let answers = Answers<Bool>()
        desk.queue.enterStart { answers.add($0) }
        _ = desk.next()
        #expect(answers.all.isEmpty)
        desk.take(.committed([], sizeBytes: 2))
        #expect(answers.all == [true])
        desk.queue.enterStart { answers.add($0) }
        desk.queue.end(&desk.ledger)
        #expect(answers.all == [true, false])
    }

    @Test func aLedgerThatIsOnlyReadIsReadAgainWhenItCanBeWritten() throws {
        var desk = try Desk()
        _ = desk.next()
        let failure = StoreFailure(error: StoreError(.unavailable, path: "ledger.db", "read-only"), isNews: true)
        desk.take(.looked(desk.seen, failure))
        #expect(desk.next() == nil)
        desk.pass(seconds: 5)
        guard let work = desk.next() else { throw Desk.Unexpected() }
        #expect(Kind(work) == .history)
        let events = desk.take(.history(desk.seen))
        #expect(events.contains { if case .becameOwner = $0 { true } else { false } })
        #expect(desk.work() == [.commit])
    }

    /// A quota has a correction of half an hour from now.
    private static func corrected() throws -> Desk {
        let quota = Quota(
            name: "home", count: .uplink, direction: .total, limitBytes: 1_000_000, cycle: Cycle(CycleRule(.day)))
        var desk = try Desk(plans: Plans(quotas: [quota], rateLimits: [], committedRates: []))
        let moment = desk.now.timestamp.adding(seconds: 1830)
        desk.records.adjustments = [
            Adjustment(
                id: 1, quota: "home", kind: .correction(usedBytes: 5), at: moment, enteredAt: moment.adding(seconds: 9))
        ]
        return desk
    }

    /// Its owner may have changed it meanwhile, so nothing is written before it is read again.
    @Test func aLedgerThatIsOnlyReadTakesNoCommitBeforeItIsReadAgain() throws {
        var desk = try Self.corrected()
        let failure = StoreFailure(error: StoreError(.unavailable, path: "ledger.db", "read-only"), isNews: true)
        _ = desk.next()
        desk.take(.looked(desk.seen, failure))
        desk.pass(seconds: 3600)
        for _ in 0..<3 {
            #expect(desk.next().map { Kind($0) } == .history)
            desk.take(.seenHistory(desk.seen, failure))
            #expect(desk.next() == nil)
            desk.pass(seconds: 5)
        }
        #expect(desk.work().prefix(2) == [.history, .commit])
    }

    /// The clock was set back, and nothing was read around the moment that a correction is of. What the store has counts
    /// differently once it knows that, not before.
    @Test func aTimeWithoutReadingsThatChangesHowBytesCountIsCommittedBeforeTheHistoryIsRead() throws {
        var desk = try Self.corrected()
        desk.work()
        desk.pass(seconds: 3600)
        let done = desk.work()
        #expect(done == [.commit, .history])
    }

    @Test func theLastCommitGoesBeforeEverythingElse() throws {
        var desk = try Desk()
        desk.work()
        desk.queue.enter(Self.topUp, at: desk.now.timestamp) { _ in }
        desk.pass(seconds: 1)
        guard case .commit(let commit, _, _, _) = desk.next(isFinal: true) else { throw Desk.Unexpected() }
        #expect(commit.header.isClean)
        desk.take(.committed([], sizeBytes: 2))
        #expect(desk.ledger.isClosed)
    }
}
