/// The accounts whose bytes a plan counts.
package enum Selection: Hashable, Sendable {
    case uplink
    /// Devices by name or pattern, and classes that a pattern covers as a whole.
    case devices([DevicePattern])

    /// Whether bytes booked to this account count.
    package func includes(_ key: AccountKey) -> Bool {
        switch (self, key) {
        case (.uplink, .uplink): true
        case (.uplink, _), (.devices, .uplink): false
        case (.devices(let patterns), .device(let name)): patterns.contains { $0.matches(name) }
        case (.devices(let patterns), .collapsed(let text)):
            DevicePattern(text).map { members in patterns.contains { $0.covers(members) } } ?? false
        }
    }

    /// As in the configuration.
    package var texts: [String] {
        switch self {
        case .uplink: ["uplink"]
        case .devices(let patterns): patterns.map(\.text)
        }
    }

    var patterns: [DevicePattern] {
        switch self {
        case .uplink: []
        case .devices(let patterns): patterns
        }
    }
}

/// Which of the two directions count.
package enum ByteDirection: String, Hashable, Sendable, CaseIterable {
    case receive
    case transmit
    /// Both together.
    case total
    /// The direction that has carried more.
    case greater

    /// The bytes that count.
    package func bytes(of total: Total) -> UInt64 {
        switch self {
        case .receive: total.received
        case .transmit: total.transmitted
        case .total: total.bytes
        case .greater: max(total.received, total.transmitted)
        }
    }

    /// The sums to keep: one, or both directions for ``greater``. The largest sum counts.
    func series(of total: Total) -> [UInt64] {
        switch self {
        case .receive: [total.received]
        case .transmit: [total.transmitted]
        case .total: [total.bytes]
        case .greater: [total.received, total.transmitted]
        }
    }

    var seriesCount: Int { self == .greater ? 2 : 1 }

    func rate(of rate: Rate) -> Double {
        switch self {
        case .receive: rate.received
        case .transmit: rate.transmitted
        case .total: rate.received + rate.transmitted
        case .greater: max(rate.received, rate.transmitted)
        }
    }
}

/// Finds the selections that include an account without asking each: most name single devices.
struct SelectionIndex: Sendable {
    private var byName: [DeviceName: [Int]] = [:]
    /// Selections that aren't just names.
    private var others: [(place: Int, selection: Selection)] = []

    init(_ selections: [Selection]) {
        for (place, selection) in selections.enumerated() {
            if case .devices(let patterns) = selection, patterns.allSatisfy({ $0.literalName != nil }) {
                for name in Set(patterns.compactMap(\.literalName)) { byName[name, default: []].append(place) }
            } else {
                others.append((place, selection))
            }
        }
    }

    /// The places of the selections that include an account, in order.
    func places(for key: AccountKey) -> [Int] {
        var places = others.filter { $0.selection.includes(key) }.map(\.place)
        if case .device(let name) = key { places += byName[name] ?? [] }
        return places.sorted()
    }
}
