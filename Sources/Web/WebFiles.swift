import Machine

/// The web-config file and the files that it names, as they were read.
struct WebFiles: Hashable, Sendable {
    /// One file.
    struct Reading: Hashable, Sendable {
        let contents: Result<[UInt8], WholeFile.Failure>
        /// Taken before the contents were read; nil when they couldn't be.
        let stamp: FileStamp?

        /// Whether every user of the machine may read it.
        var isPublic: Bool { stamp?.isPublic ?? false }
    }

    private(set) var readings: [String: Reading] = [:]

    /// Reads a plain file of at most 1 MiB, more than any web-config or PEM file has.
    private static func read(_ path: String) -> Reading {
        do throws(WholeFile.Failure) {
            let (bytes, stamp) = try WholeFile.readWithStamp(path, limit: 1024 * 1024)
            return Reading(contents: .success(bytes), stamp: stamp)
        } catch {
            return Reading(contents: .failure(error), stamp: nil)
        }
    }

    /// A file's reading; reads the file if it wasn't read yet.
    mutating func reading(of path: String) -> Reading {
        if let reading = readings[path] { return reading }
        let reading = Self.read(path)
        readings[path] = reading
        return reading
    }

    /// Whether the files have changed since they were read. A file that changed just before the reading is compared
    /// byte by byte, because another change may have the same stamp.
    ///
    /// - Parameter now: Seconds since 1970.
    func haveChanged(at now: Int64) -> Bool {
        readings.contains { path, reading in
            if let stamp = reading.stamp, stamp.isSettled(at: now), FileStamp(path: path) == stamp { return false }
            return Self.read(path) != reading
        }
    }

    /// Whether both have the same bytes, whenever they were written.
    func hasSameContents(as other: WebFiles) -> Bool {
        readings.mapValues(\.contents) == other.readings.mapValues(\.contents)
    }
}
