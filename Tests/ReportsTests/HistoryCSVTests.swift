import TestSupport
import Testing

@testable import Accounting
@testable import CivilTime
@testable import Reports

@Suite("CSV of history")
struct HistoryCSVTests {
    private static let zone = "EST5EDT,M3.2.0,M11.1.0"

    /// Names with everything in them that a line of CSV could take for its own.
    @Test(arguments: 0..<300 as Range<UInt64>) func whatIsWrittenIsReadAgain(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let calendar = LocalCalendar(zone: try Zone(posix: Self.zone), weekStart: .monday)
        let alphabet = Array(",\"' =+-@\\*?[]äA0\t".utf8) + [0x80, 0xFF, 0x7F]
        let name = DeviceName(
            bytes: (0..<Int.random(in: 1...15, using: &random)).compactMap { _ in alphabet.randomElement(using: &random)
            })
        let key: AccountKey = [.uplink, .device(name), .collapsed("ve,th\"*")].randomElement(using: &random) ?? .uplink
        let start = Timestamp(secondsSinceEpoch: Int64.random(in: 0...2_000_000_000, using: &random))
        let end = start.adding(seconds: Int64.random(in: 1...86_400, using: &random))
        let total = Total(
            received: UInt64.random(in: 0...1_000_000_000_000, using: &random),
            transmitted: UInt64.random(in: 0...9, using: &random))
        let names = AccountNames([key, .collapsed("ve,th\"*")], collapse: [])
        let line = HistoryCSV.line(
            from: calendar.rfc3339(start), to: calendar.rfc3339(end), of: names.name(of: key), key.kind, total)
        #expect(line.hasSuffix("\r\n") && line.utf8.filter { $0 == 10 }.count == 1)
        let (read, slot) = try HistoryCSV.row(HistoryCSV.fields(String(line.dropLast())))
        #expect(read == key, "seed \(seed): \(line)")
        #expect(slot.span == start..<end && slot.total == total)
    }

    @Test(arguments: [
        "", "a", "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,eth0,device,1",
        "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,eth0,device,1,2,3",
        "2026-11-20 00:00:00,2026-11-21T00:00:00Z,eth0,device,1,2",
        "2026-11-21T00:00:00Z,2026-11-20T00:00:00Z,eth0,device,1,2",
        "2026-11-20T00:00:00Z,2026-11-20T00:00:00Z,eth0,device,1,2",
        "2026-11-20T00:00:00Z,2026-11-23T00:00:00Z,eth0,device,1,2",
        "1969-11-20T00:00:00Z,1969-11-21T00:00:00Z,eth0,device,1,2",
        "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,eth0,device,-1,2",
        "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,eth0,device,1.5,2",
        "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,eth0,device,1,18446744073709551616",
        "2026-11-20T00:00:00Z,2026-11-20T00:00:01Z,eth0,device,12500000000001,2",
        "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,eth0,bridge,1,2",
        "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,eth0,collapsed,1,2",
        "2026-11-20T00:00:00Z,2026-11-21T00:00:00Z,a name that is too long,device,1,2",
    ])
    func whatMakesNoSenseIsRefusedWithItsReason(line: String) {
        let error = #expect(throws: HistoryCSV.RowError.self) { try HistoryCSV.row(HistoryCSV.fields(line)) }
        #expect(error?.description.isEmpty == false)
    }
}
