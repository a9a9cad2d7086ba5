/// A decoded web-config file.
///
/// No message repeats a text of the file, because any text may be a key, a hash or a secret in the wrong place.
package struct WebConfigurationText: Hashable, Sendable {
    package let configuration: WebConfiguration
    /// Settings that are allowed but may be mistakes.
    package let notes: [ConfigurationErrors.Entry]
    /// Whether the file has only comments: a file that is being written may look like that.
    package let isBlank: Bool

    /// Reads a web-config file; an empty one asks for nothing.
    ///
    /// - Parameters:
    ///   - bytes: The file, at most 1 MiB of UTF-8.
    ///   - file: Its path. Paths in the file start from its folder.
    /// - Throws: `ConfigurationErrors` with all errors.
    package init(yaml bytes: [UInt8], file: String) throws(ConfigurationErrors) {
        let document: YAMLDocument
        do throws(Finding) {
            document = try YAMLDocument(bytes, showsText: false)
        } catch {
            throw ConfigurationErrors(entries: [error].entries(of: file))
        }
        let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        var reader = MappingReader(document.root, path: .root, showsText: false)
        var configuration = WebConfiguration.none
        reader.rejectNull("tls_server_config", remedy: "write cert_file and key_file under it, or remove it")
        configuration.tls = reader.mapping("tls_server_config") { WebConfiguration.TLS(&$0, folder: folder) }
        configuration.headers = reader.mapping("http_server_config") { server in
            _ = server.value("http2", switchValue, default: true)  // The server has only HTTP/1.1; scrapers don't mind.
            return server.mapping("headers") { $0.headers() }
        }
        configuration.rateLimit = reader.mapping("rate_limit") { $0.rateLimit() }
        configuration.users = reader.users()
        reader.rejectUnknownKeys()
        let findings = document.findings + reader.findings
        guard findings.isEmpty else { throw ConfigurationErrors(entries: findings.entries(of: file)) }
        self.configuration = configuration
        notes = reader.notes.entries(of: file)
        isBlank = document.root?.isNull ?? true
    }
}

extension MappingReader {
    /// Complains about a key without a value: a file that is half written may end like that.
    fileprivate mutating func rejectNull(_ key: String, remedy: String) {
        if isNull(key) { complain(about: key, "has no value", remedy: remedy) }
    }

    /// `http_server_config.headers`, without those that are blank.
    fileprivate mutating func headers() -> [WebConfiguration.Header] {
        WebConfiguration.Header.Name.allCases.compactMap { name in
            let value = optional(name.rawValue) { node throws(Complaint) in try headerValue(node, of: name) }
            guard let value, !value.isEmpty else { return nil }
            return WebConfiguration.Header(name: name, value: value)
        }
    }

    /// `rate_limit`; nil when nothing is limited.
    fileprivate mutating func rateLimit() -> WebConfiguration.RateLimit? {
        let interval = value("interval", goDuration, default: 0)
        let burst = value("burst", tokenCount, default: 0)
        if interval == 0 { return nil }
        if burst == 0 {
            let remedy = "write how many requests may come at once"
            note(about: "burst", "is 0, so that every request gets a 429", remedy: remedy)
        }
        return WebConfiguration.RateLimit(intervalNanoseconds: interval, burst: burst)
    }

    /// `basic_auth_users`.
    fileprivate mutating func users() -> [[UInt8]: PasswordHash] {
        let key = "basic_auth_users"
        rejectNull(key, remedy: "write {} for no users")
        let users = names(key, { $0 }, passwordHash)
        if users.contains(where: { $0.name.utf8.contains { $0 < 0x20 || $0 == 0x7F || $0 == UInt8(ascii: ":") } }) {
            let problem = "a name holds a colon or a control character, and nobody can log in by it"
            complain(about: key, problem, remedy: "rename that user")
        }
        let dearest = users.map(\.value.cost).max() ?? 0
        if dearest >= PasswordHash.dearCost {
            let problem = "a hash has the cost \(dearest): a check takes many seconds, and other passwords wait for it"
            note(about: key, problem, remedy: "10 to 12 is usual")
        }
        return Dictionary(users.map { (Array($0.name.utf8), $0.value) }) { $1 }
    }
}

/// Decodes true or false. Messages don't repeat the text.
func switchValue(_ node: YAMLNode) throws(Complaint) -> Bool {
    do {
        return try boolean(node)
    } catch {
        throw Complaint(problem: "is not true or false", remedy: "write true or false, without quotes")
    }
}

/// Decodes one of the words of an enumeration. Messages don't repeat the text.
func choice<Value: RawRepresentable<String> & CaseIterable>(_ node: YAMLNode) throws(Complaint) -> Value {
    let remedy = "write one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))"
    let text = try node.text(of: "a word", remedy: remedy)
    guard let value = Value(rawValue: text) else { throw Complaint(problem: "is not known here", remedy: remedy) }
    return value
}

private func headerValue(_ node: YAMLNode, of name: WebConfiguration.Header.Name) throws(Complaint) -> String {
    if node.isNull { return "" }
    let text = try node.text(of: "a header's value", remedy: "write a text")
    guard text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) else {
        throw Complaint(problem: "holds a line end or a letter beyond ASCII", remedy: "write ASCII on one line")
    }
    let allowed: [String]
    switch name {
    case .frameOptions: allowed = ["deny", "sameorigin"]
    case .contentTypeOptions: allowed = ["nosniff"]
    case .contentSecurityPolicy, .xssProtection, .strictTransportSecurity: return text
    }
    guard text.isEmpty || allowed.contains(text) else {
        throw Complaint(problem: "has a value that is not known", remedy: "write \(allowed.joined(separator: " or "))")
    }
    return text
}

private func tokenCount(_ node: YAMLNode) throws(Complaint) -> UInt32 {
    let remedy = "write a whole number, as 10"
    guard let count = UInt32(try node.text(of: "a number", remedy: remedy)), count <= 1_000_000_000 else {
        throw Complaint(problem: "is not a number of requests", remedy: remedy)
    }
    return count
}

private func passwordHash(_ node: YAMLNode) throws(Complaint) -> PasswordHash {
    let remedy = "write a bcrypt hash, as `htpasswd -nBC 10 '' | tr -d ':'` prints it"
    guard let hash = PasswordHash(try node.text(of: "a bcrypt hash", remedy: remedy)) else {
        throw Complaint(problem: "the password isn't a bcrypt hash", remedy: remedy)
    }
    guard hash.cost < PasswordHash.uselessCost else {
        let problem =
            "the hash has the cost \(hash.cost): a check takes longer than a minute, and no client waits so long"
        throw Complaint(problem: problem, remedy: "make it again with a cost of 10 to 12")
    }
    return hash
}
