import Accounting
import CivilTime

/// Decodes `true` and `false`, but not YAML 1.1's other words for them.
func boolean(_ node: YAMLNode) throws(Complaint) -> Bool {
    let text = try node.text(of: "true or false", remedy: "write true or false")
    switch text {
    case "true", "false":
        if node.isPlain { return text == "true" }
        throw Complaint(problem: "\(quoted(text)) in quotes is a text", remedy: "write \(text) without quotes")
    default: throw Complaint(problem: "\(quoted(text)) is not true or false", remedy: "write \(likelyBoolean(text))")
    }
}

/// The probable meaning of a word that other programs accept as true or false.
private func likelyBoolean(_ text: String) -> String {
    switch text.asciiLowercased {
    case "true", "yes", "on", "y": "true"
    case "false", "no", "off", "n": "false"
    default: "true or false"
    }
}

/// Decodes the full English name of a day of the week, in any letter case.
func weekday(_ node: YAMLNode) throws(Complaint) -> Weekday {
    let names = Weekday.allCases.map(\.name)
    return try node.parsed("a day of the week", remedy: "write one of \(names.joined(separator: ", "))") { text in
        let name = text.asciiLowercased
        return Weekday.allCases.first { $0.name == name }
    }
}

/// Decodes a shell pattern for device names.
func devicePattern(_ node: YAMLNode) throws(Complaint) -> DevicePattern {
    let remedy = "write a device name or a pattern, such as \"veth*\""
    let text = try node.text(of: "a pattern", remedy: remedy)
    // No device has whitespace in its name (`dev_valid_name` in net/core/dev.c), so this is two names by mistake.
    guard !text.unicodeScalars.contains(where: \.properties.isWhitespace) else {
        throw Complaint(
            problem: "\(quoted(text)) has a space in it, which no device name has",
            remedy: "write each pattern as an item of its own")
    }
    guard let pattern = DevicePattern(text) else {
        throw Complaint(
            problem: "\(quoted(text)) is not a pattern", remedy: text.isEmpty ? remedy : "close each [ by a ]")
    }
    return pattern
}
