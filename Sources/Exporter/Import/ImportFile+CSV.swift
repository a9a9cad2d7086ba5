import Accounting
import CivilTime
import Reports

/// Reads the CSV of `netusage export`.
extension ImportFile {
    /// Rows of each account, with the numbers of their lines.
    private typealias Rows = [AccountKey: [(number: Int, slot: ImportedAccount.Slot)]]

    /// - Throws: `Problem` that names the line.
    static func csv(_ path: String, at now: Timestamp) throws(Problem) -> Contents {
        // A file without a line end near its beginning is no such file, so no more of it is read.
        let bytes = try bytes(of: path) {
            $0.count > maximumLineBytes && !$0[..<maximumLineBytes].contains(UInt8(ascii: "\n"))
        }
        let file = name(ofPath: path)
        if bytes.isEmpty { throw Problem(description: "\(file): empty") }
        var rows: Rows = [:]
        var ahead: [AccountKey: Int] = [:]
        var number = 0
        var start = bytes.startIndex
        while start < bytes.endIndex {
            let line = bytes[start...].prefix { $0 != UInt8(ascii: "\n") }
            start = min(line.endIndex + 1, bytes.endIndex)
            number += 1
            let text = try text(of: line, file, number)
            if number == 1 {
                try checkHeader(text, file)
                continue
            }
            if text.isEmpty { continue }
            do throws(HistoryCSV.RowError) {
                var (key, slot) = try HistoryCSV.row(HistoryCSV.fields(text))
                // The row of the open day ends ahead of now.
                if slot.span.contains(now) { slot = .init(slot.span.lowerBound..<now, slot.total) }
                if slot.span.lowerBound < now {
                    rows[key, default: []].append((number, slot))
                } else {
                    ahead[key, default: 0] += 1
                }
            } catch {
                throw Problem(description: "\(file):\(number): \(error); nothing was imported")
            }
        }
        try checkOverlaps(rows, file)
        let accounts = rows.map { key, rows in
            let source = if case .device(let name) = key { name.label { _ in false } } else { "" }
            return ImportedAccount(key, from: source, slots: rows.map(\.slot))
        }
        let problems = ahead.map {
            "\(name(of: $0)): \($1 == 1 ? "a row that lies" : "\($1) rows that lie") ahead of the clock"
        }
        return Contents(accounts: accounts, problems: problems.sorted())
    }

    /// A line's text. In the first line, bytes that aren't UTF-8 are replaced.
    private static func text(of line: ArraySlice<UInt8>, _ file: String, _ number: Int) throws(Problem) -> String {
        if line.count > maximumLineBytes {
            throw Problem(
                description: "\(file):\(number): a line of more than \(maximumLineBytes) bytes; nothing was imported")
        }
        // A name with replaced bytes would be another name.
        if let text = String(validating: line.last == 13 ? line.dropLast() : line, as: UTF8.self) { return text }
        if number == 1 { return String(decoding: line, as: UTF8.self) }
        throw Problem(description: "\(file):\(number): isn't UTF-8; nothing was imported")
    }

    private static func checkHeader(_ line: String, _ file: String) throws(Problem) {
        var text = line
        // Spreadsheets begin files with a byte order mark.
        if text.hasPrefix("\u{FEFF}") { text.removeFirst() }
        if text.hasPrefix("SQLite format 3") {
            throw Problem(description: "\(file): a database; for one of vnStat, use netusage import vnstat")
        }
        if HistoryCSV.fields(text) == HistoryCSV.header.split(separator: ",").map(String.init) { return }
        let shown = String(String.UnicodeScalarView(text.unicodeScalars.prefix(80)))
        throw Problem(
            description:
                "\(file):1: not a CSV file of netusage export, with commas and UTF-8: it begins with \(shown) and not with \(HistoryCSV.header)"
        )
    }

    private static func checkOverlaps(_ rows: Rows, _ file: String) throws(Problem) {
        for (key, rows) in rows {
            let sorted = rows.sorted { $0.slot.start < $1.slot.start }
            guard let (one, other) = zip(sorted, sorted.dropFirst()).first(where: { $0.slot.end > $1.slot.start })
            else { continue }
            let lines = [one.number, other.number].sorted()
            throw Problem(
                description:
                    "\(file):\(lines[1]): overlaps with the row of \(name(of: key)) in line \(lines[0]); nothing was imported"
            )
        }
    }
}
