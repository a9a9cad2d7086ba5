import CivilTime

/// Predicts bytes from the bytes of the past.
///
/// Several estimates are made; each is best for some kind of traffic: the straight line of the cycle, the means of a
/// week and of four, the weekly profile at the level of one week, four weeks or two days, a damped trend, and the
/// median day. Each is tested on the past: what it predicted for earlier days is compared with what came. These errors
/// give the weights (after Bates and Granger, "The Combination of Forecasts", 1969, but by the inverse cube of relative
/// absolute errors, so that single bursts and bad estimates count less).
package struct Forecast: Sendable {
    static let hoursPerWeek = 168

    /// In bytes per hour, whatever the hour.
    private var flatRate = 0.0
    /// The factor for the profile's hours.
    private var profileScale = 0.0
    /// Running sums of the profile's hours; empty if there is no profile.
    private var profileSums: [Double] = []

    /// - Parameters:
    ///   - values: Bytes by the hour, up to now.
    ///   - firstHour: The number of the first of them, counted from 1970.
    ///   - elapsed: How many of them belong to the open cycle.
    ///   - remaining: How many hours the cycle has left.
    package init(_ values: [Float], firstHour: Int64, elapsed: Int, remaining: Int) {
        let past = Past(values, firstHour: firstHour)
        if past.count < 2 {
            flatRate = past.sum(0, past.count) / Double(max(1, past.count))
            return
        }
        let weights = Self.weights(past, elapsed: elapsed, remaining: remaining)
        let profile = Profile(past, before: past.count)
        let estimates = Self.estimates(past, before: past.count, elapsed: elapsed, horizon: remaining, profile)
        for (estimate, weight) in zip(estimates, weights) {
            let part = weight * estimate.rate
            if estimate.usesProfile { profileScale += part } else { flatRate += part }
        }
        profileSums = profile.sums
    }

    /// The bytes from one moment to a later one, in hours since 1970.
    package func bytes(from start: Double, to end: Double) -> Double {
        if end <= start { return 0 }
        let bytes = flatRate * (end - start) + profileScale * Profile.bytes(profileSums, from: start, to: end)
        return bytes.isFinite ? max(0, bytes) : 0
    }

    // MARK: - Estimates

    /// A rate in bytes per hour, or a factor for the profile.
    struct Estimate {
        var rate: Double
        var usesProfile = false
    }

    /// The expected error of each estimate before it was tried, relative to the others.
    private static let priors = [1.1, 1, 0.95, 0.9, 0.9, 1.4, 1.4, 1.4]

    private static func estimates(
        _ past: Past, before end: Int, elapsed: Int, horizon: Int, _ profile: Profile
    ) -> [Estimate] {
        let (week, month) = (hoursPerWeek, 4 * hoursPerWeek)
        func mean(_ hours: Int) -> Double { past.mean(before: end, hours: hours) }
        func byProfile(_ hours: Int) -> Estimate {
            let level = past.profileLevel(profile, before: end, hours: hours)
            return level > 0 ? Estimate(rate: level, usesProfile: true) : Estimate(rate: mean(hours))
        }
        return [
            Estimate(rate: mean(max(1, elapsed))), Estimate(rate: mean(week)), Estimate(rate: mean(month)),
            byProfile(week), byProfile(month),
            Estimate(rate: max(0, mean(week) + past.trend(before: end) * Double(horizon + week) / 2)),
            Estimate(rate: past.medianDay(before: end) / 24), byProfile(48),
        ]
    }

    /// How far ahead the estimates are tried: far enough to see a day's pattern, near enough to see a new level soon.
    private static let trialHours = 72
    /// On how many days estimates are tried.
    private static let trialCount = 42
    /// How many trials the priors are worth.
    private static let doubt = 2.0

    /// The weight of each estimate, from its errors on earlier days; the sum is 1.
    private static func weights(_ past: Past, elapsed: Int, remaining: Int) -> [Double] {
        let horizon = min(max(remaining, 24), trialHours)
        // In quiet times a small error must not count as a large one.
        let usual = past.mean(before: past.count, hours: past.count) * Double(horizon) * 0.1 + 1
        var errors = Array(repeating: 0.0, count: priors.count)
        var trials = 0.0
        var profile = Profile(past, before: 0)
        // From the last day backwards; the newer ones weigh more.
        let origins = stride(from: past.count - horizon, through: 24, by: -24).prefix(trialCount)
        for (age, origin) in origins.enumerated().reversed() {
            profile.extend(past, to: origin)
            let actual = past.sum(origin, origin + horizon)
            let estimates = estimates(past, before: origin, elapsed: elapsed, horizon: horizon, profile)
            let weight = 1 / (1 + Double(age) / 7)
            for (place, estimate) in estimates.enumerated() {
                let start = Double(past.firstHour) + Double(origin)
                let predicted =
                    estimate.rate
                    * (estimate.usesProfile
                        ? Profile.bytes(profile.sums, from: start, to: start + Double(horizon)) : Double(horizon))
                errors[place] += weight * abs(predicted - actual) / (actual + usual)
            }
            trials += weight
        }
        let scale = trials > 0 ? errors.reduce(0, +) / trials / Double(errors.count) : 1
        let smoothed = zip(errors, priors).map { ($0 + doubt * $1 * scale) / (trials + doubt) }
        let inverse = smoothed.map { 1 / max($0 * $0 * $0, 1e-9) }
        let sum = inverse.reduce(0, +)
        return inverse.map { $0 / sum }
    }
}

