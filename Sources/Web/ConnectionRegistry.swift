import CLinux
import Glibc
import NIOCore

/// Every connection of the server: how many there may be, and how long each may take.
///
/// NIO alone would let a client hold a connection for ever with half a request, and spins when there are no descriptors
/// left. Used on the server's event loop only.
package final class ConnectionRegistry {
    /// How long a client may take from the first byte of a request to its end.
    private static let requestSeconds: Int64 = 10
    /// For a request to begin. Prometheus keeps its connections for the next scrape, which may be minutes away.
    private static let idleSeconds: Int64 = 300
    /// To take an answer, or the next ``progressBytes`` of it.
    private static let responseSeconds: Int64 = 30
    /// The same for a client that has taken much already.
    private static let longestResponseSeconds: Int64 = 300

    /// A client that takes less than this in the time for an answer, about 2 kB/s, is closed.
    static let progressBytes: UInt64 = 64 * 1024

    enum Phase {
        case idle
        case receiving
        /// A request came, and it isn't clear yet whether it may be answered.
        case judging
        case responding
        /// A large answer, which the client can't have at once: its progress is watched.
        case streaming
        /// The same, of any length.
        case exporting

        var isAnswer: Bool { self == .responding || isStream }
        var isStream: Bool { self == .streaming || self == .exporting }
    }

    /// A class, because each request changes it four times.
    private final class Entry {
        let channel: any Channel
        let origin: ClientOrigin
        var phase = Phase.idle
        var since = NIODeadline.now()
        /// What the client had acknowledged when the stream began, and when it last made progress.
        var acknowledged: (first: UInt64, last: UInt64) = (0, 0)

        init(_ channel: any Channel) {
            self.channel = channel
            origin = ClientOrigin(channel.remoteAddress)
        }
    }

    let maximumCount: Int
    /// Whether its sockets are Unix sockets: the kernel doesn't say what their clients have taken.
    let isLocal: Bool
    /// Who looks at an export page by page may take an hour for one.
    private static let localExportSeconds: Int64 = 3600
    private var entries: [ObjectIdentifier: Entry] = [:]

    private let acknowledgedBytes: (any Channel) -> UInt64

    /// - Parameter acknowledgedBytes: How many bytes a connection's client has taken so far.
    package init(
        maximumCount: Int, isLocal: Bool = false,
        acknowledgedBytes: @escaping (any Channel) -> UInt64 = ConnectionRegistry.acknowledgedBytes
    ) {
        self.maximumCount = maximumCount
        self.isLocal = isLocal
        self.acknowledgedBytes = acknowledgedBytes
    }

    /// By TCP (`tcpi_bytes_acked` of linux/tcp.h); 0 for other sockets.
    package static func acknowledgedBytes(_ channel: any Channel) -> UInt64 {
        guard let options = channel as? any SocketOptionProvider else { return 0 }
        let information: EventLoopFuture<netusage_tcp_info> = options.unsafeGetSocketOption(
            level: .tcp, name: .init(rawValue: TCP_INFO))
        var bytes: UInt64 = 0
        // On its own event loop a channel answers at once.
        information.assumeIsolated().whenSuccess { bytes = $0.bytes_acked }
        return bytes
    }

    /// Takes a connection in, if there is room or room can be made: see ``evictOne()``.
    ///
    /// - Returns: Whether it was taken in; if not, it is closed already.
    func admit(_ channel: any Channel) -> Bool {
        if entries.count >= maximumCount, !evictOne() {
            channel.close(promise: nil)
            return false
        }
        let key = ObjectIdentifier(channel)
        entries[key] = Entry(channel)
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.entries[key] = nil }
        return true
    }

    func enter(_ phase: Phase, _ channel: any Channel) {
        guard let entry = entries[ObjectIdentifier(channel)] else { return }
        entry.phase = phase
        entry.since = .now()
        guard phase.isStream, !isLocal else { return }
        let bytes = acknowledgedBytes(channel)
        entry.acknowledged = (bytes, bytes)
    }

    /// When to call ``closeOverdue(at:)`` next; `nil` while there are no connections. The shortest time that a client has
    /// is twice the longer interval, so no connection stays open for more than a second too long, idle ones aside.
    var sweepInterval: TimeAmount? {
        if entries.isEmpty { return nil }
        return entries.values.allSatisfy { $0.phase == .idle } ? .seconds(5) : .seconds(1)
    }

    /// Closes the connections whose clients take too long.
    func closeOverdue(at now: NIODeadline = .now()) {
        for entry in entries.values {
            let limit =
                switch entry.phase {
                case .idle: Self.idleSeconds
                case .receiving: Self.requestSeconds
                case .exporting where isLocal: Self.localExportSeconds
                case .judging, .responding, .streaming, .exporting: Self.responseSeconds
                }
            guard now - entry.since > .seconds(limit) else { continue }
            if entry.phase.isStream, !isLocal, makesProgress(entry, at: now) { continue }
            entry.channel.close(promise: nil)
        }
    }

    /// Whether a client whose time for an answer is over may take more of it.
    private func makesProgress(_ entry: Entry, at now: NIODeadline) -> Bool {
        // The kernel buffers megabytes, so sent bytes say nothing about the client.
        let bytes = acknowledgedBytes(entry.channel)
        if bytes >= entry.acknowledged.last + Self.progressBytes {
            entry.since = now
            entry.acknowledged.last = bytes
            return true
        }
        // A client that limits its own rate reads megabytes at once and then nothing for minutes. So it gets the time
        // in which its bytes would come at 16 kB/s.
        let taken = bytes - min(bytes, entry.acknowledged.first)
        let seconds = min(Self.longestResponseSeconds, Self.responseSeconds + Int64(clamping: taken / 16_384))
        return now - entry.since <= .seconds(seconds)
    }

    /// Closes the connections in some phases, or in any.
    func closeAll(where isMeant: (Phase) -> Bool = { _ in true }) {
        for entry in entries.values where isMeant(entry.phase) { entry.channel.close(promise: nil) }
    }

    /// Whether a client waits for an answer that is made at once.
    var isResponding: Bool { entries.values.contains { $0.phase == .responding } }

    /// Makes room. Connections with an answer under way stay. Of the others, it closes one of the origin that has most,
    /// so that guessers whose passwords wait to be checked don't keep out clients from elsewhere.
    private func evictOne() -> Bool {
        let candidates = entries.filter { !$0.value.phase.isAnswer }
        var count: [ClientOrigin: Int] = [:]
        for entry in candidates.values { count[entry.origin, default: 0] += 1 }
        func rank(_ entry: Entry) -> (Int, Int, NIODeadline) {
            (-(count[entry.origin] ?? 0), entry.phase == .judging ? 1 : 0, entry.since)
        }
        guard let oldest = candidates.min(by: { rank($0.value) < rank($1.value) }) else { return false }
        entries[oldest.key] = nil
        oldest.value.channel.close(promise: nil)
        return true
    }
}
