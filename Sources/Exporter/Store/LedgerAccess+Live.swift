import Accounting
import CivilTime
import Configuration
import LedgerStore
import Logging
import Machine
import NIOCore
import NIOPosix
import Netlink
import Reports

/// How commands show rates, and how a ledger is begun without a daemon.
extension LedgerAccess {
    /// What devices carry at this moment, again and again: as the daemon says, or by reading the kernel from here.
    ///
    /// - Throws: `Failure`.
    package func live() async throws(Failure) -> LiveSource {
        try checkDirectory()
        let note: String
        do throws(Failure) {
            if let answer = try askDaemon(.live) {
                guard answer.live != nil else { throw .refused(answer.error ?? "the daemon gave no answer") }
                return LiveSource(next: { () throws(Failure) in
                    guard let report = try askDaemon(.live)?.live else { throw .refused("the daemon has ended") }
                    return report
                })
            }
            note = "no netusage serve runs on this ledger; rates are read from here, and nothing is kept"
        } catch {
            guard case .daemon(let problem) = error else { throw error }
            note = problem
        }
        let meter = try await ownMeter()
        return LiveSource(next: {
            _ = await meter.tick(onBattery: false)
            var report = await meter.liveReport()
            report.note = note
            return report
        })
    }

    /// A meter that goes on from what the ledger has, if it can be read, and writes nothing.
    private func ownMeter() async throws(Failure) -> Meter {
        let setup = try setup()
        let meter = try newMeter(setup, on: MultiThreadedEventLoopGroup(numberOfThreads: 1).next())
        let window = PeriodWindow(setup.localCalendar, at: setup.now)
        // Without it there is only what is carried from now on.
        let file = try? openedForReading()
        let names = await meter.namesWanted
        await meter.lookOn(from: try? file?.contents(from: window.previousMonthStart, names: names))
        return meter
    }

    /// Begins a ledger as `netusage serve` does: what the counters show now are its baselines.
    func beginLedger() async throws(Failure) {
        let threads = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let meter = try newMeter(try setup(), on: threads.next())
        let store = Store(on: threads.next(), path: storagePath, logger: Self.silence)
        do {
            try await LedgerWriter(store: store, meter: meter, logger: Self.silence, opened: {}).finish()
        } catch let error as StoreError {
            throw .store(error)
        } catch {
            throw .refused("\(storagePath): \(error)")
        }
    }

    private static let silence = Logger(label: "netusage") { _ in SwiftLogNoOpLogHandler() }

    /// - Parameter loop: Its thread ends with the process.
    private func newMeter(_ setup: Setup, on loop: any EventLoop) throws(Failure) -> Meter {
        var setup = setup
        setup.configuration.plans = .none
        do {
            return try Meter(
                on: loop, kernel: try KernelNetwork(),
                bootID: SystemClock.bootID(),
                settings: MeterSettings(setup.configuration, setup.zones), logger: Self.silence,
                wakeStore: AsyncStream.makeStream(of: Void.self).continuation, announce: { _ in })
        } catch {
            throw .refused("the kernel can't be read: \(error)")
        }
    }
}

/// What devices carry, each time it is asked.
package struct LiveSource: Sendable {
    fileprivate let next: @Sendable () async throws(LedgerAccess.Failure) -> LiveReport

    /// - Parameters:
    ///   - devices: Names or patterns; all if there are none.
    ///   - isFirst: Whether this is the first report; later a device may come and go.
    /// - Throws: `LedgerAccess.Failure` when the daemon has ended, or there is no such device at first.
    package func report(of devices: [String], isFirst: Bool) async throws(LedgerAccess.Failure) -> LiveReport {
        var report = try await next()
        if !devices.isEmpty {
            let known = report.accounts.map(\.name)
            report.accounts.removeAll { account in
                !devices.contains { $0 == account.name || DevicePattern($0)?.matches(DeviceName(account.name)) == true }
            }
            if report.accounts.isEmpty, isFirst {
                let names = devices.joined(separator: ", ")
                throw .refused("there is no \(names) now; there is \(known.prefix(20).joined(separator: ", "))")
            }
        }
        return report
    }
}
