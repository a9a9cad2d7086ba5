import Accounting
import Configuration
import Glibc
import Machine
import Netlink

/// The configuration's file.
package enum ConfigurationFile {
    /// Where it is by default.
    package static let defaultPath = "/etc/netusage/netusage.yaml"

    /// Files larger than this aren't configurations.
    private static let maximumBytes = 1024 * 1024

    /// Whether something is at a path. A file that can't be looked at, or a dangling link, isn't absent.
    package static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 || errno != ENOENT
    }

    /// Reads and checks a file, with the zone that it names.
    ///
    /// - Parameter isRequired: Whether the file must be there; otherwise a missing file means the defaults.
    /// - Throws: `ConfigurationErrors` with everything that is wrong.
    package static func load(_ path: String, isRequired: Bool) throws(ConfigurationErrors) -> Configuration {
        guard exists(path) else {
            if !isRequired { return .defaults }
            throw ConfigurationErrors(
                file: path, problem: "the file isn't there; create it or name another with --config.file")
        }
        let bytes: [UInt8]
        do throws(WholeFile.Failure) {
            bytes = try WholeFile.read(path, limit: maximumBytes)
        } catch {
            throw ConfigurationErrors(
                file: path,
                problem: "the file can't be read: \(error); give a plain file under 1 MiB that this user may read")
        }
        // A reload mustn't wait for a busy kernel.
        let present = DeviceTable.names().map { DeviceName(bytes: $0) }
        return try Configuration(yaml: bytes, file: path) { name in
            do {
                _ = try SystemZone.load(.named(name))
                return nil
            } catch {
                // The remedy follows, so the full stop goes.
                return "\(error)".hasSuffix(".") ? String("\(error)".dropLast()) : "\(error)"
            }
        } isPresent: { pattern in
            present.contains { pattern.matches($0) }
        } isProgram: { path in
            var status = stat()
            return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
        }
    }
}
