import NIOCore
import TestSupport
import Testing

@testable import Web

@Suite("Fair queue")
struct FairQueueTests {
    private func origin(_ address: String) throws -> ClientOrigin {
        ClientOrigin(try SocketAddress(ipAddress: address, port: 1))
    }

    private func expect(_ found: String?, _ wanted: String?, at location: SourceLocation = #_sourceLocation) {
        #expect(found == wanted, sourceLocation: location)
    }

    @Test func originsTakeTurns() throws {
        var queue = FairQueue<String>()
        for number in 1...3 { _ = queue.add("a\(number)", from: try origin("192.0.2.1")) }
        for number in 1...2 { _ = queue.add("b\(number)", from: try origin("192.0.2.2")) }
        let order = (0..<6).map { _ in queue.next(at: .now()) }
        #expect(order == ["a1", "b1", "a2", "b2", "a3", nil])
    }

    @Test func whoJustFailedLetsOthersGoFirstButNobodyWaitsForNothing() throws {
        var queue = FairQueue<String>()
        let start = NIODeadline.uptimeNanoseconds(0)
        let (guesser, scraper) = (try origin("192.0.2.1"), try origin("192.0.2.2"))
        for number in 1...40 { _ = queue.add("guess\(number)", from: guesser) }
        expect(queue.next(at: start), "guess1")
        queue.noteFailure(of: guesser, at: start)
        expect(queue.next(at: start), "guess2")
        _ = queue.add("scraper", from: scraper)
        expect(queue.next(at: start + .milliseconds(999)), "scraper")
        expect(queue.next(at: start + .milliseconds(999)), "guess3")
    }

    @Test func aFailureIsForgottenAfterASecond() throws {
        var queue = FairQueue<String>()
        let start = NIODeadline.uptimeNanoseconds(0)
        queue.noteFailure(of: try origin("192.0.2.1"), at: start)
        _ = queue.add("a", from: try origin("192.0.2.1"))
        _ = queue.add("b", from: try origin("192.0.2.2"))
        expect(queue.next(at: start + .seconds(1)), "a")
    }

    @Test func whoWaitedTooLongIsTakenOutOnce() throws {
        var queue = FairQueue<String>()
        let first = queue.add("a", from: try origin("192.0.2.1"))
        let second = queue.add("b", from: try origin("192.0.2.1"))
        expect(queue.remove(second), "b")
        expect(queue.remove(second), nil)
        expect(queue.next(at: .now()), "a")
        expect(queue.remove(first), nil)
    }

    /// Against a plain list: nothing is lost, nothing comes twice, and each origin's order is kept.
    @Test(arguments: [1, 20_261_128] as [UInt64]) func everyoneHasOneTurn(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var queue = FairQueue<[Int]>()
        var waiting: [[Int]] = []
        for number in 0..<3000 {
            let now = NIODeadline.uptimeNanoseconds(UInt64(number) * 50_000_000)
            let client = Int.random(in: 0..<5, using: &random)
            if Bool.random(using: &random) {
                _ = queue.add([client, number], from: try origin("192.0.2.\(client)"))
                waiting.append([client, number])
            } else if let next = queue.next(at: now) {
                #expect(waiting.first { $0[0] == next[0] } == next)
                waiting.removeAll { $0 == next }
                if Bool.random(using: &random) { queue.noteFailure(of: try origin("192.0.2.\(next[0])"), at: now) }
            } else {
                #expect(waiting.isEmpty)
            }
        }
        queue.removeAll { $0[0] == 1 }
        #expect(queue.count == waiting.count { $0[0] != 1 })
    }

    @Test func anIPv6NetworkIsOneOriginAndAMappedAddressIsIPv4() throws {
        #expect(try origin("2001:db8::1") == origin("2001:db8::ffff:1"))
        #expect(try origin("2001:db8::1") != origin("2001:db8:0:1::1"))
        #expect(try origin("::ffff:192.0.2.1") == origin("192.0.2.1"))
        #expect(try origin("192.0.2.2") != origin("192.0.2.1"))
    }
}
