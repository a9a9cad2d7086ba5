import Accounting

/// What one application carried in a report, in both directions together.
package struct ApplicationUse: Sendable {
    package var name: String
    package var bytes: [TrafficScope: UInt64] = [:]

    package init(name: String) {
        self.name = name
    }

    package var total: UInt64 { bytes.values.reduce(0) { $0 &+ $1 } }
    /// What the uplink carried of it.
    package var ofUplink: UInt64 { total &- (bytes[.tunnel] ?? 0) }
}

extension UsageQuery {
    /// Whether a name or a pattern of a command line or a request means an application.
    static func isMeant(_ application: String, by text: String) -> Bool {
        text == application || DevicePattern(text)?.matches(bytes: Array(application.utf8)) == true
    }
}

extension UsageReport {
    /// The applications of the report that carried anything, those with the most bytes first.
    package var applications: [ApplicationUse] {
        var uses: [String: ApplicationUse] = [:]
        for account in accounts {
            guard let scope = account.scope.flatMap({ TrafficScope(rawValue: $0) }) else { continue }
            uses[account.name, default: ApplicationUse(name: account.name)].bytes[scope, default: 0] +=
                account.totalBytes
        }
        return uses.values.filter { $0.total > 0 }.sorted { ($1.total, $0.name) < ($0.total, $1.name) }
    }

    /// One application of the report, as one account whatever its scopes; `nil` if it isn't there.
    package func application(_ name: String) -> Account? {
        let parts = accounts.filter { $0.name == name && $0.scope != nil }
        guard var sum = parts.first else { return nil }
        for part in parts.dropFirst() { sum.add(part) }
        sum.scope = nil
        return sum
    }
}

extension UsageReport.Account {
    fileprivate mutating func add(_ other: Self) {
        receivedBytes &+= other.receivedBytes
        transmittedBytes &+= other.transmittedBytes
        totalBytes &+= other.totalBytes
        guard var entries, let more = other.entries, entries.count == more.count else { return }
        for place in entries.indices {
            entries[place].receivedBytes &+= more[place].receivedBytes
            entries[place].transmittedBytes &+= more[place].transmittedBytes
            entries[place].totalBytes &+= more[place].totalBytes
        }
        self.entries = entries
    }
}
