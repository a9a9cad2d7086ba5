import Accounting
import CivilTime
import Reports

/// What applications carried, for people: a line for each, with a column for each scope and one for what passed the uplink.
struct ApplicationTable {
    let terminal: Terminal

    /// - Parameter title: The subject of the report.
    func text(_ report: UsageReport, title: String) -> String {
        var lines: [String] = []
        if let note = report.note { lines += [terminal.note("\(note).", isStale: report.isStale), ""] }
        let start = startText(report.since ?? report.until)
        let isOpen = report.asOf.map { $0 < report.until } ?? true
        lines.append(
            terminal.bold(isOpen ? "\(title), since \(start)" : "\(title) from \(start) to \(startText(report.until))"))
        let rows = report.applications
        if rows.isEmpty {
            lines += terminal.wrapped(
                "No application was metered then; netusage doctor says why.", to: terminal.columns)
        }
        let uplink = report.accounts.first { $0.kind == "uplink" }
        lines += table(rows, report.unattributed, uplink)
        return lines.joined(separator: "\n") + "\n"
    }

    private func table(
        _ rows: [ApplicationUse], _ unattributed: UsageReport.Unattributed?, _ uplink: UsageReport.Account?
    ) -> [String] {
        let scopes = TrafficScope.allCases.filter { scope in rows.contains { $0.bytes[scope] != nil } }
        // Shares are of the uplink or, if that isn't known, of all rows.
        let whole = uplink?.totalBytes ?? rows.reduce(0) { $0 &+ $1.ofUplink }
        func share(_ bytes: UInt64) -> String {
            whole == 0 ? "" : decimalText(Double(bytes) / Double(whole) * 100, decimals: 1) + " %"
        }
        let none = terminal.hasUnicode ? "–" : "-"
        var lines = rows.map { row in
            Line(
                label: Terminal.printable(row.name), scopes: scopes.map { row.bytes[$0].map(sizeText) ?? none },
                total: sizeText(row.ofUplink), share: share(row.ofUplink), bytes: row.ofUplink)
        }
        let blanks = Array(repeating: "", count: scopes.count)
        if let unattributed {
            let bytes = unattributed.totalBytes
            let sign = bytes < 0 ? "-" : ""
            lines.append(
                Line(
                    label: "unattributed", scopes: blanks, total: sign + sizeText(bytes.magnitude),
                    share: sign + share(bytes.magnitude), bytes: 0))
        }
        if let uplink {
            lines.append(Line(label: "uplink", scopes: blanks, total: sizeText(uplink.totalBytes), share: "", bytes: 0))
        }
        return text(lines, scopes: scopes)
    }

    private struct Line {
        var label: String
        /// What each scope carried.
        var scopes: [String]
        var total: String
        var share: String
        /// What its bar is as long as; 0 for none.
        var bytes: UInt64
    }

    private func text(_ lines: [Line], scopes: [TrafficScope]) -> [String] {
        if lines.isEmpty { return [] }
        var heads = scopes.map { $0 == .lan ? "LAN" : $0.rawValue } + ["total", "share"]
        var cells = lines.map { $0.scopes + [$0.total, $0.share] }
        if scopes == [.internet] { removeColumn(0) }
        func removeColumn(_ place: Int) {
            heads.remove(at: place)
            for line in cells.indices { cells[line].remove(at: place) }
        }
        func widths() -> [Int] {
            heads.indices.map { place in max(width(heads[place]), cells.map { width($0[place]) }.max() ?? 0) }
        }
        func taken() -> Int { widths().reduce(0) { $0 + $1 + 2 } }
        let longest = lines.map { width($0.label) }.max() ?? 0
        // On a narrow terminal, columns of scopes are left out, so that names have room.
        while heads.count > 2, terminal.columns - taken() < min(longest, 16) { removeColumn(heads.count - 3) }
        let labelWidth = max(8, min(longest, terminal.columns - taken()))
        let room = terminal.columns - taken() - labelWidth - 2
        let largest = lines.map(\.bytes).max() ?? 0
        let columns = widths()
        func line(_ label: String, _ cells: [String]) -> String {
            let name = terminal.clipped(label, to: labelWidth)
            var line = cells.enumerated().reduce(name + String(repeating: " ", count: labelWidth - width(name))) {
                $0 + "  " + aligned($1.element, to: columns[$1.offset])
            }
            while line.last == " " { line.removeLast() }
            return line
        }
        return [terminal.dim(line("", heads))]
            + zip(lines, cells).map { each, cells in
                let length =
                    room >= 8 && largest > 0 ? Int(Double(each.bytes) / Double(largest) * Double(min(room, 40))) : 0
                let bar = String(repeating: terminal.hasUnicode ? "█" : "#", count: length)
                return line(each.label, cells) + (length > 0 ? "  " + terminal.coloured(bar, .green) : "")
            }
    }
}
