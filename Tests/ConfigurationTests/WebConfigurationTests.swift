import TestSupport
import Testing

@testable import Configuration

/// Web-config files beyond those of the toolkit's own tests.
@Suite struct WebConfigurationTests {
    private static let pair = "tls_server_config:\n  cert_file: c.pem\n  key_file: k.pem\n"

    private func read(_ yaml: String) throws(ConfigurationErrors) -> WebConfigurationText {
        try WebConfigurationText(yaml: Array(yaml.utf8), file: "/etc/web.yml")
    }

    @Test func pathsAreTakenFromTheFilesFolder() throws {
        let tls = try #require(try read(Self.pair.replacing("k.pem", with: "/k.pem")).configuration.tls)
        #expect(tls.certificate == .file("/etc/c.pem"))
        #expect(tls.key == .file("/k.pem"))
        #expect(tls.versions == .tls12 ... .tls13)
        #expect(tls.cipherSuites.allSatisfy { $0.rawValue.hasPrefix("TLS_ECDHE_") })
    }

    @Test(arguments: ["cert", "key", "client_ca"]) func aTextBesideItsFileIsAnError(_ key: String) {
        let yaml = Self.pair + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
        #expect(webErrors(in: yaml) == "")
        #expect(webErrors(in: yaml + "  \(key): abc\n").contains("\(key): is there beside \(key)_file"))
    }

    @Test(arguments: ["RequestClientCert", "RequireAnyClientCert", "RequireClientCert"])
    func policiesThatCheckNothingAreRefusedWithTheReason(_ policy: String) {
        let message = webErrors(in: Self.pair + "  client_ca_file: ca.pem\n  client_auth_type: \(policy)\n")
        #expect(message.contains("certificates that nobody has checked"))
    }

