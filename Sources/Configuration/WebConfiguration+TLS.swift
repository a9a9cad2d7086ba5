extension WebConfiguration.TLS {
    /// More than anybody needs.
    private static let itemLimit = 1000

    /// Nil when the file asks for no TLS. After an error in `tls` the value means nothing.
    init?(_ tls: inout MappingReader, folder: String) {
        let certificate = tls.source("cert", folder)
        let key = tls.source("key", folder)
        let authority = tls.source("client_ca", folder)
        let areSourcesRight = tls.findings.isEmpty
        let policy = tls.value("client_auth_type", clientPolicy, default: .none)
        let names = tls.sequence(
            "client_allowed_sans", limit: Self.itemLimit, example: "[prometheus.example]", allowedName)
        let hasMinimum = tls.has("min_version")
        var minimum = tls.value("min_version", choice, default: Version.tls12)
        let maximum = tls.value("max_version", choice, default: Version.tls13)
        let suites: [CipherSuite]? = tls.sequence(
            "cipher_suites", limit: Self.itemLimit, example: "[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]", choice)
        let curves: [Curve]? = tls.sequence("curve_preferences", limit: Self.itemLimit, example: "[X25519]", choice)
        let prefersOurs = tls.has("prefer_server_cipher_suites")
        _ = tls.value("prefer_server_cipher_suites", switchValue, default: true)  // Go ignores it as well.
        let hasOptions =
            names != nil || hasMinimum || tls.has("max_version") || suites != nil || curves != nil || prefersOurs
        if certificate == nil && key == nil && authority == nil && policy == .none && !hasOptions { return nil }

        for (name, source) in [("cert", certificate), ("key", key)] where source == nil && areSourcesRight {
            let remedy = "write \(name) or \(name)_file, or remove tls_server_config"
            tls.complain(about: "\(name)_file", "is missing", remedy: remedy)
        }
        if minimum > maximum {
            let remedy = "lower min_version or raise max_version"
            tls.complain(about: "min_version", "is above max_version: nobody could connect", remedy: remedy)
        }
        let olderSuites = suites?.filter { !$0.isOfTLS13 } ?? []
        if let suites, !suites.isEmpty, olderSuites.isEmpty {
            if maximum < .tls13 {
                let problem = "has suites of TLS 1.3 only, and max_version is below it: nobody could connect"
                tls.complain(about: "cipher_suites", problem, remedy: "add some of TLS 1.2")
            }
            minimum = .tls13  // Older versions would have no suite.
        }
        clients = tls.clients(policy, authority, names)
        // A missing source is a finding, so the value isn't used.
        self.certificate = certificate ?? .inline([])
        self.key = key ?? .inline([])
        versions = min(minimum, maximum)...maximum
        cipherSuites = suites?.isEmpty ?? true ? CipherSuite.standard : olderSuites
        self.curves = curves?.isEmpty ?? true ? nil : curves
    }

    /// `client_auth_type`, by Go's names for `tls.ClientAuthType`.
    fileprivate enum ClientPolicy: String, CaseIterable {
        case none = "NoClientCert"
        case verifyIfGiven = "VerifyClientCertIfGiven"
        case requireAndVerify = "RequireAndVerifyClientCert"
    }
}

extension MappingReader {
    /// The PEM text of a key, or the file of the key with `_file`; nil if both are missing.
    fileprivate mutating func source(_ key: String, _ folder: String) -> WebConfiguration.TLS.Source? {
        let text = optional(key, pemText)?.flatMap { $0 }
        let file = optional("\(key)_file", filePath)?.flatMap { $0 }
        if text != nil && file != nil {
            complain(about: key, "is there beside \(key)_file", remedy: "write one of the two")
        }
        if let text { return .inline(text) }
        return file.map { .file($0.hasPrefix("/") ? $0 : folder + $0) }
    }

    /// The certificates that clients must show. Complains about settings that don't fit together.
    fileprivate mutating func clients(
        _ policy: WebConfiguration.TLS.ClientPolicy, _ authority: WebConfiguration.TLS.Source?, _ names: [String]?
    ) -> WebConfiguration.TLS.Clients {
        if names != nil && policy != .requireAndVerify {
            let remedy = "write client_auth_type: RequireAndVerifyClientCert"
            complain(about: "client_allowed_sans", "needs certificates, and none is required", remedy: remedy)
        }
        if names?.isEmpty ?? false {
            complain(
                about: "client_allowed_sans", "is an empty list: nobody could connect",
                remedy: "list names, or leave it out")
        }
        guard let authority else {
            if policy != .none {
                let problem = "asks for certificates, but there is no client_ca_file or client_ca to check them"
                complain(about: "client_auth_type", problem, remedy: "write one of the two")
            }
            return .anonymous
        }
        switch policy {
        case .none:
            let key = has("client_ca") ? "client_ca" : "client_ca_file"
            let remedy = "write client_auth_type: RequireAndVerifyClientCert, or remove \(key)"
            complain(about: key, "is there, but no client is asked for a certificate", remedy: remedy)
            return .anonymous
        case .verifyIfGiven: return .verifiedIfGiven(authority: authority)
        case .requireAndVerify: return .verified(authority: authority, allowedNames: names)
        }
    }
}

/// Decodes a PEM text; nil for an empty one.
private func pemText(_ node: YAMLNode) throws(Complaint) -> [UInt8]? {
    if node.isNull { return nil }
    let text = try node.text(of: "a PEM text", remedy: "write | and the PEM text, indented, on the lines below")
    return text.isEmpty ? nil : Array(text.utf8)
}

/// Decodes a path; nil for an empty one. A PEM text is refused, and messages don't repeat it.
private func filePath(_ node: YAMLNode) throws(Complaint) -> String? {
    if node.isNull { return nil }
    let text = try node.text(of: "a file's path", remedy: "write the path of a PEM file")
    guard text.utf8.count < 4096, text.unicodeScalars.allSatisfy({ !$0.isInvisible }), !text.contains("-----") else {
        let remedy = "write the path of a PEM file; a PEM text itself belongs under the key without _file"
        throw Complaint(problem: "is not a file's path", remedy: remedy)
    }
    return text.isEmpty ? nil : text
}

private func allowedName(_ node: YAMLNode) throws(Complaint) -> String {
    let remedy = "write a DNS name, an IP address, an e-mail address or a URI"
    let text = try node.text(of: "a name", remedy: remedy)
    if text.isEmpty { throw Complaint(problem: "is empty", remedy: remedy) }
    return text
}

private func clientPolicy(_ node: YAMLNode) throws(Complaint) -> WebConfiguration.TLS.ClientPolicy {
    if node.isNull { return .none }
    switch try node.text(of: "a word", remedy: "write RequireAndVerifyClientCert") {
    case "": return .none
    case "RequestClientCert", "RequireAnyClientCert", "RequireClientCert":
        throw Complaint(
            problem: "isn't offered: it accepts certificates that nobody has checked and that anybody can make",
            remedy: "write RequireAndVerifyClientCert, with a client_ca_file")
    default: return try choice(node)
    }
}
