import Accounting
import Glibc
import Machine
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import Reports

/// Asks the daemon that has a ledger, over HTTP at the socket beside it.
struct DaemonClient: Questions, LedgerChanges {
    typealias Failure = LedgerAccess.Failure

    let ledger: String
    private let threads = MultiThreadedEventLoopGroup.singleton

    init(ledger: String) {
        self.ledger = ledger
    }

    /// Where the socket of a ledger is.
    static func socketPath(ofLedger ledger: String) -> String { ledger + ".control" }

    /// How long an answer, or a piece of an export, may take; a slow disk takes some time to keep a correction.
    private static let patience = TimeAmount.seconds(30)
    private static let late = "it doesn't answer within 30 s"
    /// Far more than any answer has: a report has at most 20,000 entries.
    private static let maximumAnswerBytes = 64 * 1024 * 1024

    // MARK: - Questions and changes

    func live(by subject: UsageQuery.Subject) async throws -> LiveReport {
        try await ask("live", subject == .device ? [] : [("by", subject.rawValue)])
    }

    func status() async throws -> StatusReport { try await ask("status") }

    func plans() async throws -> PlansReport { try await ask("quotas") }

    func usage(_ query: UsageQuery) async throws -> UsageReport { try await ask("usage", query.parameters) }

    func export(_ query: ExportQuery, to sink: @escaping ExportSink) async throws {
        try await exchange(.GET, "export", query.parameters, patienceIsForPieces: true) { try await sink($0) }
    }

    func bookingBasis() async throws -> BookingBasis { try await ask("booking") }

    func carryOut(_ order: QuotaRequest) async throws -> AdjustmentReport {
        try await ask("orders", sending: json(order), doubt: "look with netusage quota whether it was done")
    }

    func carryOut(_ piece: ImportPiece) async throws -> [ImportOutcome] {
        let doubt = "perhaps a part of it was imported, and the same again does no harm"
        return try await ask("imports", sending: json(piece), doubt: doubt)
    }

    /// - Parameters:
    ///   - body: What is sent; `nil` for a question.
    ///   - doubt: What to do if nobody knows whether it was done.
    private func ask<Answer: Decodable>(
        _ name: String, _ parameters: [(name: String, value: String)] = [], sending body: [UInt8]? = nil,
        doubt: String? = nil
    ) async throws -> Answer {
        var answer: [UInt8] = []
        do {
            try await exchange(body == nil ? .GET : .POST, name, parameters, body: body ?? []) { piece in
                answer += piece
                if answer.count > Self.maximumAnswerBytes { throw unusable("its answer is longer than 64 MiB") }
            }
            return try decoded(Answer.self, fromJSON: answer)
        } catch Failure.daemon(let problem) {
            throw Failure.daemon(problem + (doubt.map { "; \($0)" } ?? ""))
        } catch is DecodingError {
            throw unusable(Self.nonsense + (doubt.map { "; \($0)" } ?? ""))
        }
    }

    // MARK: - HTTP

    private typealias Connection = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

