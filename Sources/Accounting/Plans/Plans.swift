import CivilTime

/// Everything that the owner agreed upon with a provider, or decided alone.
package struct Plans: Hashable, Sendable {
    package var quotas: [Quota]
    package var rateLimits: [RateLimit]
    package var committedRates: [CommittedRate]

    package static let none = Plans(quotas: [], rateLimits: [], committedRates: [])

    package init(quotas: [Quota], rateLimits: [RateLimit], committedRates: [CommittedRate]) {
        self.quotas = quotas
        self.rateLimits = rateLimits
        self.committedRates = committedRates
    }

    package var selections: [Selection] {
        quotas.map(\.count) + rateLimits.map(\.count) + committedRates.map(\.count)
    }

    /// All patterns that the plans name.
    package var patterns: [DevicePattern] { Array(Set(selections.flatMap(\.patterns))) }

    /// The calendar of a quota's cycles; `nil` if there is no such quota.
    package func calendar(
        ofQuota name: String, among calendars: [TimeZoneSetting: LocalCalendar]
    ) -> LocalCalendar? {
        quotas.first { $0.name == name }.flatMap { calendars[$0.cycle.timezone] }
    }

    /// The zones of all cycles.
    package var timezones: Set<TimeZoneSetting> {
        Set(quotas.map(\.cycle.timezone) + committedRates.map(\.cycle.timezone))
    }
}
