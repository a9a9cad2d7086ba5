import Accounting
import CivilTime
import Configuration
import Glibc
import Logging
import Machine
import Reports
import Synchronization

/// The format of log lines.
package enum LogFormat: String, CaseIterable, Sendable {
    case logfmt
    case json
}

/// Writes log lines to standard error: `time=… level=info msg="…" key=value`, or the same as JSON.
package struct Log: LogHandler {
    let format: LogFormat
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) { Self.write(line(of: event, at: SystemClock.now())) }

    /// Without its end.
    func line(of event: LogEvent, at now: Moment) -> String {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let nanoseconds = (now.wallNanoseconds % 1_000_000_000 + 1_000_000_000) % 1_000_000_000
        let milliseconds = String(1000 + nanoseconds / 1_000_000).dropFirst()
        let time = now.timestamp.description.dropLast() + "." + milliseconds + "Z"
        let level = event.level == .notice ? "info" : event.level == .warning ? "warn" : event.level.rawValue
        var pairs = [("time", String(time)), ("level", level), ("msg", event.message.description)]
        pairs += all.sorted { $0.key < $1.key }.map { ($0.key, $0.value.description) }
        return switch format {
        case .logfmt: pairs.map { "\($0)=\(Self.logfmt($1))" }.joined(separator: " ")
        case .json: "{" + pairs.map { "\(jsonString($0)):\(jsonString($1))" }.joined(separator: ",") + "}"
        }
    }

    /// How many lines were dropped.
    private static let dropped = Mutex(0)

    /// Writes a line, in one call unless it is very long, so that lines don't mix. If standard error is a pipe that
    /// nobody reads, the line is dropped: the log must not hold up the program. The next line says how many were lost.
    private static func write(_ line: String) {
        dropped.withLock { dropped in
            let note = dropped == 0 ? "" : "(\(dropped) lines before this one were lost: nobody read them)\n"
            var rest = Array((note + line + "\n").utf8)[...]
            while !rest.isEmpty {
                var descriptor = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
                if poll(&descriptor, 1, 0) == 0 {
                    dropped += 1
                    return
                }
                // A pipe that takes anything takes 4 KiB (PIPE_BUF). If standard error is broken, nobody can log that.
                let part = rest.prefix(4096)
                _ = part.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
                rest = rest.dropFirst(4096)
            }
            dropped = 0
        }
    }

    private static func logfmt(_ value: String) -> String {
        let isPlain =
            !value.isEmpty && value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3D && $0 != 0x5C }
        return isPlain ? value : jsonString(value)
    }
}

extension Logger {
    /// Logs what is wrong with the configuration, a line for each error.
    func tell(_ message: Logger.Message, _ error: any Error) {
        let problems = (error as? ConfigurationErrors)?.entries.map { "\($0)" } ?? ["\(error)"]
        for problem in problems { self.error(message, metadata: ["error": "\(problem)"]) }
    }

    /// Logs what isn't wrong with the configuration but may not be meant.
    func note(_ notes: [ConfigurationErrors.Entry]) {
        for note in notes { info("a note on the configuration", metadata: ["note": "\(note)"]) }
    }
}
