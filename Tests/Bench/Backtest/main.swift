import Accounting
import Foundation
import TestSupport

/// How far off a projection of the cycle's use is, on average over the cycle, as a share of what it came to in the end:
/// the forecast beside the straight line, over generated histories of several families and, if a file is named, over a real
/// one (CSV: start of five minutes in RFC 3339, bytes).

/// Hourly bytes with what they are called.
struct Family {
    let name: String
    /// Hours that were metered before the cycle began.
    var history = 45 * 24
    let generate: (inout SeededGenerator, Int) -> [Float]
}

func normal(_ random: inout SeededGenerator) -> Double {
    let u = Double.random(in: 1e-12..<1, using: &random)
    return (-2 * log(u)).squareRoot() * cos(2 * .pi * .random(in: 0..<1, using: &random))
}

/// A household's or an office's week: busy by day or in the evening, another level at the weekend, some noise.
func weekly(_ random: inout SeededGenerator, _ count: Int, noise: Double, growth: Double = 0) -> [Float] {
    let peak = Double.random(in: 9...21, using: &random)
    let night = Double.random(in: 0.05...0.4, using: &random)
    let weekend = Double.random(in: 0.2...2.2, using: &random)
    var drift = 0.0
    return (0..<count).map { hour in
        if hour % 24 == 0 { drift = 0.7 * drift + 0.3 * noise * normal(&random) }
        let day = (hour / 24) % 7
        let shape = night + (1 - night) * pow((1 + cos((Double(hour % 24) - peak) / 24 * 2 * .pi)) / 2, 2)
        let level = (day >= 5 ? weekend : 1) * exp(growth * Double(hour) / 168 + drift)
        return Float(1e9 * shape * level * exp(noise * normal(&random) - noise * noise / 2))
    }
}

let families: [Family] = [
    Family(name: "weekday and night patterns") { weekly(&$0, $1, noise: 0.3) },
    Family(name: "growth of 2 to 10 % a week") { random, count in
        let growth = Double.random(in: 0.02...0.1, using: &random)
        return weekly(&random, count, noise: 0.3, growth: growth)
    },
    Family(name: "heavy noise") { weekly(&$0, $1, noise: 1.2) },
    Family(name: "one-off bursts") { random, count in
        var values = weekly(&random, count, noise: 0.3)
        let week = values.prefix(168).reduce(0, +)
        for _ in 0..<count / (24 * 12) {
            let start = Int.random(in: 0..<count - 6, using: &random)
            for hour in start..<start + 6 { values[hour] += week * Float.random(in: 0.05...0.2, using: &random) }
        }
        return values
    },
    Family(name: "a level that changes") { random, count in
        let values = weekly(&random, count, noise: 0.3)
        let change = Int.random(in: count / 4..<count, using: &random)
        let factor = Float.random(in: 0.2...3, using: &random)
        return values.enumerated().map { $0.offset < change ? $0.element : $0.element * factor }
    },
    Family(name: "little history: metering begins with the cycle", history: 0) { weekly(&$0, $1, noise: 0.3) },
    Family(name: "little history: four days before", history: 96) { weekly(&$0, $1, noise: 0.3) },
    Family(name: "strange history: a random walk") { random, count in
        var level = 0.0
        return (0..<count).map { _ in
            level += 0.05 * normal(&random)
            return Float(1e9 * exp(level))
        }
    },
    Family(name: "strange history: hardly ever anything") { random, count in
        (0..<count).map { _ in
            Int.random(in: 0..<100, using: &random) == 0 ? Float(1e10) * Float.random(in: 0.1...1, using: &random) : 0
        }
    },
]

/// The mean errors over one cycle of `length` hours that begins at `start`: straight line and forecast.
func errors(_ values: [Float], start: Int, length: Int, firstHour: Int64) -> (straight: Double, ours: Double)? {
    let total = values[start..<start + length].reduce(0) { $0 + Double($1) }
    if total <= 0 { return nil }
    var straight = 0.0
    var ours = 0.0
    var trials = 0.0
    for elapsed in stride(from: 6, to: length, by: 6) {
        let end = start + elapsed
        let used = values[start..<end].reduce(0) { $0 + Double($1) }
        let known = Array(values[max(0, end - 56 * 24)..<end])
        let now = firstHour + Int64(end)
        let forecast = Forecast(
            known, firstHour: now - Int64(known.count), elapsed: elapsed, remaining: length - elapsed)
        let projected = used + forecast.bytes(from: Double(now), to: Double(now) + Double(length - elapsed))
        straight += abs(used * Double(length) / Double(elapsed) - total) / total
        ours += abs(projected - total) / total
        trials += 1
    }
    return (straight / trials, ours / trials)
}

func row(_ name: String, _ straight: Double, _ ours: Double) {
    let percent = { (value: Double) in String(format: "%.1f %%", value * 100) }
    print("| \(name) | \(percent(straight)) | \(percent(ours)) | \(String(format: "%.2f", ours / straight)) |")
}

print("| mean error over a cycle of 30 days | straight line | netusage | ratio |\n| --- | --- | --- | --- |")
let rounds = 40
var ratios: [Double] = []
for family in families {
    var straight = 0.0
    var ours = 0.0
    for seed in 0..<rounds {
        var random = SeededGenerator(seed: UInt64(seed) &* 7919 &+ 1)
        let length = 30 * 24
        let values = family.generate(&random, family.history + length)
        guard let result = errors(values, start: family.history, length: length, firstHour: 494_000) else { continue }
        straight += result.straight / Double(rounds)
        ours += result.ours / Double(rounds)
    }
    if !family.name.contains("history") { ratios.append(ours / straight) }
    row(family.name, straight, ours)
}
print(
    "| mean of the first \(ratios.count) families | | | \(String(format: "%.2f", ratios.reduce(0, +) / Double(ratios.count))) |"
)

if CommandLine.arguments.count > 1 {
    let text = try String(contentsOfFile: CommandLine.arguments[1], encoding: .utf8)
    let format = ISO8601DateFormatter()
    var hours: [Int64: Float] = [:]
    for line in text.split(separator: "\n") {
        let fields = line.split(separator: ",")
        guard fields.count == 2, let date = format.date(from: String(fields[0])), let bytes = Float(fields[1]) else {
            continue
        }
        hours[Int64(date.timeIntervalSince1970) / 3600, default: 0] += bytes
    }
    let first = hours.keys.min() ?? 0
    let values = (first...(hours.keys.max() ?? 0)).map { hours[$0] ?? 0 }
    for (name, length) in [("7 days", 168), ("14 days", 336), ("30 days", 720)] {
        var straight = 0.0
        var ours = 0.0
        var trials = 0.0
        for start in stride(from: 0, through: values.count - length, by: 24) {
            guard let result = errors(values, start: start, length: length, firstHour: first) else { continue }
            straight += result.straight
            ours += result.ours
            trials += 1
        }
        row("the named file, cycles of \(name), one from each day (\(Int(trials)))", straight / trials, ours / trials)
    }
}
