import Glibc
import Machine
import SQLite

/// An SQLite database read into memory, with the committed part of its write-ahead log.
///
/// Only these two files are read. No lock, no index of the log and no shared memory is needed, and nothing is left
/// behind. The formats are those of <https://sqlite.org/fileformat2.html>.
struct DatabaseImage: ~Copyable {
    private var memory = DatabaseMemory()

    /// How often the files are read when another process writes them meanwhile.
    private static let attempts = 50

    /// - Parameter maximumBytes: Larger files aren't read.
    /// - Throws: `StoreError` when the file can't be read, or is being written all the time.
    init(path: String, maximumBytes: Int = 1 << 40) throws(StoreError) {
        for _ in 0..<Self.attempts {
            if max(LedgerPlace.size(of: path), LedgerPlace.size(of: path + "-wal")) > maximumBytes {
                throw Self.tooLarge(path, maximumBytes)
            }
            if try readState(of: path, maximumBytes) { return }
            usleep(100_000)
        }
        if LedgerPlace.size(of: path + "-journal") > 0 {
            throw StoreError(.unfinished, path: path + "-journal", "a change of the database isn't finished")
        }
        throw StoreError(.busy, path: path, "it is being written all the time")
    }

    private static func tooLarge(_ path: String, _ maximumBytes: Int) -> StoreError {
        StoreError(.unavailable, path: path, "it is larger than \(maximumBytes >> 20) MiB")
    }

    /// Opens the image. Changes are written to no file.
    ///
    /// - Throws: `SQLiteError` when SQLite can't use it.
    consuming func connect() throws(SQLiteError) -> Connection { try Connection(memory: memory) }

    /// - Returns: False when the files were written meanwhile.
    private mutating func readState(of path: String, _ maximumBytes: Int) throws(StoreError) -> Bool {
        // A transaction is under way or was interrupted: the file may hold changes that aren't committed.
        if LedgerPlace.size(of: path + "-journal") > 0 { return false }
        let before = try Self.log(of: path, limit: WriteAheadLog.headerBytes)
        guard let file = try PlainInput(path) else {
            throw StoreError(.unavailable, path: path, "can't be read: \(errorText(ENOENT))")
        }
        try resize(to: file.size, path: path)
        // The file may be cut meanwhile.
        guard try file.read(into: memory.bytes) == memory.size else { return false }
        let log = try Self.log(of: path)
        let after = try Self.log(of: path, limit: WriteAheadLog.headerBytes)
        // If the log was started again meanwhile, its old pages may have been copied into the file while we read it.
        if Array(log.prefix(WriteAheadLog.headerBytes)) != before || after != before { return false }
        if let pages = WriteAheadLog(log) {
            // The log says how large the database is.
            let size = Int(pages.count) * pages.pageBytes
            if size > maximumBytes { throw Self.tooLarge(path, maximumBytes) }
            try resize(to: size, path: path)
            for (number, offset) in pages.offsets {
                let place = Int(number - 1) * pages.pageBytes
                guard place + pages.pageBytes <= size else { continue }
                UnsafeMutableRawBufferPointer(rebasing: memory.bytes[place..<place + pages.pageBytes])
                    .copyBytes(from: log[offset..<offset + pages.pageBytes])
            }
        }
        // "Legacy" instead of "WAL": an image has no log.
        if memory.size > 19 {
            memory.bytes[18] = 1
            memory.bytes[19] = 1
        }
        return true
    }

    private mutating func resize(to size: Int, path: String) throws(StoreError) {
        if memory.resize(to: size) { return }
        throw StoreError(.unavailable, path: path, "it is too large for this machine's memory")
    }

    /// The bytes of a database's log; none only if there is no log. Follows no link, like SQLite.
    private static func log(of path: String, limit: Int = .max) throws(StoreError) -> [UInt8] {
        guard let file = try PlainInput(path + "-wal", flags: O_NOFOLLOW) else { return [] }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: min(limit, file.size), alignment: 1)
        defer { buffer.deallocate() }
        return Array(buffer.prefix(try file.read(into: buffer)))
    }
}

