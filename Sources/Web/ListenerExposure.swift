import Configuration

/// What a listener exposes to others than this machine's users.
enum ListenerExposure {
    /// A warning for its owner, with a remedy; nil if there is none.
    ///
    /// - Parameter isLoopback: Whether only this machine's users reach the listener.
    static func warning(isLoopback: Bool, _ configuration: WebConfiguration) -> String? {
        if isLoopback { return nil }
        let hasUsers = !configuration.users.isEmpty
        if hasUsers, configuration.tls == nil {
            return "passwords and metrics pass in plain text here, and whoever listens in learns them; "
                + "add tls_server_config to the web configuration"
        }
        if hasUsers || configuration.tls?.clients.areRequired ?? false { return nil }
        return "whoever reaches this address can read devices, addresses, traffic, quotas and costs; "
            + "listen at 127.0.0.1 (--web.listen-address), keep others out by a firewall, "
            + "or give basic_auth_users and tls_server_config by --web.config.file"
    }
}
