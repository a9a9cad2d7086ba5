import NIOCore
import NIOHTTP1
import Reports

/// A request with its body, which is empty where nothing takes one.
struct HTTPRequest {
    var head: HTTPRequestHead
    var body = ByteBuffer()
}

/// An answer to a request. The connection only carries it.
struct HTTPAnswer: Sendable {
    enum Body: Sendable {
        case bytes(ByteBuffer)
        /// Written piece by piece, each when the previous one has been taken. If that fails midway, it is cut off.
        case stream(@Sendable (@escaping ExportSink) async throws -> Void)
        /// What devices carry, once a second, until the client closes the connection.
        case liveEvents(by: UsageQuery.Subject)
    }

    var status = HTTPResponseStatus.ok
    var headers: HTTPHeaders
    var body: Body

    init(
        _ contentType: String, _ body: Body, _ headers: [(String, String)] = [], status: HTTPResponseStatus = .ok
    ) {
        self.status = status
        self.headers = HTTPHeaders(headers)
        self.headers.add(name: "Content-Type", value: contentType)
        self.body = body
    }

    /// - Parameter text: Whole lines.
    static func text(_ status: HTTPResponseStatus, _ text: String, _ headers: [(String, String)] = []) -> HTTPAnswer {
        HTTPAnswer("text/plain; charset=utf-8", .bytes(ByteBuffer(string: text)), headers, status: status)
    }

    static func methodNotAllowed(allow: String) -> HTTPAnswer {
        text(.methodNotAllowed, "This address takes \(allow).\n", [("Allow", allow)])
    }

    /// - Parameter tag: The entity tag of the content, without its moment; `nil` for live answers.
    static func json(_ body: [UInt8], tag: String? = nil, status: HTTPResponseStatus = .ok) -> HTTPAnswer {
        let headers = [
            ("Vary", "Accept, Accept-Encoding"), ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", tag == nil ? "no-store" : "private, no-cache"),
        ]
        return HTTPAnswer(
            "application/json", .bytes(ByteBuffer(bytes: body)), headers + (tag.map { [("ETag", $0)] } ?? []),
            status: status)
    }

    /// What is wrong, as JSON.
    static func problem(_ status: HTTPResponseStatus, _ text: String) -> HTTPAnswer {
        json(Reports.json(["error": text]), status: status)
    }

    /// Why a request has no answer.
    static func problem(_ error: any Error) -> HTTPAnswer {
        let status: HTTPResponseStatus =
            switch error {
            case is APIRequest.Problem: .badRequest
            case UsageError.unknownDevice, UsageError.unknownApplication: .notFound
            case UsageError.notACount, UsageError.notATime, UsageError.tooLong: .badRequest
            // It is empty by the clock or the zone of this machine.
            case UsageError.isEmpty: .conflict
            // Each parameter is good by itself.
            case UsageError.needsApplications, UsageError.needsDevices: .conflict
            case let refusal as ChangeRefusal where !refusal.isTemporary: .conflict
            default: .serviceUnavailable
            }
        return problem(status, "\(error)")
    }

    /// Whether a client that has these tags has this answer (RFC 9110 §13.1.2).
    func isKnown(to head: HTTPRequestHead) -> Bool {
        guard let tag = headers["ETag"].first else { return false }
        let known = head.headers["if-none-match"].joined(separator: ",")
        return known == "*" || known.split(separator: ",").contains { $0.filter { $0 != " " } == tag }
    }
}
