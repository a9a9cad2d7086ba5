import Accounting
import CivilTime

/// The CSV of `netusage export` and `netusage import csv` (RFC 4180). A row has an account's bytes in a span of time.
package enum HistoryCSV {
    package static let header = "start,end,device,kind,received_bytes,transmitted_bytes"
    /// Of what applications carried. Import doesn't take it: what belongs to whom is known only from the kernel.
    static let applicationHeader = "start,end,application,scope,received_bytes,transmitted_bytes"

    /// In seconds. A row is at most a local day, or two if a zone skipped or repeated a date.
    private static let longestRow: Int64 = 49 * 3600

    /// Why a row makes no sense, for people.
    package struct RowError: Error, CustomStringConvertible {
        package let description: String
    }

    // MARK: - Writing

    /// A row with its line end.
    ///
    /// - Parameters:
    ///   - start: In RFC 3339, as `end`.
    ///   - name: See ``AccountNames/name(of:)``.
    static func line(from start: String, to end: String, of name: String, _ kind: String, _ total: Total) -> String {
        "\(start),\(end),\(field(name)),\(kind),\(total.received),\(total.transmitted)\r\n"
    }

    /// A field, in quotes if it needs them.
    private static func field(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { ![UInt8(ascii: ","), UInt8(ascii: "\""), 13, 10].contains($0) }
        if isPlain { return text }
        let escaped = text.utf8.flatMap { $0 == UInt8(ascii: "\"") ? [$0, $0] : [$0] }
        return "\"\(String(decoding: escaped, as: UTF8.self))\""
    }

    // MARK: - Reading

    /// The fields of a line. No name contains a line end.
    package static func fields(_ line: String) -> [String] {
        var fields: [[UInt8]] = [[]]
        var isQuoted = false
        var previous: UInt8 = 0
        for byte in line.utf8 {
            switch byte {
            case UInt8(ascii: "\""):
                // A quote right after another one stands for itself.
                if !isQuoted, previous == byte { fields[fields.count - 1].append(byte) }
                isQuoted.toggle()
            case UInt8(ascii: ",") where !isQuoted: fields.append([])
            default: fields[fields.count - 1].append(byte)
            }
            previous = byte
        }
        return fields.map { String(decoding: $0, as: UTF8.self) }
    }

    /// The account of a row, and its bytes.
    ///
    /// - Throws: `RowError`.
    package static func row(_ fields: [String]) throws(RowError) -> (AccountKey, ImportedAccount.Slot) {
        func problem(_ text: String) -> RowError { RowError(description: text) }
        func time(_ place: Int, _ name: String) throws(RowError) -> Timestamp {
            let text = fields[place]
            // Without an offset the time is ambiguous. A spreadsheet may have dropped it.
            let hasOffset = text.dropFirst(11).contains { "+-Zz".contains($0) }
            let moment = hasOffset ? LocalCalendar.utc.moment(text, at: .earliest) : nil
            if let moment, moment >= Timestamp(secondsSinceEpoch: 0) { return moment }
            throw problem(
                "\(name) \(text) is not a time since 1970 such as 2026-11-20T09:00:00+01:00, as netusage export writes it"
            )
        }
        func bytes(_ place: Int, _ name: String) throws(RowError) -> UInt64 {
            if let bytes = UInt64(fields[place]) { return bytes }
            throw problem("\(name) \(fields[place]) is not a number of bytes, in digits alone")
        }
        if fields.count != 6 { throw problem("\(fields.count) fields where there should be \(header)") }
        let start = try time(0, "start")
        let end = try time(1, "end")
        if start >= end { throw problem("it doesn't end after its start, but at \(fields[1])") }
        if end > start.adding(seconds: longestRow) { throw problem("it is longer than a day") }
        let total = Total(
            received: try bytes(4, "received_bytes"), transmitted: try bytes(5, "transmitted_bytes"))
        let slot = ImportedAccount.Slot(start..<end, total)
        if !slot.isPossible(at: ImportedAccount.mostBytesPerSecond) {
            throw problem(
                "\(max(total.received, total.transmitted)) bytes are more than any device carries in this time")
        }
        return (try key(fields[3], called: fields[2]), slot)
    }

    private static func key(_ kind: String, called text: String) throws(RowError) -> AccountKey {
        switch kind {
        case "uplink": return .uplink
        case "device":
            if let name = DeviceName(label: text) { return .device(name) }
            throw RowError(description: "no device can have the name \(text)")
        case "collapsed" where DevicePattern(text)?.isLiteral == false: return .collapsed(text)
        case "collapsed": throw RowError(description: "device \(text) is not a pattern, as a collapsed class has")
        default: throw RowError(description: "kind \(kind) is none of uplink, device, collapsed")
        }
    }
}
