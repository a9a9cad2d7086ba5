/// What the owner configures about counting.
package struct AccountingRules: Hashable, Sendable {
    /// Devices that aren't metered at all.
    package var exclude: [DevicePattern]
    /// Classes of devices that share one account each; the first pattern that matches wins.
    package var collapse: [DevicePattern]
    /// Devices that have accounts of their own even where a pattern would make them part of a class.
    package var own: Set<DeviceName>
    /// How often readings are taken.
    package var samplingInterval: Span

    package init(
        exclude: [DevicePattern], collapse: [DevicePattern], own: Set<DeviceName> = [], samplingInterval: Span
    ) {
        self.own = own
        self.exclude = exclude
        self.collapse = collapse
        self.samplingInterval = samplingInterval
    }

    /// Where a device's bytes go, or `nil` if it isn't metered.
    package func account(for name: DeviceName) -> AccountKey? {
        if exclude.contains(where: { $0.matches(name) }) { return nil }
        if own.contains(name) { return .device(name) }
        // A pattern that only one name fits makes no class.
        if let pattern = collapse.first(where: { $0.matches(name) }), !pattern.isLiteral {
            return .collapsed(pattern.text)
        }
        return .device(name)
    }

    /// A time without readings longer than this is a gap.
    package var gapThreshold: Span { max(Span(seconds: 10), samplingInterval.times(3)) }
}
