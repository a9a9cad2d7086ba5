/// The proleptic Gregorian calendar as arithmetic on day numbers. Day 0 is 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". Years begin in March, so the leap day is the
/// last of its year. All eras of 400 years have the same number of days. Correct for years up to ±10¹².
package enum Gregorian {
    private static let daysPerEra: Int64 = 146_097
    /// Days from 0000-03-01, where era 0 starts, to 1970-01-01.
    private static let epochFromEraStart: Int64 = 719_468

    /// The number of a day. `month` is 1…12; a `day` outside its month counts on into the months before or after.
    static func dayNumber(year: Int64, month: Int64, day: Int64) -> Int64 {
        let marchYear = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = marchYear.flooredDivision(by: 400)
        let monthFromMarch = month > 2 ? month - 3 : month + 9
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * daysPerEra + dayOfEra - epochFromEraStart
    }

    static func date(ofDayNumber dayNumber: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (dayNumber + epochFromEraStart).flooredDivision(by: daysPerEra)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    static func isLeap(year: Int64) -> Bool {
        year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    }

    /// How many days a month has; `month` is 1…12.
    static func dayCount(year: Int64, month: Int64) -> Int64 {
        switch month {
        case 2: isLeap(year: year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// ISO 8601: four digits for the years 0 to 9999, else a sign and at least six (the expanded form).
    static func isoDate(ofDayNumber dayNumber: Int64) -> String {
        let (year, month, day) = date(ofDayNumber: dayNumber)
        let monthAndDay = "-\(padded(month, width: 2))-\(padded(day, width: 2))"
        if (0...9999).contains(year) { return padded(year, width: 4) + monthAndDay }
        return (year < 0 ? "-" : "+") + padded(abs(year), width: 6) + monthAndDay
    }

    /// `secondsOfDay` as "23:42:00".
    static func isoTime(secondsOfDay: Int64) -> String {
        let (minutes, second) = secondsOfDay.flooredDivision(by: 60)
        let (hour, minute) = minutes.flooredDivision(by: 60)
        return "\(padded(hour, width: 2)):\(padded(minute, width: 2)):\(padded(second, width: 2))"
    }

    /// A number that isn't negative, with zeros added on the left.
    package static func padded(_ number: Int64, width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
