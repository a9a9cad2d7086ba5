import CivilTime

/// One direction of a device's traffic.
package enum TrafficDirection: String, CaseIterable, Sendable {
    case received
    case transmitted
}

extension Counters {
    subscript(direction: TrafficDirection) -> UInt64 {
        get { direction == .received ? received : transmitted }
        set { if direction == .received { received = newValue } else { transmitted = newValue } }
    }
}

extension Delta {
    /// Bytes of one direction alone.
    init(_ bytes: UInt64, _ direction: TrafficDirection) {
        self.init(received: direction == .received ? bytes : 0, transmitted: direction == .transmitted ? bytes : 0)
    }
}

/// One direction of a device whose counter shows less than before.
///
/// Either the counter restarted, or the kernel showed a wrong number for a moment. If the counter comes back within a
/// minute, and has grown by no more than the link can carry, it didn't restart. If it climbed there step by step from
/// near 0, as on a fast link, it did. Until this is clear, the bytes that a restart would book are held.
struct CounterFall {
    /// Bytes between two readings, which are booked if the counter has restarted.
    struct HeldBytes {
        let bytes: UInt64
        let isUplink: Bool
        var span: BookingSpan
        /// Whether the link can have carried so many. If not, totals don't include them before they are booked.
        let isPlausible: Bool
    }

    /// How long a counter may take to come back.
    static let window = Span(seconds: 60)
    /// What a link of unknown speed is assumed to carry in a second: 100 Gbit/s.
    static let assumedBytesPerSecond: UInt64 = 12_500_000_000

    /// What the counter showed before it fell, and the moment of that reading.
    let before: UInt64
    let beforeAt: Moment
    /// When the fall was seen.
    let seenAt: BootTime
    /// Whether the device held the uplink then.
    let heldUplink: Bool
    /// What the counter showed last.
    private(set) var shown: UInt64 = 0
    private var shownAt: BootTime
    /// What the counter showed first after the fall, and its fastest growth since, in bytes per second.
    private var firstShown: UInt64?
    private var fastestGrowth = 0.0
    private(set) var held: [HeldBytes] = []

    init(from before: UInt64, readAt beforeAt: Moment, seenAt: BootTime, heldUplink: Bool) {
        self.before = before
        self.beforeAt = beforeAt
        self.seenAt = seenAt
        shownAt = beforeAt.sinceBoot
        self.heldUplink = heldUplink
    }

    /// What a reading says about a fall.
    enum Verdict {
        /// The counter may still come back.
        case open
        case glitch
        case restart
    }

    /// - Parameters:
    ///   - value: What the counter shows now.
    ///   - samplingInterval: If readings are rarer than ``window``, the next one still counts.
    ///   - linkBytesPerSecond: What the link can carry in a second; `nil` if unknown.
    func verdict(
        on value: UInt64, at now: BootTime, samplingInterval: Span, linkBytesPerSecond: UInt64?
    ) -> Verdict {
        let rareReading = samplingInterval.adding(Span(nanoseconds: samplingInterval.nanoseconds / 2))
        let isLate = now.elapsed(since: seenAt) > max(Self.window, rareReading)
        // After a pause without readings, the counter may have come back in time, so the first reading decides.
        let isAfterPause =
            now.elapsed(since: shownAt) > rareReading && shownAt.elapsed(since: seenAt) <= Self.window
        if isLate, !isAfterPause || value < before { return .restart }
        if value < before { return .open }
        if hasClimbed(to: value, at: now) { return .restart }
        let elapsed = now.elapsed(since: beforeAt.sinceBoot)
        if Self.canCarry(value - before, within: elapsed, linkBytesPerSecond) { return .glitch }
        return isLate ? .restart : .open
    }

    /// Whether the counter climbed to `value` from about 0, at no more than twice its fastest speed, because traffic is
    /// uneven. A counter that showed a wrong number jumps back, or fell by little.
    private func hasClimbed(to value: UInt64, at now: BootTime) -> Bool {
        guard let firstShown, fastestGrowth > 0 else { return false }
        let seconds = max(now.elapsed(since: shownAt).seconds, 0)
        let firstSeconds = max(seenAt.elapsed(since: beforeAt.sinceBoot).seconds, 0)
        return Double(firstShown) <= 2 * fastestGrowth * firstSeconds
            && Double(value - min(shown, value)) <= 2 * fastestGrowth * seconds
    }

