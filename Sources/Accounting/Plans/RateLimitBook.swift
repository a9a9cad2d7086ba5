/// Whether a rate has been over its limit for too long.
///
/// A breach begins when every interval's mean was over the limit for the `hold` of the plan. It ends when every mean
/// was at or below nine tenths of the limit for as long, so a rate near the limit begins no second breach.
struct RateLimitBook: Sendable {
    /// The share of the limit below which a rate is no longer near it.
    private static let calmShare = 0.9

    let rateLimit: RateLimit
    private(set) var isBreached = false
    private(set) var breaches: UInt64 = 0
    /// Whether the state changed since ``takeNews()`` was last called.
    private var isNews = false
    /// How long the rate has been such that the state would change.
    private var sustained = Span.zero

    init(_ rateLimit: RateLimit) {
        self.rateLimit = rateLimit
    }

    var state: RateLimitState { RateLimitState(rateLimit: rateLimit, isBreached: isBreached, breaches: breaches) }

    /// The state, if it changed since the last call.
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

/// The state of a rate limit at one moment.
package struct RateLimitState: Sendable {
    package var rateLimit: RateLimit
    package var isBreached: Bool
    /// Since the program started.
    package var breaches: UInt64
}
