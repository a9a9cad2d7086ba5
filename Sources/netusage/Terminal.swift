import Accounting
import ArgumentParser
import Glibc
import Machine

/// The width and the abilities of an output.
struct Terminal {
    var columns: Int
    var hasColour: Bool
    /// Whether letters beyond ASCII are shown correctly.
    var hasUnicode: Bool

    /// Standard output. It has `COLUMNS` or 80 columns if it isn't a terminal. It has colour if it is a terminal and
    /// neither `NO_COLOR` (<https://no-color.org>) nor `TERM=dumb` forbids it.
    static var standardOutput: Terminal {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        var size = winsize()
        let isKnown = isTerminal && ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        let columns = isKnown ? Int(size.ws_col) : variable("COLUMNS").flatMap { Int($0) } ?? 80
        let isPlain = variable("NO_COLOR") != nil || variable("TERM") == "dumb"
        let locale = variable("LC_ALL") ?? variable("LC_CTYPE") ?? variable("LANG") ?? ""
        return Terminal(
            columns: min(max(columns, 40), 200), hasColour: isTerminal && !isPlain,
            hasUnicode: locale.lowercased().contains("utf"))
    }

    /// A variable of the environment; `nil` if it is empty.
    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The colours that are used, by their numbers in ECMA-48.
    enum Colour: Int, CaseIterable {
        case red = 31
        case green = 32
        case yellow = 33
        case blue = 34
    }

    func coloured(_ text: String, _ colour: Colour) -> String {
        hasColour ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }

    func bold(_ text: String) -> String { hasColour ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

    func dim(_ text: String) -> String { hasColour ? "\u{1B}[2m\(text)\u{1B}[0m" : text }

    /// A sentence before a table.
    func note(_ text: String, isStale: Bool) -> String {
        isStale ? coloured(Self.printable(text), .yellow) : dim(Self.printable(text))
    }

    /// A name from outside the program, without characters that control the terminal.
    static func printable(_ name: String) -> String {
        String(
            String.UnicodeScalarView(
                name.unicodeScalars.map { $0.isInvisible ? "\u{FFFD}" : $0 }))
    }

    /// Lines for a terminal, which may repeat text from outside. Only the styles above keep their control characters.
    static func printableLines(_ text: String) -> String {
        if text.utf8.allSatisfy({ $0 < 0x7F && ($0 >= 0x20 || $0 == UInt8(ascii: "\n")) }) { return text }
        var shown = String.UnicodeScalarView()
        var rest = Substring(text).unicodeScalars
        while let scalar = rest.first {
            if let style = styles.first(where: { rest.starts(with: $0.unicodeScalars) }) {
                shown += style.unicodeScalars
                rest = rest.dropFirst(style.unicodeScalars.count)
                continue
            }
            shown.append(scalar != "\n" && scalar.isInvisible ? "\u{FFFD}" : scalar)
            rest = rest.dropFirst()
        }
        return String(shown)
    }

    /// The control sequences of ``coloured(_:_:)``, ``bold(_:)`` and ``dim(_:)``.
    private static let styles = ([0, 1, 2] + Colour.allCases.map(\.rawValue)).map { "\u{1B}[\($0)m" }

    /// A text, cut to so many columns.
    func clipped(_ text: String, to length: Int) -> String {
        if width(text) <= length { return text }
        var clipped = text
        while !clipped.isEmpty, width(clipped) > length - 1 { clipped.removeLast() }
        return clipped + (hasUnicode ? "…" : "~")
    }

    /// A text in lines of so many columns. Longer words stay whole.
    func wrapped(_ text: String, to length: Int) -> [String] {
        var lines: [String] = []
        for paragraph in text.split(separator: "\n") {
            var line = ""
            for word in paragraph.split(separator: " ") {
                if !line.isEmpty, width(line) + 1 + width(String(word)) > length {
                    lines.append(line)
                    line = ""
                }
                line += (line.isEmpty ? "" : " ") + word
            }
            lines.append(line)
        }
        return lines
    }
}

/// Writes a text to standard output, without a buffer.
///
/// - Returns: Whether all of it was written.
func writeAll(_ text: String) -> Bool { writeAll(Array(text.utf8)) }

/// Writes lines to standard output, without characters that control a terminal.
///
/// - Parameter failure: The exit code if they can't be written; then standard error has a message.
/// - Throws: `ExitCode`.
func output(_ text: String, failure: CInt = 1) throws {
    if writeAll(Terminal.printableLines(text)) { return }
    StandardError.print(
        "standard output can't be written: \(errorText()); write to another place")
    throw ExitCode(failure)
}

/// Writes bytes to standard output, or elsewhere.
///
/// - Returns: Whether all were written; if not, see `errno`.
func writeAll(_ bytes: [UInt8], to descriptor: CInt = STDOUT_FILENO) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        if count < 0, errno == EPIPE { endByBrokenPipe() }
        if count <= 0 { return false }
        rest = rest.dropFirst(count)
    }
    return true
}

/// Ends this program as the kernel ends a program whose reader has enough. Asking a daemon has SIGPIPE ignored.
func endByBrokenPipe() -> Never {
    signal(SIGPIPE, SIG_DFL)
    raise(SIGPIPE)
    exit(128 + SIGPIPE)  // It is blocked.
}

/// A text with spaces after it, up to so many columns, but at least one space.
func padded(_ text: String, to length: Int) -> String {
    text + String(repeating: " ", count: max(1, length - width(text)))
}

/// A text with spaces before it, up to so many columns.
func aligned(_ text: String, to length: Int) -> String {
    String(repeating: " ", count: max(0, length - width(text))) + text
}

/// How many columns of a terminal a text takes: two for wide letters, none for combining marks.
///
/// Source: Unicode's East Asian Width (UAX #11), only ranges that are wide as a whole.
func width(_ text: String) -> Int {
    if text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) { return text.utf8.count }
    return text.unicodeScalars.reduce(0) { columns, scalar in
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format, .control: return columns
        default: break
        }
        let wide: [ClosedRange<UInt32>] = [
            0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
            0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD,
        ]
        return columns + (wide.contains { $0.contains(scalar.value) } ? 2 : 1)
    }
}
