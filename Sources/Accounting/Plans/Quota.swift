import CivilTime

/// How much may be carried in a cycle, and what happens when it is.
package struct Quota: Hashable, Sendable {
    package var name: String
    package var count: Selection
    package var direction: ByteDirection
    package var limitBytes: UInt64
    package var cycle: Cycle
    /// Shares of the limit that are worth a warning, ascending.
    package var warnAt: [Share]
    package var free: FreeTime
    /// At most so much of what was left over goes on to the next cycle; `nil` when nothing does.
    package var rolloverMaximumBytes: UInt64?
    package var price: Price?
    /// A program with its arguments, told of warnings and breaches; empty when nobody is.
    package var run: [String]

    package init(
        name: String, count: Selection, direction: ByteDirection, limitBytes: UInt64, cycle: Cycle,
        warnAt: [Share] = [],
        free: FreeTime = .none, rolloverMaximumBytes: UInt64? = nil, price: Price? = nil, run: [String] = []
    ) {
        self.name = name
        self.count = count
        self.direction = direction
        self.limitBytes = limitBytes
        self.cycle = cycle
        self.warnAt = warnAt
        self.free = free
        self.rolloverMaximumBytes = rolloverMaximumBytes
        self.price = price
        self.run = run
    }
}

/// The cycles of a plan: their rule, and the zone whose wall clocks it means.
package struct Cycle: Hashable, Sendable {
    package var rule: CycleRule
    package var timezone: TimeZoneSetting

    package init(_ rule: CycleRule, timezone: TimeZoneSetting = .local) {
        self.rule = rule
        self.timezone = timezone
    }
}

/// A throughput that shouldn't be exceeded for long.
package struct RateLimit: Hashable, Sendable {
    package var name: String
    package var count: Selection
    package var direction: ByteDirection
    package var limitBitsPerSecond: UInt64
    /// How long the rate must stay over the limit before that counts.
    package var hold: Span

    package init(
        name: String, count: Selection, direction: ByteDirection, limitBitsPerSecond: UInt64, hold: Span
    ) {
        self.name = name
        self.count = count
        self.direction = direction
        self.limitBitsPerSecond = limitBitsPerSecond
        self.hold = hold
    }

    package var limitBytesPerSecond: Double { Double(limitBitsPerSecond) / 8 }
}

/// A rate that is bought, billed by the 95th percentile.
package struct CommittedRate: Hashable, Sendable {
    /// What a sample counts as that isn't there, because nothing was read in its time.
    package enum MissingSamples: String, Hashable, Sendable, CaseIterable {
        /// A rate of zero.
        case zero
        /// Nothing: it is left out.
        case skip
    }

    package var name: String
    package var count: Selection
    package var direction: ByteDirection
    package var limitBitsPerSecond: UInt64
    package var cycle: Cycle
    package var missing: MissingSamples

    package init(
        name: String, count: Selection, direction: ByteDirection, limitBitsPerSecond: UInt64, cycle: Cycle,
        missing: MissingSamples
    ) {
        self.name = name
        self.count = count
        self.direction = direction
        self.limitBitsPerSecond = limitBitsPerSecond
        self.cycle = cycle
        self.missing = missing
    }

    package var limitBytesPerSecond: Double { Double(limitBitsPerSecond) / 8 }
}

/// Everything that the owner has agreed upon with a provider, or with themselves.
package struct Plans: Hashable, Sendable {
    package var quotas: [Quota]
    package var rateLimits: [RateLimit]
    package var committedRates: [CommittedRate]

    package static let none = Plans(quotas: [], rateLimits: [], committedRates: [])

    package init(quotas: [Quota], rateLimits: [RateLimit], committedRates: [CommittedRate]) {
        self.quotas = quotas
        self.rateLimits = rateLimits
        self.committedRates = committedRates
    }

    package var selections: [Selection] {
        quotas.map(\.count) + rateLimits.map(\.count) + committedRates.map(\.count)
    }

    /// Devices that are counted by their own names, so that each needs an account of its own.
    package var namedDevices: Set<DeviceName> { Set(selections.flatMap(\.names)) }

    /// The zones of all cycles.
    package var timezones: Set<TimeZoneSetting> {
        Set(quotas.map(\.cycle.timezone) + committedRates.map(\.cycle.timezone))
    }
}
