import Glibc
import SystemPackage

/// What an `errno` means, as the end of a sentence; strerror(3).
package func errorText(_ code: CInt = errno) -> String { "\(Errno(rawValue: code))" }

/// Whether nobody reads any more what is written.
package func isBrokenPipe(_ error: any Error) -> Bool { error as? Errno == .brokenPipe }

/// The names in a directory, `.` and `..` included; none if it can't be read.
package func directoryNames(_ path: String) -> [String] {
    guard let stream = opendir(path) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        names.append(
            withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            })
    }
    return names
}
