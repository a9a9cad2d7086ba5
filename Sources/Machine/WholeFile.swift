import Glibc
import SystemPackage

/// Files that are read whole.
package enum WholeFile {
    /// Why a file can't be read, as the end of a sentence.
    package struct Failure: Error, Hashable, CustomStringConvertible {
        package let description: String
    }

    /// The bytes of a plain file.
    ///
    /// - Throws: `Failure` when it can't be read, isn't a plain file or is larger than `limit` bytes.
    package static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
        try readWithStamp(path, limit: limit).bytes
    }

    /// The bytes of a plain file, and its stamp before they were read.
    ///
    /// - Throws: `Failure` when it can't be read, isn't a plain file or is larger than `limit` bytes.
    package static func readWithStamp(_ path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], stamp: FileStamp)
    {
        try reporting {
            let file = try FileDescriptor.open(FilePath(path), .readOnly, options: [.closeOnExec, .nonBlocking])
            return try file.closeAfter {
                let status = try file.stat()
                if status.type != .regular { throw Failure(description: "it isn't a plain file") }
                return (try bytes(of: file, limit: limit), FileStamp(status.rawValue))
            }
        }
    }

    /// What a file, a pipe or a device has, up to its end.
    ///
    /// - Parameters:
    ///   - path: `-` is standard input.
    ///   - isEnough: Whether the rest isn't needed.
    /// - Throws: `Failure` when it can't be read, or has more than `limit` bytes.
    package static func readAnything(
        _ path: String, limit: Int, until isEnough: ([UInt8]) -> Bool = { _ in false }
    ) throws(Failure) -> [UInt8] {
        try reporting {
            let file =
                try path == "-"
                ? FileDescriptor.standardInput.duplicate()
                : FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
            return try file.closeAfter { try bytes(of: file, limit: limit, until: isEnough) }
        }
    }

    private static func reporting<Value>(_ body: () throws -> Value) throws(Failure) -> Value {
        do {
            return try body()
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(description: "\(error)")
        }
    }

    private static func bytes(
        of file: FileDescriptor, limit: Int, until isEnough: ([UInt8]) -> Bool = { _ in false }
    ) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(limit + 1, 1 << 16))
        while bytes.count <= limit {
            let count = try chunk.withUnsafeMutableBytes { try file.read(into: $0) }
            bytes += chunk[..<count]
            if count == 0 || isEnough(bytes) { return bytes }
        }
        let size = limit < 1 << 20 ? "\(limit >> 10) KiB" : "\(limit >> 20) MiB"
        throw Failure(description: "it is larger than \(size)")
    }

    /// A file's text without white space around it; `nil` when it can't be read or is larger than 4 KiB.
    package static func text(_ path: String) -> String? {
        guard let bytes = try? read(path, limit: 4096) else { return nil }  // The caller needs no reason.
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
        return String(
            decoding: Array(bytes.drop(while: isSpace).reversed().drop(while: isSpace).reversed()), as: UTF8.self)
    }
}
