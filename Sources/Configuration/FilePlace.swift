/// A place in a text file, both numbers counted from 1.
package struct FilePlace: Hashable, Comparable, Sendable {
    package var line: Int
    /// Counts Unicode scalars, as libyaml and most editors do.
    package var column: Int

    static let start = FilePlace(line: 1, column: 1)

    var text: String { "line \(line), column \(column)" }

    package static func < (left: FilePlace, right: FilePlace) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}
