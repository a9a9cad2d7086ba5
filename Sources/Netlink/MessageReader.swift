import CLinux

/// One message from the kernel's routing socket, in the receive buffer.
package struct NetlinkMessage {
    package let type: UInt16
    package let flags: UInt16
    package let sequence: UInt32
    package let payload: UnsafeRawBufferPointer
}

/// Walks the messages of one datagram. `struct nlmsghdr` of linux/netlink.h; messages are aligned to 4 bytes.
package struct MessageReader {
    private var rest: UnsafeRawBufferPointer

    package init(_ datagram: UnsafeRawBufferPointer) {
        rest = datagram
    }

    /// The next message, or `nil` at the end.
    ///
    /// - Throws: `NetlinkError` with `.malformed` when a length leads outside the datagram; the walk ends there.
    package mutating func next() throws(NetlinkError) -> NetlinkMessage? {
        if rest.count == 0 { return nil }
        let headerLength = MemoryLayout<nlmsghdr>.size
        guard rest.count >= headerLength else {
            throw NetlinkError(.malformed, "the kernel sent \(rest.count) bytes where a message header was due")
        }
        let header = rest.loadUnaligned(as: nlmsghdr.self)
        let length = Int(header.nlmsg_len)
        guard length >= headerLength, length <= rest.count else {
            throw NetlinkError(.malformed, "the kernel sent a message of \(length) bytes in \(rest.count)")
        }
        let message = NetlinkMessage(
            type: header.nlmsg_type, flags: header.nlmsg_flags, sequence: header.nlmsg_seq,
            payload: UnsafeRawBufferPointer(rebasing: rest[headerLength..<length]))
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(aligned(length)))
        return message
    }
}

/// Walks the attributes of a message. `struct rtattr` of linux/rtnetlink.h; attributes are aligned to 4 bytes.
///
/// A length that leads outside the message ends the walk, as in the kernel's own `RTA_OK`.
struct AttributeReader: Sequence, IteratorProtocol {
    private static let headerLength = 4
    /// `NLA_TYPE_MASK` of linux/netlink.h: the upper two bits are flags.
    private static let typeMask: UInt16 = 0x3FFF
    private var rest: UnsafeRawBufferPointer

    /// - Parameter offset: The length of the fixed part before the attributes.
    init(_ payload: UnsafeRawBufferPointer, behind offset: Int = 0) {
        rest = UnsafeRawBufferPointer(rebasing: payload.dropFirst(aligned(offset)))
    }

    mutating func next() -> (type: UInt16, value: UnsafeRawBufferPointer)? {
        guard let length = rest.loadInteger(at: 0, as: UInt16.self),
            let type = rest.loadInteger(at: 2, as: UInt16.self),
            length >= Self.headerLength, Int(length) <= rest.count
        else { return nil }
        let value = UnsafeRawBufferPointer(rebasing: rest[Self.headerLength..<Int(length)])
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(aligned(Int(length))))
        return (type & Self.typeMask, value)
    }
}

/// `NLMSG_ALIGN` and `RTA_ALIGN`: up to a multiple of 4.
func aligned(_ length: Int) -> Int { (length + 3) & ~3 }

extension UnsafeRawBufferPointer {
    /// The integer in the machine's byte order at this place, or `nil` if it doesn't fit.
    func loadInteger<Integer: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: Integer.Type) -> Integer? {
        guard offset >= 0, offset + MemoryLayout<Integer>.size <= count else { return nil }
        return loadUnaligned(fromByteOffset: offset, as: type)
    }

    /// The bytes up to the first NUL.
    var cString: [UInt8] { Array(prefix { $0 != 0 }) }
}
