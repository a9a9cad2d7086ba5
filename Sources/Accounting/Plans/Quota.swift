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
    /// At most this many unused bytes go over to the next cycle; `nil` if none do.
    package var rolloverMaximumBytes: UInt64?
    package var price: Price?
    /// A program with its arguments that runs at warnings and breaches; empty if there is none.
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

/// The cycles of a plan: their rule, and the zone of its wall clock.
package struct Cycle: Hashable, Sendable {
    package var rule: CycleRule
    package var timezone: TimeZoneSetting

    package init(_ rule: CycleRule, timezone: TimeZoneSetting = .local) {
        self.rule = rule
        self.timezone = timezone
    }
}

extension Cycle {
    /// In a few words, as "month from 31 at 06:00 in Asia/Kolkata".
    package var text: String {
        var text =
            switch rule.kind {
            case .day: "day"
            case .week(let first): "week from \(first.name)"
            case .month(let day): day == 1 ? "month" : "month from \(day)"
            case .year(let month, let day): "year from \(twoDigits(month))-\(twoDigits(day))"
            case .days(let count, let from): "\(count) days from \(from)"
            case .once(let from, let until): "once from \(from) until \(until)"
            }
        if rule.secondsOfDay != 0 {
            text += " at \(twoDigits(rule.secondsOfDay / 3600)):\(twoDigits(rule.secondsOfDay / 60 % 60))"
        }
        switch timezone {
        case .local: return text
        case .named(let name): return text + " in \(name)"
        case .fixed(seconds: 0): return text + " in UTC"
        case .fixed(let seconds):
            let minutes = abs(seconds) / 60
            return text + " at \(seconds < 0 ? "-" : "+")\(twoDigits(minutes / 60)):\(twoDigits(minutes % 60))"
        }
    }
}

private func twoDigits(_ number: Int) -> String { Gregorian.padded(Int64(number), width: 2) }
