import Accounting
import FoundationEssentials

/// A report for programs: keys in snake case and in order, on one line unless `isPretty`. It has escapes for everything
/// that a terminal shows nothing for, or acts on.
package func json(_ report: some Encodable, isPretty: Bool = false) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if isPretty { encoder.outputFormatting.insert(.prettyPrinted) }
    // All values of reports can be encoded.
    let encoded = (try? encoder.encode(report)).map(Array.init) ?? []
    // `JSONEncoder` escapes the control characters of ASCII only. Outside of strings JSON is ASCII.
    if encoded.allSatisfy({ $0 < 0x7F }) { return encoded }
    var text = ""
    for scalar in String(decoding: encoded, as: UTF8.self).unicodeScalars {
        if scalar != "\n", scalar.isInvisible {
            text += jsonEscape(scalar)
        } else {
            text.unicodeScalars.append(scalar)
        }
    }
    return Array(text.utf8)
}

/// Reads what ``json(_:isPretty:)`` has written.
///
/// - Throws: `DecodingError`.
package func decoded<Value: Decodable>(_ type: Value.Type, fromJSON bytes: some Sequence<UInt8>) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: Data(bytes))
}

/// A JSON string (RFC 8259 §7) without anything that a terminal acts on.
package func jsonString(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": quoted += "\\\(scalar)"
        case "\n": quoted += "\\n"
        case "\t": quoted += "\\t"
        case _ where scalar.isInvisible: quoted += jsonEscape(scalar)
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}

/// `\u001b`; two of them beyond 16 bits, as in UTF-16.
private func jsonEscape(_ scalar: Unicode.Scalar) -> String {
    UTF16.encode(scalar)?.map { unit in
        let hexadecimal = String(unit, radix: 16)
        return "\\u" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
    }.joined() ?? ""
}
