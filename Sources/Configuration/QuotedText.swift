import Accounting
import CivilTime

/// How many Unicode scalars of a text a message repeats.
private let shownScalars = 60

/// A text of the file for a message: in double quotes, on one line, cut when long.
func quoted(_ text: String) -> String {
    var shown = "\""
    for scalar in text.unicodeScalars.prefix(shownScalars) {
        switch scalar {
        case "\"": shown += "\\\""
        case "\\": shown += "\\\\"
        case "\n": shown += "\\n"
        case "\t": shown += "\\t"
        case _ where scalar.isInvisible: shown += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
        default: shown.unicodeScalars.append(scalar)
        }
    }
    return shown + (text.unicodeScalars.count > shownScalars ? "…\"" : "\"")
}

/// A plan's program for messages and the log: without possible arguments, because they may be secret.
package func shownProgram(_ text: String) -> String {
    let word = text.utf8.prefix { $0 != UInt8(ascii: " ") }
    return word.count < text.utf8.count ? "\(Substring(word)) …" : text
}

extension String {
    /// A to Z become a to z; no other letter changes.
    var asciiLowercased: String {
        String(decoding: utf8.map(\.asciiLowercased), as: UTF8.self)
    }
}
