/// The web-config file that every Prometheus exporter takes: TLS, users, headers
/// (<https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>).
package struct WebConfiguration: Hashable, Sendable {
    /// `tls_server_config`.
    package struct TLS: Hashable, Sendable {
        /// What is asked of clients, in the words of Go's `tls.ClientAuthType`.
        package enum ClientAuthentication: String, CaseIterable, Sendable {
            case none = "NoClientCert"
            case verifyIfGiven = "VerifyClientCertIfGiven"
            case require = "RequireAndVerifyClientCert"
        }

        package enum Version: String, CaseIterable, Sendable {
            case tls10 = "TLS10"
            case tls11 = "TLS11"
            case tls12 = "TLS12"
            case tls13 = "TLS13"
        }

        package var certificateFile: String
        package var keyFile: String
        package var clientAuthentication: ClientAuthentication
        package var clientAuthorityFile: String?
        package var minimumVersion: Version
        package var maximumVersion: Version
    }

    /// `http_server_config.headers`: what every answer carries.
    package struct Header: Hashable, Sendable {
        package var name: String
        package var value: String
    }

    package var tls: TLS?
    package var headers: [Header]
    /// Names and the bcrypt hashes of their passwords.
    package var users: [String: String]

    /// What holds without a file.
    package static let none = WebConfiguration(tls: nil, headers: [], users: [:])
}

extension WebConfiguration {
    /// Reads a web-config file; an empty one asks for nothing.
    ///
    /// - Parameters:
    ///   - bytes: The file, at most 1 MiB of UTF-8.
    ///   - file: Its path; files that it names are taken from its folder.
    /// - Throws: `ConfigurationErrors` with everything that is wrong.
    package init(yaml bytes: [UInt8], file: String) throws(ConfigurationErrors) {
        let document: YAMLDocument
        do throws(Finding) {
            document = try YAMLDocument(bytes)
        } catch {
            throw ConfigurationErrors(file: file, finding: error)
        }
        let folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        var reader = MappingReader(document.root, path: .root)
        tls = reader.mapping("tls_server_config") { TLS(&$0, folder: folder) }
        headers = reader.mapping("http_server_config") { server in
            _ = server.value("http2", boolean, default: true)  // There is HTTP/1.1 only; scrapers don't mind.
            return server.names("headers", headerValue).map { Header(name: $0.name, value: $0.value) }
        }
        users = Dictionary(reader.names("basic_auth_users", passwordHash).map { ($0.name, $0.value) }) { $1 }
        reader.rejectUnknownKeys()
        var findings = document.findings + reader.findings
        if let problem = tls?.problem { findings.append(Finding(at: FilePlace(line: 1, column: 1), .root, problem)) }
        if let errors = ConfigurationErrors(file: file, findings: findings) { throw errors }
    }
}

extension WebConfiguration.TLS {
    /// Nil when the file has no such part.
    fileprivate init?(_ tls: inout MappingReader, folder: String) {
        func path(_ node: YAMLNode) throws(Complaint) -> String? {
            let text = try node.text(of: "a file's path", remedy: "write the path of a PEM file")
            return text.hasPrefix("/") ? text : folder + text
        }
        let certificate = tls.value("cert_file", path, default: nil)
        let key = tls.value("key_file", path, default: nil)
        clientAuthentication = tls.value("client_auth_type", choice, default: .none)
        clientAuthorityFile = tls.value("client_ca_file", path, default: nil)
        minimumVersion = tls.value("min_version", choice, default: .tls12)
        maximumVersion = tls.value("max_version", choice, default: .tls13)
        _ = tls.value("prefer_server_cipher_suites", boolean, default: true)  // Go ignores it as well.
        if certificate == nil && key == nil && clientAuthorityFile == nil && clientAuthentication == .none {
            return nil
        }
        certificateFile = certificate ?? ""
        keyFile = key ?? ""
    }

    fileprivate var problem: Complaint? {
        if certificateFile.isEmpty || keyFile.isEmpty {
            return Complaint(
                problem: "tls_server_config has no cert_file or no key_file", remedy: "write both, or neither")
        }
        if clientAuthentication != .none && clientAuthorityFile == nil {
            return Complaint(
                problem: "client_auth_type asks for certificates, but there is no client_ca_file to check them",
                remedy: "name one")
        }
        return nil
    }
}

/// Decodes one of the words that an enumeration is made of.
private func choice<Value: RawRepresentable<String> & CaseIterable>(_ node: YAMLNode) throws(Complaint) -> Value {
    let remedy = "write one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))"
    let text = try node.text(of: "a word", remedy: remedy)
    guard let value = Value(rawValue: text) else {
        throw Complaint(problem: "\(quoted(text)) isn't known here", remedy: remedy)
    }
    return value
}

private func headerValue(_ node: YAMLNode) throws(Complaint) -> String {
    try node.text(of: "a header's value", remedy: "write a text")
}

/// Decodes a hash as `htpasswd -B` makes it.
private func passwordHash(_ node: YAMLNode) throws(Complaint) -> String {
    let remedy = "write a bcrypt hash, as `htpasswd -nBC 10 '' | tr -d ':'` prints it"
    let text = try node.text(of: "a bcrypt hash", remedy: remedy)
    guard text.utf8.count == 60, ["$2a$", "$2b$", "$2y$"].contains(where: text.hasPrefix) else {
        throw Complaint(problem: "the password isn't a bcrypt hash", remedy: remedy)
    }
    return text
}
