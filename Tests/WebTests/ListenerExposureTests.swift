import Testing

@testable import Configuration
@testable import Web

@Suite("Listener exposure")
struct ListenerExposureTests {
    private func configuration(_ yaml: String) throws -> WebConfiguration {
        try WebConfigurationText(yaml: Array(yaml.utf8), file: "web.yml").configuration
    }

    @Test func whatIsOpenToOthersIsWarnedOf() throws {
        let users = "basic_auth_users: { me: \("$2y$10$" + String(repeating: "a", count: 53)) }\n"
        let tls = "tls_server_config:\n  cert_file: c\n  key_file: k\n"
        let clients = tls + "  client_ca_file: c\n  client_auth_type: RequireAndVerifyClientCert\n"
        for (yaml, words) in [
            ("", "can read"), (tls, "can read"), (users, "plain text"), (tls + users, nil), (clients, nil),
        ] {
            let warning = ListenerExposure.warning(isLoopback: false, try configuration(yaml))
            #expect(warning?.contains(words ?? "nothing") ?? (words == nil), "\(yaml)")
            #expect(ListenerExposure.warning(isLoopback: true, try configuration(yaml)) == nil)
        }
    }
}
