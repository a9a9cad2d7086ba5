import Exposition
import NIOCore

/// Renders metrics for the scrapes of one event loop.
///
/// Scrapes that arrive in one turn of the loop share a reading: it is taken after all of them have arrived, so none of
/// them gets anything older than its request.
package final class Scraper {
    /// Renders a reading into a body that has begun.
    package typealias Rendering = (inout ExpositionWriter) -> Void

    /// What a scrape wants.
    struct Variant: Hashable {
        var format: ExpositionFormat
        var isCompressed: Bool
    }

    private let loop: any EventLoop
    private let read: () -> Rendering
    private var writer = ExpositionWriter()
    private let gzip = Gzip()
    private var waiting: [(variant: Variant, answer: (ByteBuffer) -> Void)] = []

    /// - Parameter read: Takes a reading. Called on the loop.
    package init(on loop: any EventLoop, read: @escaping () -> Rendering) {
        self.loop = loop
        self.read = read
    }

    /// Calls `answer` with a body at the end of this turn of the loop.
    func scrape(_ variant: Variant, _ answer: @escaping (ByteBuffer) -> Void) {
        waiting.append((variant, answer))
        if waiting.count > 1 { return }
        loop.assumeIsolated().execute { self.answerAll() }
    }

    private func answerAll() {
        let requests = waiting
        waiting.removeAll(keepingCapacity: true)
        let render = read()
        var bodies: [Variant: ByteBuffer] = [:]
        for format in ExpositionFormat.allCases where requests.contains(where: { $0.variant.format == format }) {
            writer.begin(format)
            render(&writer)
            // Two devices give a few kilobytes, a thousand give two megabytes.
            for (variant, _) in requests where variant.format == format && bodies[variant] == nil {
                bodies[variant] = writer.withBytes { bytes in
                    variant.isCompressed ? compressed(bytes, .lines) : ByteBuffer(bytes: bytes)
                }
            }
        }
        for (variant, answer) in requests {
            if let bytes = bodies[variant] { answer(bytes) }
        }
    }

    /// A body that isn't of metrics.
    func compressed(_ body: ByteBuffer) -> ByteBuffer { body.withUnsafeReadableBytes { compressed($0, .whole) } }

    private func compressed(_ bytes: UnsafeRawBufferPointer, _ window: Gzip.Window) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: gzip.bound(bytes.count))
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: gzip.bound(bytes.count)) {
            gzip.compress(bytes, into: $0, window: window)
        }
        return buffer
    }
}
