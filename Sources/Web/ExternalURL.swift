/// The address under which browsers reach the page, perhaps through a proxy: `https://meter.example/netusage/`.
///
/// Links on the page are relative, so its path isn't needed; the proxy removes the path.
package struct ExternalURL: Hashable, Sendable {
    /// Without the port.
    package let host: String

    /// `nil` unless the text is a whole http or https URL with a host.
    package init?(_ text: String) {
        guard let scheme = ["http://", "https://"].first(where: { text.lowercased().hasPrefix($0) }) else { return nil }
        let authority = text.dropFirst(scheme.count).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        if authority.contains("@") || authority.contains(" ") { return nil }
        host = hostPart(of: authority)
        if host.isEmpty { return nil }
    }
}

/// The host of `host:port`, `[::1]:port`, `:port` or either part alone.
func hostPart(of text: some StringProtocol) -> String {
    if text.hasPrefix("["), let end = text.firstIndex(of: "]") { return String(text[..<end].dropFirst()) }
    guard let colon = text.lastIndex(of: ":"), text.firstIndex(of: ":") == colon else { return String(text) }
    return String(text[..<colon])
}
