import Foundation
import TestSupport
import Testing

@testable import CivilTime

/// Every zone of the machine against Python's `zoneinfo`; see zone_days.py for how that side is computed.
@Suite struct ZoneDatabaseTests {
    static let python = "/usr/bin/python3"
    static let hasPython = FileManager.default.isExecutableFile(atPath: python) && ZoneDatabase.has("Europe/Berlin")
    static let first = date("2005-01-01")
    static let last = date("2037-12-31")

    /// The script's answers for one zone.
    struct Expectation {
        var name = ""
        /// Each list by its heading; an entry is a key and, if it has one, a value.
        var lists: [String: [(key: Int64, value: Int64)]] = [:]

        init(line: Substring.UTF8View.SubSequence) {
            var heading = ""
            for (index, word) in line.split(separator: UInt8(ascii: " ")).enumerated() {
                let parts = word.split(separator: UInt8(ascii: ":")).map { String(Substring($0)) }
                if index == 0 {
                    name = parts[0]
                } else if let key = Int64(parts[0]) {
                    lists[heading, default: []].append((key, parts.count > 1 ? Int64(parts[1])! : 0))
                } else {
                    heading = parts[0]
                    lists[heading] = []
                }
            }
        }

        /// The starts of all dates, `step` days apart; the list names those that aren't `step` days after the last.
        func starts(_ heading: String, from first: CivilDate, through last: CivilDate, step: Int) -> [Int64] {
            var exceptions = lists[heading, default: []][...]
            var starts: [Int64] = []
            for date in stride(from: Int(first.daysSinceEpoch), through: Int(last.daysSinceEpoch), by: step) {
                if let exception = exceptions.first, exception.key == date {
                    starts.append(exception.value)
                    exceptions.removeFirst()
                } else {
                    starts.append(starts.last! + Int64(step) * 86_400)
                }
            }
            return starts
        }
    }

    @Test(
        "Days, weeks and months of 2005 to 2037 start where Python's zoneinfo says, and offsets of 1900 to 2100 agree",
        .enabled(if: hasPython, "needs /usr/bin/python3 and a zone database"))
    func everyZone() throws {
        print("seed \(testSeed)")
        var zoneCount = 0
        for line in try Self.script().utf8.split(separator: UInt8(ascii: "\n")) {
            let expectation = Expectation(line: line)
            let calendar = try ZoneDatabase.calendar(expectation.name)
            try checkDays(of: calendar, expectation)
            checkSkippedDays(of: calendar, expectation)
            checkWeeks(of: calendar, expectation)
            checkMonths(of: calendar, expectation)
            checkOffsets(of: calendar.zone, expectation)
            zoneCount += 1
        }
        #expect(zoneCount > 300, "the database has fewer zones than it should")
    }

    private func checkDays(of calendar: LocalCalendar, _ expectation: Expectation) throws {
        let starts = expectation.starts("days", from: Self.first, through: Self.last, step: 1)
        try #require(starts.count == 12_053)
        var date = Self.first
        for (index, start) in starts.enumerated() {
            if calendar.start(of: date).secondsSinceEpoch != start {
                Issue.record("\(expectation.name): \(date) starts at \(calendar.start(of: date)), not \(start)")
                return
            }
            // A day that hasn't 24 hours is also checked the other way, from instants to dates.
            if index > 0, start - starts[index - 1] != 86_400 {
                guard checkBoundary(of: calendar, at: start), checkInside(of: calendar, starts[index - 1]..<start)
                else {
                    Issue.record("\(expectation.name): the instants around \(date) lie in other days")
                    return
                }
            }
            date.daysSinceEpoch += 1
        }
    }

    private func checkBoundary(of calendar: LocalCalendar, at start: Int64) -> Bool {
        let boundary = Timestamp(secondsSinceEpoch: start)
        let day = calendar.day(containing: boundary)
        let dayBefore = calendar.day(containing: boundary.adding(seconds: -1))
        return calendar.localTime(at: boundary).date == day && dayBefore < day
            && calendar.previousDay(before: day) == dayBefore && calendar.nextDay(after: dayBefore) == day
            && calendar.nextDayStart(after: boundary.adding(seconds: -1)) == boundary
    }

