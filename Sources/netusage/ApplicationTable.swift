import Accounting
import CivilTime
import Reports

/// What applications carried, for people: a line for each, with a column for each scope.
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
        if rows.isEmpty { lines.append("No application was metered then; netusage doctor says why.") }
        let uplink = report.accounts.first { $0.kind == "uplink" }
        lines += table(rows, report.unattributed, uplink)
        return lines.joined(separator: "\n") + "\n"
    }

    private func table(
        _ rows: [ApplicationUse], _ unattributed: UsageReport.Unattributed?, _ uplink: UsageReport.Account?
    ) -> [String] {
        let scopes = TrafficScope.allCases.filter { scope in
            scope != .tunnel || rows.contains { $0.bytes[scope] != nil }
        }
        // Shares are of the uplink or, if that isn't known, of all rows.
        let whole = uplink?.totalBytes ?? rows.reduce(0) { $0 &+ $1.ofUplink }
        func share(_ bytes: UInt64) -> String {
            whole == 0 ? "" : decimalText(Double(bytes) / Double(whole) * 100, decimals: 1) + " %"
        }
        var lines = rows.map { row in
            Line(
                label: Terminal.printable(row.name),
                cells: scopes.map { row.bytes[$0].map(sizeText) ?? "–" } + [share(row.ofUplink)], bytes: row.ofUplink)
        }
        let blanks = Array(repeating: "", count: max(0, scopes.count - 1))
        if let unattributed {
            let bytes = unattributed.totalBytes
            let sign = bytes < 0 ? "-" : ""
            lines.append(
                Line(
                    label: "unattributed",
                    cells: [sign + sizeText(bytes.magnitude)] + blanks
                        + [sign + share(bytes.magnitude)], bytes: 0))
        }
        if let uplink {
            lines.append(Line(label: "uplink", cells: [sizeText(uplink.totalBytes)] + blanks + [""], bytes: 0))
        }
        return text(lines, heads: scopes.map { $0 == .lan ? "LAN" : $0.rawValue } + ["share"])
    }

    private struct Line {
        var label: String
        var cells: [String]
        var bytes: UInt64
    }

    private func text(_ lines: [Line], heads: [String]) -> [String] {
        if lines.isEmpty { return [] }
        let widths = heads.indices.map { place in
            max(width(heads[place]), lines.map { width($0.cells[place]) }.max() ?? 0)
        }
        let taken = widths.reduce(0) { $0 + $1 + 2 }
        let longest = lines.map { width($0.label) }.max() ?? 0
        let labelWidth = max(8, min(longest, terminal.columns - taken))
        let room = terminal.columns - taken - labelWidth - 2
        let largest = lines.map(\.bytes).max() ?? 0
        func line(_ label: String, _ cells: [String]) -> String {
            let name = terminal.clipped(label, to: labelWidth)
            return cells.enumerated().reduce(name + String(repeating: " ", count: labelWidth - width(name))) {
                $0 + "  " + aligned($1.element, to: widths[$1.offset])
            }
        }
        return [terminal.dim(line("", heads))]
            + lines.map { each in
                let length =
                    room >= 8 && largest > 0 ? Int(Double(each.bytes) / Double(largest) * Double(min(room, 40))) : 0
                let bar = String(repeating: terminal.hasUnicode ? "█" : "#", count: length)
                return line(each.label, each.cells) + (length > 0 ? "  " + terminal.coloured(bar, .green) : "")
            }
    }
}
