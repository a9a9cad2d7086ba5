extension LocalCalendar {
    /// Parses "09:00" (today), "2026-11-20 09:00", either of them with seconds, or RFC 3339; `nil` for anything else.
    package func moment(_ text: String, at now: Timestamp) -> Timestamp? {
        var words = text.split(omittingEmptySubsequences: false) { [" ", "T", "t"].contains($0) }.map(String.init)
        guard let clock = words.popLast(), words.count <= 1 else { return nil }
        let date = words.first.map { CivilDate($0) } ?? localTime(at: now).date
        guard let date else { return nil }
        if let seconds = Self.secondsOfDay(clock) { return firstInstant(on: date, secondsOfDay: seconds) }
        guard let sign = clock.lastIndex(where: { "+-Zz".contains($0) }), words.count == 1,
            let seconds = Self.secondsOfDay(String(clock[..<sign])), let offset = Self.offset(clock[sign...])
        else { return nil }
        return Timestamp(secondsSinceEpoch: Int64(date.daysSinceEpoch) * 86_400 + Int64(seconds - offset))
    }

    /// The seconds since midnight of "09:00", "09:00:30" or "09:00:30.25"; the fraction is ignored.
    static func secondsOfDay(_ text: String) -> Int? {
        let fraction = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        if fraction.count == 2,
            fraction[0].utf8.count != 8 || fraction[1].isEmpty || !fraction[1].utf8.allSatisfy(\.isASCIIDigit)
        {
            return nil
        }
        let parts = fraction[0].split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), parts.allSatisfy({ $0.count == 2 && $0.utf8.allSatisfy(\.isASCIIDigit) })
        else { return nil }
        let numbers = parts.compactMap { Int($0) } + (parts.count == 2 ? [0] : [])
        guard numbers.count == 3, numbers[0] < 24, numbers[1] < 60, numbers[2] < 60 else { return nil }
        return numbers[0] * 3600 + numbers[1] * 60 + numbers[2]
    }

    /// The seconds of "Z" or "+05:30".
    static func offset(_ text: Substring) -> Int? {
        if text == "Z" || text == "z" { return 0 }
        return secondsOfDay(String(text.dropFirst())).map { text.first == "-" ? -$0 : $0 }
    }
}
