import Configuration
import NIOCore

/// Lets requests through by `rate_limit`: a token is spent on each, and one comes back in every interval.
struct TokenBucket {
    let limit: WebConfiguration.RateLimit
    /// The time saved up; a token costs an interval.
    private var savedNanoseconds: Int64
    private var lookedAt: NIODeadline

    /// A full bucket.
    init(_ limit: WebConfiguration.RateLimit, at now: NIODeadline) {
        self.limit = limit
        savedNanoseconds = Self.capacity(limit)
        lookedAt = now
    }

    /// Spends a token; false if there is none.
    mutating func take(at now: NIODeadline) -> Bool {
        let (saved, overflows) = savedNanoseconds.addingReportingOverflow((now - lookedAt).nanoseconds)
        savedNanoseconds = min(overflows ? .max : saved, Self.capacity(limit))
        lookedAt = now
        if savedNanoseconds < limit.intervalNanoseconds { return false }
        savedNanoseconds -= limit.intervalNanoseconds
        return true
    }

    private static func capacity(_ limit: WebConfiguration.RateLimit) -> Int64 {
        let (capacity, overflows) = limit.intervalNanoseconds.multipliedReportingOverflow(by: Int64(limit.burst))
        return overflows ? .max : capacity
    }
}
