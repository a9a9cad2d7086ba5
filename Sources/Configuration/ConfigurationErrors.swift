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

    /// An error without a place. `problem` must say the remedy, too.
    package init(file: String, problem: String) {
        entries = [Entry(file: file, place: nil, keyPath: "", problem: problem, remedy: "")]
    }

    /// Nil without findings.
    init?(file: String, findings: [Finding]) {
        if findings.isEmpty { return nil }
        entries = findings.sorted { $0.place < $1.place }.map { Entry(file: file, finding: $0) }
    }

    init(file: String, finding: Finding) {
        entries = [Entry(file: file, finding: finding)]
    }
}

extension ConfigurationErrors.Entry {
    fileprivate init(file: String, finding: Finding) {
        self.init(
            file: file, place: finding.place, keyPath: finding.path.text, problem: finding.complaint.problem,
            remedy: finding.complaint.remedy)
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
