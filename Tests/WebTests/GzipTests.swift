import CISAL
import TestSupport
import Testing

@testable import Web

@Suite("Compression")
struct GzipTests {
    @Test(arguments: [0, 1, 2, 100, 65_534, 65_535, 65_536, 200_000])
    func whatIsCompressedComesOutAgain(count: Int) throws {
        var random = SeededGenerator(seed: testSeed)
        let noise = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        let text = Array(
            repeatElement("netusage_receive_bytes_total{device=\"eth0\"} ".utf8, count: count).joined().prefix(count))
        let gzip = Gzip()
        for body in [noise, text, text + noise, noise + text] {
            for window in [Gzip.Window.lines, .whole] {
                let compressed = Self.compressed(body, gzip, window)
                #expect(Self.inflated(compressed, into: body.count) == body, "\(count), \(window), seed \(testSeed)")
            }
        }
    }

    @Test func metricsShrinkToASixth() {
        let text = (0..<1000).flatMap { Array("netusage_receive_bytes_total{device=\"eth\($0)\"} \($0 * 7919)\n".utf8) }
        #expect(Self.compressed(text, Gzip(), .lines).count * 6 < text.count)
    }

    private static func compressed(_ body: [UInt8], _ gzip: borrowing Gzip, _ window: Gzip.Window) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: gzip.bound(body.count))
        let count = output.withUnsafeMutableBytes { output in
            body.withUnsafeBytes { gzip.compress($0, into: output, window: window) }
        }
        return Array(output[..<count])
    }

    private static func inflated(_ bytes: [UInt8], into count: Int) -> [UInt8]? {
        var bytes = bytes
        var output = [UInt8](repeating: 0, count: count + 1)
        let state = UnsafeMutablePointer<inflate_state>.allocate(capacity: 1)
        defer { state.deallocate() }
        isal_inflate_init(state)
        state.pointee.crc_flag = UInt32(ISAL_GZIP)
        let result = bytes.withUnsafeMutableBufferPointer { bytes in
            output.withUnsafeMutableBufferPointer { output in
                state.pointee.next_in = bytes.baseAddress
                state.pointee.avail_in = UInt32(bytes.count)
                state.pointee.next_out = output.baseAddress
                state.pointee.avail_out = UInt32(output.count)
                return isal_inflate(state)
            }
        }
        guard result == ISAL_DECOMP_OK, state.pointee.block_state == ISAL_BLOCK_FINISH, state.pointee.avail_in == 0
        else {
            return nil
        }
        return Array(output[..<Int(state.pointee.total_out)])
    }
}
