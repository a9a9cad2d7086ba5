/// Labels with their values, rendered once: `{device="eth0"}`.
package struct LabelSet: Hashable, Sendable {
    let bytes: [UInt8]

    package static let none = LabelSet([])

    /// The labels come out in the order given.
    package init(_ labels: [(name: String, value: String)]) {
        var bytes: [UInt8] = []
        for (name, value) in labels {
            bytes.append(bytes.isEmpty ? UInt8(ascii: "{") : UInt8(ascii: ","))
            bytes.append(contentsOf: name.utf8)
            bytes.append(contentsOf: "=\"".utf8)
            bytes.append(contentsOf: Self.escaped(Array(value.utf8), quotes: true))
            bytes.append(UInt8(ascii: "\""))
        }
        if !bytes.isEmpty { bytes.append(UInt8(ascii: "}")) }
        self.bytes = bytes
    }

    /// The order of series: by bytes.
    package func precedes(_ other: LabelSet) -> Bool { bytes.lexicographicallyPrecedes(other.bytes) }

    /// Works on bytes: on `Character` a quote with a combining accent would slip through.
    static func escaped(_ text: [UInt8], quotes: Bool) -> [UInt8] {
        var escaped: [UInt8] = []
        escaped.reserveCapacity(text.count)
        for byte in text {
            switch byte {
            case UInt8(ascii: "\\"): escaped.append(contentsOf: "\\\\".utf8)
            case UInt8(ascii: "\n"): escaped.append(contentsOf: "\\n".utf8)
            case UInt8(ascii: "\"") where quotes: escaped.append(contentsOf: "\\\"".utf8)
            default: escaped.append(byte)
            }
        }
        return escaped
    }
}
