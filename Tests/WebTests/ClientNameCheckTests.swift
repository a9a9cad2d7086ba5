import Testing

@testable import Web

@Suite("Client names")
struct ClientNameTests {
    @Test func namesAreComparedByBytesAndAddressesByValue() {
        #expect(SubjectName.text(Array("one".utf8)).isOne(of: ["two", "one"]))
        #expect(!SubjectName.text(Array("One".utf8)).isOne(of: ["one", "*", "on"]))
        #expect(!SubjectName.text(Array("jose\u{301}".utf8)).isOne(of: ["jos\u{E9}"]))
        #expect(SubjectName.address([192, 0, 2, 1]).isOne(of: ["192.0.2.1"]))
        #expect(
            SubjectName.address([0x20, 1, 0xD, 0xB8] + Array(repeating: 0, count: 11) + [1]).isOne(of: ["2001:DB8:0::1"]
            ))
        #expect(!SubjectName.text(Array("192.0.2.1".utf8)).isOne(of: ["192.0.2.2"]))
        #expect(!SubjectName.address([192, 0, 2, 1]).isOne(of: ["192.0.2.10", "\u{C0}"]))
    }
}
