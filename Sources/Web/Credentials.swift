import FoundationEssentials

/// The name and password of `Basic` authentication (RFC 7617), as bytes: Unicode takes some different texts for equal.
struct Credentials: Hashable, Sendable {
    let user: [UInt8]
    let password: [UInt8]

    /// Nil for another header, and for control characters (see RFC 7617): a NUL would end the password for crypt(3).
    init?(header: String?) {
        guard let words = header?.utf8.split(separator: UInt8(ascii: " ")), words.count == 2,
            words[0].elementsEqual("basic".utf8, by: { $0 | 0x20 == $1 }),
            words[1].count % 4 == 0,  // The decoder takes a third padding character.
            let decoded = Data(base64Encoded: Data(words[1]))
        else { return nil }
        let bytes = Array(decoded)
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else { return nil }
        user = Array(bytes[..<colon])
        password = Array(bytes[(colon + 1)...])
    }
}
