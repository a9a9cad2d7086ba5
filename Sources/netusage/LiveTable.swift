import Exporter
import Reports

/// The traffic of devices, for people: rates, each with its last minute.
struct LiveTable {
    let inBits: Bool
    /// The rates of the last minute by account, the newest last.
    private(set) var received: [String: [Double]] = [:]
    private(set) var transmitted: [String: [Double]] = [:]

    /// - Parameter rows: The largest number of lines.
    mutating func lines(_ report: LiveReport, _ terminal: Terminal, rows: Int) -> [String] {
        for account in report.accounts {
            let key = account.kind + account.name
            received[key, default: []].remember(account.receiveBytesPerSecond)
            transmitted[key, default: []].remember(account.transmitBytesPerSecond)
        }
        // The uplink is one of the devices, so it is shown by itself only if there are no devices.
        let hasDevices = report.accounts.contains { $0.kind != "uplink" }
        var accounts = report.accounts.filter { !hasDevices || $0.kind != "uplink" }
        accounts = accounts.filter(\.uplink) + accounts.filter { !$0.uplink }
        var lines = [liveHead(report, terminal), ""]
        if let note = report.note {
            lines.insert(terminal.dim(terminal.clipped(Terminal.printable(note), to: terminal.columns)), at: 1)
        }
        if accounts.isEmpty { lines.append("There is no such device.") }
        for (place, account) in accounts.enumerated() {
            let block = self.block(account, terminal)
            let rest = accounts.count - place
            if lines.count + block.count + (rest > 1 ? 1 : 0) > rows {
                lines.append(terminal.dim("and \(rest) more; choose with --device"))
                break
            }
            lines += block
        }
        return Array(lines.prefix(rows))
    }

    private func block(_ account: LiveReport.Account, _ terminal: Terminal) -> [String] {
        let key = account.kind + account.name
        var words = [account.link, account.up ? "up" : "down", account.uplink ? "uplink" : nil].compactMap { $0 }
        words += account.addresses
        let today = "today \(sizeText(account.today.receivedBytes)) in, \(sizeText(account.today.transmittedBytes)) out"
        let name = terminal.clipped(Terminal.printable(account.name), to: 24)
        let room = terminal.columns - width(name) - 4 - width(today)
        let isRoomy = room >= 12
        let about = terminal.clipped(
            words.joined(separator: ", "), to: isRoomy ? room : terminal.columns - width(name) - 2)
        let state = account.up ? terminal.dim(about) : terminal.coloured(about, .yellow)
        let gap = String(
            repeating: " ", count: max(2, terminal.columns - width(name) - 2 - width(about) - width(today)))
        var lines = [terminal.bold(name) + "  " + state + (isRoomy ? gap + today : "")]
        if !isRoomy { lines.append("  " + today) }
        lines.append(
            line(
                "receive", account.receiveBytesPerSecond, account.receivePeakBytesPerSecond, received[key] ?? [],
                .green,
                terminal))
        lines.append(
            line(
                "transmit", account.transmitBytesPerSecond, account.transmitPeakBytesPerSecond, transmitted[key] ?? [],
                .blue, terminal))
        return lines + [""]
    }

    private func line(
        _ label: String, _ rate: Double, _ peak: Double, _ rates: [Double], _ colour: Terminal.Colour,
        _ terminal: Terminal
    ) -> String {
        let start =
            "  " + padded(label, to: 9) + aligned(rateText(rate, inBits: inBits), to: 13) + "  peak"
            + aligned(rateText(peak, inBits: inBits), to: 14) + "  "
        let room = terminal.columns - width(start)
        if room < 8 { return terminal.clipped(start, to: terminal.columns) }
        return start + terminal.coloured(sparkline(rates.suffix(room), highest: peak, terminal), colour)
    }
}

/// The state of the uplink, and the time.
func liveHead(_ report: LiveReport, _ terminal: Terminal) -> String {
    let device = report.accounts.first { $0.uplink && $0.kind != "uplink" }.map { Terminal.printable($0.name) }
    let (word, colour): (String, Terminal.Colour) = report.online ? ("online", .green) : ("offline", .red)
    let rest = report.online ? device.map { " by \($0)" } ?? "" : ""
    var time = secondText(report.asOf)[...]
    let room = terminal.columns - 8 - 2 - width(word + rest)
    if room < time.count + 2 { time = time.suffix(8) }  // Without the date.
    if room < time.count + 2 { time = "" }
    let gap = String(repeating: " ", count: max(0, room - time.count))
    let state = terminal.coloured(word, colour) + rest
    return terminal.bold("netusage") + "  " + state + (time.isEmpty ? "" : gap + time)
}

/// A mark for each second, the newest last. The peak or a higher mark has full height.
func sparkline(_ rates: ArraySlice<Double>, highest: Double, _ terminal: Terminal) -> String {
    let marks: [Character] = Array(terminal.hasUnicode ? "▁▂▃▄▅▆▇█" : "_.-:=+*#")
    let top = max(highest, rates.max() ?? 0)
    return String(
        rates.map { rate in
            if rate <= 0 || top <= 0 { return " " }
            return marks[min(marks.count - 1, Int(rate / top * Double(marks.count)))]
        })
}

extension [Double] {
    /// Adds the rate of another second, and forgets what is older than a minute.
    mutating func remember(_ rate: Double) {
        append(rate)
        if count > 60 { removeFirst() }
    }
}
