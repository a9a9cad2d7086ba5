/// Whether a rate has been over its limit for too long.
///
/// A breach begins when each interval's mean has been over the limit for as long as the plan says, and ends when each has
/// been at or below nine tenths of it for as long: what wavers around the limit begins no second breach.
struct RateLimitBook: Sendable {
    /// The share of the limit below which a rate is no longer near it.
    private static let calmShare = 0.9

    let rateLimit: RateLimit
    private(set) var isBreached = false
    private(set) var breaches: UInt64 = 0
    /// Whether the state has changed since that was told.
    private var isNews = false
    /// For how long it has been what would change the state.
    private var sustained = Span.zero

    init(_ rateLimit: RateLimit) {
        self.rateLimit = rateLimit
    }

    var state: RateLimitState { RateLimitState(rateLimit: rateLimit, isBreached: isBreached, breaches: breaches) }

    /// The state, if it has changed since this was asked last.
    mutating func takeNews() -> RateLimitState? {
        defer { isNews = false }
        return isNews ? state : nil
    }

    /// Takes the mean rate of an interval of this length.
    mutating func sample(_ rate: Rate, over elapsed: Span) {
        let rate = rateLimit.direction.rate(of: rate)
        let limit = rateLimit.limitBytesPerSecond
        let isChanging = isBreached ? rate <= limit * Self.calmShare : rate > limit
        if !isChanging {
            sustained = .zero
            return
        }
        sustained = sustained.adding(elapsed)
        if sustained < rateLimit.hold { return }
        sustained = .zero
        isBreached.toggle()
        isNews = true
        if isBreached { breaches = saturatingSum(breaches, 1) }
    }
}

/// What can be seen of a rate limit at one moment.
package struct RateLimitState: Sendable {
    package var rateLimit: RateLimit
    package var isBreached: Bool
    /// Since the program started.
    package var breaches: UInt64
}
