import CLinux
import Glibc

/// The resources that the process uses, for the standard `process_*` metrics
/// (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
package struct ProcessStatistics: Sendable {
    package var processorSeconds = 0.0
    package var residentBytes: UInt64 = 0
    package var virtualBytes: UInt64 = 0
    package var maximumVirtualBytes: UInt64 = 0
    package var threads: UInt64 = 0
    package var openDescriptors: UInt64 = 0
    package var maximumDescriptors: UInt64 = 0

    package static func now() -> ProcessStatistics {
        var statistics = ProcessStatistics()
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        statistics.processorSeconds =
            Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        // proc(5), /proc/pid/statm: size and resident set in pages.
        let pages = (WholeFile.text("/proc/self/statm") ?? "").split(separator: " ").compactMap { UInt64($0) }
        let pageSize = UInt64(sysconf(Int32(_SC_PAGESIZE)))
        if pages.count > 1 {
            statistics.virtualBytes = pages[0] * pageSize
            statistics.residentBytes = pages[1] * pageSize
        }
        statistics.openDescriptors = countOpenDescriptors()
        statistics.maximumVirtualBytes = limit(RLIMIT_AS)
        statistics.maximumDescriptors = descriptorLimit()
        // proc(5), /proc/pid/stat: field 20.
        statistics.threads = statusFields().dropFirst(18).first.flatMap { UInt64($0) } ?? 0
        return statistics
    }

    /// How many descriptors the process may open.
    package static func descriptorLimit() -> UInt64 { limit(RLIMIT_NOFILE) }

    private static func limit(_ resource: __rlimit_resource) -> UInt64 {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(resource.rawValue), &limit)
        return UInt64(limit.rlim_cur)
    }

    /// Without ".", ".." and the directory itself.
    package static func countOpenDescriptors() -> UInt64 { UInt64(max(0, directoryNames("/proc/self/fd").count - 3)) }

    /// When the machine started, in seconds since 1970 by the current wall clock.
    package static func bootTime() -> Double {
        let (wall, sinceBoot) = SystemClock.nanoseconds()
        return Double(wall) / 1e9 - Double(sinceBoot) / 1e9
    }

    /// When the process started, in seconds since 1970 (proc(5): field 22 of /proc/pid/stat, in ticks since boot).
    package static func startTime() -> Double {
        let fields = statusFields()
        guard fields.count > 20, let ticks = Double(fields[20]) else { return 0 }
        return bootTime() + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// The fields of `/proc/self/stat` from field 2, the name, of which only the closing bracket is left.
    private static func statusFields() -> [Substring] {
        guard let text = WholeFile.text("/proc/self/stat"), let close = text.lastIndex(of: ")") else { return [] }
        return text[close...].split(separator: " ")
    }
}