    /// Whether instants every 40 minutes of a day lie in it. Clocks that go back over midnight repeat more than that.
    private func checkInside(of calendar: LocalCalendar, _ seconds: Range<Int64>) -> Bool {
        guard !seconds.isEmpty else { return true }
        let day = calendar.day(containing: Timestamp(secondsSinceEpoch: seconds.lowerBound))
        return stride(from: seconds.lowerBound, to: seconds.upperBound, by: 2400).allSatisfy {
            calendar.day(containing: Timestamp(secondsSinceEpoch: $0)) == day
        }
    }

    private func checkSkippedDays(of calendar: LocalCalendar, _ expectation: Expectation) {
        for (day, _) in expectation.lists["skipped", default: []] {
            let skipped = CivilDate(daysSinceEpoch: Int32(day))
            #expect(calendar.span(ofDay: skipped).isEmpty, "\(expectation.name) \(skipped)")
        }
    }

    private func checkWeeks(of calendar: LocalCalendar, _ expectation: Expectation) {
        let monday = date("2005-01-03")
        for (index, start) in expectation.starts("weeks", from: monday, through: Self.last, step: 7).enumerated() {
            let inside = monday.adding(days: index * 7 + index % 7)
            guard calendar.start(of: calendar.weekStart(containing: inside)).secondsSinceEpoch == start else {
                Issue.record("\(expectation.name): the week of \(inside) doesn't start at \(start)")
                return
            }
        }
    }

    private func checkMonths(of calendar: LocalCalendar, _ expectation: Expectation) {
        let months = expectation.lists["months", default: []]
        #expect(months.count == 33 * 12)
        for (index, month) in months.enumerated() {
            let inside = CivilDate(daysSinceEpoch: Int32(month.key)).adding(days: index % 28)
            guard calendar.start(of: inside.firstOfMonth).secondsSinceEpoch == month.value else {
                Issue.record("\(expectation.name): the month of \(inside) doesn't start at \(month.value)")
                return
            }
        }
    }

    private func checkOffsets(of zone: Zone, _ expectation: Expectation) {
        let offsets = expectation.lists["offsets", default: []]
        #expect(offsets.count == 300)
        for (second, offset) in offsets {
            let moment = Timestamp(secondsSinceEpoch: second)
            guard zone.offsetSeconds(at: moment) == Int(offset) else {
                Issue.record("\(expectation.name): \(zone.offsetSeconds(at: moment)) at \(moment), not \(offset)")
                return
            }
        }
    }

    private static func script() throws -> String {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("zone_days.py")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        let years = [String(first.year), String(last.year)]
        process.arguments = [script.path, ZoneDatabase.directory] + years + [String(testSeed)]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "zone_days.py failed; its error stands above")
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(
        "Zones whose files count leap seconds start every day as their plain twins do",
        .enabled(if: ZoneDatabase.has("right/Europe/Berlin"), "needs \"right/\" zone files"))
    func leapSecondFiles() throws {
        var zoneCount = 0
        for name in try ZoneDatabase.distinctNames(under: "right/") {
            let plain = String(name.dropFirst("right/".count))
            guard ZoneDatabase.has(plain) else { continue }
            let (counted, expected) = try (ZoneDatabase.calendar(name), ZoneDatabase.calendar(plain))
            zoneCount += 1
            // These files end, without a footer, when the list of leap seconds they were made from expires.
            let expiry = Timestamp(secondsSinceEpoch: counted.zone.segment(containing: .max).start)
            #expect(expiry > moment("2020-01-01T00:00:00Z"), "\(name)")
            // Every seventh date of a zone; which ones differs from zone to zone.
            var date = date("1980-01-01").adding(days: zoneCount % 7)
            while expected.span(ofDay: date).upperBound < min(expiry, moment("2038-01-01T00:00:00Z")) {
                guard counted.span(ofDay: date) == expected.span(ofDay: date) else {
                    Issue.record("\(name) \(date): \(counted.span(ofDay: date)), not \(expected.span(ofDay: date))")
                    break
                }
                date = date.adding(days: 7)
            }
        }
        #expect(zoneCount > 300)
        let berlin = try ZoneDatabase.calendar("right/Europe/Berlin").zone
        let change = moment("2018-03-25T01:00:00Z")
        #expect(berlin.offsetSeconds(at: change) == 7200)
        #expect(berlin.offsetSeconds(at: change.adding(seconds: -1)) == 3600)
    }
}
