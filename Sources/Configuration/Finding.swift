/// An error in a value, still without its place.
package struct Complaint: Error, Hashable, CustomStringConvertible {
    /// What is wrong, in words that can follow the setting's name and a colon.
    let problem: String
    /// What to do, in words that can follow a semicolon.
    let remedy: String

    package var description: String { "\(problem); \(remedy)" }
}

/// A complaint with its place in the file. It is thrown if the rest of the file can't be read, otherwise collected.
struct Finding: Error, Hashable {
    let place: FilePlace
    /// The root for the whole file.
    var path = SettingPath.root
    let complaint: Complaint
}

/// The name of a setting with the names of all mappings and lists around it.
struct SettingPath: Hashable {
    /// Like "devices.exclude[2]"; empty for the whole file.
    let text: String

    static let root = SettingPath(text: "")

    /// The path of a key's value; a key that isn't a plain word is quoted.
    func key(_ key: String) -> SettingPath {
        let isOfWord = { (byte: UInt8) in byte.isASCIILetter || byte.isASCIIDigit || "_-".utf8.contains(byte) }
        let name = (1...60).contains(key.utf8.count) && key.utf8.allSatisfy(isOfWord) ? key : quoted(key)
        return SettingPath(text: text.isEmpty ? name : "\(text).\(name)")
    }

    /// The path of a key that is a lowercase word, like all settings. For any other key the path around it, because the
    /// key may be a secret in the wrong place.
    func word(_ key: String) -> SettingPath {
        let isWord = { (byte: UInt8) in byte.isASCIILetter && byte == byte.asciiLowercased || byte == UInt8(ascii: "_")
        }
        return (1...30).contains(key.utf8.count) && key.utf8.allSatisfy(isWord) ? self.key(key) : self
    }

    /// The path of a list's item, counted from 0.
    func item(_ index: Int) -> SettingPath {
        SettingPath(text: "\(text)[\(index)]")
    }
}
