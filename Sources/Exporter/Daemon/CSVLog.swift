import Accounting
import CivilTime
import Configuration
import Glibc
import Logging
import Machine

/// Writes the day's bytes so far once a minute, to a file for each day: `network_usage_2026-11-21.csv`.
///
/// Lines are appended whole, so a crash leaves no partial line. One that a power cut left is cut off when the file is
/// opened again. Each line is written on its own thread: a slow disk delays lines, never a scrape or a commit.
actor CSVLog {
    private let meter: Meter
    private let logger: Logger
    private let minutes = PeriodicWakeup()
    /// The minute that was written last, by the wall clock.
    private var lastMinute: Int64?
    private var lastDay: CivilDate?
    private var lastProblem: String?

    init(meter: Meter, logger: Logger) {
        self.meter = meter
        self.logger = logger
    }

    /// The values of a line.
    struct Sample: Sendable {
        var setting: Configuration.CSVLog
        var now: Timestamp
        var calendar: LocalCalendar
        var today: CivilDate
        var total: Total
        var previousDay: CivilDate
        var previousTotal: Total
    }

    /// A minute may have begun. Never waits.
    nonisolated func tick() { minutes.tick(Self.minute()) }

    private static func minute() -> Int64 { SystemClock.now().timestamp.secondsSinceEpoch / 60 }

    /// Writes a line for each minute that begins, until the task is cancelled.
    func run() async {
        do throws(CancellationError) {
            for await _ in minutes.wakeups { try await writeLine() }
        } catch {}  // The daemon ends.
    }

    private func writeLine() async throws(CancellationError) {
        let minute = Self.minute()
        if minute == lastMinute { return }
        lastMinute = minute
        guard let sample = await meter.csvSample() else {
            lastDay = nil
            return
        }
        defer { lastMinute = sample.now.secondsSinceEpoch / 60 }
        let isNewDay = lastDay != sample.today
        let (closed, written) = try await onOwnThread {
            let closed = Result { () throws(Failure) in if isNewDay { try Self.close(sample.previousDay, sample) } }
            return (
                closed,
                Result { () throws(Failure) in try Self.write(sample.total, at: sample.now, to: sample.today, sample) }
            )
        } late: { [logger] in
            logger.error(
                "the CSV log can't be written, as its file system doesn't answer; its next lines have the whole day's values all the same",
                metadata: ["directory": "\(sample.setting.directory)"])
        }
        do throws(Failure) {
            try closed.get()
            lastDay = sample.today
            try written.get()
            if lastProblem != nil { logger.notice("the CSV log can be written again") }
            lastProblem = nil
        } catch {
            if error.text != lastProblem {
                logger.error(
                    "the CSV log can't be written; its next lines have the whole day's values all the same",
                    metadata: [
                        "file": "\(error.path)", "error": "\(error.text)",
                        "remedy": "\(error.remedy)",
                    ])
            }
            lastProblem = error.text
        }
    }

    /// Adds the final bytes of the day before to that day's file, with the moment that ended it, if the file can be read
    /// and has no such line. It works even if netusage was off at that moment.
    private static func close(_ day: CivilDate, _ sample: Sample) throws(Failure) {
        let midnight = sample.calendar.start(of: sample.today)
        // A day has 1500 lines at most, of about 60 bytes.
        guard let bytes = try? WholeFile.read(path(of: day, sample), limit: 1 << 20),
            !String(decoding: bytes, as: UTF8.self).contains(sample.calendar.rfc3339(midnight))
        else { return }
        try write(sample.previousTotal, at: midnight, to: day, sample)
    }

    private static func path(of day: CivilDate, _ sample: Sample) -> String {
        "\(sample.setting.directory)/\(name(of: day))"
    }

    private static func name(of day: CivilDate) -> String { "network_usage_\(day).csv" }

    private struct Failure: Error {
        var path: String
        var text: String
        var remedy = "check the disk and the permissions, or name another directory under csv_log"
    }

    private static func write(_ total: Total, at moment: Timestamp, to day: CivilDate, _ sample: Sample) throws(Failure)
    {
        let path = path(of: day, sample)
        let directory = try opened(sample.setting.directory) { () throws(PlainFile.Failure) in
            try PlainFile.openDirectory(sample.setting.directory, mode: 0o750)
        }
        defer { Glibc.close(directory) }
        let descriptor = try opened(path) { () throws(PlainFile.Failure) in
            let name = name(of: day)
            return try PlainFile.open(name, beside: name, in: directory, flags: O_APPEND).descriptor
        }
        defer { Glibc.close(descriptor) }
        var text = isEmptyAfterMending(descriptor) ? "timestamp,sent_mb,received_mb,total_mb\r\n" : ""
        text += "\(sample.calendar.rfc3339(moment)),\(megabytes(total.transmitted)),"
        text += "\(megabytes(total.received)),\(megabytes(total.bytes))\r\n"
        let line = Array(text.utf8)
        let count = Glibc.write(descriptor, line, line.count)
        if count != line.count {
            let reason = count < 0 ? errorText() : "the disk is full"
            if count > 0 { ftruncate(descriptor, lseek(descriptor, 0, SEEK_END) - count) }
            throw Failure(path: path, text: reason)
        }
    }

    private static func opened(
        _ path: String, by open: () throws(PlainFile.Failure) -> CInt
    ) throws(Failure) -> CInt {
        do throws(PlainFile.Failure) {
            return try open()
        } catch {
            var failure = Failure(path: path, text: "\(error)")
            switch error {
            case .link, .notPlain: failure.remedy = "remove it, or name another directory under csv_log"
            case .system: break
            }
            throw failure
        }
    }

    /// Cuts off a partial last line.
    ///
    /// - Returns: Whether the file is empty now.
    private static func isEmptyAfterMending(_ descriptor: CInt) -> Bool {
        var end = lseek(descriptor, 0, SEEK_END)
        // A line has about 60 bytes; a power cut may leave a page of zeros.
        var byte: UInt8 = 0
        let previous = end
        while end > 0, pread(descriptor, &byte, 1, end - 1) == 1, byte != UInt8(ascii: "\n") { end -= 1 }
        if end != previous { ftruncate(descriptor, end) }
        return end <= 0
    }

    /// Millions of bytes, to the byte.
    private static func megabytes(_ bytes: UInt64) -> String {
        let rest = String(bytes % 1_000_000)
        return "\(bytes / 1_000_000)." + String(repeating: "0", count: 6 - rest.count) + rest
    }
}
