/// A device's name in the kernel: up to 15 bytes, which needn't be valid UTF-8.
package struct DeviceName: Hashable, Comparable, Sendable {
    /// `IFNAMSIZ - 1` of `linux/if.h`.
    package static let maximumLength = 15

    package let bytes: [UInt8]

    /// Bytes after the first 15 are cut off; the kernel never sends them.
    package init(bytes: some Sequence<UInt8>) {
        self.bytes = Array(bytes.prefix(Self.maximumLength))
    }

    package init(_ text: String) {
        self.init(bytes: text.utf8)
    }

    package static func < (a: DeviceName, b: DeviceName) -> Bool {
        a.bytes.lexicographicallyPrecedes(b.bytes)
    }

    /// Whether the kernel would take it (`dev_valid_name` of net/core/dev.c).
    package var isPossible: Bool {
        !bytes.isEmpty && bytes != Array(".".utf8) && bytes != Array("..".utf8)
            && !bytes.contains {
                [0, 0x20, 0xA0, UInt8(ascii: "/"), UInt8(ascii: ":")].contains($0) || (9...13).contains($0)
            }
    }

    /// The name as valid UTF-8, different for different names.
    ///
    /// A name that isn't valid UTF-8, or that reads like a `reserved` label, comes out as `raw:` and its bytes, with
    /// `\xNN` for what can't be shown. The kernel allows no `:` in a name, so no other device looks like that.
    package func label(reserved: (String) -> Bool) -> String {
        if let text = String(validating: bytes, as: UTF8.self), !reserved(text) { return text }
        return rawLabel(bytes)
    }

    /// The name for a label made by ``label(reserved:)``; `nil` if that can't be its label.
    package init?(label: String) {
        var bytes = Array(label.utf8)
        if label.hasPrefix("raw:") {
            var rest = bytes.dropFirst(4)
            bytes = []
            while let byte = rest.popFirst() {
                guard byte == UInt8(ascii: "\\") else {
                    bytes.append(byte)
                    continue
                }
                switch rest.popFirst() {
                case UInt8(ascii: "\\"): bytes.append(byte)
                case UInt8(ascii: "x"):
                    guard let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                        return nil
                    }
                    bytes.append(value)
                    rest = rest.dropFirst(2)
                default: return nil
                }
            }
        }
        // Each name has one label, or two labels could stand for one device.
        if bytes.count > Self.maximumLength || label.hasPrefix("raw:") && rawLabel(bytes) != label { return nil }
        self.init(bytes: bytes)
    }
}

extension DeviceName: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let name = DeviceName(label: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "no device's name")
        }
        self = name
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(label { _ in false })
    }
}

/// Text for bytes that aren't valid text, different for different bytes: `raw:caf\xe9`.
package func rawLabel(_ bytes: some Sequence<UInt8>) -> String {
    var label = "raw:"
    for byte in bytes {
        switch byte {
        case UInt8(ascii: "\\"): label += "\\\\"
        case 0x21...0x7E: label.unicodeScalars.append(Unicode.Scalar(byte))
        default: label += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }
    return label
}
