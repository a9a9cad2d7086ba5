import CivilTime
import NIOCore
import Reports

/// A request to `/api/v1/…`.
enum APIRequest: Sendable {
    case status
    case live(by: UsageQuery.Subject)
    /// Live, once a second, as server-sent events.
    case liveEvents(by: UsageQuery.Subject)
    case usage(UsageQuery)
    case quotas
    case export(ExportQuery)
    case change(Change)

    /// What the socket for commands takes beside the questions.
    enum Change: Sendable {
        case basis
        /// A `QuotaRequest` as JSON.
        case order(ByteBuffer)
        /// An `ImportPiece` as JSON.
        case piece(ByteBuffer)
    }

    /// Why a request makes no sense, for people.
    struct Problem: Error, CustomStringConvertible {
        var description: String
    }

    /// The request for a path below `/api/v1/`; `nil` if there is none.
    ///
    /// - Throws: `Problem`, `UsageError`.
    init?(path: Substring, query: String?, accept: String?) throws {
        let items = try QueryItems(query ?? "")
        switch path {
        case "status": self = .status
        case "quotas": self = .quotas
        case "live":
            try items.allow(["by"])
            let subject: UsageQuery.Subject = try items.choice("by") ?? .device
            self = Self.wantsEvents(accept) ? .liveEvents(by: subject) : .live(by: subject)
        case "usage": self = .usage(try Self.usageQuery(items))
        case "export": self = .export(try Self.exportQuery(items))
        case "booking": self = .change(.basis)
        default: return nil
        }
        if !["live", "usage", "export"].contains(path) { try items.allow([]) }
    }

    /// The change that a body asks for, sent to a path below `/api/v1/`; `nil` if there is none.
    init?(path: Substring, body: ByteBuffer) {
        switch path {
        case "orders": self = .change(.order(body))
        case "imports": self = .change(.piece(body))
        default: return nil
        }
    }

    /// Whether events are listed before JSON: a browser's `EventSource` lists them alone.
    private static func wantsEvents(_ accept: String?) -> Bool {
        let types = (accept ?? "").split(separator: ",").map { type in
            type.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }.lowercased()
        }
        return types.first { $0 == "text/event-stream" || $0 == "application/json" } == "text/event-stream"
    }

    private static func usageQuery(_ items: QueryItems) throws -> UsageQuery {
        try items.allow(
            [
                "period", "grain", "since", "until", "last", "by", "device", "application", "scope", "strict", "prefer",
            ], repeatable: ["device", "application", "scope"])
        var query = UsageQuery(try items.choice("period"), grain: try items.choice("grain") ?? .total)
        query.subject = try items.choice("by") ?? .device
        query.applications = items.all("application")
        query.scopes = try items.choices("scope")
        query.since = items.time("since")
        query.until = items.time("until")
        if let text = items["last"] {
            guard let last = Int(text) else { throw Problem(description: "last: \(text) is not a number") }
            query.last = last
        }
        query.devices = items.all("device")
        query.refusesNoTime = try items.isStrict
        if let text = items["prefer"] {
            if text != "uplink" { throw Problem(description: "prefer: \(text) is not uplink") }
            query.prefersUplink = true
        }
        if query.period == nil, query.since == nil, query.until == nil, query.last == nil { query.period = .day }
        try query.check()
        return query
    }

    private static func exportQuery(_ items: QueryItems) throws -> ExportQuery {
        try items.allow(
            ["format", "grain", "since", "until", "by", "device", "application", "scope", "label", "strict"],
            repeatable: ["device", "application", "scope", "label"])
        let format: ExportQuery.Format = try items.choice("format") ?? .csv
        let grain = try items.choice("grain", among: ExportQuery.grains)
        var query = ExportQuery(format, grain: grain ?? ExportQuery.standardGrain(of: format))
        query.usage.since = items.time("since")
        query.usage.until = items.time("until")
        query.usage.subject = try items.choice("by") ?? .device
        query.usage.devices = items.all("device")
        query.usage.applications = items.all("application")
        query.usage.scopes = try items.choices("scope")
        query.usage.refusesNoTime = try items.isStrict
        let labels = items.all("label")
        if !labels.isEmpty { query.labels = [] }
        for text in labels {
            guard let label = ExportQuery.Label(text) else {
                throw Problem(
                    description:
                        "label: \(text) isn't name=value, with a name of letters, digits and _; device, application, scope and __ are taken"
                )
            }
            query.set(label)
        }
        try query.usage.check()
        return query
    }
}

/// The parameters after the `?` of an address.
struct QueryItems {
    private let items: [(name: String, value: String)]

    /// - Throws: `APIRequest.Problem` if the encoding is wrong.
    init(_ query: String) throws(APIRequest.Problem) {
        var items: [(String, String)] = []
        for part in query.utf8.split(separator: UInt8(ascii: "&")) {
            let pair = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decoded(pair[0]), let value = pair.count > 1 ? Self.decoded(pair[1]) : "" else {
                throw APIRequest.Problem(
                    description: "\(String(decoding: part, as: UTF8.self)) isn't UTF-8 with %-escapes")
            }
            items.append((name, value))
        }
        self.items = items
    }

    /// A moment; its offset may have a plain `+`, which means a blank in addresses.
    func time(_ name: String) -> String? {
        self[name].map { text in
            guard text.contains("T"), let blank = text.lastIndex(of: " ") else { return text }
            return text[..<blank] + "+" + text[text.index(after: blank)...]
        }
    }

