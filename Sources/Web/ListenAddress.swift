/// Where to listen: `127.0.0.1:10073`, `[::1]:10073`, `name:10073`, or `:10073` for every address of the machine.
package struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// Empty for every address.
    package let host: String
    package let port: UInt16

    /// Why a text isn't an address, with the remedy.
    package struct Problem: Error, CustomStringConvertible {
        package let description: String
    }

    /// The default address.
    package static let standard = ListenAddress(host: "127.0.0.1", port: 10073)

    private init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// - Throws: `Problem`, also for what a resolver would read otherwise: `*`, numbers that aren't four octets.
    package init(_ text: String) throws(Problem) {
        let examples = "write host:port, such as 127.0.0.1:10073 or [::1]:10073, or :10073 for every address"
        let isBracketed = text.hasPrefix("[")
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")), let port = Self.port(text[colon...].dropFirst())
        else {
            throw Problem(description: "it has no port up to 65535; \(examples)")
        }
        self.port = port
        let host = String(text[..<colon])
        if isBracketed {
            let inside = host.dropFirst().dropLast()
            guard host.hasSuffix("]"), inside.contains(":"), inside.utf8.allSatisfy(Self.isOfAddress) else {
                throw Problem(description: "the text in brackets isn't an IPv6 address; \(examples)")
            }
            self.host = String(inside)
            return
        }
        if host == "*" { throw Problem(description: "* isn't an address; write :\(port) for every address") }
        if host.contains(":") { throw Problem(description: "an IPv6 address needs brackets; \(examples)") }
        guard host.utf8.allSatisfy(Self.isOfName) else {
            throw Problem(description: "that is no name or address; \(examples)")
        }
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        if !host.isEmpty, labels.allSatisfy(Self.isNumber) {
            // A resolver takes 127.1 and 2130706433 for addresses as well, 0x7f for hexadecimal and 0177 for octal.
            guard labels.count == 4, labels.allSatisfy({ label in UInt8(label).map { "\($0)" == label } ?? false })
            else {
                throw Problem(description: "an IPv4 address has four numbers up to 255; \(examples)")
            }
        }
        // Of its two addresses, the one that everything else means.
        self.host = host.lowercased() == "localhost" ? "127.0.0.1" : host
    }

    package var description: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }

    private static func port(_ digits: Substring) -> UInt16? {
        digits.utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 } ? UInt16(digits) : nil
    }

    /// Whether a resolver reads a part of a name as a number, as inet_aton(3) says.
    private static func isNumber(_ label: Substring) -> Bool {
        if label.lowercased().hasPrefix("0x") { return label.dropFirst(2).allSatisfy(\.isHexDigit) }
        return label.utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        let isLetter = UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20
        return isLetter || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || ".-_".utf8.contains(byte)
    }

    /// Hexadecimal digits, colons, dots, and the name of a link after `%`.
    private static func isOfAddress(_ byte: UInt8) -> Bool {
        isOfName(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "%")
    }
}
