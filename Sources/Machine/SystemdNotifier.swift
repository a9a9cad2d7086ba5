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

    /// Reads the manager's variables and removes them from the environment, so that no child uses them.
    package init() {
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
        listeners = isForUs(take("LISTEN_PID")) && count > 0 && count <= 64 ? (3..<3 + count).map { $0 } : []
        unsetenv("LISTEN_FDNAMES")
        for descriptor in listeners { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }

    package func ready() { notify("READY=1\nSTATUS=metering") }
    package func stopping() { notify("STOPPING=1") }
    package func alive() { notify("WATCHDOG=1") }

    package func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        notify("RELOADING=1\nMONOTONIC_USEC=\(Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)")
    }

    /// Sends a message if the manager has a socket. Errors are ignored: metering goes on without the manager.
    private func notify(_ message: String) {
        guard let notifySocket, notifySocket.hasPrefix("/") || notifySocket.hasPrefix("@") else { return }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var path = Array(notifySocket.utf8)
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }  // An abstract name.
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.count < capacity else { return }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if descriptor < 0 { return }
        defer { close(descriptor) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let text = Array(message.utf8)
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, text, text.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}
