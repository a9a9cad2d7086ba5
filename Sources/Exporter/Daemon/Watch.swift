import Accounting
import CLinux
import CivilTime
import Glibc
import Machine
import NIOCore

/// Waits, on its own thread, for everything that makes the meter read: kernel events, the next sampling moment,
/// midnight, a wall clock that is set; and for signals.
actor Watch {
    nonisolated let unownedExecutor: UnownedSerialExecutor

    private let epoll: CInt
    private let tickTimer: CInt
    private let wallTimer: CInt
    private let signals: CInt
    private let longestWaitMilliseconds: CInt

    /// - Parameters:
    ///   - signals: The pipe of signals; see `netusage_signal_pipe`.
    ///   - eventDescriptors: The kernel's event sockets.
    ///   - longestWaitMicroseconds: The longest time without a tick; `nil` for no limit.
    init(on loop: any EventLoop, signals: CInt, eventDescriptors: [CInt], longestWaitMicroseconds: Int64?) {
        longestWaitMilliseconds = longestWaitMicroseconds.map { CInt(clamping: max(1, $0 / 1000)) } ?? -1
        unownedExecutor = loop.executor.asUnownedSerialExecutor()
        self.signals = signals
        epoll = epoll_create1(CInt(EPOLL_CLOEXEC))
        // The boot-time clock continues in suspend, so a reading is due right after it.
        tickTimer = timerfd_create(CLOCK_BOOTTIME, CInt(TFD_CLOEXEC | TFD_NONBLOCK))
        wallTimer = timerfd_create(CLOCK_REALTIME, CInt(TFD_CLOEXEC | TFD_NONBLOCK))
        let all = [epoll, tickTimer, wallTimer, signals]
        precondition(all.allSatisfy { $0 >= 0 }, "there are no descriptors left at start: raise the limit (ulimit -n)")
        for descriptor in [tickTimer, wallTimer, signals] + eventDescriptors {
            var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data(fd: descriptor))
            epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event)
        }
    }

    deinit {
        for descriptor in [epoll, tickTimer, wallTimer, signals] { close(descriptor) }
    }

    /// Runs until SIGTERM or SIGINT comes.
    ///
    /// - Parameters:
    ///   - tick: Called with each reading, and at least as often as `longestWaitMicroseconds` says.
    ///   - reload: Called for SIGHUP. Neither may wait for anything.
    func run(_ meter: Meter, tick: @Sendable () -> Void, reload: @Sendable () -> Void) async {
        var powerCheckedAt: BootTime?
        var isOnBattery = false
        var plan = await meter.plan
        while true {
            arm(plan)
            let ready = wait()
            if ready.isEmpty {
                tick()  // Only a sign of life is due.
                plan = await meter.plan  // Its times count from now.
                continue
            }
            if ready.contains(signals) {
                let received = takeSignals()
                if received.contains(SIGTERM) || received.contains(SIGINT) { return }
                if received.contains(SIGHUP) { reload() }
            }
            // A wall timer that fails to be read was cancelled: the clock was set, and a reading is due at once.
            let isTick = drain(tickTimer, ready)
            let isDay = drain(wallTimer, ready)
            if isTick, !isDay, plan.untilRoutes != nil {
                plan = await meter.lookAtRoutes()
            } else if isTick || isDay {
                let now = SystemClock.now().sinceBoot
                if powerCheckedAt.map({ now.elapsed(since: $0) >= Span(seconds: 10) }) ?? true {
                    isOnBattery = PowerSupply.isOnBattery()
                    powerCheckedAt = now
                }
                plan = await meter.tick(onBattery: isOnBattery)
            } else {
                if await !meter.readEvents() { usleep(100_000) }  // A broken socket stays readable: don't spin on it.
                plan = await meter.plan
            }
            tick()  // Events may come so fast that nothing else does.
        }
    }

    private func arm(_ plan: Meter.Plan) {
        let nanoseconds = max(1, (plan.untilRoutes ?? plan.untilNextReading).nanoseconds)
        var when = itimerspec()
        when.it_value = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        timerfd_settime(tickTimer, 0, &when, nil)
        // A moment in the past would fire at once, again and again; the tick timer handles that day's end.
        netusage_arm_wall_timer(wallTimer, max(plan.nextDay.secondsSinceEpoch, Int64(time(nil)) + 1))
    }

    /// - Returns: The descriptors that are ready.
    private func wait() -> Set<CInt> {
        var events = [epoll_event](repeating: epoll_event(), count: 8)
        let count = epoll_wait(epoll, &events, CInt(events.count), longestWaitMilliseconds)
        return count > 0 ? Set(events[..<Int(count)].map(\.data.fd)) : []
    }

    /// - Returns: Whether this timer was the reason to wake up.
    private func drain(_ timer: CInt, _ ready: Set<CInt>) -> Bool {
        guard ready.contains(timer) else { return false }
        var expirations: UInt64 = 0
        return read(timer, &expirations, 8) > 0 || errno == ECANCELED
    }

    private func takeSignals() -> Set<CInt> {
        var numbers = [UInt8](repeating: 0, count: 16)
        let count = read(signals, &numbers, numbers.count)
        return count > 0 ? Set(numbers[..<count].map { CInt($0) }) : []
    }
}
