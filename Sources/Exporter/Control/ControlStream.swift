import Glibc

/// A command's connection. Used by one thread at a time.
final class ControlStream {
    private let socket: CInt
    private var received: [UInt8] = []

    init(socket: CInt) {
        self.socket = socket
    }

    deinit {
        close(socket)
    }

    func send(_ bytes: [UInt8]) throws(ControlClient.Failure) {
        var rest = bytes[...]
        let deadline = Self.deadline()
        while !rest.isEmpty {
            try wait(for: POLLOUT, until: deadline)
            let flags = CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT)
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, flags) }
            if count < 0, errno == EAGAIN { continue }
            if count <= 0 { throw .unusable("it doesn't take requests: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    /// The longest answer there is: a report of a hundred thousand entries.
    private static let maximumLineBytes = 64 * 1024 * 1024

    /// What comes up to the next end of a line, which isn't part of it.
    func line() throws(ControlClient.Failure) -> [UInt8] {
        var looked = 0
        let deadline = Self.deadline()
        while true {
            if received.count > Self.maximumLineBytes { throw .unusable("its answer has no end") }
            if let end = received[looked...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { received.removeFirst(end + 1) }
                return Array(received[..<end])
            }
            looked = received.count
            try receive(until: deadline)
        }
    }

    /// The next so many bytes.
    func bytes(_ count: Int) throws(ControlClient.Failure) -> [UInt8] {
        let deadline = Self.deadline()
        while received.count < count { try receive(until: deadline) }
        defer { received.removeFirst(count) }
        return Array(received[..<count])
    }

    private static func deadline() -> ContinuousClock.Instant { .now + .seconds(ControlClient.patienceSeconds) }

    /// Waits until the socket has something, or takes something, as poll(2) calls it.
    private func wait(for event: CInt, until deadline: ContinuousClock.Instant) throws(ControlClient.Failure) {
        var entry = pollfd(fd: socket, events: Int16(event), revents: 0)
        while true {
            let left = (deadline - .now) / .milliseconds(1)
            // Also where something comes without end.
            if left <= 0 { throw ControlClient.late }
            let code = poll(&entry, 1, CInt(left) + 1)
            if code > 0 { return }
            if code < 0, errno != EINTR { throw .unusable("it doesn't answer: \(String(cString: strerror(errno)))") }
        }
    }

    private func receive(until deadline: ContinuousClock.Instant) throws(ControlClient.Failure) {
        try wait(for: POLLIN, until: deadline)
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(socket, &chunk, chunk.count, 0)
        if count == 0 { throw .unusable("it ended before it answered") }
        if count < 0 { throw .unusable("it doesn't answer: \(String(cString: strerror(errno)))") }
        received += chunk[..<count]
    }
}
