import CLinux
import Glibc

/// Talks to the service manager by its documented protocol, without its library: sd_notify(3), sd_listen_fds(3),
/// sd_watchdog_enabled(3).
package struct SystemdNotifier: Sendable {
    private let notifySocket: String?
    /// The longest time that the manager accepts between calls of ``alive()``; `nil` if it expects none.
    package let watchdogMicroseconds: Int64?
    /// Listening sockets that the manager opened.
    package let listeners: [CInt]
    /// Descriptors that this service gave to the manager before; see ``store(_:as:)``.
    package let stored: [StoredDescriptor]

    package struct StoredDescriptor: Sendable {
        package let name: String
        package let descriptor: CInt
    }

    /// Reads the manager's variables and removes them from the environment, so that no child uses them.
    ///
    /// - Parameter storedPrefix: What the names of stored descriptors begin with. All others are sockets.
    package init(storedPrefix: String) {
        func take(_ name: String) -> String? {
            defer { unsetenv(name) }
            return getenv(name).map { String(cString: $0) }
        }
        notifySocket = take("NOTIFY_SOCKET")
        let isForUs: (String?) -> Bool = { $0.flatMap { Int32($0) } == getpid() }
        let watchdogProcess = take("WATCHDOG_PID")
        let watchdog = take("WATCHDOG_USEC").flatMap { Int64($0) }
        watchdogMicroseconds =
            watchdogProcess == nil || isForUs(watchdogProcess) ? watchdog.flatMap { $0 > 0 ? $0 : nil } : nil
        let count = take("LISTEN_FDS").flatMap { CInt($0) } ?? 0
        // SD_LISTEN_FDS_START is 3.
        let descriptors: [CInt] =
            isForUs(take("LISTEN_PID")) && count > 0 && count <= 256 ? (3..<3 + count).map { $0 } : []
        let names = (take("LISTEN_FDNAMES") ?? "").split(separator: ":", omittingEmptySubsequences: false)
        for descriptor in descriptors { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        let named = descriptors.enumerated().map { place, descriptor in
            StoredDescriptor(name: place < names.count ? String(names[place]) : "", descriptor: descriptor)
        }
        stored = named.filter { $0.name.hasPrefix(storedPrefix) }
        listeners = named.filter { !$0.name.hasPrefix(storedPrefix) }.map(\.descriptor)
    }

    /// Whether there is a manager that takes messages.
    package var hasManager: Bool { notifySocket != nil }

    package func ready() { notify("READY=1\nSTATUS=metering") }
    package func stopping() { notify("STOPPING=1") }
    package func alive() { notify("WATCHDOG=1") }

    package func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        notify("RELOADING=1\nMONOTONIC_USEC=\(Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)")
    }

    /// Has the manager keep a descriptor, also while the service restarts (`FDSTORE=1`).
    ///
    /// - Returns: Whether the manager got it.
    package func store(_ descriptor: CInt, as name: String) -> Bool {
        notify("FDSTORE=1\nFDNAME=\(name)\nFDPOLL=0", [descriptor])
    }

    /// Has the manager close the descriptors of a name.
    package func forget(_ name: String) { notify("FDSTOREREMOVE=1\nFDNAME=\(name)") }

    /// Waits until the manager has taken all messages so far (`BARRIER=1`), for five seconds at most.
    ///
    /// - Returns: Whether it has.
    package func waitForManager() -> Bool {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { return false }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let isSent = notify("BARRIER=1", [ends[1]])
        close(ends[1])
        var waiting = pollfd(fd: ends[0], events: 0, revents: 0)
        return isSent && poll(&waiting, 1, 5000) == 1
    }

    /// Sends a message if the manager has a socket. Most errors are ignored: metering goes on without the manager.
    ///
    /// - Returns: Whether it was sent.
    @discardableResult
    private func notify(_ message: String, _ descriptors: [CInt] = []) -> Bool {
        guard let notifySocket, notifySocket.hasPrefix("/") || notifySocket.hasPrefix("@") else { return false }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var path = Array(notifySocket.utf8)
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }  // An abstract name.
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.count < capacity else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if descriptor < 0 { return false }
        defer { close(descriptor) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let text = Array(message.utf8)
        let code = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, length) }
        }
        return code == 0
            && netusage_send_descriptors(descriptor, text, text.count, descriptors, CInt(descriptors.count)) == 0
    }
}
