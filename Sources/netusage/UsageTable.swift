import CivilTime
import Exporter
import Reports

/// Traffic for people: a line for each account, or for each entry of an account.
struct UsageTable {
    let terminal: Terminal
    let inBits: Bool

    /// - Parameter title: The subject of the report.
    func text(_ report: UsageReport, title: String) -> String {
        var blocks = report.accounts.compactMap { account in
            account.entries.map { entries(of: account, $0, report, title) }
        }
        if let entries = report.unattributed?.entries, let uplink = report.accounts.first?.entries {
            blocks.append(unattributed(entries, uplink, report, title))
        }
        if report.grain == "total" { blocks = [sums(report, title)] }
        if report.since == nil { blocks = [["Nothing was metered yet."]] }
        if blocks.isEmpty || report.seconds == 0 { blocks = [["Nothing was metered then."]] }
        // All entries are left out, and the note says why.
        if report.since == report.until, report.note != nil, ["5m", "hour"].contains(report.grain) { blocks = [] }
        if let note = report.note {
            let reached = report.asOf.map { "Counted until \(minuteText($0)): " } ?? ""
            blocks.insert([terminal.note("\(reached)\(note).", isStale: report.isStale)], at: 0)
        }
        return blocks.map { $0.joined(separator: "\n") + "\n" }.joined(separator: "\n")
    }

    // MARK: - Sums

    private func sums(_ report: UsageReport, _ title: String) -> [String] {
        let isOpen = report.asOf.map { $0 < report.until } ?? true
        let start = startText(report.since ?? report.until)
        let span = isOpen ? "\(title), since \(start)" : "\(title) from \(start) to \(lastText(report.until))"
        let largest = report.accounts.map(\.totalBytes).max() ?? 0
        // The uplink first, then the accounts with the most bytes.
        let sorted = report.accounts.enumerated().sorted { a, b in
            (a.element.kind == "uplink" ? 0 : 1, b.element.totalBytes, a.offset)
                < (b.element.kind == "uplink" ? 0 : 1, a.element.totalBytes, b.offset)
        }.map(\.element)
        let rows = sorted.map {
            Row(
                label: Terminal.printable($0.name), received: $0.receivedBytes, transmitted: $0.transmittedBytes,
                total: $0.totalBytes, seconds: report.seconds)
        }
        return [terminal.bold(span)] + lines(rows, labelled: "", largest: largest)
    }

    /// The end of a span, for people. If it ends at midnight, its last day.
    private func lastText(_ time: LocalMoment) -> String {
        time.secondsOfDay == 0 ? "\(time.date.adding(days: -1))" : minuteText(time)
    }

    // MARK: - Entries

    private func entries(
        of account: UsageReport.Account, _ entries: [UsageReport.Entry], _ report: UsageReport, _ title: String
    ) -> [String] {
        var rows = entries.map {
            Row(
                label: label($0, report.grain), received: $0.receivedBytes, transmitted: $0.transmittedBytes,
                total: $0.totalBytes, seconds: $0.seconds)
        }
        let largest = rows.map(\.total).max() ?? 0
        if rows.count > 1 {
            rows.append(
                Row(
                    label: "sum", received: account.receivedBytes, transmitted: account.transmittedBytes,
                    total: account.totalBytes, seconds: report.seconds, hasBar: false))
        }
        let scope = account.scope.map { ", \($0 == "lan" ? "LAN" : $0)" } ?? ""
        let head =
            terminal.bold(terminal.clipped(Terminal.printable(account.name), to: terminal.columns / 2)) + scope + ", "
            + title
        return [head] + lines(rows, labelled: report.grain == "5m" ? "from" : report.grain, largest: largest)
    }

    /// What belongs to no application: it may be less than nothing.
    private func unattributed(
        _ entries: [UsageReport.Unattributed.Entry], _ uplink: [UsageReport.Entry], _ report: UsageReport,
        _ title: String
    ) -> [String] {
        let rows = zip(entries, uplink).map { entry, whole in
            (label(whole, report.grain), (entry.totalBytes < 0 ? "-" : "") + sizeText(entry.totalBytes.magnitude))
        }
        let labelWidth = min(16, rows.map { width($0.0) }.max() ?? 0)
        let cellWidth = max(5, rows.map { width($0.1) }.max() ?? 0)
        return [terminal.clipped("unattributed, " + title, to: terminal.columns)]
            + rows.map {
                padded(terminal.clipped($0.0, to: labelWidth), to: labelWidth + 1) + " " + aligned($0.1, to: cellWidth)
            }
    }

