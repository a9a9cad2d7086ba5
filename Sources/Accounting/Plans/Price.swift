/// An amount of money, exact: a whole number of 10⁻¹⁵ units of a currency.
package struct Money: Hashable, Comparable, Sendable {
    /// How many parts make one unit. A price of up to six decimals for 10⁹ bytes is a whole number of parts per byte.
    package static let partsPerUnit: Int128 = 1_000_000_000_000_000

    package var parts: Int128

    package static let zero = Money(parts: 0)
    /// Sums stop here instead of overflowing, with room for rounding.
    private static let largest = Money(parts: .max / 4)

    package init(parts: Int128) {
        self.parts = parts
    }

    /// - Parameter millionths: Of a unit.
    package init(millionths: Int64) {
        parts = Int128(millionths) * 1_000_000_000
    }

    package static func < (a: Money, b: Money) -> Bool { a.parts < b.parts }

    /// The sum, or the largest amount there is.
    func adding(_ other: Money) -> Money {
        let (sum, overflow) = parts.addingReportingOverflow(other.parts)
        return overflow ? Self.largest : min(Money(parts: sum), Self.largest)
    }

    /// `count` times the amount, or the largest there is.
    func times(_ count: UInt64) -> Money {
        let (product, overflow) = parts.multipliedReportingOverflow(by: Int128(count))
        return overflow ? Self.largest : min(Money(parts: product), Self.largest)
    }

    /// The amount rounded half up to this many decimals, as "514.00".
    package func text(decimals: Int) -> String {
        var step = Self.partsPerUnit
        for _ in 0..<decimals { step /= 10 }
        let rounded = (parts + step / 2) / step
        var digits = String(rounded)
        if decimals == 0 { return digits }
        digits = String(repeating: "0", count: max(0, decimals + 1 - digits.utf8.count)) + digits
        return digits.dropLast(decimals) + "." + digits.suffix(decimals)
    }

    /// The nearest number, to six decimals.
    package var value: Double {
        let millionths = (parts + 500_000_000) / 1_000_000_000
        return Double(millionths) / 1e6
    }
}

/// What a quota's bytes cost.
package struct Price: Hashable, Sendable {
    /// The charge over the limit: the price of each block that was begun.
    package struct Blocks: Hashable, Sendable {
        package var blockBytes: UInt64
        package var price: Money
        package var max: Money?

        package init(blockBytes: UInt64, price: Money, max: Money?) {
            self.blockBytes = blockBytes
            self.price = price
            self.max = max
        }
    }

    package var currency: Currency
    package var base: Money
    /// For 10⁹ bytes; less is charged in proportion.
    package var perGigabyte: Money
    package var overLimit: Blocks?

    package init(currency: Currency, base: Money, perGigabyte: Money, overLimit: Blocks?) {
        self.currency = currency
        self.base = base
        self.perGigabyte = perGigabyte
        self.overLimit = overLimit
    }

    /// The cost of a cycle in which `used` bytes were used.
    package func cost(ofUsed used: UInt64, limit: UInt64) -> Money {
        // Prices have no more than six decimals, so this division leaves nothing.
        var cost = base.adding(Money(parts: perGigabyte.parts / 1_000_000_000).times(used))
        if let overLimit, used > limit {
            let blocks = (used - limit - 1) / overLimit.blockBytes + 1
            let charge = overLimit.price.times(blocks)
            cost = cost.adding(overLimit.max.map { min($0, charge) } ?? charge)
        }
        return cost
    }
}
