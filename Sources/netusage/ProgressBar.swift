import Exporter
import Glibc
import Reports

/// The progress of long work, on standard error if that is a terminal.
final class ProgressBar {
    private let isShown: Bool
    private let started = ContinuousClock.now
    private var shownAt: ContinuousClock.Instant?
    private var bytes: UInt64 = 0

    /// - Parameter isShown: Whether nothing else is written to the terminal meanwhile.
    init(isShown: Bool = true) {
        self.isShown = isShown && isatty(STDERR_FILENO) == 1
    }

    /// - Parameters:
    ///   - share: From 0 to 1. Other values, which another program may send, are clamped.
    ///   - bytes: How many bytes were written since the last call.
    func show(_ share: Double, bytes: Int = 0) {
        self.bytes += UInt64(bytes)
        let now = ContinuousClock.now
        // Short work needs no bar.
        guard isShown, now - started > .milliseconds(500), now - (shownAt ?? started) > .milliseconds(100) else {
            return
        }
        shownAt = now
        let share = share > 0 ? min(share, 1) : 0
        let filled = Int((share * 30).rounded(.down))
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
        let size = self.bytes > 0 ? "  \(sizeText(self.bytes))" : ""
        let text = "\r[\(bar)] \(Int(share * 100)) %\(size)\u{1B}[K"
        _ = writeAll(Array(text.utf8), to: STDERR_FILENO)
    }

    func clear() {
        if shownAt != nil { _ = writeAll(Array("\r\u{1B}[K".utf8), to: STDERR_FILENO) }
    }
}
