import Logging
import Netlink

/// How well the kernel can be read. Each trouble is logged when it begins and when it ends.
struct KernelHealth {
    /// What is read of the kernel. Each part may fail by itself.
    enum Part: String {
        case counters, events, links, routes
    }

    var status = KernelStatus()
    private var failures: [Part: String] = [:]
    private var wasBusy = false
    private let logger: Logger

    init(logger: Logger) {
        self.logger = logger
    }

    /// - Parameter error: `nil` if the part could be read.
    mutating func note(_ part: Part, _ error: NetlinkError?) {
        if part == .counters { status.readSuccess = error == nil }
        // A list that waits for a busy kernel, or changed each time that it was read, is late, not lost.
        if error?.code == .busy || error?.code == .interrupted, part != .counters { return }
        if failures[part] == error?.message { return }
        failures[part] = error?.message
        if let error {
            logger.error(
                "the kernel's \(part.rawValue) can't be read; they are tried again, and nothing is lost meanwhile",
                metadata: ["error": "\(error)"])
        } else {
            logger.notice("the kernel's \(part.rawValue) can be read again")
        }
    }

    mutating func note(isBusy: Bool) {
        if isBusy == wasBusy { return }
        wasBusy = isBusy
        if isBusy {
            logger.notice("the kernel is busy with network configuration; counters come from /proc/net/dev meanwhile")
        } else {
            logger.notice("the kernel answers again")
        }
    }
}
