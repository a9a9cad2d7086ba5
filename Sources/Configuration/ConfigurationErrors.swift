/// All errors of one configuration file, in the order of the file.
package struct ConfigurationErrors: Error, Hashable, Sendable {
    /// One error and its remedy.
    package struct Entry: Hashable, Sendable {
        package let file: String
        /// Nil if the error has no place, for example when the file can't be read.
        package let place: FilePlace?
        /// The setting, like "sampling.interval" or "devices.exclude[2]" (counted from 0); empty for the whole file.
        package let keyPath: String
        package let problem: String
        /// Empty if `problem` says it.
        package let remedy: String
    }

    /// Never empty.
    package let entries: [Entry]
}

extension ConfigurationErrors {
    /// An error without a place. `problem` must say the remedy, too.
    package init(file: String, problem: String) {
        self.init(entries: [Entry(file: file, place: nil, keyPath: "", problem: problem, remedy: "")])
    }
}

extension [Finding] {
    /// The findings in the order of the file.
    func entries(of file: String) -> [ConfigurationErrors.Entry] {
        sorted { $0.place < $1.place }.map {
            ConfigurationErrors.Entry(
                file: file, place: $0.place, keyPath: $0.path.text, problem: $0.complaint.problem,
                remedy: $0.complaint.remedy)
        }
    }
}

extension ConfigurationErrors.Entry: CustomStringConvertible {
    /// One line: `netusage.yaml:3:13: sampling.interval: "fast" is not a duration; write one such as 1s`.
    package var description: String {
        var line = file
        if let place { line += ":\(place.line):\(place.column)" }
        if !keyPath.isEmpty { line += ": \(keyPath)" }
        line += ": \(problem)"
        if !remedy.isEmpty { line += "; \(remedy)" }
        return line
    }
}

extension ConfigurationErrors: CustomStringConvertible {
    /// A line for each error, without a newline at the end.
    package var description: String {
        entries.map(\.description).joined(separator: "\n")
    }
}
