import Accounting

/// How much of a text of the file a message repeats, in Unicode scalars.
private let shownScalars = 60

/// A text of the file as a message shows it: in double quotes, on one line, cut when long.
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

/// A plan's program as messages and the log show it: without what may be arguments, and those may be secret.
package func shownProgram(_ text: String) -> String {
    let word = text.utf8.prefix { $0 != UInt8(ascii: " ") }
    return word.count < text.utf8.count ? "\(Substring(word)) …" : text
}

extension UInt8 {
    var isASCIIDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }

    var isASCIILetter: Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(asciiLowercased) }

    /// A to Z become a to z; nothing else changes.
    var asciiLowercased: UInt8 { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) ? self + 32 : self }
}

extension String {
    /// A to Z become a to z; no other letter changes, whatever Unicode says of it.
    var asciiLowercased: String {
        String(decoding: utf8.map(\.asciiLowercased), as: UTF8.self)
    }
}
