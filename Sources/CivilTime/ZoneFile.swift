/// A compiled zone file (TZif, RFC 9636), decoded and checked.
///
/// Uses the 64-bit block if there is one. Designations and the standard and UT indicators aren't needed.
struct ZoneFile {
    /// The largest real files have 4 KiB. No file comes near this, even with every change ever made.
    static let byteLimit = 256 * 1024

    /// Strictly ascending POSIX seconds: the leap seconds that the file counts are subtracted.
    private(set) var transitions: [Int64] = []
    /// For each transition, the offset before it.
    private(set) var offsetsBefore: [Int64] = []
    /// The offset after the last transition.
    private(set) var lastOffset: Int64
    /// The TZ string without its newlines; empty when the file has none.
    let footer: [UInt8]

    /// - Throws: `ZoneError` unless the bytes are a whole, consistent file.
    init(_ bytes: [UInt8]) throws(ZoneError) {
        guard bytes.count <= Self.byteLimit else {
            throw .fileTooLarge(byteCount: bytes.count, limit: Self.byteLimit)
        }
        var header = try ZoneFileHeader(bytes, at: 0, timeSize: 4)
        if !header.isVersionOne {
            header = try ZoneFileHeader(bytes, at: header.blockEnd, timeSize: 8)
        }
        guard header.blockEnd <= bytes.count else { throw .truncated(part: "data block") }
        let block = try ZoneFileBlock(bytes, header: header)
        let offsets = try block.offsets()
        footer = header.isVersionOne ? [] : try Self.footer(bytes, at: header.blockEnd)
        // RFC 9636 section 3.2: the first type applies before the first transition.
        lastOffset = offsets[0]
        try appendTransitions(of: block, offsets: offsets)
    }

    private mutating func appendTransitions(of block: ZoneFileBlock, offsets: [Int64]) throws(ZoneError) {
        let leapSeconds = try block.leapSeconds()
        let types = try block.transitionTypes()
        var passedLeapSeconds = 0
        var previousTime: Int64?
        for (index, time) in block.transitionTimes().enumerated() {
            if let previousTime, time <= previousTime {
                throw .invalidFile(problem: "transition \(index) isn't later than the one before")
            }
            previousTime = time
            while passedLeapSeconds < leapSeconds.count, leapSeconds[passedLeapSeconds].occurrence <= time {
                passedLeapSeconds += 1
            }
            let correction = passedLeapSeconds == 0 ? 0 : leapSeconds[passedLeapSeconds - 1].correction
            try append(time.addingSaturated(-correction), offset: offsets[types[index]])
        }
    }

    /// Adds a transition. One at the same second as the last replaces it: a leap second has no number of its own.
    private mutating func append(_ second: Int64, offset: Int64) throws(ZoneError) {
        if let last = transitions.last, second <= last {
            guard second == last else {
                throw .invalidFile(problem: "its leap seconds turn the order of its transitions round")
            }
        } else {
            transitions.append(second)
            offsetsBefore.append(lastOffset)
        }
        lastOffset = offset
    }

    /// The TZ string between two newlines after the 64-bit block (RFC 9636 section 3.3).
    private static func footer(_ bytes: [UInt8], at start: Int) throws(ZoneError) -> [UInt8] {
        let newline = UInt8(ascii: "\n")
        guard start < bytes.count else { throw .truncated(part: "footer") }
        guard bytes[start] == newline else { throw .invalidFile(problem: "its footer doesn't begin with a newline") }
        let text = bytes[(start + 1)...]
        guard let end = text.firstIndex(of: newline) else { throw .truncated(part: "footer's end") }
        return Array(text[..<end])
    }
}

/// The 44 bytes before a data block: its version and its counts (RFC 9636 section 3.1).
struct ZoneFileHeader {
    /// Version 1 has neither a second block nor a footer.
    let isVersionOne: Bool
    /// 4 in the first block, 8 in the second.
    let timeSize: Int
    let transitionCount: Int
    let typeCount: Int
    let designationByteCount: Int
    let leapSecondCount: Int
    let indicatorCounts: [Int]
    /// Where the block begins.
    let blockStart: Int

    private static let byteCount = 44

    init(_ bytes: [UInt8], at start: Int, timeSize: Int) throws(ZoneError) {
        guard bytes.starts(with: "TZif".utf8) else { throw .notAZoneFile }
        guard bytes.count - start >= Self.byteCount else { throw .truncated(part: "header") }
        guard bytes[start..<start + 4].elementsEqual("TZif".utf8) else {
            throw .invalidFile(problem: "its second header doesn't begin with \"TZif\"")
        }
        let version = bytes[start + 4]
        guard "\u{0}234".utf8.contains(version) else { throw .unknownVersion(version) }
        isVersionOne = version == 0
        self.timeSize = timeSize
        indicatorCounts = [try Self.count(bytes, at: start + 20), try Self.count(bytes, at: start + 24)]
        leapSecondCount = try Self.count(bytes, at: start + 28)
        transitionCount = try Self.count(bytes, at: start + 32)
        typeCount = try Self.count(bytes, at: start + 36)
        designationByteCount = try Self.count(bytes, at: start + 40)
        blockStart = start + Self.byteCount
    }

