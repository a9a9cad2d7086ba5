import Glibc
import SystemPackage

/// Identifies a file by device and inode. Another file has another identity while the first one exists; afterwards its
/// inode may be used again.
package struct FileIdentity: Hashable, Sendable {
    private let device: UInt64
    private let inode: UInt64

    /// `nil` when there is no file.
    package init?(path: String) {
        guard let status = try? Stat(FilePath(path)) else { return nil }
        self.init(status)
    }

    fileprivate init(_ status: Stat) {
        device = UInt64(status.deviceID.rawValue)
        inode = UInt64(status.inode.rawValue)
    }
}

/// Distinguishes versions of a file without reading it.
package struct FileStamp: Hashable, Sendable {
    private let identity: FileIdentity
    private let size: Int64
    private let modified: Int64
    private let modifiedNanoseconds: Int64
    private let changed: Int64
    private let changedNanoseconds: Int64
    /// Whether everybody on this machine may read it.
    package let isPublic: Bool

    /// `nil` when there is no file.
    package init?(path: String) {
        guard let status = try? Stat(FilePath(path)) else { return nil }
        self.init(status.rawValue)
    }

    /// - Parameter status: Of the file, by stat(2).
    package init(_ status: stat) {
        identity = FileIdentity(Stat(rawValue: status))
        size = Int64(status.st_size)
        (modified, modifiedNanoseconds) = (Int64(status.st_mtim.tv_sec), Int64(status.st_mtim.tv_nsec))
        (changed, changedNanoseconds) = (Int64(status.st_ctim.tv_sec), Int64(status.st_ctim.tv_nsec))
        isPublic = status.st_mode & S_IROTH != 0
    }

    /// Whether the last change is so old that a new change would give another stamp. The kernel's file times advance in
    /// steps of some milliseconds, and some file systems keep whole seconds only.
    ///
    /// - Parameter now: Seconds since 1970.
    package func isSettled(at now: Int64) -> Bool { now - max(changed, modified) > 2 }
}
