/// A day of the week, numbered as in ISO 8601: Monday is 1.
package enum Weekday: Int, CaseIterable, Codable, Sendable {
    case monday = 1
    case tuesday, wednesday, thursday, friday, saturday, sunday

    /// The day with a full English name in lower case, like "monday"; nil for anything else.
    package init?(name: String) {
        guard let weekday = Weekday.allCases.first(where: { $0.name == name }) else { return nil }
        self = weekday
    }

    /// The full English name in lower case.
    package var name: String {
        switch self {
        case .monday: "monday"
        case .tuesday: "tuesday"
        case .wednesday: "wednesday"
        case .thursday: "thursday"
        case .friday: "friday"
        case .saturday: "saturday"
        case .sunday: "sunday"
        }
    }
}
