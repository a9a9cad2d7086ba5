/// A shell pattern for device names: `*` is any run of bytes, `?` any one byte, `[a-z]` and `[!a-z]` one of a set.
package struct DevicePattern: Codable, Hashable, Sendable {
    package let text: String
    private let elements: [Element]

    private enum Element: Hashable {
        case byte(UInt8)
        case anyByte
        case anyRun
        case set(ranges: [ClosedRange<UInt8>], negated: Bool)
    }

    /// `nil` for an empty pattern and for a `[` that isn't closed.
    package init?(_ text: String) {
        var elements: [Element] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "*"):
                if elements.last != .anyRun { elements.append(.anyRun) }
            case UInt8(ascii: "?"): elements.append(.anyByte)
            case UInt8(ascii: "["):
                guard let set = Self.takeSet(from: &rest) else { return nil }
                elements.append(set)
            default: elements.append(.byte(byte))
            }
        }
        if elements.isEmpty { return nil }
        self.text = text
        self.elements = elements
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let pattern = DevicePattern(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a pattern")
        }
        self = pattern
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }

    /// Whether it matches only one name.
    package var isLiteral: Bool { literalBytes != nil }

    /// The only name that matches; `nil` if there are more, or if the pattern is longer than any name.
    package var literalName: DeviceName? {
        guard let bytes = literalBytes, bytes.count <= DeviceName.maximumLength else { return nil }
        return DeviceName(bytes: bytes)
    }

    private var literalBytes: [UInt8]? {
        var bytes: [UInt8] = []
        for element in elements {
            guard case .byte(let byte) = element else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    /// Whether the whole name matches. Takes at most (length of the name) × (length of the pattern) steps.
    package func matches(_ name: DeviceName) -> Bool { matches(bytes: name.bytes) }

    /// Whether all of a name matches that isn't a device's.
    package func matches(bytes: [UInt8]) -> Bool { matches(bytes) { Self.fits($0, $1) } }

    /// Whether every name that matches `other` matches this one. It may say no in complicated cases.
    package func covers(_ other: DevicePattern) -> Bool {
        matches(other.elements) { $0 == $1 || $0 == .anyByte && $1 != .anyRun }
    }

    /// Whether a whole sequence of items matches: one element for each item, except for runs.
    private func matches<Item>(_ items: [Item], _ fits: (Element, Item) -> Bool) -> Bool {
        var position = 0
        var element = 0
        var retry: (element: Int, position: Int)?
        while position < items.count {
            if element < elements.count, elements[element] == .anyRun {
                retry = (element, position)
                element += 1
            } else if element < elements.count, fits(elements[element], items[position]) {
                element += 1
                position += 1
            } else if let (run, start) = retry {
                retry = (run, start + 1)
                element = run + 1
                position = start + 1
            } else {
                return false
            }
        }
        return elements[element...].allSatisfy { $0 == .anyRun }
    }

    private static func fits(_ element: Element, _ byte: UInt8) -> Bool {
        switch element {
        case .byte(let wanted): byte == wanted
        case .anyByte, .anyRun: true
        case .set(let ranges, let negated): ranges.contains { $0.contains(byte) } != negated
        }
    }

    /// Reads a set after its `[`; a `]` in the first place stands for itself.
    private static func takeSet(from rest: inout ArraySlice<UInt8>) -> Element? {
        let negated = rest.first == UInt8(ascii: "!") || rest.first == UInt8(ascii: "^")
        if negated { rest.removeFirst() }
        var ranges: [ClosedRange<UInt8>] = []
        while let lower = rest.popFirst() {
            if lower == UInt8(ascii: "]"), !ranges.isEmpty { return .set(ranges: ranges, negated: negated) }
            let isRange =
                rest.first == UInt8(ascii: "-") && rest.dropFirst().first.map { $0 != UInt8(ascii: "]") } == true
            guard isRange else {
                ranges.append(lower...lower)
                continue
            }
            let upper = rest[rest.startIndex + 1]
            rest.removeFirst(2)
            guard lower <= upper else { return nil }
            ranges.append(lower...upper)
        }
        return nil
    }
}
