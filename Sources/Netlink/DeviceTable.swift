import CLinux
import Glibc

/// Counters from `/proc/net/dev`, which the kernel shows without its RTNL lock.
///
/// It is slower than the routing socket, and has names of links instead of numbers. The numbers are looked up before
/// and after, to leave out a link that changes its name meanwhile.
package struct DeviceTable: ~Copyable {
    private let descriptor: CInt

    /// `nil` if there is no `/proc`.
    init?() {
        // The thread's namespace; in tests it may differ from the process's.
        descriptor = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { return nil }
    }

    deinit {
        close(descriptor)
    }

    /// - Parameter socket: Any socket of the same namespace.
    /// - Returns: `nil` if the file can't be read.
    func counters(_ socket: CInt) -> [LinkCounters]? {
        guard let before = rows() else { return nil }
        let indices = Dictionary(
            before.compactMap { row in Self.index(of: row.name, socket).map { (row.name, $0) } },
            uniquingKeysWith: { $1 })
        return rows()?.compactMap { row in
            guard let index = indices[row.name], Self.index(of: row.name, socket) == index else { return nil }
            return LinkCounters(index: index, receivedBytes: row.received, transmittedBytes: row.transmitted)
        }
    }

    /// The names of all links of the namespace; empty if they can't be read. Doesn't wait for a busy kernel.
    package static func names() -> [[UInt8]] { DeviceTable()?.rows()?.map(\.name) ?? [] }

    typealias Row = (name: [UInt8], received: UInt64, transmitted: UInt64)

    private func rows() -> [Row]? {
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = pread(descriptor, &chunk, chunk.count, off_t(text.count))
            if count < 0, errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 { return Self.rows(of: text) }
            text += chunk[..<count]
        }
    }

    /// The rows of the table. Each has a name, a colon and 16 numbers: the first is bytes received, the ninth bytes
    /// sent (`dev_seq_printf_stats` of net/core/net-procfs.c). The two lines of the head have no colon.
    static func rows(of text: [UInt8]) -> [Row] {
        text.split(separator: UInt8(ascii: "\n")).compactMap { line in
            // A name may have colons, from the time of alias devices; numbers have none.
            guard let colon = line.lastIndex(of: UInt8(ascii: ":")) else { return nil }
            let numbers = line[line.index(after: colon)...].split(separator: UInt8(ascii: " ")).map {
                UInt64(String(decoding: $0, as: UTF8.self))
            }
            guard numbers.count >= 16, let received = numbers[0], let transmitted = numbers[8] else { return nil }
            return (Array(line[..<colon].drop { $0 == UInt8(ascii: " ") }), received, transmitted)
        }
    }

    /// The number of the link with this name now; `nil` if there is none.
    private static func index(of name: [UInt8], _ socket: CInt) -> UInt32? {
        let index = netusage_link_index(socket, name, name.count)
        return index > 0 ? UInt32(index) : nil
    }
}
