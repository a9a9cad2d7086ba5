import Testing

@testable import Web

@Suite("Credentials")
struct CredentialsTests {
    private func read(_ bytes: [UInt8], scheme: String = "Basic") -> Credentials? {
        Credentials(header: "\(scheme) \(base64(bytes))")
    }

    @Test func nameAndPasswordAreSplitAtTheFirstColonByte() {
        #expect(read(Array("me:pass:word".utf8))?.password == Array("pass:word".utf8))
        // A combining accent makes one character of itself and the colon before it.
        #expect(read(Array("me:\u{301}x".utf8))?.password == Array("\u{301}x".utf8))
        #expect(read([0xFF, 0x3A, 0xFE])?.user == [0xFF])
        #expect(read(Array(":".utf8)).map { $0.user + $0.password } == [])
    }

    @Test func whatUnicodeTakesForEqualIsTwo() {
        #expect(read(Array("jos\u{E9}:a".utf8)) != read(Array("jose\u{301}:a".utf8)))
    }

    @Test(arguments: [0, 1, 9, 10, 13, 31, 127] as [UInt8]) func controlCharactersAreRefused(_ byte: UInt8) {
        #expect(read(Array("me:pass".utf8) + [byte]) == nil)
        #expect(read([byte] + Array("me:pass".utf8)) == nil)
    }

    @Test(arguments: [
        nil, "", "Basic", "Basic ", "Bearer bWU6eA==", "Basic bWU6eA", "Basic bWU6eA=", "Basic bWU6eA===",
        "Basic b=WU6eA=",
        "Basic bWU6e!==", "Basic bWU6eA== x", "BasicbWU6eA==", "Basic YWJj", "Basic ====", "Basic bWU6eA==bWU6eA==",
    ]) func otherHeadersAreNone(_ header: String?) {
        #expect(Credentials(header: header) == nil)
    }

    @Test(arguments: ["Basic", "basic", "BASIC"]) func theSchemeHasNoCase(_ scheme: String) {
        #expect(read(Array("me:x".utf8), scheme: scheme) != nil)
    }

    private func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        return stride(from: 0, to: bytes.count, by: 3).map { start in
            let part = bytes[start..<min(start + 3, bytes.count)]
            let bits = part.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - part.count))
            let letters = (0...part.count).map { alphabet[bits >> (18 - 6 * $0) & 63] }
            return String(letters) + String(repeating: "=", count: 3 - part.count)
        }.joined()
    }
}
