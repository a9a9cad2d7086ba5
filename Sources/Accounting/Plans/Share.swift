/// A share of a limit, exact to a millionth.
package struct Share: Hashable, Comparable, Sendable {
    package let millionths: UInt64

    /// All of it: a breach.
    package static let whole = Share(millionths: 1_000_000)

    package init(millionths: UInt64) {
        self.millionths = millionths
    }

    package static func < (a: Share, b: Share) -> Bool { a.millionths < b.millionths }

    /// This share of a limit, rounded up to bytes.
    package func bytes(of limit: UInt64) -> UInt64 {
        let product = Int128(limit) * Int128(millionths)
        return UInt64(min((product + 999_999) / 1_000_000, Int128(saturationLimit)))
    }

    /// Whether `used` is this share of the limit, or more.
    func isReached(by used: UInt64, of limit: UInt64) -> Bool {
        let part = used.multipliedFullWidth(by: 1_000_000)
        let whole = limit.multipliedFullWidth(by: millionths)
        return (part.high, part.low) >= (whole.high, whole.low)
    }
}

extension Share: CustomStringConvertible {
    /// The ratio, as "0.8".
    package var description: String {
        let (units, rest) = millionths.quotientAndRemainder(dividingBy: 1_000_000)
        if rest == 0 { return String(units) }
        var digits = String(1_000_000 + rest).dropFirst()
        while digits.last == "0" { digits.removeLast() }
        return "\(units).\(digits)"
    }
}
