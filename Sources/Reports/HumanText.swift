import CivilTime

/// Bytes for people: in powers of 1000, two decimals, as "612.40 GB".
package func sizeText(_ bytes: UInt64) -> String {
    if bytes < 1000 { return "\(bytes) B" }
    var unit = 1.0
    for name in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        unit *= 1000
        if Double(bytes) < unit * 999.995 || name == "EB" { return "\(decimalText(Double(bytes) / unit)) \(name)" }
    }
    return "\(bytes) B"
}

/// A non-negative number, rounded to this many decimals; a larger one than fits is cut.
package func decimalText(_ number: Double, decimals: Int = 2) -> String {
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let whole = String(UInt64(min(max(0, (number * scale).rounded()), 9e18)))
    if decimals == 0 { return whole }
    let padded = String(repeating: "0", count: max(0, decimals + 1 - whole.count)) + whole
    return "\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
}

/// Bytes per second for people.
package func rateText(_ bytesPerSecond: Double, inBits: Bool) -> String {
    inBits ? bitsText(bytesPerSecond) : sizeText(UInt64(min(max(0, bytesPerSecond), 9e18))) + "/s"
}

/// Bytes per second as people speak of links: in bits.
package func bitsText(_ bytesPerSecond: Double) -> String {
    var value = bytesPerSecond * 8
    for unit in ["bit/s", "kbit/s", "Mbit/s"] {
        if value < 999.995 { return "\(decimalText(value)) \(unit)" }
        value /= 1000
    }
    return "\(decimalText(value)) Gbit/s"
}

/// The date of a time, by its clock.
package func dateText(_ time: LocalMoment) -> String { "\(time.date)" }

/// A time to the second, by its clock.
package func secondText(_ time: LocalMoment) -> String {
    let seconds = time.secondsOfDay
    let parts = [seconds / 3600, seconds / 60 % 60, seconds % 60].map { Gregorian.padded(Int64($0), width: 2) }
    return "\(time.date) \(parts.joined(separator: ":"))"
}

/// A time to the minute.
package func minuteText(_ time: LocalMoment) -> String { String(secondText(time).dropLast(3)) }

/// When something begins: the time only if it isn't midnight.
package func startText(_ time: LocalMoment) -> String {
    time.secondsOfDay == 0 ? dateText(time) : minuteText(time)
}