/// A plain file that is open for reading.
private struct PlainInput: ~Copyable {
    let size: Int
    private let path: String
    private let descriptor: CInt

    /// `nil` when there is no such file.
    init?(_ path: String, flags: CInt = 0) throws(StoreError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags)
        if descriptor < 0 {
            switch errno {
            case ENOENT: return nil
            case ELOOP: throw StoreError(.foreign, path: path, "\(PlainFile.Failure.link)")
            case let code:
                throw StoreError(.unavailable, path: path, "can't be read: \(errorText(code))")
            }
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw StoreError(.foreign, path: path, "\(PlainFile.Failure.notPlain)")
        }
        self.path = path
        self.descriptor = descriptor
        size = Int(status.st_size)
    }

    deinit {
        close(descriptor)
    }

    /// - Returns: How many bytes were read: fewer than the buffer takes if the file was cut meanwhile.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(StoreError) -> Int {
        var count = 0
        while count < buffer.count {
            let part = pread(descriptor, buffer.baseAddress! + count, buffer.count - count, off_t(count))
            if part < 0 && errno == EINTR { continue }
            if part < 0 {
                throw StoreError(.unavailable, path: path, "can't be read: \(errorText())")
            }
            if part == 0 { break }
            count += part
        }
        return count
    }
}

/// The committed part of a write-ahead log: pages that are newer in it than in the file
/// (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
struct WriteAheadLog {
    static let headerBytes = 32
    private static let frameHeaderBytes = 24

    let pageBytes: Int
    /// How many pages the database has.
    private(set) var count: UInt32 = 0
    /// The offset of each page in the log, by page number. Numbers begin with 1.
    private(set) var offsets: [UInt32: Int] = [:]

    /// - Returns: `nil` if the bytes are no log, or nothing is committed in it.
    init?(_ log: [UInt8]) {
        func number(_ offset: Int) -> UInt32 {
            log[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
        }
        guard log.count >= Self.headerBytes else { return nil }
        // The last bit of the magic number is the byte order of the checksums.
        let magic = number(0)
        guard magic & ~1 == 0x377F_0682 else { return nil }
        let isBigEndian = magic & 1 == 1
        pageBytes = Int(number(8))
        guard (512...65536).contains(pageBytes), pageBytes.nonzeroBitCount == 1 else { return nil }
        // The checksum of all frames so far, <https://sqlite.org/fileformat2.html#checksum_algorithm>.
        var sum: (UInt32, UInt32) = (0, 0)
        func add(_ range: Range<Int>) {
            log[range].withUnsafeBytes { bytes in
                for offset in stride(from: 0, to: bytes.count - 7, by: 8) {
                    let words = bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
                    let next = bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
                    sum.0 &+= (isBigEndian ? UInt32(bigEndian: words) : UInt32(littleEndian: words)) &+ sum.1
                    sum.1 &+= (isBigEndian ? UInt32(bigEndian: next) : UInt32(littleEndian: next)) &+ sum.0
                }
            }
        }
        add(0..<24)
        guard sum == (number(24), number(28)) else { return nil }
        let salts = (number(16), number(20))
        var pending: [UInt32: Int] = [:]
        var frame = Self.headerBytes
        while frame + Self.frameHeaderBytes + pageBytes <= log.count {
            let page = frame + Self.frameHeaderBytes
            guard number(frame + 8) == salts.0, number(frame + 12) == salts.1, number(frame) > 0 else { break }
            add(frame..<frame + 8)
            add(page..<page + pageBytes)
            guard sum == (number(frame + 16), number(frame + 20)) else { break }
            pending[number(frame)] = page
            let size = number(frame + 4)
            if size > 0 {  // The frame ends a transaction.
                offsets.merge(pending) { $1 }
                pending = [:]
                count = size
            }
            frame = page + pageBytes
        }
        if count == 0 { return nil }
    }
}
