/// What the owner configures about counting.
package struct AccountingRules: Codable, Hashable, Sendable {
    /// Devices that aren't metered at all.
    package var exclude: [DevicePattern]
    /// Classes of devices that share one account each; the first pattern that matches wins.
    package var collapse: [DevicePattern]
    /// Patterns that plans count. A device has its own account if one of these matches it but not its whole class.
    package var counted: [DevicePattern]
    /// How often readings are taken.
    package var samplingInterval: Span
    /// How many applications metrics show by name.
    package var shownApplications: Int

    package init(
        exclude: [DevicePattern], collapse: [DevicePattern], counted: [DevicePattern] = [], samplingInterval: Span,
        shownApplications: Int = 50
    ) {
        self.shownApplications = shownApplications
        self.counted = counted
        self.exclude = exclude
        self.collapse = collapse
        self.samplingInterval = samplingInterval
    }

    /// The account of a device's bytes; `nil` if it isn't metered.
    package func account(for name: DeviceName) -> AccountKey? {
        if exclude.contains(where: { $0.matches(name) }) { return nil }
        // A pattern that matches only one name is no class.
        guard let pattern = collapse.first(where: { $0.matches(name) }), !pattern.isLiteral,
            !counted.contains(where: { $0.matches(name) && !$0.covers(pattern) })
        else { return .device(name) }
        return .collapsed(pattern.text)
    }

    /// A time without readings longer than this is a gap.
    package var gapThreshold: Span { max(Span(seconds: 10), samplingInterval.times(3)) }
}
