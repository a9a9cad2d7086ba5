import CLinux
import Glibc

/// The machine's clocks.
package enum SystemClock {
    /// A random text, another one in each boot; `nil` where `/proc/sys/kernel` is hidden.
    package static func boot() -> String? {
        SmallFile.text("/proc/sys/kernel/random/boot_id").flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The wall clock since 1970 and the clock since boot, at this moment. A wall clock that is beyond the year 2262 stands
    /// at the end of the integers.
    package static func nanoseconds() -> (wall: Int64, sinceBoot: Int64) {
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        let (nanoseconds, overflow) = Int64(wall.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        return (overflow ? .max : nanoseconds + Int64(wall.tv_nsec), netusage_boot_nanoseconds())
    }
}
