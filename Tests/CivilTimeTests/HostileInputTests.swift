import Foundation
import TestSupport
import Testing

@testable import CivilTime

/// Bytes that nobody checked: each must be refused or give answers, and never stop the program.
@Suite(.enabled(if: ZoneDatabase.has("Europe/Berlin"), "needs a zone database")) struct HostileInputTests {
    static let instants: [Int64] = [.min, -1 << 47, -3_000_000_000, 0, 1_795_218_120, 4_000_000_000, 1 << 47, .max]

    /// Asks a zone for everything at several instants; the answers need only make sense.
    private func query(_ zone: Zone, _ instants: some Sequence<Int64>) -> Bool {
        let calendar = LocalCalendar(zone: zone, weekStart: .monday)
        for second in instants {
            let moment = Timestamp(secondsSinceEpoch: second)
            let day = calendar.day(containing: moment)
            let span = calendar.span(ofDay: day)
            guard abs(zone.offsetSeconds(at: moment)) <= 26 * 3600, span.contains(moment) || moment == .latest,
                calendar.previousDay(before: day) <= day, calendar.nextDay(after: day) >= day,
                calendar.localTime(at: moment).date <= day
            else { return false }
        }
        return true
    }

    @Test("Every prefix of a file is refused", arguments: ["Asia/Tokyo", "America/Nuuk", "right/Europe/Berlin"])
    func prefixes(name: String) throws {
        guard ZoneDatabase.has(name) else { return }
        let bytes = try ZoneDatabase.bytes(name)
        for count in 0..<bytes.count {
            #expect(throws: ZoneError.self, "\(name), \(count) bytes") { try Zone(tzif: Array(bytes[..<count])) }
        }
        #expect(query(try Zone(tzif: bytes), Self.instants))
    }

    @Test("100,000 damaged files are refused or answer every question")
    func mutations() throws {
        print("seed \(testSeed)")
        let names = [
            "Asia/Tokyo", "Pacific/Apia", "Asia/Kathmandu", "right/UTC", "UTC", "Africa/Algiers", "Europe/Berlin",
        ]
        let files = try names.filter(ZoneDatabase.has).map(ZoneDatabase.bytes)
        var generator = SeededGenerator(seed: testSeed, stream: 3)
        var decodedCount = 0
        for round in 0..<tries(100_000) {
            // The last file is big: it takes its turn less often.
            let file = files[round % 16 == 0 ? files.count - 1 : round % (files.count - 1)]
            let bytes = Self.mutated(file, using: &generator)
            do {
                let zone = try Zone(tzif: bytes)
                decodedCount += 1
                let random = Int64.random(in: .min ... .max, using: &generator)
                let instants = [Self.instants[round % Self.instants.count], random >> (round % 40)]
                if !query(zone, instants) { Issue.record("round \(round), seed \(testSeed): \(instants)") }
            } catch {
                if error.description.isEmpty { Issue.record("round \(round), seed \(testSeed): no message") }
            }
        }
        #expect((tries(5_000)..<tries(95_000)).contains(decodedCount))
    }

    /// One to four changes: a flipped bit, a special or random byte, a cut, a doubled or a removed piece.
    private static func mutated(_ file: [UInt8], using generator: inout SeededGenerator) -> [UInt8] {
        var bytes = file
        for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
            // Half of the changes hit the headers and the footer, where most meaning is.
            let start = Int.random(in: 0..<2, using: &generator) == 0 ? 0 : max(0, bytes.count - 40)
            let end = start == 0 ? bytes.count : min(bytes.count, start + 40)
            let position = Int.random(in: start..<end, using: &generator)
            let length = min(Int.random(in: 1...12, using: &generator), bytes.count - position)
            switch Int.random(in: 0..<8, using: &generator) {
            case 0...2: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 3...4: bytes[position] = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x2d, 0x2c].randomElement(using: &generator)!
            case 5: bytes[position] = .random(in: 0...255, using: &generator)
            case 6: bytes.insert(contentsOf: bytes[position..<position + length], at: position)
            default:
                if Bool.random(using: &generator) {
                    bytes.removeSubrange(position..<position + length)
                } else {
                    bytes.removeSubrange(position...)
                }
            }
        }
        return bytes
    }

    @Test("20,000 damaged TZ strings are refused or answer every question")
    func ruleMutations() {
        print("seed \(testSeed)")
        var generator = SeededGenerator(seed: testSeed, stream: 4)
        let alphabet = Array("0123456789+-:/.,<>JMabcXYZ \n\u{0}é".utf8)
        var decodedCount = 0
        for round in 0..<20_000 {
            var rule = Array(CalendarPropertyTests.oddRules[round % CalendarPropertyTests.oddRules.count].utf8)
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                rule[.random(in: 0..<rule.count, using: &generator)] = alphabet.randomElement(using: &generator)!
            }
            guard let zone = try? Zone(posix: String(decoding: rule, as: UTF8.self)) else { continue }
            decodedCount += 1
            let second = Int64.random(in: .min ... .max, using: &generator) >> (round % 40)
            if !query(zone, [second]) { Issue.record("round \(round), seed \(testSeed): \(rule) \(second)") }
        }
        #expect(decodedCount > 1_000)
    }

    @Test("A file over 256 KiB is refused before it is decoded, whatever it contains")
    func tooLarge() throws {
        let bytes = try ZoneDatabase.bytes("Asia/Tokyo") + Array(repeating: 0, count: 256 * 1024)
        #expect(throws: ZoneError.fileTooLarge(byteCount: bytes.count, limit: 262_144)) { try Zone(tzif: bytes) }
    }
}
