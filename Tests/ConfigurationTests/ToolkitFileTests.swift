import Testing

@testable import Configuration

/// The test files of exporter-toolkit, in words of our own, with its verdict and ours. Errors that need a certificate
/// or a client are tested with the real program.
@Suite struct ToolkitFileTests {
    enum Verdict: Sendable {
        case good
        /// Our message contains this.
        case bad(String)
        /// Bad because of the files that it names: see the real program's tests.
        case badByItsFiles
    }

    struct File: Sendable, CustomTestStringConvertible {
        /// The toolkit's name of it.
        let name: String
        let yaml: String
        let isGoodForToolkit: Bool
        let verdict: Verdict
        /// Why our verdict is another one.
        let reason: String?

        init(_ name: String, _ yaml: String, toolkit: Bool, _ verdict: Verdict, because reason: String? = nil) {
            self.name = name
            self.yaml = yaml
            isGoodForToolkit = toolkit
            self.verdict = verdict
            self.reason = reason
        }

        var testDescription: String { name }
    }

    @Test(arguments: files) func theVerdictIsTheToolkitsUnlessAReasonIsGiven(_ file: File) {
        let message = webErrors(in: file.yaml)
        switch file.verdict {
        case .good, .badByItsFiles: #expect(message == "")
        case .bad(let expected): #expect(message.contains(expected), "\(message)")
        }
        let isGood = if case .good = file.verdict { true } else { false }
        #expect((isGood == file.isGoodForToolkit) == (file.reason == nil))
    }

    @Test func filesWithVerifyClientCertIfGivenDifferInTheMissingAuthorityOnly() {
        for file in Self.files where file.reason == Self.systemRoots {
            #expect(webErrors(in: file.yaml + "  client_ca_file: ca.pem\n") == "", "\(file.name)")
        }
    }

    static let files = general + tlsSources + clients + algorithms + rest

    private static let pair = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
    private static let ifGiven = "  client_auth_type: VerifyClientCertIfGiven\n"
    private static let systemRoots = "the system's roots vouch for half the world, so an authority must be named"
    private static let noAuthority = Verdict.bad("there is no client_ca_file or client_ca")

    private static let general = [
        File("empty", "", toolkit: true, .good),
        File("junk", "hello: world: again\n", toolkit: false, .bad("no key here")),
        File("junk_key", "hello_world: true\n", toolkit: false, .bad("hello_world: is not a known key")),
    ]

    private static let tlsSources = [
        File(
            "noAuth_certPath_empty.bad", "tls_server_config:\n  cert_file: ''\n  key_file: server.key\n",
            toolkit: false, .bad("cert_file: is missing")),
        File(
            "noAuth_cert_empty.bad", "tls_server_config:\n  cert: ''\n  key_file: server.key\n", toolkit: false,
            .bad("cert_file: is missing")),
        File(
            "noAuth_keyPath_empty.bad", "tls_server_config:\n  cert_file: server.crt\n  key_file: ''\n",
            toolkit: false, .bad("key_file: is missing")),
        File(
            "noAuth_key_empty.bad", "tls_server_config:\n  cert_file: server.crt\n  key: ''\n", toolkit: false,
            .bad("key_file: is missing")),
        File(
            "noAuth_certPath_keyPath_empty.bad",
            "tls_server_config:\n  cert_file: ''\n  key_file: ''\n  client_auth_type: 'x'\n", toolkit: false,
            .bad("client_auth_type: is not known here")),
        File("noAuth_certPath_invalid.bad", pair, toolkit: false, .badByItsFiles),
        File("noAuth_keyPath_invalid.bad", pair, toolkit: false, .badByItsFiles),
        File("noAuth_certPath_keyPath_invalid.bad", pair, toolkit: false, .badByItsFiles),
        File(
            "noAuth_tlsInline.good",
            "tls_server_config:\n  cert: |\n    -----BEGIN CERTIFICATE-----\n  key: |\n    -----BEGIN PRIVATE KEY-----\n",
            toolkit: true, .good),
        File("noAuth.good", pair + ifGiven, toolkit: true, noAuthority, because: systemRoots),
    ]