    @Test func aMinimumAboveTheMaximumIsAnError() {
        #expect(
            webErrors(in: Self.pair + "  min_version: TLS13\n  max_version: TLS12\n").contains("nobody could connect"))
    }

    @Test func optionsOfTLSWithoutACertificateAreAnError() {
        #expect(webErrors(in: "tls_server_config: { min_version: TLS13 }").contains("cert_file: is missing"))
        #expect(webErrors(in: "tls_server_config: {}") == "")
    }

    @Test func suitesOfTLS13AloneLeaveTLS13() throws {
        let suites = "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n"
        #expect(try read(Self.pair + suites).configuration.tls?.versions == .tls13 ... .tls13)
        #expect(webErrors(in: Self.pair + suites + "  max_version: TLS12\n").contains("nobody could connect"))
    }

    @Test func anEmptyListOfNamesIsAnError() {
        let yaml = Self.pair + "  client_ca_file: a\n  client_auth_type: RequireAndVerifyClientCert\n"
        #expect(webErrors(in: yaml + "  client_allowed_sans: []\n").contains("nobody could connect"))
    }

    @Test(arguments: ["basic_auth_users:", "basic_auth_users: ~", "tls_server_config:", "tls_server_config: # later"])
    func aPartWithoutAValueIsAnErrorAsAHalfWrittenFileEndsSo(_ yaml: String) {
        #expect(webErrors(in: yaml).contains("has no value"))
    }

    @Test func aFileOfNothingButCommentsIsBlank() throws {
        for yaml in ["", "# users\n", "---\n", "~"] { #expect(try read(yaml).isBlank) }
        for yaml in ["{}", "basic_auth_users: {}"] { #expect(try !read(yaml).isBlank) }
    }

    @Test(arguments: [
        ("X-Ä", "a"), ("Content-Length", "5"), ("content-security-policy", "a"), ("X-A\\nSet-Cookie", "a"), ("''", "a"),
        ("Content-Security-Policy", #""a\nSet-Cookie: b""#), ("Strict-Transport-Security", "ä"),
        ("X-Frame-Options", "DENY"),
    ])
    func headersThatCouldBreakAnAnswerAreErrors(name: String, value: String) {
        #expect(webErrors(in: "http_server_config: { headers: { \(name): \(value) } }") != "")
    }

    @Test func blankHeadersAreLeftOut() throws {
        let yaml = "http_server_config: { headers: { X-Frame-Options: '', X-XSS-Protection: } }"
        #expect(try read(yaml).configuration.headers == [])
    }

    @Test(arguments: [
        ("1s", 1_000_000_000), ("1.5s", 1_500_000_000), ("1h30m", 5_400_000_000_000), ("250ms", 250_000_000),
        ("1500", 1500), ("2us", 2000), ("1µs", 1000), (".5s", 500_000_000),
    ])
    func intervalsAreReadAsGoReadsThem(text: String, nanoseconds: Int64) throws {
        let limit = try read("rate_limit: { interval: \(text), burst: 3 }").configuration.rateLimit
        #expect(limit == WebConfiguration.RateLimit(intervalNanoseconds: nanoseconds, burst: 3))
    }

    @Test(arguments: ["-1s", "s", "''", "1d", "1s1", "..s", "1e3s", "9999999999h"])
    func otherIntervalsAreErrors(_ text: String) {
        #expect(webErrors(in: "rate_limit: { interval: \(text), burst: 3 }") != "")
    }

    @Test func hashesAreCheckedToTheLastCharacter() {
        let good = someHash(cost: "10")
        #expect(PasswordHash(good)?.cost == 10)
        for cost in ["00", "03", "32", "99", "1x", "-1", " 5"] { #expect(PasswordHash(someHash(cost: cost)) == nil) }
        for index in 7..<60 {
            var bytes = Array(good.utf8)
            bytes[index] = UInt8(ascii: "!")
            #expect(PasswordHash(String(decoding: bytes, as: UTF8.self)) == nil)
        }
        for prefix in ["$2x$", "$2$1", "$1$a", "$6$a"] { #expect(PasswordHash(prefix + good.dropFirst(4)) == nil) }
        #expect(PasswordHash(String(good.dropLast())) == nil)
    }

    @Test func aCostThatTakesAMinuteIsAnErrorAndOneThatTakesSecondsIsNoted() throws {
        #expect(webErrors(in: "basic_auth_users: { a: \(someHash(cost: "21")) }").contains("longer than a minute"))
        #expect(try read("basic_auth_users: { a: \(someHash(cost: "17")) }").notes.count == 1)
        #expect(try read("basic_auth_users: { a: \(someHash(cost: "16")) }").notes.isEmpty)
    }

    @Test func usersThatUnicodeTakesForEqualAreTwo() throws {
        let yaml = "basic_auth_users:\n  jos\u{E9}: \(someHash(cost: "04"))\n  jose\u{301}: \(someHash(cost: "05"))\n"
        let users = try read(yaml).configuration.users
        #expect(users.count == 2)
        #expect(users[Array("jos\u{E9}".utf8)]?.cost == 4)
    }

    @Test func aNameThatNobodyCanLogInByIsAnError() {
        #expect(webErrors(in: "basic_auth_users: { 'a:b': \(someHash(cost: "10")) }").contains("nobody can log in"))
    }

    /// The secret is where somebody may put it by mistake, and where it belongs.
    @Test(arguments: [
        "basic_auth_users: prometheus:S3cret", "basic_auth_users: S3cret", "basic_auth_users: { u: S3cret }",
        "basic_auth_users: { S3cret }", "basic_auth_users: { S3cret: x }", "basic_auth_users: [S3cret]", "S3cret",
        "basic_auth_users: { u: [S3cret] }", "basic_auth_users: { u: *S3cret }", "basic_auth_users: { u: &S3cret x }",
        "basic_auth_users: { u: !S3cret x }", #"basic_auth_users: { u: "S3cret\e" }"#, "S3cret: 1", "S3cret S3cret: 1",
        "basic_auth_users: { S3cret: x, S3cret: y }", "basic_auth_users: 'S3cret", "basic_auth_users: S3cret: S3cret",
        "tls_server_config: { key: S3cret, key_file: S3cret }", "tls_server_config: S3cret",
        "tls_server_config: { key: [S3cret] }", "tls_server_config: { S3cret: x }",
        "tls_server_config:\n  key_file: |\n    -----BEGIN PRIVATE KEY-----\n    S3cret\n    -----END PRIVATE KEY-----\n",
        "tls_server_config:\n  key_file: -----BEGIN S3cret-----\n", "http_server_config: { http2: S3cret }",
        "tls_server_config: { cert_file: c, key_file: k, client_auth_type: S3cret, min_version: S3cret }",
        "tls_server_config: { cipher_suites: S3cret, curve_preferences: [S3cret], client_allowed_sans: S3cret }",
        "tls_server_config: { prefer_server_cipher_suites: S3cret }", "rate_limit: { interval: S3cret, burst: S3cret }",
        "http_server_config: { headers: { X-Frame-Options: S3cret, S3cret: x } }", "- S3cret\n- [",
        "-----BEGIN PRIVATE KEY-----\nS3cret\n-----END PRIVATE KEY-----\n", "S3cret: { S3cret: &S3cret { ",
        "? [S3cret]",
    ])
    func noMessageRepeatsASecret(_ yaml: String) {
        let message = webErrors(in: yaml)
        #expect(message != "")
        #expect(!message.contains("S3cret") && !message.contains("BEGIN"), "\(message)")
    }
}

/// The protection that a change of the web-config file takes away.
@Suite struct WebConfigurationWeakeningTests {
    private static let full = """
        tls_server_config:
          cert_file: c.pem
          key_file: k.pem
          client_auth_type: RequireAndVerifyClientCert
          client_ca_file: ca.pem
          client_allowed_sans: [one, two]
          min_version: TLS13
        http_server_config: { headers: { X-Frame-Options: deny } }
        rate_limit: { interval: 1s, burst: 3 }
        basic_auth_users:
          alice: \(someHash(cost: "10"))
          bob: \(someHash(cost: "10"))

        """
    /// A file in which each value may be cut.
    private static let block = """
        tls_server_config:
          cert_file: c.pem
          key_file: k.pem
        basic_auth_users:
          alice: \(someHash(cost: "10"))
        rate_limit:
          burst: 20
          interval: 10h
        http_server_config:
          headers:
            Strict-Transport-Security: max-age=31536000
            Content-Security-Policy: default-src 'none'; img-src 'self'

        """

    private func configuration(_ yaml: String) throws -> WebConfiguration {
        try WebConfigurationText(yaml: Array(yaml.utf8), file: "web.yml").configuration
    }

    @Test func theSameFileTakesNothingAway() throws {
        #expect(try configuration(Self.full).weakenings(in: configuration(Self.full)) == [])
    }

    @Test(arguments: [
        ("  bob: \(someHash(cost: "10"))\n", "", "1 of 2 users is gone"),
        ("alice", "carol", "1 of 2 users is gone"), (", two", ", three", "certificates with other names are accepted"),
        ("  client_allowed_sans: [one, two]\n", "", "certificates with other names are accepted"),
        ("  min_version: TLS13\n", "", "older versions of TLS are accepted"),
        ("X-Frame-Options: deny", "", "headers are gone"), ("deny", "sameorigin", "headers have other values"),
        ("interval: 1s", "interval: 1", "more requests are let through"),
        ("burst: 3", "burst: 30", "more requests are let through"),
        ("rate_limit: { interval: 1s, burst: 3 }\n", "", "requests are no longer limited"),
        (
            "RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [one, two]\n",
            "VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n", "clients need no certificate any more"
        ),
    ])
    func whatIsTakenAwayIsSaid(part: String, replacement: String, weakening: String) throws {
        let changed = Self.full.replacing(part, with: replacement)
        try #require(changed != Self.full)
        #expect(try configuration(Self.full).weakenings(in: configuration(changed)) == [weakening])
    }

    @Test func whatProtectsMoreIsNoWeakening() throws {
        for (part, replacement) in [
            ("interval: 1s", "interval: 2s"), ("burst: 3", "burst: 1"),
            ("deny }", "deny, X-Content-Type-Options: nosniff }"),
        ] {
            let changed = Self.full.replacing(part, with: replacement)
            try #require(changed != Self.full)
            #expect(try configuration(Self.full).weakenings(in: configuration(changed)) == [])
        }
    }

    /// A file that is written in place shows each of them for a moment.
    @Test(arguments: [full, block, block.split(separator: "k.pem\n").last.map(String.init) ?? ""])
    func everyPrefixOfAGoodFileIsWrongOrBlankOrWeakerOrTheSame(_ full: String) throws {
        let whole = try configuration(full)
        let bytes = Array(full.utf8)
        for count in 0..<bytes.count {
            guard let text = try? WebConfigurationText(yaml: Array(bytes[..<count]), file: "web.yml") else { continue }
            let isWeaker =
                text.isBlank || whole.tls != nil && text.configuration.tls == nil
                || !whole.weakenings(in: text.configuration).isEmpty
            #expect(isWeaker || text.configuration == whole, "\(count) bytes")
        }
    }
}