    /// The period of an entry, with the entry's part of it if it isn't all: `2026-10 from 15`.
    private func label(_ entry: UsageReport.Entry, _ grain: String) -> String {
        guard let (length, beginning) = ["year": (4, "01-01"), "month": (7, "01"), "day": (10, "00:00")][grain] else {
            return minuteText(entry.start)
        }
        let (startDate, endDate) = ("\(entry.start.date)", "\(entry.end.date)")
        let period = startDate.prefix(length)
        let isDay = grain == "day"
        let first = (isDay ? minuteText(entry.start) : startDate).dropFirst(length + 1)
        let last = (isDay ? minuteText(entry.end) : String(lastText(entry.end).prefix(10))).dropFirst(length + 1)
        let isBegun = first == beginning
        let isEnded = endDate.prefix(length) != period
        return period + (isBegun ? "" : " from " + first) + (isEnded ? "" : " to " + last)
    }

    // MARK: - Lines

    private struct Row {
        var label: String
        var received: UInt64
        var transmitted: UInt64
        var total: UInt64
        var seconds: Int64
        var hasBar = true
    }

    private static let columns = ["received", "transmitted", "total", "average"]

    private func lines(_ rows: [Row], labelled label: String, largest: UInt64) -> [String] {
        let values = rows.map { row in
            let average = row.seconds > 0 ? Double(row.total) / Double(row.seconds) : 0
            return [
                sizeText(row.received), sizeText(row.transmitted), sizeText(row.total),
                rateText(average, inBits: inBits),
            ]
        }
        let widths = Self.columns.indices.map { place in
            ([Self.columns] + values).map { width($0[place]) }.max() ?? 0
        }
        let longest = max(4, width(label), rows.map { width($0.label) }.max() ?? 0)
        func taken(_ shown: Range<Int>) -> Int { widths[shown].reduce(0) { $0 + $1 + 2 } }
        // A narrow terminal gets no bar, then no average, then only the total.
        let enough = min(longest, 16)
        let shown = [0..<4, 0..<3].first { enough + taken($0) <= terminal.columns } ?? 2..<3
        let labelWidth = min(longest, terminal.columns - taken(shown))
        let room = terminal.columns - taken(shown) - labelWidth - 2
        func line(_ label: String, _ cells: [String]) -> String {
            let name = terminal.clipped(label, to: labelWidth)
            let start = name + String(repeating: " ", count: labelWidth - width(name))
            return shown.reduce(start) { $0 + "  " + aligned(cells[$1], to: widths[$1]) }
        }
        let legend = terminal.hasUnicode ? "  █ received  ▒ transmitted" : "  # received  - transmitted"
        let hasLegend = room >= width(legend) && rows.contains { $0.hasBar && $0.total > 0 }
        return [terminal.dim(line(label, Self.columns) + (hasLegend ? legend : ""))]
            + zip(rows, values).map { row, cells in
                let bar = row.hasBar && room >= 8 ? "  " + self.bar(row, largest: largest, length: min(room, 40)) : ""
                return String((line(row.label, cells) + bar).reversed().drop { $0 == " " }.reversed())
            }
    }

    /// Received and transmitted bytes in two shades; in eighths of a column if the terminal can show them.
    private func bar(_ row: Row, largest: UInt64, length: Int) -> String {
        if largest == 0 || row.total == 0 { return "" }
        let eighths = max(1, Int((Double(row.total) / Double(largest) * Double(length) * 8).rounded()))
        let whole = eighths / 8
        let received = Int((min(1, Double(row.received) / Double(row.total)) * Double(whole)).rounded())
        let (full, light) = terminal.hasUnicode ? ("█", "▒") : ("#", "-")
        let parts =
            terminal.hasUnicode ? ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"] : ["", ".", ".", ".", ".", ".", ".", "."]
        return terminal.coloured(String(repeating: full, count: received), .green)
            + terminal.coloured(String(repeating: light, count: whole - received), .blue)
            + terminal.coloured(parts[eighths % 8], whole == received ? .green : .blue)
    }
}
