/// A moment on the wall clock, in whole POSIX seconds.
///
/// Every `Int64` is a valid moment. A leap second has no number of its own, as on any POSIX clock.
package struct Timestamp: Hashable, Comparable, Sendable {
    /// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    package var secondsSinceEpoch: Int64

    package init(secondsSinceEpoch: Int64) {
        self.secondsSinceEpoch = secondsSinceEpoch
    }

    /// The first representable moment.
    package static let earliest = Timestamp(secondsSinceEpoch: .min)
    /// The last representable moment.
    package static let latest = Timestamp(secondsSinceEpoch: .max)

    /// The moment `seconds` later (earlier if negative), clamped to `earliest` and `latest`.
    package func adding(seconds: Int64) -> Timestamp {
        Timestamp(secondsSinceEpoch: secondsSinceEpoch.addingSaturated(seconds))
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.secondsSinceEpoch < right.secondsSinceEpoch
    }
}

extension Timestamp: CustomStringConvertible {
    /// RFC 3339 in UTC: "2026-11-20T23:42:00Z". Years outside 0…9999 have a sign and at least six digits.
    package var description: String {
        let (day, second) = secondsSinceEpoch.flooredDivision(by: secondsPerDay)
        return "\(Gregorian.isoDate(ofDayNumber: day))T\(Gregorian.isoTime(secondsOfDay: second))Z"
    }
}
