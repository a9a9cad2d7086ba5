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
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
            if count <= 0 { throw .unusable("it doesn't take requests: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    /// The longest answer there is: a report of a hundred thousand entries.
    private static let maximumLineBytes = 64 * 1024 * 1024

    /// What comes up to the next end of a line, which isn't part of it.
    func line() throws(ControlClient.Failure) -> [UInt8] {
        var looked = 0
        while true {
            if received.count > Self.maximumLineBytes { throw .unusable("its answer has no end") }
            if let end = received[looked...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { received.removeFirst(end + 1) }
                return Array(received[..<end])
            }
            looked = received.count
            try receive()
        }
    }

    /// The next so many bytes.
    func bytes(_ count: Int) throws(ControlClient.Failure) -> [UInt8] {
        while received.count < count { try receive() }
        defer { received.removeFirst(count) }
        return Array(received[..<count])
    }

    private func receive() throws(ControlClient.Failure) {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(socket, &chunk, chunk.count, 0)
        if count == 0 { throw .unusable("it ended before it answered") }
        if count < 0 {
            let isLate = errno == EAGAIN || errno == EWOULDBLOCK
            let problem = isLate ? "no word for \(ControlClient.patienceSeconds) s" : String(cString: strerror(errno))
            throw .unusable("it doesn't answer: \(problem)")
        }
        received += chunk[..<count]
    }
}
