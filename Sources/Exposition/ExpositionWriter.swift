/// Renders metrics straight into bytes. Its memory is used again for the next body.
package struct ExpositionWriter: ~Copyable {
    private typealias Block = LabelColumn.Block

    private var storage: UnsafeMutableRawBufferPointer
    private var count = 0
    private var format = ExpositionFormat.prometheusText
    private var openFamily: MetricFamily?
    /// The open family's name: what every line begins with. Outside of ``openFamily``, so that no line has to count a
    /// reference to it.
    private let name = UnsafeMutableRawBufferPointer.allocate(byteCount: MetricFamily.maximumNameBytes, alignment: 16)
    private var nameCount = 0
    /// Whether the open family has no series yet.
    private var isHeaderPending = true
    /// When the counters of the open family began, in seconds since 1970, if that is shown.
    private var created: Double?
    /// When the samples that follow were so, in seconds since 1970; `nil` for now, as in scrapes.
    package var timestamp: Int64?

    package init() {
        storage = .allocate(byteCount: 16 * 1024, alignment: 16)
        name.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        storage.deallocate()
        name.deallocate()
    }

    /// Begins a new body; the previous one is gone.
    package mutating func begin(_ format: ExpositionFormat) {
        self.format = format
        count = 0
        openFamily = nil
        isHeaderPending = true
    }

    /// Goes on with the body behind what was taken out of it.
    package mutating func forgetBytes() { count = 0 }

    package var byteCount: Int { count }

    /// The series that follow are of this family. One without series leaves no trace.
    ///
    /// - Parameter created: When its counters began, in seconds since 1970, for OpenMetrics; `nil` leaves `_created` out.
    package mutating func begin(_ family: MetricFamily, created: Double? = nil) {
        openFamily = family
        isHeaderPending = true
        name.copyBytes(from: family.nameBytes)
        nameCount = family.nameBytes.count
        self.created = format == .openMetrics && family.kind == .counter ? created : nil
    }

    /// Ends the body.
    package mutating func end() {
        if format == .openMetrics { append(Array("# EOF\n".utf8)) }
    }

    /// The body up to here; valid while `body` runs.
    package func withBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
        try body(UnsafeRawBufferPointer(rebasing: storage[..<count]))
    }

    // MARK: - Series

    /// The series with a row's labels, of the family begun last, with an exact whole number.
    package mutating func sample(_ labels: LabelColumn, _ row: Int, _ value: UInt64) {
        startLine(labels, row)
        appendReserved(value)
        endLine()
        if created != nil { labels.withBytes(ofRow: row) { appendCreated($0) } }
    }

    /// The series with a row's labels, of the family begun last. A whole number comes out without a fraction.
    package mutating func sample(_ labels: LabelColumn, _ row: Int, _ value: Double) {
        startLine(labels, row)
        appendReserved(value)
        endLine()
        if created != nil { labels.withBytes(ofRow: row) { appendCreated($0) } }
    }

    /// A series of the family begun last, with an exact whole number.
    package mutating func sample(_ labels: LabelSet, _ value: UInt64) {
        labels.bytes.withUnsafeBytes { labels in
            startLine(labels)
            appendReserved(value)
            endLine()
            appendCreated(labels)
        }
    }

    /// A series of the family begun last. A whole number comes out without a fraction.
    package mutating func sample(_ labels: LabelSet, _ value: Double) {
        labels.bytes.withUnsafeBytes { labels in
            startLine(labels)
            appendReserved(value)
            endLine()
            appendCreated(labels)
        }
    }

    /// More bytes than any value and timestamp with the characters around them, and what block copies overwrite.
    private static let lineRest = 96

    private mutating func startLine(_ labels: LabelColumn, _ row: Int) {
        if isHeaderPending { appendHeader() }
        reserve(nameCount + labels.byteCount(row) + Self.lineRest)
        appendReservedName()
        labels.copy(row, to: UnsafeMutableRawBufferPointer(rebasing: storage[count...]))
        count += labels.byteCount(row)
        appendReserved(UInt8(ascii: " "))
    }

    private mutating func startLine(_ labels: UnsafeRawBufferPointer) {
        if isHeaderPending { appendHeader() }
        reserve(nameCount + labels.count + Self.lineRest)
        appendReservedName()
        appendReserved(labels)
        appendReserved(UInt8(ascii: " "))
    }

    private mutating func endLine() {
        if let timestamp {
            appendReserved(UInt8(ascii: " "))
            appendReserved(UInt64(clamping: timestamp))  // Nothing is metered before 1970.
        }
        appendReserved(UInt8(ascii: "\n"))
    }

    private mutating func appendHeader() {
        guard let openFamily else { preconditionFailure("a series needs a family that it belongs to") }
        isHeaderPending = false
        append(openFamily.header(format))
    }

    private mutating func appendCreated(_ labels: UnsafeRawBufferPointer) {
        guard let openFamily, let created else { return }
        append(openFamily.createdNameBytes)
        reserve(labels.count + Self.lineRest)
        appendReserved(labels)
        append(Array(" \(created)\n".utf8))
    }

    // MARK: - Bytes

    private mutating func reserve(_ additional: Int) {
        if storage.count - count >= additional { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(storage.count * 2, count + additional), alignment: 16)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[..<count]))
        storage.deallocate()
        storage = larger
    }

    private mutating func append(_ bytes: [UInt8]) {
        reserve(bytes.count)
        bytes.withUnsafeBytes { appendReserved($0) }
    }

    private mutating func appendReserved(_ bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: storage[count...]).copyMemory(from: bytes)
        count += bytes.count
    }

    private mutating func appendReservedName() {
        for offset in stride(from: 0, to: nameCount, by: Block.scalarCount) {
            storage.storeBytes(
                of: name.load(fromByteOffset: offset, as: Block.self), toByteOffset: count + offset, as: Block.self)
        }
        count += nameCount
    }

    private mutating func appendReserved(_ byte: UInt8) {
        storage[count] = byte
        count += 1
    }

    /// The shortest text that reads as this number again. A whole number has no fraction.
    private mutating func appendReserved(_ value: Double) {
        if value >= 0, value < 0x1p53, value.rounded(.towardZero) == value {
            appendReserved(UInt64(value))
            return
        }
        var text = value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : value.description
        text.withUTF8 { appendReserved(UnsafeRawBufferPointer($0)) }
    }

    /// Decimal digits, two at a time from the end.
    private mutating func appendReserved(_ value: UInt64) {
        var digits = 1
        var bound: UInt64 = 10
        while digits < 20, value >= bound {
            digits += 1
            if digits == 20 { break }
            bound *= 10
        }
        var rest = value
        var position = count + digits
        while rest >= 100 {
            let pair = Int(rest % 100)
            rest /= 100
            position -= 2
            storage[position] = UInt8(48 + pair / 10)
            storage[position + 1] = UInt8(48 + pair % 10)
        }
        if rest >= 10 {
            storage[position - 2] = UInt8(48 + rest / 10)
            storage[position - 1] = UInt8(48 + rest % 10)
        } else {
            storage[position - 1] = UInt8(48 + rest)
        }
        count += digits
    }
}