    var typesStart: Int { blockStart + transitionCount * (timeSize + 1) }
    /// A type has a 4-byte offset, a daylight flag and the index of its designation.
    var designationsStart: Int { typesStart + typeCount * 6 }
    var leapSecondsStart: Int { designationsStart + designationByteCount }
    /// The first byte after the block; may lie beyond the file.
    var blockEnd: Int {
        leapSecondsStart + leapSecondCount * (timeSize + 4) + indicatorCounts[0] + indicatorCounts[1]
    }

    /// A count. Throws if no file within the limit could hold so many, so sums can't overflow.
    private static func count(_ bytes: [UInt8], at position: Int) throws(ZoneError) -> Int {
        let count: UInt32 = bytes.bigEndian(at: position)
        guard count <= ZoneFile.byteLimit else { throw .invalidFile(problem: "a count of its header is \(count)") }
        return Int(count)
    }
}

/// The data block after a header (RFC 9636 section 3.2).
struct ZoneFileBlock {
    private let bytes: [UInt8]
    private let header: ZoneFileHeader

    /// The header's block must lie within the bytes.
    init(_ bytes: [UInt8], header: ZoneFileHeader) throws(ZoneError) {
        guard header.typeCount > 0 else { throw .invalidFile(problem: "it has no local time types") }
        guard header.designationByteCount > 0 else { throw .invalidFile(problem: "it has no designations") }
        for count in header.indicatorCounts where count != 0 && count != header.typeCount {
            throw .invalidFile(problem: "it has \(header.typeCount) types but \(count) indicators")
        }
        self.bytes = bytes
        self.header = header
    }

    /// In file order. Times in "right/" files still include leap seconds.
    func transitionTimes() -> [Int64] {
        (0..<header.transitionCount).map { time(at: header.blockStart + $0 * header.timeSize) }
    }

    /// For each transition, the index of the type that begins there.
    func transitionTypes() throws(ZoneError) -> [Int] {
        let start = header.blockStart + header.transitionCount * header.timeSize
        return try (0..<header.transitionCount).map { index throws(ZoneError) in
            let type = Int(bytes[start + index])
            guard type < header.typeCount else {
                throw ZoneError.invalidFile(problem: "transition \(index) has type \(type) of \(header.typeCount)")
            }
            return type
        }
    }

    /// The UTC offset of each type, in seconds.
    func offsets() throws(ZoneError) -> [Int64] {
        try (0..<header.typeCount).map { index throws(ZoneError) in
            let start = header.typesStart + index * 6
            let offset = Int64(bytes.bigEndian(at: start) as Int32)
            guard abs(offset) <= Zone.widestOffsetSeconds else {
                throw ZoneError.invalidFile(problem: "type \(index) is \(offset) seconds off UTC, more than 26 hours")
            }
            guard bytes[start + 4] <= 1, Int(bytes[start + 5]) < header.designationByteCount else {
                throw ZoneError.invalidFile(problem: "type \(index) has an impossible flag or designation")
            }
            return offset
        }
    }

    /// When each correction begins to apply, in seconds that include leap seconds, and the sum of all leap seconds up
    /// to then.
    ///
    /// Ascending. Each correction differs from the one before by at most 1, so transitions stay in order.
    func leapSeconds() throws(ZoneError) -> [(occurrence: Int64, correction: Int64)] {
        var leapSeconds: [(occurrence: Int64, correction: Int64)] = []
        for index in 0..<header.leapSecondCount {
            let start = header.leapSecondsStart + index * (header.timeSize + 4)
            let correction = Int64(bytes.bigEndian(at: start + header.timeSize) as Int32)
            let occurrence = time(at: start)
            if let last = leapSeconds.last {
                guard occurrence > last.occurrence, abs(correction - last.correction) <= 1 else {
                    throw .invalidFile(problem: "leap second \(index) doesn't follow from the one before")
                }
            }
            leapSeconds.append((occurrence, correction))
        }
        return leapSeconds
    }

    private func time(at position: Int) -> Int64 {
        header.timeSize == 8 ? bytes.bigEndian(at: position) : Int64(bytes.bigEndian(at: position) as Int32)
    }
}

extension [UInt8] {
    /// The number whose bytes begin at a position, most significant first.
    fileprivate func bigEndian<Number: FixedWidthInteger>(at position: Int) -> Number {
        self[position..<position + Number.bitWidth / 8].reduce(0) { $0 << 8 | Number($1) }
    }
}
