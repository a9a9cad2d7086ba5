import NIOCore
import Testing

@testable import Configuration
@testable import Web

@Suite("Token bucket")
struct TokenBucketTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func bucket(_ interval: Int64, _ burst: UInt32) -> TokenBucket {
        TokenBucket(.init(intervalNanoseconds: interval, burst: burst), at: start)
    }

    @Test func aBurstPassesAndThenOneAnInterval() {
        var bucket = bucket(1_000_000_000, 3)
        let moments: [TimeAmount] = [
            .zero, .zero, .zero, .zero, .milliseconds(999), .seconds(1), .seconds(1), .hours(1), .hours(1), .hours(1),
            .hours(1),
        ]
        let answers = moments.map { bucket.take(at: start + $0) }
        #expect(answers == [true, true, true, false, false, true, false, true, true, true, false])
    }

    @Test func noBurstLetsNothingThrough() {
        var bucket = bucket(1_000_000_000, 0)
        let answers = [bucket.take(at: start), bucket.take(at: start + .hours(24))]
        #expect(answers == [false, false])
    }

    @Test func numbersBeyondAllReasonDontOverflow() {
        var bucket = bucket(.max / 2, 1_000_000_000)
        let answers = [bucket.take(at: start), bucket.take(at: start + .hours(1))]
        #expect(answers == [true, true])
    }
}
