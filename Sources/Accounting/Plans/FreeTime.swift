import CivilTime

/// Windows of the week, by the wall clock, whose bytes aren't counted.
package struct FreeTime: Hashable, Sendable {
    package static let minutesPerWeek = 7 * 24 * 60
    package static let none = FreeTime([])

    /// Minutes since Monday 00:00; ascending and disjoint.
    package let windows: [Range<Int>]

    /// - Parameter windows: Minutes since Monday 00:00; they may overlap, and may go beyond the end of the week.
    package init(_ windows: [Range<Int>]) {
        let week = Self.minutesPerWeek
        let parts = windows.flatMap { window -> [Range<Int>] in
            if window.count >= week { return [0..<week] }
            if window.upperBound <= week { return [window] }
            return [window.lowerBound..<week, 0..<window.upperBound - week]
        }
        self.windows = parts.filter { !$0.isEmpty }.sorted { $0.lowerBound < $1.lowerBound }
            .reduce(into: [Range<Int>]()) { merged, window in
                if let last = merged.last, window.lowerBound <= last.upperBound {
                    merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, window.upperBound)
                } else {
                    merged.append(window)
                }
            }
    }

    package var isEmpty: Bool { windows.isEmpty }

    /// Whether bytes carried at this moment are free.
    func contains(_ moment: Timestamp, in calendar: LocalCalendar) -> Bool {
        if windows.isEmpty { return false }
        let local = calendar.localTime(at: moment)
        let minute = (local.date.weekday.rawValue - 1) * 1440 + local.secondsOfDay / 60
        return windows.contains { $0.contains(minute) }
    }

    /// The minutes of the day at which a window may begin or end.
    var edges: Set<Int> { Set(windows.flatMap { [$0.lowerBound % 1440, $0.upperBound % 1440] }) }
}
