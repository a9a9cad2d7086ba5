/// The name that was probably meant by a mistyped one; nil when no name is near.
///
/// Near means at most one slip for each three letters, but one is always allowed. Case, hyphens and `_` don't count.
package func nearestName(to typed: String, among names: [String]) -> String? {
    guard typed.utf8.count <= 60 else { return nil }
    let letters = comparableLetters(typed)
    let nearest =
        names
        .map { (name: $0, slips: editDistance(comparableLetters($0), letters)) }
        .min { $0.slips < $1.slips }
    guard let nearest, nearest.slips <= max(1, nearest.name.utf8.count / 3) else { return nil }
    return nearest.name
}

private func comparableLetters(_ name: String) -> [UInt8] {
    name.asciiLowercased.utf8.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "_") }
}

/// How many insertions, deletions, replacements and swaps of neighbours turn one text into the other.
///
/// Source: the "optimal string alignment" form of the Damerau-Levenshtein distance. Takes count × count steps.
private func editDistance(_ from: [UInt8], _ to: [UInt8]) -> Int {
    var beforePrevious: [Int] = []
    var previous = Array(0...to.count)
    for (row, byte) in from.enumerated() {
        var current = [row + 1]
        for (column, other) in to.enumerated() {
            var best = min(previous[column + 1] + 1, current[column] + 1, previous[column] + (byte == other ? 0 : 1))
            if row > 0, column > 0, byte == to[column - 1], from[row - 1] == other {
                best = min(best, beforePrevious[column - 1] + 1)
            }
            current.append(best)
        }
        (beforePrevious, previous) = (previous, current)
    }
    return previous[to.count]
}
