/// The addresses that begin with some bits, as an IPv6 prefix; IPv4 addresses lie in ::ffff:0:0/96 (RFC 4291 §2.5.5.2).
package struct AddressPrefix: Hashable, Sendable {
    /// Bits beyond the prefix are 0.
    package let address: UInt128
    /// From 0 to 128.
    package let bits: Int

    /// - Parameters:
    ///   - bytes: Four or sixteen; those beyond the prefix don't matter.
    ///   - bits: Of these bytes.
    /// - Returns: `nil` for other numbers.
    package init?(_ bytes: [UInt8], bits: Int) {
        guard bytes.count == 4 || bytes.count == 16, (0...bytes.count * 8).contains(bits) else { return nil }
        let number = bytes.reduce(0 as UInt128) { $0 << 8 | UInt128($1) }
        self.init(bytes.count == 4 ? 0xFFFF << 32 | number : number, bits: bytes.count == 4 ? bits + 96 : bits)
    }

    private init(_ address: UInt128, bits: Int) {
        self.address = bits == 0 ? 0 : address & (UInt128.max << UInt128(128 - bits))
        self.bits = bits
    }

    /// Of IPv4, as RFCs write 192.168.0.0/16.
    package static func ipv4(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, bits: Int) -> AddressPrefix {
        let number = UInt128(a) << 24 | UInt128(b) << 16 | UInt128(c) << 8 | UInt128(d)
        return AddressPrefix(0xFFFF << 32 | number, bits: bits + 96)
    }

    /// Of IPv6, by its first two bytes.
    package static func ipv6(_ start: UInt16, bits: Int) -> AddressPrefix {
        AddressPrefix(UInt128(start) << 112, bits: bits)
    }
}
