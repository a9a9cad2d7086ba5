/// A bcrypt hash, as `htpasswd -B` makes it: `$2y$10$`, then 22 characters of salt and 31 of the hash.
package struct PasswordHash: Hashable, Sendable {
    package let text: [UInt8]
    /// The hash takes 2^cost rounds.
    package let cost: UInt8

    /// The costs that bcrypt knows.
    static let costs: ClosedRange<UInt8> = 4...31
    /// From this cost on, a check takes longer than a minute, and no client waits so long.
    static let uselessCost: UInt8 = 21
    /// From this cost on, a check takes more than about 5 seconds, and all other passwords wait for it.
    static let dearCost: UInt8 = 17

    /// Nil for any other text.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 60, ["$2a$", "$2b$", "$2y$"].contains(where: { bytes.starts(with: $0.utf8) }),
            bytes[4].isASCIIDigit, bytes[5].isASCIIDigit, bytes[6] == UInt8(ascii: "$"),
            bytes[7...].allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || "./".utf8.contains($0) })
        else { return nil }
        let zero = UInt8(ascii: "0")
        let cost = (bytes[4] - zero) * 10 + (bytes[5] - zero)
        guard Self.costs.contains(cost) else { return nil }
        self.text = bytes
        self.cost = cost
    }

    /// A hash for which nobody can find a password.
    ///
    /// - Parameter cost: One that bcrypt knows.
    package init(ofNobodyAtCost cost: UInt8) {
        precondition(Self.costs.contains(cost), "bcrypt knows no such cost")
        let salt = "7lQd7eK6P7sZ1YZ5cr4Iyu"
        text = Array("$2b$\(cost < 10 ? "0" : "")\(cost)$\(salt)".utf8) + Array(repeating: UInt8(ascii: "."), count: 31)
        self.cost = cost
    }
}