    /// Holds what a reading would book if the counter has restarted.
    ///
    /// - Returns: The bytes, and whether the counter fell again.
    mutating func hold(
        _ value: UInt64, isUplink: Bool, over span: BookingSpan, at now: BootTime, linkBytesPerSecond: UInt64?
    ) -> (bytes: UInt64, fell: Bool) {
        let fell = value < shown
        let bytes = fell ? value : value - shown
        let seconds = now.elapsed(since: shownAt).seconds
        if firstShown == nil || fell {
            firstShown = value
            fastestGrowth = 0
        } else if seconds > 0 {
            fastestGrowth = max(fastestGrowth, Double(bytes) / seconds)
        }
        shown = value
        shownAt = now
        if bytes > 0 {
            let isPlausible = Self.canCarry(bytes, within: span.elapsed, linkBytesPerSecond)
            held.append(HeldBytes(bytes: bytes, isUplink: isUplink, span: span, isPlausible: isPlausible))
        }
        return (bytes, fell)
    }

    mutating func rezone(by calendar: LocalCalendar) {
        for place in held.indices {
            guard case .within(let bucket, _) = held[place].span.place else { continue }
            held[place].span.place = .within(bucket, calendar.day(containing: bucket.start))
        }
    }

    /// Continues at `value`: the bytes up to there are booked elsewhere.
    mutating func goOn(from value: UInt64, at now: BootTime) {
        (shown, shownAt) = (value, now)
    }

    /// Allows for two more seconds, because some drivers refresh their counters that rarely.
    private static func canCarry(_ bytes: UInt64, within elapsed: Span, _ linkBytesPerSecond: UInt64?) -> Bool {
        Double(bytes) <= Double(linkBytesPerSecond ?? assumedBytesPerSecond) * (elapsed.seconds + 2)
    }
}

/// The fallen directions of one device.
typealias CounterFalls = [TrafficDirection: CounterFall]

/// The store's record of a fall, so that no restart loses held bytes. The counter's value before it is the baseline.
package struct FallRecord: Hashable, Sendable {
    package var beforeAt: Moment
    package var seenAt: BootTime
    package var heldUplink: Bool
    /// What the counter showed last, and first after the fall.
    package var shown: UInt64
    package var firstShown: UInt64
    /// In bytes per second.
    package var fastestGrowth: UInt64
    /// The held bytes, and how many of them belong to the uplink, too.
    package var held: UInt64
    package var heldOfUplink: UInt64

    package init(
        beforeAt: Moment, seenAt: BootTime, heldUplink: Bool, shown: UInt64, firstShown: UInt64, fastestGrowth: UInt64,
        held: UInt64, heldOfUplink: UInt64
    ) {
        self.beforeAt = beforeAt
        self.seenAt = seenAt
        self.heldUplink = heldUplink
        self.shown = shown
        self.firstShown = firstShown
        self.fastestGrowth = fastestGrowth
        self.held = held
        self.heldOfUplink = heldOfUplink
    }
}

extension CounterFall {
    var record: FallRecord {
        func sum(_ parts: some Sequence<HeldBytes>) -> UInt64 { parts.reduce(0) { saturatingSum($0, $1.bytes) } }
        return FallRecord(
            beforeAt: beforeAt, seenAt: seenAt, heldUplink: heldUplink, shown: shown, firstShown: firstShown ?? 0,
            fastestGrowth: UInt64(min(fastestGrowth.rounded(.up), 1e18)), held: sum(held),
            heldOfUplink: sum(held.filter(\.isUplink)))
    }

    /// A fall from its record.
    ///
    /// - Parameter span: The time from the reading before the fall to the last reading.
    init(
        _ record: FallRecord, from before: UInt64, over span: BookingSpan, readAt lastReading: BootTime,
        linkBytesPerSecond: UInt64?
    ) {
        self.init(
            from: before, readAt: record.beforeAt, seenAt: record.seenAt, heldUplink: record.heldUplink)
        shown = record.shown
        shownAt = lastReading
        firstShown = record.firstShown
        fastestGrowth = Double(record.fastestGrowth)
        let ofUplink = min(record.heldOfUplink, record.held)
        held = [(ofUplink, true), (record.held - ofUplink, false)].filter { $0.0 > 0 }
            .map { bytes, isUplink in
                let isPlausible = Self.canCarry(record.held, within: span.elapsed, linkBytesPerSecond)
                return HeldBytes(bytes: bytes, isUplink: isUplink, span: span, isPlausible: isPlausible)
            }
    }
}
