import Configuration
import Glibc
import Machine
import NIOSSL

/// One version of the web-config file with all that it names, read and checked.
struct WebConfigurationVersion: Sendable {
    /// What is in force when this version is.
    struct Contents: Sendable {
        let configuration: WebConfiguration
        /// Nil without TLS.
        let tls: TLSSetup?
        /// Whether nothing stands in the file but comments.
        let isBlank: Bool
        /// What the owner should know.
        let warnings: [String]

        /// What holds without a file.
        static let none = Contents(configuration: .none, tls: nil, isBlank: true, warnings: [])
    }

    let files: WebFiles
    let result: Result<Contents, ConfigurationErrors>

    /// Reads the files, each before it is looked at again: what changes meanwhile is seen, if not here, by the next
    /// ``next(at:after:)``. That may take as long as the file system likes.
    init(path: String) {
        var files = WebFiles()
        do throws(ConfigurationErrors) {
            result = .success(try Self.contents(path, &files))
        } catch {
            result = .failure(error)
        }
        self.files = files
    }

    init(files: WebFiles, result: Result<Contents, ConfigurationErrors>) {
        self.files = files
        self.result = result
    }

    /// The version that there is now; nil if it is the one that was read last.
    static func next(at path: String, after last: WebFiles) -> WebConfigurationVersion? {
        guard last.haveChanged(at: Int64(time(nil))) else { return nil }
        var version = WebConfigurationVersion(path: path)
        // A pair of certificate and key that is being replaced is read half old, half new; a second look mends that.
        for _ in 0..<2 where version.files.haveChanged(at: Int64(time(nil))) {
            version = WebConfigurationVersion(path: path)
        }
        return version
    }

    private static func contents(_ path: String, _ files: inout WebFiles) throws(ConfigurationErrors) -> Contents {
        let file = files.reading(of: path)
        let bytes: [UInt8]
        do throws(SmallFile.Failure) {
            bytes = try file.contents.get()
        } catch {
            throw ConfigurationErrors(file: path, problem: "the file can't be read: \(error); check --web.config.file")
        }
        let text = try WebConfigurationText(yaml: bytes, file: path)
        var warnings = text.notes.map(\.description)
        var setup: TLSSetup?
        if let tls = text.configuration.tls {
            do throws(TLSSetup.Problem) {
                setup = try TLSSetup(tls, &files)
            } catch {
                throw ConfigurationErrors(file: path, problem: "tls_server_config.\(error.key): \(error.problem)")
            }
            if case .file(let key) = tls.key, files.reading(of: key).isPublic {
                warnings.append("every user of this machine can read the private key \(key); chmod o-r it")
            }
        }
        if file.isPublic, text.configuration.holdsSecrets {
            warnings.append("every user of this machine can read the secrets in \(path); chmod o-r it")
        }
        return Contents(
            configuration: text.configuration, tls: setup, isBlank: text.isBlank, warnings: warnings)
    }
}

extension WebConfiguration {
    /// Whether the file itself holds what others shouldn't read.
    fileprivate var holdsSecrets: Bool {
        if case .inline? = tls?.key { return true }
        return !users.isEmpty
    }
}
