extension FixedWidthInteger {
    /// The sum, or the nearest representable number when it overflows.
    func addingSaturated(_ other: Self) -> Self {
        let (sum, overflows) = addingReportingOverflow(other)
        guard overflows else { return sum }
        return other < 0 ? .min : .max
    }
}

extension Int64 {
    /// Quotient and remainder with the remainder in `0..<divisor`, so that moments before 1970 fall on the right day.
    func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

/// The length of a day whose offset doesn't change, in seconds; POSIX clocks have no leap seconds.
let secondsPerDay: Int64 = 86_400
