import Glibc
import NIOCore
import NIOSSL

/// Comes after TLS, and closes connections of clients whose certificate has none of the allowed names
/// (`client_allowed_sans`). TLS has checked the certificate itself. No input passes this handler unchecked.
final class ClientNameCheck: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let allowed: [String]
    private let tls: NIOSSLServerHandler
    /// Nil until the client's first encrypted bytes, which come after the handshake.
    private var isAllowed: Bool?

    init(_ allowed: [String], behind tls: NIOSSLServerHandler) {
        self.allowed = allowed
        self.tls = tls
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let isAllowed = isAllowed ?? (tls.peerCertificate?.subjectNames.contains { $0.isOne(of: allowed) } ?? false)
        if isAllowed {
            context.fireChannelRead(data)
        } else if self.isAllowed == nil {
            context.close(promise: nil)
        }
        self.isAllowed = isAllowed
    }
}

/// A subject alternative name of a certificate (RFC 5280 §4.2.1.6).
enum SubjectName: Hashable {
    /// A DNS name, an e-mail address or a URI.
    case text([UInt8])
    /// 4 or 16 bytes.
    case address([UInt8])

    /// Whether it is exactly one of these; addresses may be written in any way.
    func isOne(of names: [String]) -> Bool {
        switch self {
        case .text(let bytes): names.contains { $0.utf8.elementsEqual(bytes) }
        case .address(let bytes): names.contains { addressBytes(of: $0) == bytes }
        }
    }
}

private func addressBytes(of text: String) -> [UInt8]? {
    for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
        var bytes = [UInt8](repeating: 0, count: count)
        if inet_pton(family, text, &bytes) == 1 { return bytes }
    }
    return nil
}

extension NIOSSLCertificate {
    fileprivate var subjectNames: [SubjectName] {
        _subjectAlternativeNames().compactMap { name in
            let bytes = name.contents.withUnsafeBufferPointer { Array($0) }
            return switch name.nameType {
            case .dnsName, .email, .uri: .text(bytes)
            case .ipAddress: .address(bytes)
            default: nil
            }
        }
    }
}
