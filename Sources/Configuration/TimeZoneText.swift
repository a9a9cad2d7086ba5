import CivilTime

private let timezoneRemedy =
    "write local, UTC, an offset such as \"+05:30\" or the name of a zone such as Europe/Berlin"

/// A decoder of `local`, `UTC`, `Z`, an offset like "+05:30" or the name of a zone.
///
/// - Parameter zoneProblem: see `Configuration.init(yaml:file:zoneProblem:)`. It gets only names that are safe to
///   append to the path of the zone database.
func timeZone(zoneProblem: @escaping (String) -> String?) -> (YAMLNode) throws(Complaint) -> TimeZoneSetting {
    { node throws(Complaint) in
        let zone = try timeZone(ofText: try node.text(of: "a time zone", remedy: timezoneRemedy))
        if case .named(let name) = zone, let problem = zoneProblem(name) {
            throw Complaint(problem: "the time zone \(quoted(name)) can't be used: \(problem)", remedy: timezoneRemedy)
        }
        return zone
    }
}

/// The zone of a text such as "Europe/Berlin", also for the command line. Doesn't check that the zone exists.
package func timeZone(ofText text: String) throws(Complaint) -> TimeZoneSetting {
    if text.asciiLowercased == "local" { return .local }
    if ["UTC", "utc", "Z"].contains(text) { return .fixed(seconds: 0) }
    if text.utf8.first == UInt8(ascii: "+") || text.utf8.first == UInt8(ascii: "-") {
        guard let seconds = offsetSeconds(text) else {
            throw Complaint(
                problem: "\(quoted(text)) is not an offset from UTC",
                remedy: "write hours and minutes with two digits each, as \"+05:30\", up to 23:59")
        }
        return .fixed(seconds: seconds)
    }
    guard isZoneName(text) else {
        throw Complaint(problem: "\(quoted(text)) can't be the name of a time zone", remedy: timezoneRemedy)
    }
    return .named(text)
}

/// The seconds of "+05:30" or "+0530", at most 23:59 in either direction; nil for any other form.
private func offsetSeconds(_ text: String) -> Int? {
    var bytes = Array(text.utf8)
    if bytes.count == 6, bytes[3] == UInt8(ascii: ":") { bytes.remove(at: 3) }
    guard bytes.count == 5, bytes[1...].allSatisfy(\.isASCIIDigit) else { return nil }
    let digits = bytes[1...].map { Int($0 - UInt8(ascii: "0")) }
    let (hours, minutes) = (digits[0] * 10 + digits[1], digits[2] * 10 + digits[3])
    guard hours < 24, minutes < 60 else { return nil }
    let seconds = (hours * 60 + minutes) * 60
    return bytes[0] == UInt8(ascii: "-") ? -seconds : seconds
}

/// Whether a name can't lead out of the zone database: no dots, no slash at the start, no empty part between slashes.
private func isZoneName(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    let components = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    return bytes.count <= 255 && components.allSatisfy { !$0.isEmpty }
        && bytes.allSatisfy { $0.isASCIILetter || $0.isASCIIDigit || "_+-/".utf8.contains($0) }
}
