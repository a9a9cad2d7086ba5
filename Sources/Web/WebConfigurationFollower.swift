import Configuration
import NIOCore

/// Decides what a running daemon does with versions of the web-config file, which its owner may be writing right now.
///
/// TLS is never switched on or off. A version that makes no sense, or protects less, counts only after it has stayed
/// unchanged for a moment.
struct WebConfigurationFollower {
    /// What to do now.
    enum Action {
        case nothing
        /// A version comes into force. The weakenings say how it protects less than the previous one.
        case use(WebConfigurationVersion.Contents, weakenings: [String])
        /// The version in force stays, for this reason.
        case refuse(String)
    }

    /// How long a version must stay unchanged if it is wrong or protects less.
    private static let settlingTime = TimeAmount.seconds(1)

    private(set) var inForce: WebConfigurationVersion.Contents
    /// The files as they were read last.
    private(set) var lastFiles: WebFiles
    private var filesInForce: WebFiles
    /// The version that isn't decided on yet.
    private var candidate: (version: WebConfigurationVersion, since: NIODeadline)?
    /// The last refusal: an error is logged once, even if somebody touches the file.
    private var lastRefusal: String?

    init(files: WebFiles, inForce: WebConfigurationVersion.Contents) {
        self.inForce = inForce
        lastFiles = files
        filesInForce = files
    }

    /// Takes what a look at the files found.
    ///
    /// - Parameter version: Nil if the files haven't changed.
    mutating func take(_ version: WebConfigurationVersion?, at now: NIODeadline) -> Action {
        if let version {
            lastFiles = version.files
            candidate = (version, now)
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
