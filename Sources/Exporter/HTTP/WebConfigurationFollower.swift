import Configuration
import NIOCore

/// Decides what a running daemon does about versions of the web-config file: its owner may be writing it right now.
///
/// TLS is never switched on or off. What makes no sense, or protects less, counts when it has stood unchanged for a
/// moment.
struct WebConfigurationFollower {
    /// What is to be done now.
    enum Action {
        case nothing
        /// A version comes into force; what it protects less than the one before, if anything.
        case use(WebConfigurationVersion.Contents, weakenings: [String])
        /// The version that is in force stays, because of this.
        case refuse(String)
    }

    /// How long a version must stand unchanged if it is wrong or protects less.
    private static let settlingTime = TimeAmount.seconds(1)

    private struct Candidate {
        var version: WebConfigurationVersion
        var since: NIODeadline
    }

    private(set) var inForce: WebConfigurationVersion.Contents
    /// As they were read last.
    private(set) var lastFiles: WebFiles
    private var filesInForce: WebFiles
    /// What isn't decided yet.
    private var candidate: Candidate?
    /// What was last refused: an error is logged once, even if somebody touches the file.
    private var lastRefusal: String?

    init(files: WebFiles, inForce: WebConfigurationVersion.Contents) {
        self.inForce = inForce
        lastFiles = files
        filesInForce = files
    }

    /// Takes what a look at the files found.
    ///
    /// - Parameter version: Nil when they are as they were.
    mutating func take(_ version: WebConfigurationVersion?, at now: NIODeadline) -> Action {
        if let version {
            lastFiles = version.files
            candidate = Candidate(version: version, since: now)
            if version.files.hasSameContents(as: filesInForce) {
                candidate = nil
                lastRefusal = nil
            }
        }
        guard let candidate else { return .nothing }
        let hasSettled = now - candidate.since >= Self.settlingTime
        switch judgement(of: candidate.version) {
        case .refuse(let problem):
            guard hasSettled else { return .nothing }
            self.candidate = nil
            if problem == lastRefusal { return .nothing }
            lastRefusal = problem
            return .refuse(problem)
        case .use(let contents, let weakenings):
            guard hasSettled || weakenings.isEmpty else { return .nothing }
            self.candidate = nil
            lastRefusal = nil
            inForce = contents
            filesInForce = candidate.version.files
            return .use(contents, weakenings: weakenings)
        case .nothing: return .nothing
        }
    }

    private func judgement(of version: WebConfigurationVersion) -> Action {
        let contents: WebConfigurationVersion.Contents
        do throws(ConfigurationErrors) {
            contents = try version.result.get()
        } catch {
            return .refuse("\(error)")
        }
        let (old, new) = (inForce.configuration, contents.configuration)
        if contents.isBlank, old != .none {
            let remedy = "write basic_auth_users: {} if nobody is to need a password"
            return .refuse(
                "the file is empty; \(old.tls == nil ? remedy : "tls_server_config must stay in it; beside that \(remedy)")"
            )
        }
        if old.tls != nil, new.tls == nil {
            return .refuse("tls_server_config is gone, but TLS can't be switched off by a change; restart netusage")
        }
        if old.tls == nil, new.tls != nil {
            return .refuse("tls_server_config is new, but TLS can't be switched on by a change; restart netusage")
        }
        return .use(contents, weakenings: old.weakenings(in: new))
    }
}
