import NIOCore
import NIOHTTP1
import NIOSSL

/// Who may ask, and whether answers are encrypted. Used on the server's event loop only.
final class WebSecurity {
    var extraHeaders: [(String, String)] { [] }
    var isEncrypted: Bool { false }

    func currentContext() -> NIOSSLContext? { nil }

    func authorize(_ header: String?, on loop: any EventLoop, _ proceed: @escaping @Sendable (Bool) -> Void) {
        proceed(true)
    }
}
