import Accounting
import CLinux
import Glibc

/// The machine's clocks.
enum SystemClock {
    /// Which boot this is; `Epoch.unknownBoot` where `/proc/sys/kernel` is hidden.
    static func bootID() -> String {
        SmallFile.text("/proc/sys/kernel/random/boot_id").flatMap { $0.isEmpty ? nil : $0 } ?? Epoch.unknownBoot
    }

    /// Both clocks at this moment.
    static func now() -> Moment {
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        let (nanoseconds, overflow) = Int64(wall.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        return Moment(
            wallNanoseconds: overflow ? .max : nanoseconds + Int64(wall.tv_nsec),
            sinceBoot: BootTime(nanoseconds: netusage_boot_nanoseconds()))
    }
}
