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

    /// - Parameter share: From 0 to 1.
    func show(_ share: Double) {
        let filled = Int((share * 30).rounded(.down))
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
        show("[\(bar)] \(Int(share * 100)) %")
    }

    /// For work whose end isn't known.
    ///
    /// - Parameter bytes: How many bytes were written since the last call.
    func show(bytes: Int) {
        self.bytes += UInt64(bytes)
        show(sizeText(self.bytes))
    }

    private func show(_ text: String) {
        let now = ContinuousClock.now
        // Short work needs no bar.
        guard isShown, now - started > .milliseconds(500), now - (shownAt ?? started) > .milliseconds(100) else {
            return
        }
        shownAt = now
        _ = writeAll(Array("\r\(text)\u{1B}[K".utf8), to: STDERR_FILENO)
    }

    func clear() {
        if shownAt != nil { _ = writeAll(Array("\r\u{1B}[K".utf8), to: STDERR_FILENO) }
    }
}
