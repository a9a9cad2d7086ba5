import Foundation

/// The seed of all random tests, which they print; set NETUSAGE_TEST_SEED to try another or to repeat a failure.
package let testSeed =
    ProcessInfo.processInfo.environment["NETUSAGE_TEST_SEED"].flatMap(UInt64.init) ?? 20_261_121

/// Whether only a part of the random cases runs, as in `make quick` and in the check for data races.
private let isQuick = ProcessInfo.processInfo.environment["NETUSAGE_TEST_QUICK"] != nil

/// How many random cases to try: `all`, or an eighth of them if only a part runs.
package func tries<Number: BinaryInteger>(_ all: Number) -> Number { isQuick ? max(1, all / 8) : all }

/// What to try of a long list: all of it, or each eighth if only a part runs.
package func tried<Element>(_ all: [Element]) -> [Element] {
    isQuick ? stride(from: 0, to: all.count, by: 8).map { all[$0] } : all
}

/// Random numbers that are the same for the same seed (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    /// Generators with the same seed and different streams are independent.
    package init(seed: UInt64, stream: UInt64 = 0) {
        state = seed &+ stream &* 0xD134_2543_DE82_EF95
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
