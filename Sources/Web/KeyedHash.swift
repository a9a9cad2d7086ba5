/// HMAC with SHA-256 (RFC 2104, FIPS 180-4) under a random key, to recognise a secret without keeping it.
///
/// The libraries at hand don't offer theirs. This one hashes a few hundred bytes for each scrape.
struct KeyedHash {
    private static let blockBytes = 64

    private let innerPad: [UInt8]
    private let outerPad: [UInt8]

    /// - Parameter key: At most 64 bytes.
    init(key: [UInt8]) {
        precondition(key.count <= Self.blockBytes, "a longer key would have to be hashed first")
        let padded = key + Array(repeating: 0, count: Self.blockBytes - key.count)
        innerPad = padded.map { $0 ^ 0x36 }
        outerPad = padded.map { $0 ^ 0x5C }
    }

    /// One with a random key.
    static func random() -> KeyedHash {
        KeyedHash(key: (0..<32).map { _ in UInt8.random(in: .min ... .max) })
    }

    /// 32 bytes that identify a message.
    func digest(of message: [UInt8]) -> [UInt8] {
        SHA256.digest(of: outerPad + SHA256.digest(of: innerPad + message))
    }
}

/// FIPS 180-4 §6.2.
enum SHA256 {
    /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4 §4.2.2).
    private static let roundConstants: [UInt32] = fractions(count: 64) { cubeRootFraction(of: $0) }
    /// The same of the square roots of the first 8 primes (FIPS 180-4 §5.3.3).
    private static let initialState: [UInt32] = fractions(count: 8) { squareRootFraction(of: $0) }

    static func digest(of message: [UInt8]) -> [UInt8] {
        var padded = message + [0x80]
        padded += Array(repeating: 0, count: (120 - padded.count % 64) % 64)
        padded += bigEndian(UInt64(message.count) * 8)
        var state = initialState
        for start in stride(from: 0, to: padded.count, by: 64) { compress(padded[start..<(start + 64)], into: &state) }
        return state.flatMap(bigEndian)
    }

    private static func compress(_ block: ArraySlice<UInt8>, into state: inout [UInt32]) {
        var schedule = stride(from: block.startIndex, to: block.endIndex, by: 4).map { start in
            block[start..<(start + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        }
        for index in 16..<64 {
            let (early, late) = (schedule[index - 15], schedule[index - 2])
            let small = rotated(early, 7) ^ rotated(early, 18) ^ early >> 3
            let large = rotated(late, 17) ^ rotated(late, 19) ^ late >> 10
            schedule.append(schedule[index - 16] &+ small &+ schedule[index - 7] &+ large)
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let choice = (e & f) ^ (~e & g)
            let majority = (a & b) ^ (a & c) ^ (b & c)
            let large = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
            let small = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
            let first = h &+ large &+ choice &+ roundConstants[index] &+ schedule[index]
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ small &+ majority)
        }
        for (index, word) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= word }
    }

    private static func rotated(_ word: UInt32, _ count: UInt32) -> UInt32 { word >> count | word << (32 - count) }

    private static func bigEndian<Word: FixedWidthInteger>(_ word: Word) -> [UInt8] {
        withUnsafeBytes(of: word.bigEndian) { Array($0) }
    }

    private static func fractions(count: Int, _ fraction: (UInt64) -> UInt32) -> [UInt32] {
        var primes: [UInt64] = []
        var candidate: UInt64 = 2
        while primes.count < count {
            if primes.allSatisfy({ candidate % $0 != 0 }) { primes.append(candidate) }
            candidate += 1
        }
        return primes.map(fraction)
    }

    /// The largest 32-bit-shifted integer whose square isn't above the prime: found bit by bit, without rounding.
    private static func squareRootFraction(of prime: UInt64) -> UInt32 {
        var root: UInt64 = 0
        for bit in (0..<37).reversed() {
            let next = root | 1 << UInt64(bit)
            if UInt128(next) * UInt128(next) <= UInt128(prime) << 64 { root = next }
        }
        return UInt32(truncatingIfNeeded: root)
    }

    /// The same for the cube: below 7 × 2^32, its cube has 105 bits.
    private static func cubeRootFraction(of prime: UInt64) -> UInt32 {
        var root: UInt64 = 0
        for bit in (0..<36).reversed() {
            let next = root | 1 << UInt64(bit)
            if UInt128(next) * UInt128(next) * UInt128(next) <= UInt128(prime) << 96 { root = next }
        }
        return UInt32(truncatingIfNeeded: root)
    }
}
