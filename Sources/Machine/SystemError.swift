import Glibc
import SystemPackage

/// What an `errno` means, as the end of a sentence; strerror(3).
package func errorText(_ code: CInt = errno) -> String { "\(Errno(rawValue: code))" }

/// Whether nobody reads any more what is written.
package func isBrokenPipe(_ error: any Error) -> Bool { error as? Errno == .brokenPipe }

/// The names in a directory, `.` and `..` included; none if it can't be read.
///
/// - Parameter isOfDirectories: Whether to leave out what certainly isn't a directory.
package func directoryNames(_ path: String, isOfDirectories: Bool = false) -> [String] {
    guard let stream = opendir(path) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let type = Int32(entry.pointee.d_type)
        if isOfDirectories, type != Int32(DT_DIR), type != Int32(DT_UNKNOWN) { continue }
        names.append(
            withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            })
    }
    return names
}
