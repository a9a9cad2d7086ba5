import ArgumentParser
import Exporter
import Glibc
import Reports

/// `netusage live`.
struct Live: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the present traffic of devices or applications, once a second.",
        discussion: """
            Ends with q or Ctrl-C. If the output isn't a terminal, it is a line of JSON each second. Without a daemon, the command \
            reads the kernel itself and keeps nothing; only a daemon knows applications. Those that were busiest in the last \
            minute come first.
            """)

    @OptionGroup var options: UsageOptions
    @OptionGroup var subjectOptions: ApplicationOptions

    @Option(name: [.customShort("n"), .customLong("count")], help: "End after so many updates. (default: never)")
    var count: Int?

    mutating func validate() throws {
        if let count, count < 1 { throw ValidationError("-n \(count): write 1 or more") }
        if subject == .application, !options.devices.isEmpty { throw ValidationError("\(UsageError.needsDevices)") }
    }

    private var subject: UsageQuery.Subject { subjectOptions.subject ?? .device }

    mutating func run() async throws {
        let source = try await options.common.ledgerAccess.questions()
        _ = try await source.live(by: subject)  // The next one has the rates since.
        if options.json || isatty(STDOUT_FILENO) == 0 {
            try await printLines(source)
        } else {
            try await draw(source)
        }
    }

    /// - Parameter isFirst: Whether this is the first report; later a device may come and go.
    private func report(of source: any Questions, isFirst: Bool) async throws -> LiveReport {
        var report = try await source.live(by: subject)
        if subject == .application, let note = report.note, isFirst { throw LedgerAccess.Failure.refused(note) }
        if !subjectOptions.scopes.isEmpty {
            let scopes = subjectOptions.scopes.map(\.rawValue)
            report.accounts.removeAll { !scopes.contains($0.scope ?? "") }
        }
        let names = options.devices + subjectOptions.applications
        if names.isEmpty { return report }
        let known = Set(report.accounts.map(\.name)).sorted()
        report.accounts.removeAll { account in !names.contains { account.isMeant(by: $0) } }
        // An application may begin later.
        if report.accounts.isEmpty, isFirst, subject == .device {
            throw LedgerAccess.Failure.refused(
                "there is no \(names.joined(separator: ", ")) now; there is \(known.prefix(20).joined(separator: ", "))"
            )
        }
        return report
    }

    private func printLines(_ source: any Questions) async throws {
        for number in 0..<(count ?? .max) {
            await nextSecond(isOver: { false })
            let line = json(try await report(of: source, isFirst: number == 0))
            try output(String(decoding: line, as: UTF8.self) + "\n")
        }
    }

    private func draw(_ source: any Questions) async throws {
        let screen = Screen()
        defer { screen.leave() }
        var devices = LiveTable(inBits: options.bits)
        var applications = LiveApplicationTable(inBits: options.bits)
        for number in 0..<(count ?? .max) {
            if screen.isLeft { break }
            let report = try await report(of: source, isFirst: number == 0)
            let terminal = Terminal.standardOutput
            screen.show(
                subject == .device
                    ? devices.lines(report, terminal, rows: screen.rows)
                    : applications.lines(report, terminal, rows: screen.rows))
            await nextSecond(isOver: { screen.isLeft })
        }
    }
}

/// Waits until a tenth of a second after the next full second, so that the sample of that second is there.
private func nextSecond(isOver: () -> Bool) async {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let wait = 1_100_000_000 - Int64(now.tv_nsec)
    let end = ContinuousClock.now + .nanoseconds(wait < 200_000_000 ? wait + 1_000_000_000 : wait)
    while ContinuousClock.now < end, !isOver() {
        try? await Task.sleep(for: min(.milliseconds(50), end - ContinuousClock.now))  // Nobody cancels this task.
    }
}

/// The whole terminal, to draw on. ``leave()`` brings back its previous contents.
private struct Screen {
    private let previous: termios?

    init() {
        Interruption.watch()
        var settings = termios()
        previous = tcgetattr(STDIN_FILENO, &settings) == 0 ? settings : nil
        if previous != nil {
            settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
            withUnsafeMutableBytes(of: &settings.c_cc) {
                $0[Int(VMIN)] = 0
                $0[Int(VTIME)] = 0
            }
            tcsetattr(STDIN_FILENO, TCSANOW, &settings)
        }
        // The other screen of the terminal, without a cursor (xterm's control sequences).
        Self.write("\u{1B}[?1049h\u{1B}[?25l")
    }

    func leave() {
        Self.write("\u{1B}[?25h\u{1B}[?1049l")
        if var previous { tcsetattr(STDIN_FILENO, TCSANOW, &previous) }
    }

    /// Whether the user wants to stop.
    var isLeft: Bool {
        var key: UInt8 = 0
        if previous != nil, read(STDIN_FILENO, &key, 1) == 1, key == UInt8(ascii: "q") || key == 0x03 {
            Interruption.ask()
        }
        return Interruption.isAsked
    }

    var rows: Int {
        var size = winsize()
        return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_row > 0 ? Int(size.ws_row) : 24
    }

    /// Draws each line over the old one, so that nothing flickers.
    func show(_ lines: [String]) {
        Self.write(
            "\u{1B}[H" + lines.map { Terminal.printableLines($0) + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
    }

    private static func write(_ text: String) {
        if !writeAll(text) { Interruption.ask() }  // The terminal is gone.
    }
}
