import CivilTime
import Reports

/// The last days as bars, received bytes below transmitted ones.
func daysChart(_ report: UsageReport?) -> HTML {
    let entries = report?.accounts.first?.entries ?? []
    if entries.isEmpty { return "" }
    let scale = Scale(highest: Double(entries.map(\.totalBytes).max() ?? 0)) { sizeText(UInt64($0)) }
    let bars = entries.enumerated().map { place, entry -> HTML in
        let received = Double(entry.receivedBytes) / scale.top * 100
        let transmitted = Double(entry.transmittedBytes) / scale.top * 100
        let text =
            "\(dateText(entry.start)): \(sizeText(entry.receivedBytes)) received, \(sizeText(entry.transmittedBytes)) transmitted"
        let x = place * 10 + 1
        return
            "<g><title>\(text)</title><rect x=\"\(x)\" width=\"8\" y=\"\(decimalText(100 - received))\" height=\"\(decimalText(received))\" class=\"received\"/>"
            + "<rect x=\"\(x)\" width=\"8\" y=\"\(decimalText(max(0, 100 - received - transmitted)))\" height=\"\(decimalText(transmitted))\" class=\"transmitted\"/></g>"
    }
    let width = entries.count * 10
    let labels = entries.map { "<span>\(dayText($0.start))</span>" as HTML }.joined()
    return """
        <section data-part="days"><h2>\(entries.count == 1 ? "Today" : "Last \(entries.count) days")</h2>\(chartKey)
        <div class="chart">\(scale.labels)<svg viewBox="0 0 \(width) 100" preserveAspectRatio="none" role="img" aria-label="Bytes by day; the table below has the figures">\(scale.rules(width))\(bars.joined())</svg>
        <div class="x days" aria-hidden="true">\(labels)</div></div>
        \(daysTable(entries))</section>
        """
}

/// The day of the month, without a leading zero.
private func dayText(_ time: LocalMoment) -> String { "\(time.date.day)" }

private func daysTable(_ entries: [UsageReport.Entry]) -> HTML {
    let rows = entries.reversed().map { entry -> HTML in
        "<tr><td>\(dateText(entry.start))</td><td><data value=\"\(entry.receivedBytes)\">\(sizeText(entry.receivedBytes))</data></td>"
            + "<td><data value=\"\(entry.transmittedBytes)\">\(sizeText(entry.transmittedBytes))</data></td>"
            + "<td><data value=\"\(entry.totalBytes)\">\(sizeText(entry.totalBytes))</data></td></tr>"
    }
    return """
        <details><summary>Figures</summary><div class="scroll"><table aria-label="Bytes by day"><thead><tr><th scope="col">Day</th><th scope="col">Received</th><th scope="col">Transmitted</th><th scope="col">Total</th></tr></thead><tbody>
        \(rows.joined(separator: "\n"))
        </tbody></table></div></details>
        """
}

/// The last hours as curves of mean rates.
func hoursChart(_ report: UsageReport?) -> HTML {
    let entries = report?.accounts.first?.entries ?? []
    if entries.count < 2 { return "" }
    func rates(_ bytes: (UsageReport.Entry) -> UInt64) -> [Double] {
        entries.map { $0.seconds > 0 ? Double(bytes($0)) / Double($0.seconds) : 0 }
    }
    let (received, transmitted) = (rates(\.receivedBytes), rates(\.transmittedBytes))
    let scale = Scale(highest: max(received.max() ?? 0, transmitted.max() ?? 0)) { rateText($0, inBits: false) }
    // The last five minutes aren't over, so they are narrower.
    let last = entries.last.map { Int(($0.seconds * 10 + 299) / 300) } ?? 0
    let width = (entries.count - 1) * 10 + min(max(1, last), 10)
    // Seven labels: four hours lie between two of a whole day.
    let intervals = min(6, entries.count)
    let labels = (0...intervals).map { number -> HTML in
        let place = number * entries.count / intervals
        let time = place < entries.count ? entries[place].start : report?.asOf
        return "<span>\(time.map { minuteText($0) }?.suffix(5) ?? "")</span>"
    }
    let highest = zip(entries, received).max { $0.1 < $1.1 }
    let summary =
        highest.map { "highest received: \(rateText($0.1, inBits: false)) at \(minuteText($0.0.start))" } ?? ""
    return """
        <section data-part="hours"><h2>Last 24 hours <small>means of five minutes</small></h2>\(chartKey)
        <div class="chart">\(scale.labels)<svg viewBox="0 0 \(width) 100" preserveAspectRatio="none" role="img" aria-label="Rates by time; \(summary)">\(scale.rules(width))\(curve(received, scale, width, "received"))\(curve(transmitted, scale, width, "transmitted"))</svg>
        <div class="x hours" aria-hidden="true">\(labels.joined())</div></div></section>
        """
}

/// A step for each mean.
private func curve(_ rates: [Double], _ scale: Scale, _ width: Int, _ colour: String) -> HTML {
    let steps = rates.enumerated().map { place, rate in
        "V\(decimalText(100 - rate / scale.top * 100, decimals: 1))H\(min(place * 10 + 10, width))"
    }.joined()
    // It begins at the height of the first.
    let line = "M0 " + steps.dropFirst()
    return "<path class=\"area \(colour)\" d=\"\(line)V100H0\"/><path class=\"curve \(colour)\" d=\"\(line)\"/>"
}

private let chartKey: HTML =
    "<p class=\"key\"><span class=\"received\">received</span><span class=\"transmitted\">transmitted</span></p>"

/// A vertical axis from 0 to a round number.
private struct Scale {
    let top: Double
    private let steps: Int
    private let text: (Double) -> String

    /// - Parameter text: The label of a value.
    init(highest: Double, text: @escaping (Double) -> String) {
        self.text = text
        var step = 1.0
        while step * 40 < highest { step *= 10 }
        // 1, 2, 5 or 10 times a power of ten, so that three to five steps suffice.
        let unit = [1.0, 2, 5, 10].map { $0 * step }.first { $0 * 5 >= highest } ?? step * 10
        steps = max(1, Int((highest / unit).rounded(.up)))
        top = unit * Double(steps)
    }

    var labels: HTML {
        let labels = (0...steps).reversed().map { number -> HTML in
            // Round numbers need no decimals.
            let parts = text(top / Double(steps) * Double(number)).split(separator: " ", maxSplits: 1)
            return "<span>\(parts[0].hasSuffix(".00") ? parts[0].dropLast(3) : parts[0]) \(parts[1])</span>"
        }
        return "<div class=\"y\" aria-hidden=\"true\">\(labels.joined())</div>"
    }

    func rules(_ width: Int) -> HTML {
        (0...steps).map { number -> HTML in
            let y = decimalText(100 - 100 / Double(steps) * Double(number))
            return "<line class=\"rule\" x1=\"0\" x2=\"\(width)\" y1=\"\(y)\" y2=\"\(y)\"/>"
        }.joined()
    }
}
