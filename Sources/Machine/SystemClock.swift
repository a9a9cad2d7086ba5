import CLinux
import Glibc

/// The machine's clocks.
package enum SystemClock {
    /// A random text that each boot changes; `nil` if `/proc/sys/kernel` is hidden.
    package static func boot() -> String? {
        WholeFile.text("/proc/sys/kernel/random/boot_id").flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The wall clock since 1970 and the clock since boot. A wall clock beyond the year 2262 gives the largest integer.
    package static func nanoseconds() -> (wall: Int64, sinceBoot: Int64) {
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        let (seconds, isFar) = Int64(wall.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        let (nanoseconds, isLast) = seconds.addingReportingOverflow(Int64(wall.tv_nsec))
        return (isFar || isLast ? .max : nanoseconds, netusage_boot_nanoseconds())
    }
}
