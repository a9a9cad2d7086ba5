import Exporter
import Reports

/// The traffic of applications, for people: a line for each, those that were busiest in the last minute first.
struct LiveApplicationTable {
    let inBits: Bool
    /// The rates of the last minute by application, both directions together, the newest last.
    private var rates: [String: [Double]] = [:]

    init(inBits: Bool) {
        self.inBits = inBits
    }

    private struct Row {
        var name: String
        var received = 0.0
        var transmitted = 0.0
        var today: UInt64 = 0

        /// Adds what it carried in one scope.
        mutating func add(_ account: LiveReport.Account) {
            received += account.receiveBytesPerSecond
            transmitted += account.transmitBytesPerSecond
            today &+= account.today.totalBytes
        }
    }

    /// - Parameter rows: The largest number of lines.
    mutating func lines(_ report: LiveReport, _ terminal: Terminal, rows: Int) -> [String] {
        var applications: [String: Row] = [:]
        for account in report.accounts where account.kind == "application" {
            applications[account.name, default: Row(name: account.name)].add(account)
        }
        rates = rates.filter { applications[$0.key] != nil }
        for row in applications.values { rates[row.name, default: []].remember(row.received + row.transmitted) }
        let ranked = applications.values.map { (row: $0, carried: rates[$0.name]?.reduce(0, +) ?? 0) }
            .sorted { ($1.carried, $1.row.today, $0.row.name) < ($0.carried, $0.row.today, $1.row.name) }.map(\.row)
        var lines = [liveHead(report, terminal)]
        if let note = report.note {
            lines.append(terminal.dim(terminal.clipped(Terminal.printable(note), to: terminal.columns)))
        }
        lines.append("")
        if ranked.isEmpty {
            lines.append(terminal.clipped("No application has carried anything today.", to: terminal.columns))
        }
        var uplink = report.accounts.filter { $0.kind == "uplink" }.map { account in
            var row = Row(name: "uplink")
            row.add(account)
            return row
        }
        let room = rows - lines.count - 1
        if room < uplink.count + 2 { uplink = [] }
        var shown = Array(ranked.prefix(max(0, room - uplink.count)))
        // The last line says how many more there are.
        if shown.count < ranked.count, !shown.isEmpty { shown.removeLast() }
        if !ranked.isEmpty || !uplink.isEmpty { lines += table(shown + uplink, terminal) }
        if shown.count < ranked.count {
            let more = "and \(ranked.count - shown.count) more; choose with --application"
            lines.append(terminal.dim(terminal.clipped(more, to: terminal.columns)))
        }
        return Array(lines.prefix(rows))
    }

    private func table(_ rows: [Row], _ terminal: Terminal) -> [String] {
        let cells = rows.map { row in
            [rateText(row.received, inBits: inBits), rateText(row.transmitted, inBits: inBits), sizeText(row.today)]
        }
        let heads = ["receive", "transmit", "today"]
        // Rates change their length from second to second; the columns stay where they are.
        let widths = heads.indices.map { place in
            max(place < 2 ? 11 : 9, cells.map { width($0[place]) }.max() ?? 0)
        }
        // What doesn't fit is left out from the right.
        var columns = heads.indices.map { $0 }
        func taken() -> Int { columns.reduce(0) { $0 + widths[$1] + 2 } }
        while columns.count > 1, terminal.columns < 10 + taken() { columns.removeLast() }
        let nameWidth = max(4, min(24, terminal.columns - taken()))
        let room = min(60, terminal.columns - nameWidth - taken() - 2)
        func line(_ name: String, _ cells: [String]) -> String {
            let name = terminal.clipped(name, to: nameWidth)
            return columns.reduce(name + String(repeating: " ", count: nameWidth - width(name))) {
                $0 + "  " + aligned(cells[$1], to: widths[$1])
            }
        }
        let head = line("", heads) + (room >= 11 ? "  last minute" : "")
        return [terminal.dim(terminal.clipped(head, to: terminal.columns))]
            + zip(rows, cells).map { row, cells in
                let past = (rates[row.name] ?? []).suffix(max(0, room))
                var marks = room >= 11 ? sparkline(past, highest: 0, terminal) : ""
                while marks.last == " " { marks.removeLast() }
                return terminal.clipped(line(Terminal.printable(row.name), cells), to: terminal.columns)
                    + (marks.isEmpty ? "" : "  " + terminal.coloured(marks, .green))
            }
    }
}
