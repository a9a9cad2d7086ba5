import Accounting
import CivilTime
import FoundationEssentials
import Glibc
import LedgerStore
import Machine
import Reports

/// A file of another meter, or of `netusage export`.
package enum ImportFile {
    /// Why a file can't be imported.
    package struct Problem: Error, CustomStringConvertible {
        package var description: String
    }

    /// The content of a file, by account.
    package struct Contents {
        package var accounts: [ImportedAccount]
        /// What is wrong and left out, for people.
        package var problems: [String]
        /// Slots with more than this are left out as impossible.
        var mostBytesPerSecond = ImportedAccount.mostBytesPerSecond

        /// Leaves out slots that no link can have carried.
        mutating func leaveOutImpossible() {
            for place in accounts.indices {
                let impossible = accounts[place].slots.filter { !$0.isPossible(at: mostBytesPerSecond) }
                guard let first = impossible.first else { continue }
                accounts[place].slots.removeAll { !$0.isPossible(at: mostBytesPerSecond) }
                let name = ImportFile.name(of: accounts[place].key)
                let bytes = impossible.reduce(into: Total.zero) { $0 += $1.total }.bytes
                problems.append(
                    "\(name): \(bytes) bytes from \(first.span.lowerBound) on are more than any device carries in their time"
                )
            }
        }

        /// Books devices as the daemon would: some aren't metered, some share an account.
        mutating func book(by rules: AccountingRules) {
            var slots: [AccountKey: [String: [Range<Timestamp>: Total]]] = [:]
            var clocks: [String: String] = [:]
            for account in accounts {
                var key = account.key
                if case .device(let name) = key {
                    let label = name.label { _ in false }
                    if !name.isPossible {
                        problems.append("\(label): no device can have this name")
                        continue
                    }
                    guard let own = rules.account(for: name) else {
                        problems.append("\(label): devices.exclude in the configuration has it")
                        continue
                    }
                    key = own
                }
                clocks[account.source] = account.clock
                slots[key, default: [:]][account.source, default: [:]]
                    .merge(account.slots.map { ($0.span, $0.total) }) { $0.adding($1) }
            }
            accounts = slots.flatMap { key, sources in
                sources.map { source, slots in
                    ImportedAccount(
                        key, from: source, slots: slots.map { .init($0.key, $0.value) }, clock: clocks[source])
                }
            }.sorted { ($0.key.kind, $0.source) < ($1.key.kind, $1.source) }
        }
    }

    /// Two years of eight devices by five minutes are 155 MB of CSV.
    private static let maximumBytes = 400 << 20
    /// For JSON. A hundred devices have about 10 MB; decoding takes ten times as much memory.
    private static let maximumJSONBytes = 64 << 20
    /// The longest valid row has about 150 bytes.
    static let maximumLineBytes = 4096

    // MARK: - vnStat

    /// vnStat's database, or what `vnstat --json` prints.
    ///
    /// - Throws: `Problem`.
    static func vnStat(_ path: String, by calendar: LocalCalendar, at now: Timestamp) throws(Problem) -> Contents {
        func isDatabase(_ bytes: [UInt8]) -> Bool { bytes.starts(with: "SQLite format 3".utf8) }
        var status = stat()
        let isPipe = path == "-" || stat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
        let bytes = try bytes(of: path, maximum: isPipe ? maximumBytes : maximumJSONBytes) { !isPipe && isDatabase($0) }
        let interfaces: [VnStatInterface]
        if isDatabase(bytes), isPipe {
            guard let directory = TemporaryDirectory(), let copy = try? directory.file("vnstat.db", bytes) else {
                throw Problem(description: "\(path): there is no room for a copy of it in the temporary directory")
            }
            interfaces = try database(copy, called: path)
        } else if isDatabase(bytes) {
            interfaces = try database(path, called: path)
        } else {
            interfaces = try fromJSON(bytes, of: path, by: calendar)
        }
        // Each row is of one device and its real time, so the lower limit applies.
        var contents = Contents(
            accounts: [], problems: [], mostBytesPerSecond: ImportedAccount.mostLinkBytesPerSecond)
        for interface in interfaces {
            let (slots, problems) = interface.slots(by: calendar, at: now)
            let device = DeviceName(bytes: interface.name)
            let name = device.label { _ in false }
            contents.problems += problems.map { "\(name): \($0)" }
            if interface.name.count > DeviceName.maximumLength {
                contents.problems.append("\(name)…: no device can have a name of \(interface.name.count) bytes")
                continue
            }
            contents.accounts.append(.init(.device(device), from: name, slots: slots, clock: calendar.clockText))
        }
        return contents
    }

    private static func database(_ path: String, called name: String) throws(Problem) -> [VnStatInterface] {
        do throws(StoreError) {
            return try VnStatFile.interfaces(at: path)
        } catch {
            // Only this error's remedy is for any database; the others are for ledgers.
            throw Problem(description: error.code == .unfinished ? "\(error)" : "\(name): \(error.message)")
        }
    }

    /// The output of `vnstat --json`, version 2.
    private struct VnStatJSON: Decodable {
        struct Moment: Decodable {
            struct Date: Decodable {
                var year: Int
                var month: Int?
                var day: Int?
            }
            struct Time: Decodable {
                var hour: Int
                var minute: Int
            }
            var date: Date
            var time: Time?

            /// As in the database, with seconds.
            func text(second: String = "00") -> String {
                func padded(_ number: Int, _ width: Int = 2) -> String {
                    let text = String(number)
                    return String(repeating: "0", count: max(0, width - text.count)) + text
                }
                let day = "\(padded(date.year, 4))-\(padded(date.month ?? 1))-\(padded(date.day ?? 1))"
                return time.map { "\(day) \(padded($0.hour)):\(padded($0.minute)):\(second)" } ?? day
            }
        }
        /// `nil` if it isn't a whole number from 0 on.
        struct Bytes: Decodable {
            var value: UInt64?

            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                value = try? container.decode(UInt64.self)
                if value == nil { _ = try container.decode(Double.self) }
            }
        }
        struct Row: Decodable {
            var date: Moment.Date
            var time: Moment.Time?
            /// POSIX seconds, since vnStat 2.10.
            var timestamp: Int64?
            var rx: Bytes
            var tx: Bytes
        }
        struct Sum: Decodable {
            var rx: Bytes
            var tx: Bytes
        }
        struct Traffic: Decodable {
            var total: Sum?
            var fiveminute: [Row]?
            var hour: [Row]?
            var day: [Row]?
            var month: [Row]?
            var year: [Row]?
        }
        struct Interface: Decodable {
            var name: String
            var created: Moment
            var updated: Moment
            var traffic: Traffic
        }
        var jsonversion: String
        var interfaces: [Interface]
    }

    private static func fromJSON(
        _ bytes: [UInt8], of path: String, by calendar: LocalCalendar
    ) throws(Problem) -> [VnStatInterface] {
        if bytes.starts(with: HistoryCSV.header.utf8) {
            throw Problem(description: "\(name(ofPath: path)): netusage export has written it; use netusage import csv")
        }
        if bytes.isEmpty { throw Problem(description: "\(name(ofPath: path)): empty") }
        let file = try decoded(bytes, of: path)
        let rows = file.interfaces.flatMap { entry in
            let traffic = entry.traffic
            return [traffic.fiveminute, traffic.hour, traffic.day].flatMap { $0 ?? [] }
        }
        for row in rows {
            guard let stated = row.timestamp,
                let read = VnStatInterface.moment(
                    VnStatJSON.Moment(date: row.date, time: row.time).text(), by: calendar),
                !read.contains(Timestamp(secondsSinceEpoch: stated))
            else { continue }
            throw Problem(
                description:
                    "\(name(ofPath: path)): its times aren't those of a clock with \(calendar.clockText); name their zone with --timezone"
            )
        }
        return file.interfaces.map { entry in
            var interface = VnStatInterface(
                name: Array(entry.name.utf8), created: entry.created.text(), updated: entry.updated.text(second: "59"))
            interface.rows[.fiveminute] = records(.fiveminute, entry.traffic.fiveminute, of: &interface)
            interface.rows[.hour] = records(.hour, entry.traffic.hour, of: &interface)
            interface.rows[.day] = records(.day, entry.traffic.day, of: &interface)
            interface.rows[.month] = records(.month, entry.traffic.month, of: &interface)
            interface.rows[.year] = records(.year, entry.traffic.year, of: &interface)
            if let sum = entry.traffic.total {
                interface.total = total(sum.rx, sum.tx, .total, interface.created, of: &interface)
            }
            return interface
        }
    }

    private static func decoded(_ bytes: [UInt8], of path: String) throws(Problem) -> VnStatJSON {
        struct Version: Decodable { var jsonversion: String }
        let file = name(ofPath: path)
        if bytes.count > maximumJSONBytes {
            throw Problem(
                description: "\(file): larger than \(sizeText(UInt64(maximumJSONBytes))), which is no such file")
        }
        guard bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "{") else {
            throw Problem(
                description:
                    "\(file): neither a database of vnStat 2 nor what vnstat --json prints; give /var/lib/vnstat/vnstat.db"
            )
        }
        do {
            let version = try JSONDecoder().decode(Version.self, from: Data(bytes)).jsonversion
            if version == "1" {
                throw Problem(
                    description:
                        "\(file): written by vnStat 1, which counts in KiB; vnStat 2 takes its database over when it starts first, so install that and import its own"
                )
            }
            if version != "2" {
                throw Problem(description: "\(file): jsonversion \(version) isn't known here, only 2, that of vnStat 2")
            }
            return try JSONDecoder().decode(VnStatJSON.self, from: Data(bytes))
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(description: "\(file): not what vnstat --json prints: \(reason(error))")
        }
    }

    /// Where the JSON is broken, or what it lacks.
    private static func reason(_ error: any Error) -> String {
        func place(_ path: [any CodingKey]) -> String {
            path.isEmpty
                ? "at the top"
                : "at " + path.map { $0.intValue.map { "[\($0)]" } ?? "." + $0.stringValue }.joined().drop { $0 == "." }
        }
        switch error {
        case DecodingError.keyNotFound(let key, let context):
            return "there is no \(key.stringValue) \(place(context.codingPath))"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
            return "there is a value of the wrong type \(place(context.codingPath))"
        case DecodingError.dataCorrupted(let context):
            // At the top the error only says that it isn't JSON.
            if context.codingPath.isEmpty { return "the JSON is broken, or it ends too early" }
            return "the JSON is broken \(place(context.codingPath)): \(context.debugDescription.prefix(200))"
        default: return "\(error)".prefix(200).description
        }
    }

    /// Leaves the row out if one of the two isn't a number, or is the one at which SQLite's integers overflow.
    private static func total(
        _ received: VnStatJSON.Bytes, _ transmitted: VnStatJSON.Bytes, _ table: VnStatInterface.Table, _ date: String,
        of owner: inout VnStatInterface
    ) -> Total? {
        guard let received = received.value, let transmitted = transmitted.value,
            max(received, transmitted) < saturationLimit
        else {
            owner.leaveOut(table, date, because: "not a number of bytes, as an overflow leaves it")
            return nil
        }
        return Total(received: received, transmitted: transmitted)
    }

    private static func records(
        _ table: VnStatInterface.Table, _ rows: [VnStatJSON.Row]?, of owner: inout VnStatInterface
    ) -> [VnStatInterface.Record] {
        (rows ?? []).compactMap { row in
            let date = VnStatJSON.Moment(date: row.date, time: row.time).text()
            return total(row.rx, row.tx, table, date, of: &owner).map { (date: date, total: $0) }
        }
    }

    /// - Parameters:
    ///   - path: `-` is standard input.
    ///   - isEnough: Whether the rest isn't needed.
    static func bytes(
        of path: String, maximum maximumBytes: Int = maximumBytes, until isEnough: ([UInt8]) -> Bool = { _ in false }
    ) throws(Problem) -> [UInt8] {
        do throws(WholeFile.Failure) {
            return try WholeFile.readAnything(path, limit: maximumBytes, until: isEnough)
        } catch {
            throw Problem(description: "\(name(ofPath: path)): can't be read: \(error)")
        }
    }

    /// For people.
    static func name(ofPath path: String) -> String { path == "-" ? "standard input" : path }

    static func name(of key: AccountKey) -> String { AccountNames([key], collapse: []).name(of: key) }
}
