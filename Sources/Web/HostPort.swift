/// `host:port`, `[::1]:port`, `:port` or either part alone.
package struct HostPort: Equatable, Sendable, CustomStringConvertible {
    package var host: String
    package var port: Int?

    package init(_ text: String) {
        let isBracketed = text.hasPrefix("[")
        if isBracketed, let end = text.firstIndex(of: "]") {
            host = String(text[text.index(after: text.startIndex)..<end])
            port = Self.port(text[text.index(after: end)...])
        } else if let colon = text.lastIndex(of: ":"), text.firstIndex(of: ":") == colon {
            host = String(text[..<colon])
            port = Self.port(text[colon...])
        } else {
            host = text
            port = nil
        }
    }

    package var description: String {
        (host.contains(":") ? "[\(host)]" : host) + (port.map { ":\($0)" } ?? "")
    }

    private static func port(_ text: Substring) -> Int? {
        text.hasPrefix(":") ? UInt16(text.dropFirst()).map { Int($0) } : nil
    }
}