/// Bytes by the hour, with running sums.
private struct Past {
    let firstHour: Int64
    let values: [Float]
    /// Sums of the values before each place.
    private let sums: [Double]

    init(_ values: [Float], firstHour: Int64) {
        self.values = values
        self.firstHour = firstHour
        var sums = [0.0]
        sums.reserveCapacity(values.count + 1)
        for value in values { sums.append(sums[sums.count - 1] + Double(value)) }
        self.sums = sums
    }

    var count: Int { values.count }

    func sum(_ start: Int, _ end: Int) -> Double { sums[min(end, count)] - sums[max(0, start)] }

    /// The mean of the last hours before a place, or of all if there are fewer.
    func mean(before end: Int, hours: Int) -> Double {
        let length = min(hours, end)
        return length == 0 ? 0 : sum(end - length, end) / Double(length)
    }

    /// How far the last hours were above the profile, as a factor; 0 if there is no profile.
    func profileLevel(_ profile: Profile, before end: Int, hours: Int) -> Double {
        let length = min(hours, end)
        let start = Double(firstHour) + Double(end - length)
        let usual = Profile.bytes(profile.sums, from: start, to: start + Double(length))
        return usual > 0 ? sum(end - length, end) / usual : 0
    }

    /// How much the rate grows per hour: from the weeks before, by least squares, halved because trends seldom last.
    func trend(before end: Int) -> Double {
        let weeks = min(end / Forecast.hoursPerWeek, 6)
        if weeks < 2 { return 0 }
        let means = (0..<weeks).map { mean(before: end - $0 * Forecast.hoursPerWeek, hours: Forecast.hoursPerWeek) }
        let middle = Double(weeks - 1) / 2
        let centre = means.reduce(0, +) / Double(weeks)
        var products = 0.0
        var squares = 0.0
        for (age, value) in means.enumerated() {
            let distance = middle - Double(age)
            products += distance * (value - centre)
            squares += distance * distance
        }
        return products / squares / Double(Forecast.hoursPerWeek) / 2
    }

    /// The median of the last days' sums, up to four weeks.
    func medianDay(before end: Int) -> Double {
        let days = min(end / 24, 28)
        if days == 0 { return mean(before: end, hours: 24) * 24 }
        let sums = (0..<days).map { sum(end - ($0 + 1) * 24, end - $0 * 24) }.sorted()
        return (sums[(days - 1) / 2] + sums[days / 2]) / 2
    }
}

/// The mean of each hour of the week or, while there are fewer than two weeks, of each hour of the day.
private struct Profile {
    private var totals = [Double](repeating: 0, count: Forecast.hoursPerWeek)
    private var counts = [Int](repeating: 0, count: Forecast.hoursPerWeek)
    private var end = 0
    /// Running sums of the week's hours: one more than there are hours. Empty before two days.
    private(set) var sums: [Double] = []

    init(_ past: Past, before end: Int) {
        extend(past, to: end)
    }

    mutating func extend(_ past: Past, to newEnd: Int) {
        for place in stride(from: end, to: newEnd, by: 1) {
            let hour = Self.hourOfWeek(past.firstHour + Int64(place))
            totals[hour] += Double(past.values[place])
            counts[hour] += 1
        }
        end = max(end, newEnd)
        sums = end >= 48 ? sumsOfWeek() : []
    }

    /// 0 is the first hour of a Thursday, as 1970 began with one.
    private static func hourOfWeek(_ hour: Int64) -> Int {
        (Int(hour % Int64(Forecast.hoursPerWeek)) + Forecast.hoursPerWeek) % Forecast.hoursPerWeek
    }

    private func sumsOfWeek() -> [Double] {
        var sums = [0.0]
        sums.reserveCapacity(Forecast.hoursPerWeek + 1)
        for hour in 0..<Forecast.hoursPerWeek {
            var total = totals[hour]
            var count = counts[hour]
            if end < 2 * Forecast.hoursPerWeek {
                (total, count) = (0, 0)
                for sameHour in stride(from: hour % 24, to: Forecast.hoursPerWeek, by: 24) {
                    total += totals[sameHour]
                    count += counts[sameHour]
                }
            }
            sums.append(sums[hour] + (count > 0 ? total / Double(count) : 0))
        }
        return sums
    }

    /// The bytes of a profile from one moment to a later one, in hours since 1970.
    static func bytes(_ sums: [Double], from start: Double, to end: Double) -> Double {
        bytes(sums, until: end) - bytes(sums, until: start)
    }

    /// The bytes of a profile from 1970 until an hour: whole weeks and a part of one.
    private static func bytes(_ sums: [Double], until hour: Double) -> Double {
        guard let week = sums.last else { return 0 }
        let length = Double(Forecast.hoursPerWeek)
        let weeks = (hour / length).rounded(.down)
        let rest = hour - weeks * length
        let whole = min(Int(rest), Forecast.hoursPerWeek - 1)
        return weeks * week + sums[whole] + (sums[whole + 1] - sums[whole]) * (rest - Double(whole))
    }
}