    /// - Throws: `APIRequest.Problem` if there is another parameter, or one twice.
    func allow(_ names: [String], repeatable: Set<String> = []) throws(APIRequest.Problem) {
        var seen: Set<String> = []
        for (name, _) in items {
            if !names.contains(name) {
                let known = names.isEmpty ? "this address takes none" : "it takes \(names.joined(separator: ", "))"
                throw APIRequest.Problem(description: "there is no parameter \(name); \(known)")
            }
            if !seen.insert(name).inserted, !repeatable.contains(name) {
                throw APIRequest.Problem(description: "\(name) is given twice")
            }
        }
    }

    subscript(name: String) -> String? { items.first { $0.name == name }?.value }

    /// One of some words.
    ///
    /// - Throws: `APIRequest.Problem` if it is another word.
    func choice<Value: RawRepresentable<String> & CaseIterable>(
        _ name: String, among values: [Value] = Array(Value.allCases)
    ) throws(APIRequest.Problem) -> Value? {
        try self[name].map { text throws(APIRequest.Problem) in try Self.value(text, of: name, among: values) }
    }

    /// Any number of some words.
    ///
    /// - Throws: `APIRequest.Problem` if one is another word.
    func choices<Value: RawRepresentable<String> & CaseIterable>(
        _ name: String
    ) throws(APIRequest.Problem) -> [Value] {
        try all(name).map { text throws(APIRequest.Problem) in
            try Self.value(text, of: name, among: Array(Value.allCases))
        }
    }

    private static func value<Value: RawRepresentable<String>>(
        _ text: String, of name: String, among values: [Value]
    ) throws(APIRequest.Problem) -> Value {
        if let value = values.first(where: { $0.rawValue == text }) { return value }
        let known = values.map(\.rawValue).joined(separator: ", ")
        throw APIRequest.Problem(description: "\(name): \(text) is none of \(known)")
    }

    /// Whether an empty span is an error.
    var isStrict: Bool {
        get throws(APIRequest.Problem) {
            guard let text = self["strict"] else { return false }
            guard let isStrict = Bool(text) else {
                throw APIRequest.Problem(description: "strict: \(text) is neither true nor false")
            }
            return isStrict
        }
    }

    func all(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

    /// `application/x-www-form-urlencoded`, as browsers and clients write it (URL standard §5).
    private static func decoded(_ text: Substring.UTF8View) -> String? {
        var bytes: [UInt8] = []
        var rest = text[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): bytes.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst()?.hexDigit, let low = rest.popFirst()?.hexDigit else { return nil }
                bytes.append(high << 4 | low)
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension UInt8 {
    fileprivate var hexDigit: UInt8? { Character(Unicode.Scalar(self)).hexDigitValue.map { UInt8($0) } }
}

/// Answers requests to `/api/v1/…`, not on the server's thread.
package struct API: Sendable {
    let questions: any LiveQuestions
    /// `nil` where nobody may change the ledger.
    let changes: (any LedgerChanges)?

    package init(_ questions: any LiveQuestions, changes: (any LedgerChanges)? = nil) {
        self.questions = questions
        self.changes = changes
    }

    func answer(to request: APIRequest) async -> HTTPAnswer {
        do {
            switch request {
            case .status: return .json(json(await questions.status()))
            case .live(let subject): return .json(await liveReport(by: subject))
            case .liveEvents(let subject):
                let headers = Self.streamHeaders + [("X-Accel-Buffering", "no")]
                return HTTPAnswer("text/event-stream", .liveEvents(by: subject), headers)
            case .quotas:
                var report = await questions.plans()
                let body = json(report)
                // What changes with time alone is no news.
                report.meteredUntil = nil
                for place in report.quotas.indices { report.quotas[place].forgetTime() }
                return .json(body, tag: Self.tag(report))
            case .usage(let query):
                var report = try await questions.usage(query)
                let body = json(report)
                report.asOf = nil
                return .json(body, tag: Self.tag(report))
            case .export(let query): return try await export(query, of: questions)
            case .change(let change):
                guard let changes else {
                    return .problem(.notFound, "Only the socket beside the ledger takes changes; see openapi.yaml.")
                }
                switch change {
                case .basis: return .json(json(try await changes.bookingBasis()))
                case .order(let body):
                    return .json(json(try await changes.carryOut(try Self.decoded(QuotaRequest.self, body))))
                case .piece(let body):
                    return .json(json(try await changes.carryOut(try Self.decoded(ImportPiece.self, body))))
                }
            }
        } catch {
            return .problem(error)
        }
    }

    private static func decoded<Value: Decodable>(_ type: Value.Type, _ body: ByteBuffer) throws -> Value {
        do {
            return try Reports.decoded(type, fromJSON: body.readableBytesView)
        } catch {
            throw APIRequest.Problem(
                description: "the body isn't what openapi.yaml describes: \("\(error)".prefix(300))")
        }
    }

    func liveReport(by subject: UsageQuery.Subject) async -> [UInt8] { json(await questions.live(by: subject)) }

    private static let streamHeaders = [
        ("Cache-Control", "no-store"), ("Cross-Origin-Resource-Policy", "same-origin"),
    ]

    private func export(_ query: ExportQuery, of questions: some LiveQuestions) async throws -> HTTPAnswer {
        let export = try await Export(query, of: questions)
        return HTTPAnswer(
            query.format.contentType, .stream { try await export.write(to: $0) },
            Self.streamHeaders
                + [("Content-Disposition", "attachment; filename=\"netusage.\(query.format.rawValue)\"")])
    }

    /// Weak, because two answers with it differ in their moment (RFC 9110 §8.8.1). By FNV-1a, 64 bits.
    private static func tag(_ report: some Encodable) -> String {
        let hash = json(report).reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return "W/\"\(String(hash, radix: 16))\""
    }
}
