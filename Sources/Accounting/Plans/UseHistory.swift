import CivilTime

/// The bytes of each UTC hour of the last eight weeks, from which forecasts are made.
struct UseHistory: Sendable {
    static let hours = 56 * 24

    /// The number of the hour after the last one, counted from 1970.
    private var end: Int64 = 0
    /// The bytes of the last hours, up to ``hours``; in single precision, as they are only for estimates.
    private var values: [Float] = []

    static func hour(of moment: Timestamp) -> Int64 {
        let (quotient, remainder) = moment.secondsSinceEpoch.quotientAndRemainder(dividingBy: 3600)
        return remainder < 0 ? quotient - 1 : quotient
    }

    /// - Parameter bytes: Negative for those that don't count after all.
    mutating func add(_ bytes: Float, at moment: Timestamp) {
        let hour = Self.hour(of: moment)
        if values.isEmpty { end = hour }
        if hour >= end { extend(to: hour + 1) }
        let place = values.count - Int(min(end - hour, Int64(Self.hours) + 1))
        if place >= 0 {
            values[place] += bytes
        } else if values.count < Self.hours, end - hour <= Self.hours {
            values.insert(contentsOf: repeatElement(0, count: Int(end - hour) - values.count), at: 0)
            values[0] = bytes
        }
    }

    private mutating func extend(to newEnd: Int64) {
        let missing = newEnd - end
        if missing >= Self.hours {
            values = Array(repeating: 0, count: values.isEmpty ? 1 : Self.hours)
        } else {
            values += repeatElement(0, count: Int(missing))
            if values.count > Self.hours { values.removeFirst(values.count - Self.hours) }
        }
        end = newEnd
    }

    /// Prepends a history that ends at `moment`. It replaces the earlier hours here; in the moment's own hour both add
    /// up.
    mutating func prepend(_ earlier: UseHistory, before moment: Timestamp) {
        var sum = earlier
        for (place, value) in values.enumerated() where value != 0 {
            let hour = end - Int64(values.count - place)
            if hour < Self.hour(of: moment) { continue }
            sum.add(value, at: Timestamp(secondsSinceEpoch: hour * 3600))
        }
        self = sum
    }

    /// The hours that are complete at this moment, from the first one with bytes on.
    func complete(at now: Timestamp) -> (firstHour: Int64, values: [Float]) {
        let hour = Self.hour(of: now)
        var copy = self
        if hour > copy.end { copy.extend(to: hour) }
        let known = copy.values.dropLast(Int(max(0, min(copy.end - hour, Int64(copy.values.count)))))
        return (min(hour, copy.end) - Int64(known.count), known.map { max(0, $0) })
    }
}
