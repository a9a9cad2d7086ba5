import Exposition
import NIOHTTP1

/// Who answers a request.
enum HTTPRoute {
    case metrics(Scraper.Variant)
    /// The page for people.
    case page(PageSubject)
    case api(APIRequest)
    case reload
    /// It is answered already.
    case answer(HTTPAnswer)
}

/// Decides how a request is answered.
package struct HTTPRouter: Sendable {
    var telemetryPath: String
    var isLifecycleEnabled: Bool
    /// The host of `--web.external-url`.
    var externalHost: String?
    /// Whether changes of the ledger are carried out here; otherwise nobody looks at the body of a request.
    var takesChanges = false

    package init(telemetryPath: String, isLifecycleEnabled: Bool, externalHost: String? = nil) {
        self.telemetryPath = telemetryPath
        self.isLifecycleEnabled = isLifecycleEnabled
        self.externalHost = externalHost
    }

    /// Request lines longer than this get a 414. Commands may name hundreds of devices.
    var maximumURIBytes: Int { takesChanges ? 65_536 : 4096 }

    /// Longer bodies are refused. An import's pieces have some 400 kB; nothing else needs a body.
    var maximumBodyBytes: Int { takesChanges ? 8 * 1024 * 1024 : 64 * 1024 }

    /// - Parameter isLoopback: Whether the connection came to a loopback address of this machine.
    func route(_ request: HTTPRequest, isLoopback: Bool) -> HTTPRoute {
        let head = request.head
        let hosts = head.headers["host"]
        if hosts.count > 1 || hosts.isEmpty && head.version != .http1_0 {
            return .answer(.text(.badRequest, "A request needs one Host header.\n"))
        }
        if head.uri.utf8.count > maximumURIBytes { return .answer(.text(.uriTooLong, "The address is too long.\n")) }
        let (authority, path, query) = Self.parts(ofTarget: head.uri)
        if let refusal = refusal(of: head, path, host: authority ?? hosts.first, isLoopback: isLoopback) {
            return .answer(refusal)
        }
        if path == Self.reloadPath {
            guard head.method == .POST || head.method == .PUT else {
                return .answer(.methodNotAllowed(allow: "POST, PUT"))
            }
            let refusal = "Reloading over HTTP is off; start netusage with --web.enable-lifecycle.\n"
            return isLifecycleEnabled ? .reload : .answer(.text(.forbidden, refusal))
        }
        if takesChanges, path.hasPrefix(Self.apiPath),
            let change = APIRequest(path: path.dropFirst(Self.apiPath.count), body: request.body)
        {
            if head.method != .POST { return .answer(.methodNotAllowed(allow: "POST")) }
            do {
                try QueryItems(query ?? "").allow([])
                return .api(change)
            } catch {
                return .answer(.problem(error))
            }
        }
        let route: HTTPRoute?
        do { route = try page(path, query, head) } catch { route = .answer(.problem(error)) }
        guard let route else {
            return .answer(
                path.hasPrefix(Self.apiPath)
                    ? .problem(.notFound, "There is nothing at this address; see openapi.yaml.")
                    : .text(.notFound, "There is nothing at this address; see /.\n"))
        }
        // What is wrong with the parameters matters only if the method is right.
        return head.method == .GET || head.method == .HEAD ? route : .answer(.methodNotAllowed(allow: "GET, HEAD"))
    }

    // MARK: - Other people's web pages

    /// The refusal of requests from other people's web pages; `nil` for all other requests.
    private func refusal(
        of head: HTTPRequestHead, _ path: String, host: String?, isLoopback: Bool
    ) -> HTTPAnswer? {
        let isForPeople = path == "/" || path.hasPrefix(Self.apiPath) || path == Self.reloadPath
        guard isForPeople || path == telemetryPath else { return nil }
        // Browsers send these; scrapers don't.
        let site = head.headers["sec-fetch-site"].first
        if site == "cross-site" || site == "same-site", !Self.isNavigation(head) {
            return .text(.forbidden, "Other web pages may not use this address.\n")
        }
        if path == Self.reloadPath, let origin = head.headers["origin"].first, !Self.isSame(origin, host) {
            return .text(.forbidden, "Other web pages may not use this address.\n")
        }
        // A page whose name server points at this machine must not read what is here (DNS rebinding).
        if isForPeople || site != nil, isLoopback, !isKnownHost(host) {
            return .text(
                .forbidden, "This name isn't known here; set --web.external-url to use another than localhost.\n")
        }
        return nil
    }

    /// Whether somebody follows a link or types an address. The page that had the link doesn't see the answer.
    private static func isNavigation(_ head: HTTPRequestHead) -> Bool {
        (head.method == .GET || head.method == .HEAD) && head.headers["sec-fetch-mode"].first == "navigate"
            && head.headers["sec-fetch-dest"].first == "document"
    }

    private static func isSame(_ origin: String, _ host: String?) -> Bool {
        let authority = origin.split(separator: "://", maxSplits: 1).dropFirst().first
        return authority.map { $0.lowercased() == host?.lowercased() } ?? false
    }

    private static let reloadPath = "/-/reload"
    private static let apiPath = "/api/v1/"

    /// The path and query of a request's target. The absolute form, which clients use for proxies, also has a host,
    /// which replaces that of the header (RFC 9112 §3.2.2).
    private static func parts(ofTarget target: String) -> (authority: String?, path: String, query: String?) {
        let parts = target.utf8.prefix { $0 != UInt8(ascii: "#") }
            .split(separator: UInt8(ascii: "?"), maxSplits: 1, omittingEmptySubsequences: false)
        let query = parts.count > 1 ? String(decoding: parts[1], as: UTF8.self) : nil
        var rest = parts[0]
        var authority: String?
        for scheme in ["http://", "https://"] where rest.starts(with: scheme.utf8) {
            rest = rest.dropFirst(scheme.utf8.count)
            let host = rest.prefix { $0 != UInt8(ascii: "/") }
            authority = String(decoding: host, as: UTF8.self)
            rest = rest[host.endIndex...]
            if rest.isEmpty { return (authority, "/", query) }
        }
        return (authority, String(decoding: rest, as: UTF8.self), query)
    }

    private func page(_ path: String, _ query: String?, _ head: HTTPRequestHead) throws -> HTTPRoute? {
        switch path {
        case telemetryPath:
            return .metrics(
                Scraper.Variant(
                    format: ExpositionFormat(accept: Self.joined(head.headers["accept"])),
                    isCompressed: acceptsGzip(Self.joined(head.headers["accept-encoding"]))))
        case "/-/healthy": return .answer(.text(.ok, "netusage is healthy.\n"))
        case "/-/ready": return .answer(.text(.ok, "netusage is ready.\n"))
        case "/":
            // People get the page, whatever else the address has.
            let items = try? QueryItems(query ?? "")
            if let name = items?["application"] { return .page(.application(name)) }
            return .page(items?["device"].map { .device($0) } ?? .uplink)
        case _ where path.hasPrefix(Self.apiPath):
            let rest = path.dropFirst(Self.apiPath.count)
            let request = try APIRequest(path: rest, query: query, accept: Self.joined(head.headers["accept"]))
            if case .change = request, !takesChanges { return nil }
            return request.map { .api($0) }
        default: return nil
        }
    }

    private func isKnownHost(_ header: String?) -> Bool {
        guard let header else { return true }  // HTTP/1.0 without Host: no browser does that.
        /// A name may end with a dot.
        func plain(_ name: String) -> Substring { name.lowercased().dropLast(name.hasSuffix(".") ? 1 : 0) }
        var host = plain(hostPart(of: header))
        if let externalHost, host == plain(externalHost) { return true }
        if host.hasPrefix("::ffff:") { host.removeFirst("::ffff:".count) }
        if host == "localhost" || host.hasSuffix(".localhost") || host == "::1" { return true }
        let octets = host.split(separator: ".", omittingEmptySubsequences: false)
        return octets.count == 4 && octets[0] == "127" && octets.allSatisfy { UInt8($0) != nil }
    }

    /// Several headers of one name count as one list (RFC 9110 §5.3).
    private static func joined(_ values: [String]) -> String? {
        values.count < 2 ? values.first : values.joined(separator: ",")
    }
}
