import FoundationEssentials
import Glibc
import Reports

/// A command's end.
struct ControlClient {
    let path: String

    /// Why there is no answer.
    enum Failure: Error {
        /// No daemon listens.
        case nobody
        case unusable(String)
        /// It says what is wrong with the request.
        case refused(String)
    }

    /// How long an answer may take until all of it is there; a slow disk takes some time to keep a correction.
    static let patienceSeconds = 30
    static let late = Failure.unusable("it doesn't answer within \(patienceSeconds) s")

    /// - Throws: `Failure`.
    func ask(_ request: Control.Request) throws(Failure) -> Control.Answer {
        let stream = try begin(request)
        // Once it is sent, nobody knows.
        let doubt =
            switch request {
            case .plans, .usage, .live, .basis, .export: ""
            case .order: "; look with netusage quota whether it was done"
            case .importPiece: "; perhaps a part of it was imported, and the same again does no harm"
            }
        let answer: [UInt8]
        do throws(Failure) {
            answer = try stream.line()
        } catch {
            guard case .unusable(let problem) = error else { throw error }
            throw .unusable(problem + doubt)
        }
        guard let decoded = try? JSONDecoder().decode(Control.Answer.self, from: Data(answer)) else {
            throw .unusable("its answer makes no sense; restart it, so that both are of one version\(doubt)")
        }
        return decoded
    }

    /// Has an export written out.
    ///
    /// - Throws: `Failure`, or what `sink` throws.
    func export(_ query: ExportQuery, to sink: Export<LiveLedger>.Sink) async throws {
        let stream = try begin(.export(query))
        let answer = try? JSONDecoder().decode(Control.Answer.self, from: Data(try stream.line()))
        guard let answer else {
            throw Failure.unusable("its answer makes no sense; restart it, so that both are of one version")
        }
        if let error = answer.error { throw Failure.refused(error) }
        while true {
            let head = String(decoding: try stream.line(), as: UTF8.self).split(separator: " ", maxSplits: 1)
            guard head.count == 2, let count = Int(head[0]), count < 1 << 24 else {
                throw Failure.unusable("what it sends makes no sense")
            }
            if count < 0 { throw Failure.refused(String(head[1])) }
            if count == 0 { return }
            try await sink(try stream.bytes(count), Double(head[1]) ?? 0)
        }
    }

    private func begin(_ request: Control.Request) throws(Failure) -> ControlStream {
        let stream = ControlStream(socket: try connected())
        // Its values are all representable.
        try stream.send(Array((try? JSONEncoder().encode(request)) ?? Data()) + [UInt8(ascii: "\n")])
        return stream
    }

    private func connected() throws(Failure) -> CInt {
        guard let short = ShortSocketPath(path) else { throw .nobody }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        // Connecting waits for a place in the queue of whoever listens.
        var patience = timeval(tv_sec: Self.patienceSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) {
            $0.copyBytes(from: Array(short.text.utf8).prefix($0.count - 1))
        }
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if code == 0 { return descriptor }
        let reason = errno
        close(descriptor)
        if reason == ENOENT || reason == ECONNREFUSED { throw .nobody }
        if reason == EAGAIN { throw Self.late }
        if reason == EACCES {
            throw .unusable("only the daemon's user and group may; run it as one of them, or with sudo")
        }
        throw .unusable("its socket can't be used: \(String(cString: strerror(reason)))")
    }
}