    private static let clients = [
        File(
            "noAuth.bad", pair + "  client_ca_file: /dev/null\n", toolkit: false,
            .bad("no client is asked for a certificate")),
        File(
            "auth_clientCAs_invalid.bad", pair + "  client_ca_file: somefile\n", toolkit: false,
            .bad("no client is asked for a certificate")),
        File(
            "auth_clientCAs_nocerts.bad",
            pair + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: /dev/null\n", toolkit: false,
            .badByItsFiles),
        File(
            "auth_clientCAsText_nocerts.bad",
            pair + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca: none\n", toolkit: false, .badByItsFiles
        ),
        File(
            "noAuth.good.blocking", pair + "  client_auth_type: RequireAndVerifyClientCert\n", toolkit: true,
            noAuthority, because: systemRoots),
        File(
            "noAuth.requireandverifyclientcert.good",
            pair + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n", toolkit: true, .good),
        File(
            "noAuth.requireanyclientcert.good",
            pair + "  client_auth_type: RequireAnyClientCert\n  client_ca_file: ca.pem\n", toolkit: true,
            .bad("anybody can make"), because: "anybody can make such a certificate"),
        File(
            "auth_client_san.good",
            pair + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
                + "  client_allowed_sans:\n    - one\n    - test3\n    - two\n", toolkit: true, .good),
        File(
            "auth_client_san.bad",
            pair + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
                + "  client_allowed_sans: [bad]\n", toolkit: true, .good),
        File(
            "auth_client_san_optional_cert.bad",
            pair + ifGiven + "  client_ca_file: ca.pem\n  client_allowed_sans: [one]\n", toolkit: false,
            .bad("client_allowed_sans: needs certificates, and none is required")),
        File(
            "auth_client_san_no_client_auth.bad", pair + "  client_allowed_sans: [one]\n", toolkit: false,
            .bad("client_allowed_sans: needs certificates, and none is required")),
    ]

    private static let algorithms = [
        File(
            "noAuth_allCiphers.good",
            pair + ifGiven + "  cipher_suites:\n"
                + WebConfiguration.TLS.CipherSuite.allCases.map { "  - \($0.rawValue)\n" }.joined(), toolkit: true,
            noAuthority, because: systemRoots),
        File(
            "noAuth_someCiphers.good",
            pair + ifGiven + "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "
                + "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n  min_version: TLS12\n  max_version: TLS12\n", toolkit: true,
            noAuthority, because: systemRoots),
        File(
            "noAuth_someCiphers_noOrder.good",
            pair + ifGiven + "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "
                + "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  prefer_server_cipher_suites: false\n"
                + "  max_version: TLS12\n", toolkit: true, noAuthority, because: systemRoots),
        File(
            "noAuth_inventedCiphers.bad",
            pair + ifGiven + "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_MADE_UP]\n", toolkit: false,
            .bad("cipher_suites[1]: is not known here")),
        File(
            "noAuth_allCurves.good",
            pair + ifGiven + "  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519, X25519MLKEM768]\n",
            toolkit: true, noAuthority, because: systemRoots),
        File(
            "noAuth_someCurves.good", pair + ifGiven + "  min_version: TLS13\n  curve_preferences: [CurveP521]\n",
            toolkit: true, noAuthority, because: systemRoots),
        File(
            "noAuth_inventedCurves.bad", pair + ifGiven + "  curve_preferences: [CurveP257]\n", toolkit: false,
            .bad("curve_preferences[0]: is not known here")),
        File(
            "noAuth_wrongTLSVersion.bad", pair + ifGiven + "  min_version: TLS111\n", toolkit: false,
            .bad("min_version: is not known here")),
        File(
            "noAuth_noHTTP2.good",
            "http_server_config: { http2: false }\n" + pair + ifGiven
                + "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n  max_version: TLS12\n", toolkit: true,
            noAuthority, because: systemRoots),
        File(
            "noAuth_noHTTP2Cipher.bad without its client_auth_type",
            pair + "  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]\n  max_version: TLS12\n", toolkit: false, .good,
            because: "the suite is forbidden for HTTP/2 only, which isn't offered"),
    ]

    private static let rest = [
        File(
            "headers.good",
            """
            http_server_config:
              headers:
                Strict-Transport-Security: max-age=63072000; includeSubDomains
                X-Content-Type-Options: nosniff
                X-Frame-Options: sameorigin
                X-XSS-Protection: 1
                Content-Security-Policy: "default-src 'self' *.example.org"
            """, toolkit: true, .good),
        File(
            "headers_content_type_options.bad", "http_server_config: { headers: { X-Content-Type-Options: sniff } }",
            toolkit: false, .bad("X-Content-Type-Options: has a value that is not known; write nosniff")),
        File(
            "headers_frame_options.bad", "http_server_config: { headers: { X-Frame-Options: maybe } }", toolkit: false,
            .bad("X-Frame-Options: has a value that is not known; write deny or sameorigin")),
        File(
            "headers_extra_header.bad", "http_server_config: { headers: { Server: netusage } }", toolkit: false,
            .bad("headers: is not a known key; known here are Content-Security-Policy")),
        File("rate_limiter_nonblocking", "rate_limit: { interval: 0, burst: 0 }\n", toolkit: true, .good),
        File("rate_limiter_one_second", "rate_limit: { interval: '1s', burst: 0 }\n", toolkit: true, .good),
        File(
            "rate_limiter_headers",
            "rate_limit: { interval: 1h, burst: 1 }\nhttp_server_config: { headers: { X-Frame-Options: deny } }\n",
            toolkit: true, .good),
        File(
            "users_noTLS.good", "basic_auth_users:\n  dave: \(someHash(cost: "10"))\n", toolkit: true, .good),
        File(
            "users.good",
            pair + "basic_auth_users:\n  bob: \(someHash(cost: "18"))\n  carol: \(someHash(cost: "10"))\n",
            toolkit: true, .good),
        File(
            "auth_user_list_invalid.bad", pair + "basic_auth_users:\n  john: doe\n", toolkit: false,
            .bad("basic_auth_users: the password isn't a bcrypt hash")),
    ]
}

/// What is wrong with a web-config file, a line for each; empty when nothing is.
func webErrors(in yaml: String) -> String {
    do throws(ConfigurationErrors) {
        _ = try WebConfigurationText(yaml: Array(yaml.utf8), file: "web.yml")
        return ""
    } catch {
        return error.description
    }
}

/// A text of bcrypt's form that is nobody's hash.
func someHash(cost: String) -> String {
    "$2y$\(cost)$" + String(repeating: "abcdefghijklmnopqrstuvwxyz./ABCDEFGHIJKLMNOPQRSTUVWXYZ", count: 1).prefix(53)
}
