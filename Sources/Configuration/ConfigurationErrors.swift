package struct ConfigurationErrors: Error, CustomStringConvertible, Sendable {
    package var description: String
    package init(file: String, problem: String) { description = "\(file): \(problem)" }
}
extension Configuration {
    package init(yaml bytes: [UInt8], file: String, zoneProblem: (String) -> String?) throws(ConfigurationErrors) { self = .defaults }
}
