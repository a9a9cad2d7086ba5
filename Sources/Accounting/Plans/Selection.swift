/// The accounts whose bytes a plan counts.
package enum Selection: Hashable, Sendable {
    case uplink
    /// The uplink, but not all of it.
    case uplinkWithout(Exception)
    /// Devices by name or pattern, and classes that a pattern covers as a whole.
    case devices([DevicePattern])
    /// All that applications carried, by name or pattern.
    case applications([DevicePattern])

    /// What of the uplink doesn't count.
    package struct Exception: Hashable, Sendable {
        /// Whether the local network's bytes are left out.
        package var lan: Bool
        /// Applications whose bytes are left out, but for those that go through tunnels: the uplink has these under the
        /// tunnel's name.
        package var applications: [DevicePattern]

        package init(lan: Bool, applications: [DevicePattern]) {
            self.lan = lan
            self.applications = applications
        }

        /// What an application carried on the local network is left out with all the rest of that already.
        fileprivate func contains(_ name: ApplicationName, _ scope: TrafficScope) -> Bool {
            scope != .tunnel && !(scope == .lan && lan) && name.matches(applications)
        }
    }

    /// How the bytes of an account count.
    package enum Sign: Sendable {
        case adds, subtracts
    }

    /// How bytes booked to this account count; `nil` if they don't.
    package func sign(of key: AccountKey) -> Sign? {
        switch (self, key) {
        case (.uplink, .uplink), (.uplinkWithout, .uplink): .adds
        case (.uplinkWithout(let exception), .uplinkScope(.lan)): exception.lan ? .subtracts : nil
        case (.uplinkWithout(let exception), .application(let name, let scope)):
            exception.contains(name, scope) ? .subtracts : nil
        // Only what certainly passed the uplink is left out of it.
        case (.uplinkWithout(let exception), .elsewhere(let name, let scope)):
            exception.contains(name, scope) ? .adds : nil
        case (.devices(let patterns), .device(let name)): patterns.contains { $0.matches(name) } ? .adds : nil
        case (.devices(let patterns), .collapsed(let text)):
            DevicePattern(text).flatMap { members in patterns.contains { $0.covers(members) } ? .adds : nil }
        case (.applications(let patterns), .application(let name, _)): name.matches(patterns) ? .adds : nil
        case (.uplink, _), (.uplinkWithout, _), (.devices, _), (.applications, _): nil
        }
    }

    /// Whether bytes booked to this account add to the use.
    package func includes(_ key: AccountKey) -> Bool { sign(of: key) == .adds }

    /// In words near those of the configuration.
    package var texts: [String] {
        switch self {
        case .uplink: ["uplink"]
        case .uplinkWithout(let exception):
            ["uplink"] + (exception.lan ? ["except lan"] : [])
                + exception.applications.map { "except application \($0.text)" }
        case .devices(let patterns): patterns.map(\.text)
        case .applications(let patterns): patterns.map { "application \($0.text)" }
        }
    }

    /// Devices that it names.
    var patterns: [DevicePattern] {
        if case .devices(let patterns) = self { patterns } else { [] }
    }

    /// Whether it needs what the kernel programs count.
    package var needsApplications: Bool {
        switch self {
        case .uplinkWithout, .applications: true
        case .uplink, .devices: false
        }
    }

    /// By how much the use may be too low for a moment: what is left out isn't read at the same time as all.
    func slackBytes(of limit: UInt64) -> UInt64 {
        if case .uplinkWithout = self { min(10_000_000, limit / 1000) } else { 0 }
    }
}

extension ApplicationName {
    fileprivate func matches(_ patterns: [DevicePattern]) -> Bool {
        let bytes = Array(text.utf8)
        return patterns.contains { $0.matches(bytes: bytes) }
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

    /// The places of the selections to which an account's bytes add, and of those from which they are subtracted, in order.
    func places(for key: AccountKey) -> (adding: [Int], subtracting: [Int]) {
        var (adding, subtracting): ([Int], [Int]) = ([], [])
        for (place, selection) in others {
            switch selection.sign(of: key) {
            case .adds: adding.append(place)
            case .subtracts: subtracting.append(place)
            case nil: break
            }
        }
        if case .device(let name) = key { adding += byName[name] ?? [] }
        return (adding.sorted(), subtracting)
    }
}
