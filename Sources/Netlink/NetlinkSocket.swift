import CLinux
import Glibc

/// A routing socket in the network namespace of the thread that opens it. Used by one thread at a time.
final class NetlinkSocket {
    let descriptor: CInt
    private let isListening: Bool
    /// Holds the most that the kernel puts into one message of a dump (`netlink_dump` of net/netlink/af_netlink.c).
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 * 1024, alignment: 8)
    private var sequence: UInt32 = 0

    /// - Parameters:
    ///   - groups: The multicast groups (`RTNLGRP_…`) to listen to. With any, receiving doesn't block.
    ///   - optionalGroups: Groups that old kernels lack.
    /// - Throws: `NetlinkError`.
    init(groups: [rtnetlink_groups] = [], optionalGroups: [rtnetlink_groups] = []) throws(NetlinkError) {
        isListening = !groups.isEmpty
        let mode = SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | (isListening ? SOCK_NONBLOCK.rawValue : 0)
        descriptor = socket(AF_NETLINK, Int32(mode), NETLINK_ROUTE)
        if descriptor < 0 { throw Self.systemError("a routing socket can't be opened") }
        var address = sockaddr_nl()
        address.nl_family = sa_family_t(AF_NETLINK)
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
            }
        }
        if bound != 0 { throw Self.systemError("a routing socket can't be bound") }
        // Old kernels lack it; they check less and send more.
        set(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        if !isListening {
            // The kernel answers a request at once when it has taken it. That may take long, see `PatientWorker`.
            var timeout = timeval(tv_sec: 5, tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        } else if !set(SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20) {
            // Room for thousands of events while the program is busy; the forced form needs CAP_NET_ADMIN.
            set(SOL_SOCKET, SO_RCVBUF, 8 << 20)
        }
        for group in groups where !set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, Int32(group.rawValue)) {
            throw Self.systemError("the routing events of group \(group.rawValue) can't be received")
        }
        for group in optionalGroups { set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, Int32(group.rawValue)) }
    }

    deinit {
        close(descriptor)
        buffer.deallocate()
    }

    @discardableResult
    private func set(_ level: CInt, _ option: CInt, _ value: CInt) -> Bool {
        var value = value
        return setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0
    }

    /// Sends a request for a dump and hands each message of the answer to `body`.
    ///
    /// - Parameter payload: The bytes after the message header.
    /// - Throws: `NetlinkError`; `.interrupted` if the list changed meanwhile, so that `body` got an incomplete one.
    func dump(type: UInt16, payload: [UInt8], _ body: (NetlinkMessage) -> Void) throws(NetlinkError) {
        try send(type: type, flags: UInt16(NLM_F_REQUEST) | UInt16(NLM_F_DUMP), payload: payload)
        var isInterrupted = false
        while let datagram = try receive() {
            var messages = MessageReader(datagram)
            while let message = try messages.next() {
                if message.sequence != sequence { continue }
                if message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { isInterrupted = true }
                switch Int32(message.type) {
                case NLMSG_DONE, NLMSG_ERROR:
                    if message.payload.loadInteger(at: 0, as: Int32.self) ?? 0 < 0 {
                        throw Self.refusal(message, of: type)
                    }
                    if isInterrupted {
                        throw NetlinkError(.interrupted, "the kernel's list changed while it was read")
                    }
                    return
                default: body(message)
                }
            }
        }
    }

    /// Sends a request for one object, and decodes the answer.
    ///
    /// - Returns: The result of `decode`.
    /// - Throws: `NetlinkError`; `.refused` if there is no such object.
    func ask<Value>(
        type: UInt16, payload: [UInt8], _ decode: (NetlinkMessage) -> Value?
    ) throws(NetlinkError) -> Value? {
        try send(type: type, flags: UInt16(NLM_F_REQUEST), payload: payload)
        while let datagram = try receive() {
            var messages = MessageReader(datagram)
            while let message = try messages.next() {
                if message.sequence != sequence { continue }
                if Int32(message.type) == NLMSG_ERROR { throw Self.refusal(message, of: type) }
                return decode(message)
            }
        }
        return nil
    }

    private static func refusal(_ message: NetlinkMessage, of type: UInt16) -> NetlinkError {
        let code = 0 &- (message.payload.loadInteger(at: 0, as: Int32.self) ?? 0)
        return NetlinkError(
            .refused(code), "the kernel refused a request of type \(type): \(String(cString: strerror(code)))")
    }

    private func send(type: UInt16, flags: UInt16, payload: [UInt8]) throws(NetlinkError) {
        sequence &+= 1
        let header = nlmsghdr(
            nlmsg_len: UInt32(MemoryLayout<nlmsghdr>.size + payload.count), nlmsg_type: type, nlmsg_flags: flags,
            nlmsg_seq: sequence, nlmsg_pid: 0)
        let message = withUnsafeBytes(of: header) { Array($0) } + payload
        while Glibc.send(descriptor, message, message.count, 0) < 0 {
            if errno != EINTR { throw Self.systemError("a request to the kernel can't be sent") }
        }
    }

    /// The next datagram from the kernel, valid until the next call; `nil` if a listening socket has none now.
    ///
    /// - Throws: `NetlinkError`; `.overrun` when messages were lost.
    func receive() throws(NetlinkError) -> UnsafeRawBufferPointer? {
        while true {
            var sender = sockaddr_nl()
            var senderLength = socklen_t(MemoryLayout<sockaddr_nl>.size)
            let count = withUnsafeMutablePointer(to: &sender) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(descriptor, buffer.baseAddress, buffer.count, CInt(MSG_TRUNC), $0, &senderLength)
                }
            }
            if count < 0 {
                switch errno {
                case EINTR: continue
                case EAGAIN where isListening: return nil
                case ENOBUFS: throw NetlinkError(.overrun, "the kernel's events came faster than they were read")
                default: throw Self.systemError("the kernel's answer can't be read")
                }
            }
            // Any process may send to a routing socket; only the kernel has number 0.
            if sender.nl_pid != 0 { continue }
            if count > buffer.count {
                throw NetlinkError(
                    .overrun, "a message of \(count) bytes from the kernel doesn't fit in \(buffer.count)")
            }
            return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
        }
    }

    /// The namespace's number: its cookie, which is unique until the next boot; before Linux 5.14, its inode.
    var networkNamespace: UInt64 {
        var cookie: UInt64 = 0
        var length = socklen_t(MemoryLayout<UInt64>.size)
        if getsockopt(descriptor, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) == 0 { return cookie }
        var status = stat()
        return stat("/proc/self/ns/net", &status) == 0 ? UInt64(status.st_ino) : 0
    }

    static func systemError(_ message: String) -> NetlinkError {
        let reason = errno
        return NetlinkError(.system(reason), "\(message): \(String(cString: strerror(reason)))")
    }
}
