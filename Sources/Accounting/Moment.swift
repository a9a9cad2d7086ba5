import CivilTime

/// A point on the clock that counts from boot and continues through suspend (`CLOCK_BOOTTIME`); durations come from it.
package struct BootTime: Hashable, Comparable, Sendable {
    package var nanoseconds: Int64

    package init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    package static func < (a: BootTime, b: BootTime) -> Bool { a.nanoseconds < b.nanoseconds }

    /// The time since `earlier`; zero if `earlier` is later.
    package func elapsed(since earlier: BootTime) -> Span {
        let (difference, overflow) = nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        return Span(nanoseconds: overflow ? 0 : max(0, difference))
    }
}

/// A length of time, never negative.
package struct Span: Codable, Hashable, Comparable, Sendable {
    package let nanoseconds: Int64

    package static let zero = Span(nanoseconds: 0)

    /// A negative length is taken as zero.
    package init(nanoseconds: Int64) {
        self.nanoseconds = max(0, nanoseconds)
    }

    package init(seconds: Int64) {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        self.init(nanoseconds: overflow ? (seconds < 0 ? 0 : .max) : product)
    }

    package static func < (a: Span, b: Span) -> Bool { a.nanoseconds < b.nanoseconds }

    package var seconds: Double { Double(nanoseconds) / 1e9 }

    package func adding(_ other: Span) -> Span {
        let (sum, overflow) = nanoseconds.addingReportingOverflow(other.nanoseconds)
        return Span(nanoseconds: overflow ? .max : sum)
    }

    package func times(_ factor: Int64) -> Span {
        let (product, overflow) = nanoseconds.multipliedReportingOverflow(by: factor)
        return Span(nanoseconds: overflow ? .max : product)
    }
}

/// One moment on both clocks: the wall clock says which bucket and day, the boot-time clock how long.
package struct Moment: Hashable, Sendable {
    /// Nanoseconds since 1970-01-01T00:00:00Z by the wall clock, which may step.
    package var wallNanoseconds: Int64
    package var sinceBoot: BootTime

    package init(wallNanoseconds: Int64, sinceBoot: BootTime) {
        self.wallNanoseconds = wallNanoseconds
        self.sinceBoot = sinceBoot
    }

    /// The wall clock's second that this moment lies in.
    package var timestamp: Timestamp { Self.timestamp(atNanoseconds: wallNanoseconds) }

    /// The wall clock's second `span` before this moment, by the wall clock as it is set now.
    package func timestamp(before span: Span) -> Timestamp {
        let (earlier, overflow) = wallNanoseconds.subtractingReportingOverflow(span.nanoseconds)
        return Self.timestamp(atNanoseconds: overflow ? .min : earlier)
    }

    /// An earlier moment of the same boot, by the wall clock as it is set now.
    func at(_ earlier: BootTime) -> Moment {
        Moment(
            wallNanoseconds: wallNanoseconds - sinceBoot.elapsed(since: earlier).nanoseconds, sinceBoot: earlier)
    }

    /// Whether the wall clock was set since `earlier`, a moment of the same boot. Otherwise both clocks run alike (NTP
    /// bends both), except for the time between reading one and the other.
    package func isStepped(since earlier: Moment) -> Bool { abs(step(since: earlier)) >= 0.5 }

    /// By how many seconds the wall clock was set since `earlier`.
    package func step(since earlier: Moment) -> Double {
        let wall = Double(wallNanoseconds) - Double(earlier.wallNanoseconds)
        let boot = Double(sinceBoot.nanoseconds) - Double(earlier.sinceBoot.nanoseconds)
        return (wall - boot) / 1e9
    }

    private static func timestamp(atNanoseconds nanoseconds: Int64) -> Timestamp {
        let (quotient, remainder) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return Timestamp(secondsSinceEpoch: remainder < 0 ? quotient - 1 : quotient)
    }
}

/// One life of the machine's counters. Counters of different epochs can't be compared.
package struct Epoch: Hashable, Sendable {
    /// `/proc/sys/kernel/random/boot_id`.
    package var bootID: String
    /// The network namespace, by its kernel cookie (`SO_NETNS_COOKIE`) or, before Linux 5.14, its inode.
    package var networkNamespace: UInt64

    package init(bootID: String, networkNamespace: UInt64) {
        self.bootID = bootID
        self.networkNamespace = networkNamespace
    }

    /// Stands for the boot if the kernel doesn't name it.
    package static let unknownBoot = "unknown"

    /// Whether a ledger was written in this boot.
    ///
    /// If either boot is unknown, the clocks decide: time since boot only grows, and a boot begins before its readings.
    func isSameBoot(as header: LedgerHeader, at now: Moment) -> Bool {
        if bootID != Self.unknownBoot, header.epoch.bootID != Self.unknownBoot { return bootID == header.epoch.bootID }
        if now.sinceBoot < header.lastReading.sinceBoot { return false }
        let (bootedAt, overflow) = now.wallNanoseconds.subtractingReportingOverflow(now.sinceBoot.nanoseconds)
        return !overflow && bootedAt <= header.lastReading.wallNanoseconds
    }
}
