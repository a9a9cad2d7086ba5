import Accounting

/// The names of accounts.
package struct AccountNames {
    /// The `device` label of the sum of all gone devices except the largest.
    package static let otherLabel = "(other)"

    private let patterns: Set<String>

    /// - Parameters:
    ///   - keys: All accounts.
    ///   - collapse: `devices.collapse` of the configuration.
    package init(_ keys: some Sequence<AccountKey>, collapse: [DevicePattern]) {
        patterns = keys.reduce(into: Set(collapse.lazy.filter { !$0.isLiteral }.map(\.text))) { patterns, key in
            if case .collapsed(let pattern) = key { patterns.insert(pattern) }
        }
    }

    /// The `device` label of `/metrics`, different from those of classes.
    package func label(of name: DeviceName) -> String { name.label { $0 == Self.otherLabel || patterns.contains($0) } }

    /// The `device` label of `/metrics`, except for a device that is called `uplink`; `uplink` for the uplink.
    package func name(of key: AccountKey) -> String {
        switch key {
        case .uplink: "uplink"
        case .collapsed(let pattern): pattern
        case .device(let name): name.label { $0 == Self.otherLabel || $0 == "uplink" || patterns.contains($0) }
        case .application(let name, _), .elsewhere(let name, _): name.text
        case .uplinkScope(let scope): scope.rawValue
        }
    }
}

extension AccountKey {
    /// The kind of account, for programs.
    package var kind: String {
        switch self {
        case .uplink: "uplink"
        case .collapsed: "collapsed"
        case .device: "device"
        case .application: "application"
        case .elsewhere: "application_elsewhere"
        case .uplinkScope: "uplink_scope"
        }
    }
}
