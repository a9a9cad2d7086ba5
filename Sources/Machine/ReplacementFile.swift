import Glibc
import SystemPackage

/// A file that takes its place at a path when it is complete. A reader sees the old file or the new one, never a part.
package final class ReplacementFile {
    private let path: String
    /// The path until the file is complete; `nil` if the target isn't a plain file, such as a pipe.
    private let partPath: String?
    private let file: FileDescriptor
    private var isFinished = false

    /// - Parameters:
    ///   - path: A link to a file stays: that file is replaced.
    ///   - mode: Of the new file, which then replaces a link, too; `nil` takes that of the file that is replaced.
    /// - Throws: `Errno` when it can't be created.
    package init(_ path: String, mode: mode_t? = nil) throws {
        let old = try? Stat(FilePath(path), followTargetSymlink: mode == nil)
        let target = old == nil || mode != nil ? nil : realpath(path, nil)
        defer { free(target) }
        self.path = target.map { String(cString: $0) } ?? path
        guard mode != nil || old?.type ?? .regular == .regular else {
            partPath = nil
            file = try FileDescriptor.open(FilePath(path), .writeOnly, options: .closeOnExec)
            return
        }
        let partPath = "\(self.path).part-\(getpid())"
        self.partPath = partPath
        file = try FileDescriptor.open(
            FilePath(partPath), .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
            permissions: FilePermissions(rawValue: mode ?? 0o666))
        // The mask of the process doesn't hold for a mode that was named, or that the file had.
        if let exact = mode ?? old.map({ $0.permissions.rawValue & 0o777 }) { fchmod(file.rawValue, exact) }
    }

    deinit {
        try? file.close()
        if !isFinished, let partPath { unlink(partPath) }
    }

    /// - Throws: `Errno` when the bytes can't be written.
    package func write(_ bytes: [UInt8]) throws { try file.writeAll(bytes) }

    /// Puts the file in its place, and on the disk.
    ///
    /// - Throws: `Errno` when that isn't possible; then the old file stays.
    package func finish() throws {
        guard let partPath else { return }
        guard fsync(file.rawValue) == 0 || errno == EINVAL, rename(partPath, path) == 0 else {
            throw Errno(rawValue: errno)
        }
        isFinished = true
    }
}
