import Accounting
import CivilTime
import Configuration
import Exposition
import Foundation
import LedgerStore
import Logging
import NIOPosix
import Reports
import Synchronization

@testable import Exporter

/// The real meter, ledger, store and catalogue on a machine whose kernel and clocks are the test's.
///
/// What can be seen after each step is recorded: at first the whole body of `/metrics`, then each line that changed, and
/// what was logged.
actor MeteredHousehold {
    nonisolated let kernel = FakeKernel()
    nonisolated let clock = FakeClock()
    private let log = RecordedLog()
    private let directory: URL
    private let threads = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    private var meter: Meter
    private var store: Store
    /// Why the store can't be used now.
    private var storeFailure: StoreError?
    private(set) var record = ""
    private var shownLines: [String] = []

    init(configuration: String) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("netusage-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        kernel.add(1, "lo")
        kernel.add(2, "eth0")
        kernel.add(3, "wlan0", isUp: false)
        kernel.add(4, "veth1", kind: "veth")
        kernel.address(2, "192.0.2.7")
        kernel.lead(over: 2)
        kernel.carry(2, 5_000_000, 400_000)
        store = Self.store(directory, threads, log)
        meter = try Self.meter(kernel, clock, try Self.settings(configuration), threads, log)
    }

    deinit {
        threads.shutdownGracefully { _ in }
        try? FileManager.default.removeItem(at: directory)  // The next boot cleans up the rest.
    }

    private static func store(
        _ directory: URL, _ threads: MultiThreadedEventLoopGroup, _ log: RecordedLog
    ) -> Store {
        Store(on: threads.next(), path: directory.appendingPathComponent("ledger.db").path, logger: log.logger)
    }

    private static func meter(
        _ kernel: FakeKernel, _ clock: FakeClock, _ settings: MeterSettings, _ threads: MultiThreadedEventLoopGroup,
        _ log: RecordedLog
    ) throws -> Meter {
        try Meter(
            on: threads.next(), kernel: kernel, clock: { clock.now }, bootID: "boot", process: .sample,
            settings: settings, logger: log.logger,
            wakeStore: AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1)).continuation,
            announce: { log.add("starts \($0.command.joined(separator: " ")) for \($0.event.quota)") })
    }

    private static func settings(_ yaml: String) throws -> MeterSettings {
        let configuration = try Configuration(yaml: Array(yaml.utf8), file: "test", zoneProblem: { _ in nil })
        return MeterSettings(configuration, try Zones.load(configuration))
    }

    // MARK: - What happens

    /// The program starts to serve.
    func begin() async throws {
        await work()
        await meter.begin()
        await meter.startAnnouncing()
        await work()
    }

    /// Time passes. Readings end sampling intervals of a second, and the store does what waits for it.
    func pass(seconds: Int64) async {
        for _ in 0..<seconds {
            clock.pass(seconds: 1)
            _ = await meter.tick(onBattery: false)
            await work()
        }
    }

    /// The kernel's events are handled as they come.
    func takeEvents() async {
        _ = await meter.readEvents()
        await work()
    }

    func reload(_ configuration: String) async throws {
        await meter.apply(try Self.settings(configuration))
        await work()
    }

    /// The owner says something about a quota.
    func order(_ request: QuotaRequest) async throws {
        _ = try await working { [meter] in await meter.carryOut(request) }.get()
    }

    func importHistory(_ accounts: [ImportedAccount]) async throws {
        let piece = ImportPiece(accounts: accounts, isTrial: false)
        _ = try await working { [meter] in await meter.carryOut(piece) }.get()
    }

    /// The store works until somebody has an answer.
    private func working<Value: Sendable>(for answer: @escaping @Sendable () async -> Value) async -> Value {
        let isAnswered = Mutex(false)
        async let value = {
            let value = await answer()
            isAnswered.withLock { $0 = true }
            return value
        }()
        for _ in 0..<100_000 where !isAnswered.withLock({ $0 }) {
            await work()
            await Task.yield()
        }
        await meter.refuseWaiting(.busy)  // A store that never comes to it must not hold up the test.
        return await value
    }

    func failStore(_ error: StoreError?) { storeFailure = error }

    /// The program ends and starts again; the kernel goes on meanwhile.
    func restart(_ configuration: String, meanwhile: () -> Void) async throws {
        while let work = await meter.takeStoreWork(isFinal: true) {
            _ = await meter.take(outcome(of: work))
            if await meter.isClosed { break }
        }
        await store.close()
        meanwhile()
        store = Self.store(directory, threads, log)
        meter = try Self.meter(kernel, clock, try Self.settings(configuration), threads, log)
        try await begin()
    }

    private func work() async {
        while let work = await meter.takeStoreWork() {
            let (failure, _) = await meter.take(outcome(of: work))
            if failure != nil { return }
        }
    }

    private func outcome(of work: StoreWork) async -> StoreOutcome {
        if let storeFailure { return .failed(StoreFailure(error: storeFailure, isNews: true)) }
        return await store.perform(work).withSize(20480)
    }

    // MARK: - What can be seen

    /// Records what changed since the last step.
    func show(_ step: String) async {
        let snapshot = await meter.scrape()
        var writer = ExpositionWriter()
        writer.begin(.prometheusText)
        Catalogue(version: "1.2.3", revision: "abc").render(snapshot, into: &writer)
        let lines = writer.withBytes { String(decoding: $0, as: UTF8.self) }.split(separator: "\n").map(String.init)
        record += "=== \(step)\n"
        for line in log.take() { record += "log \(line)\n" }
        let before = Set(shownLines)
        let now = Set(lines)
        let isFirst = shownLines.isEmpty
        for line in shownLines where !now.contains(line) && !isReplaced(line, by: lines) { record += "- \(line)\n" }
        for line in lines where !before.contains(line) { record += isFirst ? "\(line)\n" : "+ \(line)\n" }
        shownLines = lines
    }

    /// Whether a series has another value now: its new line is enough.
    private func isReplaced(_ line: String, by lines: [String]) -> Bool {
        guard let name = line.split(separator: " ").dropLast().first, !line.hasPrefix("#") else { return false }
        return lines.contains { $0.hasPrefix(name + " ") }
    }
}

extension StoreOutcome {
    /// The same for a file of this size: that of a real one depends on SQLite's version.
    fileprivate func withSize(_ sizeBytes: Int64) -> StoreOutcome {
        func sized(_ seen: SeenLedger) -> SeenLedger {
            var seen = seen
            seen.sizeBytes = sizeBytes
            return seen
        }
        return switch self {
        case .opened(let seen): .opened(sized(seen))
        case .looked(let seen, let failure): .looked(sized(seen), failure)
        case .history(let seen): .history(sized(seen))
        case .seenHistory(let seen, let failure): .seenHistory(sized(seen), failure)
        case .committed(let adopted, _): .committed(adopted, sizeBytes: sizeBytes)
        case .adjusted, .scanned, .imported, .begunAnew, .notOurs, .failed: self
        }
    }
}
