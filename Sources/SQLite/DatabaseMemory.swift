import CSQLite

/// Memory that becomes a database; see ``Connection/init(memory:)``. SQLite allocates it and takes it over.
package struct DatabaseMemory: ~Copyable {
    /// `nil` for an empty database.
    private var start: UnsafeMutableRawPointer?
    /// In bytes.
    package private(set) var size = 0

    package init() {}

    deinit {
        sqlite3_free(start)
    }

    package var bytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: start, count: size) }

    /// Changes the size. New bytes are zero.
    ///
    /// - Returns: False if there isn't enough memory; then nothing changes.
    package mutating func resize(to newSize: Int) -> Bool {
        if newSize == size { return true }
        guard let memory = sqlite3_realloc64(start, UInt64(max(1, newSize))) else { return false }
        let previous = size
        (start, size) = (memory, newSize)
        if previous < newSize {
            UnsafeMutableRawBufferPointer(rebasing: bytes[previous...]).initializeMemory(as: UInt8.self, repeating: 0)
        }
        return true
    }

    /// Hands the memory over to SQLite.
    consuming func release() -> (start: UnsafeMutableRawPointer?, size: Int) {
        let released = (start, size)
        discard self
        return released
    }
}
