import NIOCore
import Testing

@testable import Web

@Suite("Where to listen")
struct ListenAddressTests {
    private func address(_ text: String) -> String? {
        do throws(ListenAddress.Problem) {
            return try ListenAddress(text).description
        } catch {
            return nil
        }
    }

    @Test(arguments: [
        ("127.0.0.1", true), ("127.255.0.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("128.0.0.1", false),
        ("0.0.0.0", false), ("::", false), ("::2", false), ("1::1", false), ("::127.0.0.1", false),
        ("::ffff:10.0.0.127", false), ("fe80::1", false),
    ])
    func loopbackAddressesNeverLeaveTheMachine(text: String, isLoopback: Bool) throws {
        #expect(try SocketAddress(ipAddress: text, port: 80).isLoopback == isLoopback)
    }

    @Test(arguments: [
        ("127.0.0.1:10073", "127.0.0.1:10073"), ("[::1]:80", "[::1]:80"), (":9100", ":9100"),
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[fe80::1%eth0]:7", "[fe80::1%eth0]:7"), ("meter.example:65535", "meter.example:65535"),
        ("localhost:0", "127.0.0.1:0"), ("0xdead.example:1", "0xdead.example:1"),
        ("0.0.0.0.example:1", "0.0.0.0.example:1"),
    ])
    func anAddressMeansWhatItSays(text: String, address: String) {
        #expect(self.address(text) == address)
    }

    @Test(arguments: [
        "*:10081", "10073", "127.0.0.1", "::1:10073", "[::1]", "[::1]10073", "[]:1", "[127.0.0.1]:1", "a b:1",
        "127.1:1",
        "2130706433:1", "0x7f000001:1", "0X7F.1:1", "127.0x1:1", "127.0.0.0x1:1", "0177.0.0.1:1", "127.0.0.01:1",
        "00.0.0.0:1", "0x:1",
        "256.0.0.1:1", "localhost:65536", "localhost:+1", "localhost:", "", "http://x:1", "x/y:1",
        "é:1",
    ])
    func whatTheResolverWouldTakeForSomethingElseIsAnError(text: String) {
        #expect(address(text) == nil)
    }

    @Test func anExternalURLIsWhole() {
        #expect(ExternalURL("https://meter.example:8443/net/")?.host == "meter.example")
        #expect(ExternalURL("HTTP://[2001:db8::1]/")?.host == "2001:db8::1")
        for text in ["meter.example", "ftp://meter.example", "https:///net", "https://", "https://a@b/", ""] {
            #expect(ExternalURL(text) == nil)
        }
    }
}
