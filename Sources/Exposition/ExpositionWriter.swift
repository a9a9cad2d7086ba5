/// Renders metrics straight into bytes. Its memory is used again for the next body.
package struct ExpositionWriter: ~Copyable {
    private var storage: UnsafeMutableRawBufferPointer
    private var count = 0
    private var format = ExpositionFormat.prometheusText
    /// When the counters of the open family began, in seconds since 1970, if that is to be told.
    private var created: Double?
    private var openFamily: MetricFamily?
    /// When the samples that follow were so, in seconds since 1970; `nil` for now, as in scrapes.
    package var timestamp: Int64?

    package init() {
        storage = .allocate(byteCount: 16 * 1024, alignment: 16)
    }

    deinit {
        storage.deallocate()
    }

    /// Begins a new body; the previous one is gone.
    package mutating func begin(_ format: ExpositionFormat) {
        self.format = format
        count = 0
        openFamily = nil
    }

    /// Goes on with the body behind what was taken out of it.
    package mutating func forgetBytes() { count = 0 }

    package var byteCount: Int { count }

    /// The series that follow are of this family. One without series leaves no trace.
    ///
    /// - Parameter created: When its counters began, in seconds since 1970, for OpenMetrics; `nil` leaves `_created` out.
    package mutating func begin(_ family: MetricFamily, created: Double? = nil) {
        openFamily = family
        self.created = format == .openMetrics ? created : nil
        pendingHeader = true
    }

    private var pendingHeader = false

    /// Ends the body.
    package mutating func end() {
        if format == .openMetrics { append(Array("# EOF\n".utf8)) }
    }

    /// The body up to here; valid while `body` runs.
    package func withBytes<Value>(_ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
        try body(UnsafeRawBufferPointer(rebasing: storage[..<count]))
    }

    /// A series of the family begun last, with an exact whole number.
    package mutating func sample(_ labels: LabelSet, _ value: UInt64) {
        guard let family = startSample() else { return }
        reserve(family.nameBytes.count + labels.bytes.count + 48)
        appendReserved(family.nameBytes)
        appendReserved(labels.bytes)
        appendReserved(UInt8(ascii: " "))
        appendReserved(value)
        appendTimestampReserved()
        appendReserved(UInt8(ascii: "\n"))
        appendCreated(family, labels)
    }

    /// A series of the family begun last. A whole number comes out without a fraction.
    package mutating func sample(_ labels: LabelSet, _ value: Double) {
        if value >= 0, value < 0x1p53, value.rounded(.towardZero) == value {
            sample(labels, UInt64(value))
            return
        }
        guard let family = startSample() else { return }
        append(family.nameBytes)
        append(labels.bytes)
        append(Array(" \(Self.text(value))".utf8))
        reserve(24)
        appendTimestampReserved()
        appendReserved(UInt8(ascii: "\n"))
        appendCreated(family, labels)
    }

    /// Moments before 1970 are none of a meter's.
    private mutating func appendTimestampReserved() {
        guard let timestamp else { return }
        appendReserved(UInt8(ascii: " "))
        appendReserved(UInt64(clamping: timestamp))
    }

    private mutating func startSample() -> MetricFamily? {
        guard let family = openFamily else { return nil }
        if pendingHeader {
            append(family.header(format))
            pendingHeader = false
        }
        return family
    }

    private mutating func appendCreated(_ family: MetricFamily, _ labels: LabelSet) {
        guard let created, family.kind == .counter else { return }
        append(family.createdNameBytes)
        append(labels.bytes)
        append(Array(" \(Self.text(created))\n".utf8))
    }

    private static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return value.description
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
        appendReserved(bytes)
    }

    private mutating func appendReserved(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { source in
            guard let start = source.baseAddress, let target = storage.baseAddress else { return }
            (target + count).copyMemory(from: start, byteCount: source.count)
        }
        count += bytes.count
    }

    private mutating func appendReserved(_ byte: UInt8) {
        storage[count] = byte
        count += 1
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
