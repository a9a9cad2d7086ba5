/// The label sets of many series, rendered once, to be written again and again.
///
/// Each row begins a block of 16 bytes, so that it is copied block by block. That is several times as fast as a call of
/// `memcpy` for a few bytes.
package struct LabelColumn: Sendable {
    typealias Block = SIMD16<UInt8>

    private var blocks: [Block] = []
    private var rows: [(firstBlock: Int, byteCount: Int)] = []

    package init(_ labelSets: some Sequence<LabelSet>) {
        for labels in labelSets {
            rows.append((blocks.count, labels.bytes.count))
            for start in stride(from: 0, to: labels.bytes.count, by: Block.scalarCount) {
                var block = Block()
                for place in start..<min(start + Block.scalarCount, labels.bytes.count) {
                    block[place - start] = labels.bytes[place]
                }
                blocks.append(block)
            }
        }
    }

    package var count: Int { rows.count }

    func byteCount(_ row: Int) -> Int { rows[row].byteCount }

    func withBytes(ofRow row: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        let row = rows[row]
        blocks.withUnsafeBytes { bytes in
            body(UnsafeRawBufferPointer(rebasing: bytes[(row.firstBlock * Block.scalarCount)...].prefix(row.byteCount)))
        }
    }

    /// Copies a row. Up to 15 bytes behind it are overwritten, too.
    func copy(_ row: Int, to target: UnsafeMutableRawBufferPointer) {
        let row = rows[row]
        for number in 0..<(row.byteCount + Block.scalarCount - 1) / Block.scalarCount {
            target.storeBytes(
                of: blocks[row.firstBlock + number], toByteOffset: number * Block.scalarCount, as: Block.self)
        }
    }
}
