import Configuration
import Glibc
import NIOSSL

/// One version of the web-config file and the files that it names, read and checked.
struct WebConfigurationVersion: Sendable {
    /// What applies while this version is in force.
    struct Contents: Sendable {
        let configuration: WebConfiguration
        /// Nil without TLS.
        let tls: TLSSetup?
        /// Whether the file has nothing but comments.
        let isBlank: Bool
        /// What the owner should know.
        let warnings: [String]

        /// What applies without a file.
        static let none = Contents(configuration: .none, tls: nil, isBlank: true, warnings: [])
    }

    let files: WebFiles
    let result: Result<Contents, ConfigurationErrors>

    /// Reads the files, as long as that takes. The next ``next(at:after:)`` notices changes made meanwhile.
    static func read(_ path: String) -> WebConfigurationVersion {
        var files = WebFiles()
        let result = Result { () throws(ConfigurationErrors) -> Contents in try Self.contents(path, &files) }
        return WebConfigurationVersion(files: files, result: result)
    }

    /// The current version; nil if it is the one that was read last.
    static func next(at path: String, after last: WebFiles) -> WebConfigurationVersion? {
        guard last.haveChanged(at: Int64(time(nil))) else { return nil }
        var version = Self.read(path)
        // While a certificate and its key are being replaced, one may be old and one new. Reading again corrects that.
        for _ in 0..<2 where version.files.haveChanged(at: Int64(time(nil))) {
            version = Self.read(path)
        }
        return version
    }

    private static func contents(_ path: String, _ files: inout WebFiles) throws(ConfigurationErrors) -> Contents {
        let file = files.reading(of: path)
        let bytes = try file.contents.mapError { error in
            ConfigurationErrors(file: path, problem: "the file can't be read: \(error); check --web.config.file")
        }.get()
        let text = try WebConfigurationText(yaml: bytes, file: path)
        var warnings = text.notes.map(\.description)
        var setup: TLSSetup?
        var holdsSecrets = !text.configuration.users.isEmpty
        if let tls = text.configuration.tls {
            do throws(TLSSetup.Problem) {
                setup = try TLSSetup(tls, &files)
            } catch {
                throw ConfigurationErrors(file: path, problem: "tls_server_config.\(error.key): \(error.problem)")
            }
            switch tls.key {
            case .inline: holdsSecrets = true
            case .file(let key) where files.reading(of: key).isPublic:
                warnings.append("every user of this machine can read the private key \(key); chmod o-r it")
            case .file: break
            }
        }
        if file.isPublic, holdsSecrets {
            warnings.append("every user of this machine can read the secrets in \(path); chmod o-r it")
        }
        return Contents(
            configuration: text.configuration, tls: setup, isBlank: text.isBlank, warnings: warnings)
    }
}
