import CDeflate

/// Compresses bodies by libdeflate: a whole body at once, several times as fast as zlib.
struct Gzip: ~Copyable {
    private let compressor: OpaquePointer

    init() {
        // Level 1: metrics are so repetitive that higher ones take twice the time for a few percent.
        guard let compressor = libdeflate_alloc_compressor(1) else { preconditionFailure("there is no memory left") }
        self.compressor = compressor
    }

    deinit {
        libdeflate_free_compressor(compressor)
    }

    /// The largest output of `count` bytes.
    func bound(_ count: Int) -> Int { libdeflate_gzip_compress_bound(compressor, count) }

    /// - Parameter output: At least ``bound(_:)`` bytes.
    /// - Returns: How many bytes were written.
    func compress(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
        libdeflate_gzip_compress(compressor, input.baseAddress, input.count, output.baseAddress, output.count)
    }
}
