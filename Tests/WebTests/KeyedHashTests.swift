import Testing

@testable import Web

@Suite("Keyed hash")
struct KeyedHashTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Examples of FIPS 180-4's author (NIST), of no bytes, one block and two blocks.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ]) func sha256IsThatOfTheStandard(message: String, digest: String) {
        #expect(hexadecimal(SHA256.digest(of: Array(message.utf8))) == digest)
    }

    /// RFC 4231 §4.2 and §4.3.
    @Test func hmacIsThatOfTheStandard() {
        #expect(
            hexadecimal(KeyedHash(key: Array(repeating: 0x0B, count: 20)).digest(of: Array("Hi There".utf8)))
                == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
        #expect(
            hexadecimal(KeyedHash(key: Array("Jefe".utf8)).digest(of: Array("what do ya want for nothing?".utf8)))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }

    @Test func everyLengthIsPaddedToWholeBlocks() {
        let digests = (0...200).map { SHA256.digest(of: Array(repeating: 0, count: $0)) }
        #expect(Set(digests).count == 201)
        #expect(
            hexadecimal(digests[64]) == "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b")
    }
}