    /// Asks on a connection of its own.
    ///
    /// - Parameters:
    ///   - patienceIsForPieces: Whether each piece of the answer may take as long as a whole one otherwise.
    ///   - sink: Takes the pieces of the answer.
    /// - Throws: `Failure`, and what `sink` throws.
    private func exchange(
        _ method: HTTPMethod, _ name: String, _ parameters: [(name: String, value: String)], body: [UInt8] = [],
        patienceIsForPieces: Bool = false, to sink: ([UInt8]) async throws -> Void
    ) async throws {
        guard let connection = try await connected() else { throw unusable("it has ended; try again") }
        let channel = connection.channel
        let isLate = NIOLockedValueBox(false)
        func newTimer() -> Scheduled<Void> {
            channel.eventLoop.scheduleTask(in: Self.patience) {
                isLate.withLockedValue { $0 = true }
                channel.close(promise: nil)
            }
        }
        var timer = newTimer()
        defer { timer.cancel() }
        let query = parameters.map { "\(Self.escaped($0.name))=\(Self.escaped($0.value))" }.joined(separator: "&")
        let head = HTTPRequestHead(
            version: .http1_1, method: method, uri: "/api/v1/\(name)" + (query.isEmpty ? "" : "?" + query),
            headers: ["Host": "localhost", "Connection": "close", "Content-Length": String(body.count)])
        var status: HTTPResponseStatus?
        var refusal: [UInt8] = []
        do {
            try await connection.executeThenClose { inbound, outbound in
                // All at once: the daemon closes the connection behind its answer, and then nothing can be written. If it
                // has answered before it had read everything, its answer counts.
                try? await outbound.write(contentsOf: [
                    .head(head), .body(.byteBuffer(ByteBuffer(bytes: body))), .end(nil),
                ])
                for try await part in inbound {
                    // What the sink does takes as long as it takes: somebody may look at an export page by page.
                    if patienceIsForPieces { timer.cancel() }
                    switch part {
                    case .head(let head): status = head.status
                    case .body(let bytes) where status == .ok: try await sink(Array(bytes.readableBytesView))
                    case .body(let bytes) where refusal.count < 65_536: refusal += bytes.readableBytesView
                    case .body: continue
                    // The end of a connection may be that of an answer without a length.
                    case .end: if isLate.withLockedValue({ $0 }) { throw ChannelError.eof } else { return }
                    }
                    if patienceIsForPieces { timer = newTimer() }
                }
                throw ChannelError.eof
            }
        } catch let error where isLate.withLockedValue({ $0 }) && !(error is Failure) {
            throw unusable(Self.late)
        } catch let error
            where error is ChannelError || error is NIOAsyncWriterError
            || error as? HTTPParserError == .invalidEOFState
        {
            throw unusable(status == nil ? "it ended before it answered" : "it ended in the midst of its answer")
        } catch let error as IOError {
            throw unusable(errorText(error.errnoCode))
        } catch is HTTPParserError {
            throw unusable(Self.nonsense)
        }
        if status == .ok { return }
        if let text = try? decoded([String: String].self, fromJSON: refusal)["error"] { throw Failure.refused(text) }
        throw unusable(status.map { "it refuses the request: \($0)" } ?? Self.nonsense)
    }

    private static let nonsense = "its answer makes no sense; restart it, so that both are of one version"

    private func unusable(_ problem: String) -> Failure {
        .daemon("the daemon that has \(ledger) can't be asked: \(problem)")
    }

    /// As a part of a query (RFC 3986 §2.3).
    private static func escaped(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        let unreserved = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".utf8)
        let bytes = text.utf8.flatMap { byte in
            unreserved.contains(byte)
                ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: - The socket

    /// Whether a daemon listens.
    ///
    /// - Throws: `Failure` when one does, and this user can't ask it.
    func isThere() async throws -> Bool {
        guard let connection = try await connected() else { return false }
        try? await connection.channel.close()  // It was opened to look only.
        return true
    }

    /// - Returns: A connection; `nil` when nobody listens.
    private func connected() async throws -> Connection? {
        guard let short = ShortSocketPath(Self.socketPath(ofLedger: ledger)) else { return nil }
        let end = ContinuousClock.now + .nanoseconds(Self.patience.nanoseconds)
        while true {
            do {
                return try await ClientBootstrap(group: threads).connect(unixDomainSocketPath: short.text) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
                        return try Connection(wrappingChannelSynchronously: channel)
                    }
                }
            } catch let error as IOError {
                switch error.errnoCode {
                case ENOENT, ECONNREFUSED: return nil
                case EAGAIN: break  // The listener's queue is full.
                case EACCES:
                    throw unusable(
                        "only the daemon's user and group may ask it; run this command as that user, or with sudo")
                default: throw unusable("its socket can't be used: \(errorText(error.errnoCode))")
                }
            }
            if ContinuousClock.now > end { throw unusable(Self.late) }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
