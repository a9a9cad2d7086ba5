import Glibc

/// Files that are read whole.
package enum SmallFile {
    /// Why a file can't be read, as the end of a sentence.
    package struct Failure: Error, Hashable, CustomStringConvertible {
        package let description: String
    }

    /// The file's bytes.
    ///
    /// - Throws: `Failure` when it can't be read, isn't a plain file or is larger than `limit` bytes.
    package static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
        try readWithStatus(path, limit: limit).bytes
    }

    /// The file's bytes, and the file's status before they were read.
    ///
    /// - Throws: `Failure` when it can't be read, isn't a plain file or is larger than `limit` bytes.
    package static func readWithStatus(_ path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], status: stat) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if descriptor < 0 { throw Failure(description: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(description: "it isn't a plain file")
        }
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        var count = 0
        while count < bytes.count {
            let part = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress! + count, $0.count - count)
            }
            if part < 0 && errno == EINTR { continue }
            if part < 0 { throw Failure(description: String(cString: strerror(errno))) }
            if part == 0 { break }
            count += part
        }
        if count > limit { throw Failure(description: "it is larger than \(limit / 1024) KiB") }
        return (Array(bytes[..<count]), status)
    }

    /// A file's text without white space around it; `nil` when it can't be read or is larger than 4 KiB.
    package static func text(_ path: String) -> String? {
        guard let bytes = try? read(path, limit: 4096) else { return nil }  // The caller needs no reason.
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
        return String(
            decoding: Array(bytes.drop(while: isSpace).reversed().drop(while: isSpace).reversed()), as: UTF8.self)
    }
}
