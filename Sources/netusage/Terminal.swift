import Glibc

/// What a stream shows: how wide it is, and whether in colour.
struct Terminal {
    var columns: Int
    var hasColour: Bool
    /// Whether letters beyond ASCII come out as they should.
    var hasUnicode: Bool

    /// Standard output. What isn't a terminal is 80 columns wide and without colour; so is one that `NO_COLOR`
    /// (<https://no-color.org>) or `TERM=dumb` asks not to have any.
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

    /// A variable of the environment that isn't empty.
    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The colours that are used, by their numbers in ECMA-48.
    enum Colour: Int {
        case red = 31
        case green = 32
        case yellow = 33
    }

    func coloured(_ text: String, _ colour: Colour) -> String {
        hasColour ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }

    func bold(_ text: String) -> String { hasColour ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

    func dim(_ text: String) -> String { hasColour ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
}

/// Bytes for people: in powers of 1000, two decimals, as "612.40 GB".
func sizeText(_ bytes: UInt64) -> String {
    if bytes < 1000 { return "\(bytes) B" }
    var unit = 1.0
    for name in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        unit *= 1000
        if Double(bytes) < unit * 999.995 || name == "EB" { return "\(decimalText(Double(bytes) / unit)) \(name)" }
    }
    return "\(bytes) B"
}

/// A number that isn't negative, rounded to so many decimals; one that is larger than can be counted is cut.
func decimalText(_ number: Double, decimals: Int = 2) -> String {
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let whole = String(UInt64(min(max(0, (number * scale).rounded()), 9e18)))
    if decimals == 0 { return whole }
    let padded = String(repeating: "0", count: max(0, decimals + 1 - whole.count)) + whole
    return "\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
}
