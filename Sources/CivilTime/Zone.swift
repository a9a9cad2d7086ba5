/// The UTC offsets of one time zone through all of time.
///
/// East of Greenwich is positive: local time is UTC plus the offset. Offsets stay within ±26 hours.
package struct Zone: Hashable, Codable, Sendable {
    /// A span of time in which the offset doesn't change.
    struct Segment: Hashable, Sendable {
        /// The first second; `Int64.min` when nothing comes before.
        var start: Int64
        /// The second after the last; `Int64.max` when nothing comes after, and then that second is included.
        var end: Int64
        var offsetSeconds: Int64
    }

    /// The offsets after the last transition of the table, or at all times if the table is empty.
    enum Tail: Hashable, Codable, Sendable {
        case offset(Int64)
        case rule(DaylightRule)
    }

    /// No place on Earth is further from UTC. RFC 9636 section 3.2 asks for -25 to 26 hours.
    static let widestOffsetSeconds: Int64 = 26 * 3600

    /// Strictly ascending POSIX seconds.
    private let transitions: [Int64]
    /// `offsetsBefore[i]` applies before `transitions[i]`; the tail applies after the last transition.
    private let offsetsBefore: [Int64]
    private let tail: Tail

    package static let utc = Zone(fixedOffsetSeconds: 0)

    /// The directory of zone files unless `TZDIR` names another.
    package static let usualDirectory = "/usr/share/zoneinfo"

    /// A zone whose offset never changes; an offset beyond ±26 hours is clamped.
    package init(fixedOffsetSeconds: Int) {
        let widest = Int(Zone.widestOffsetSeconds)
        transitions = []
        offsetsBefore = []
        tail = .offset(Int64(min(max(fixedOffsetSeconds, -widest), widest)))
    }

    /// Reads a compiled zone file (TZif, RFC 9636), versions 1 to 4, also the "right/" files that count leap seconds.
    ///
    /// The file's first type applies before the first transition, and its footer after the last one. Without a footer
    /// the last offset applies for ever. "right/" files have no footer, so they are right only until their list of leap
    /// seconds expires, about a year after it was made. Prefer the plain file where both exist.
    /// - Throws: `ZoneError` for anything the RFC doesn't allow and for files over 256 KiB.
    package init(tzif bytes: [UInt8]) throws(ZoneError) {
        let file = try ZoneFile(bytes)
        transitions = file.transitions
        offsetsBefore = file.offsetsBefore
        tail = file.footer.isEmpty ? .offset(file.lastOffset) : try RuleParser.tail(of: file.footer)
    }

    /// Reads a POSIX TZ string like "EST5EDT,M3.2.0,M11.1.0" or "<+0330>-3:30".
    ///
    /// Hours of a rule may be -167…167 (RFC 9636 section 3.3.2). Daylight time without a rule gets the current rule of
    /// the United States, as in the tz code. Note the sign: POSIX counts west of Greenwich as positive.
    /// - Throws: `ZoneError.invalidRule`.
    package init(posix: String) throws(ZoneError) {
        transitions = []
        offsetsBefore = []
        tail = try RuleParser.tail(of: Array(posix.utf8))
    }

    /// The seconds to add to UTC for local time at a moment.
    package func offsetSeconds(at moment: Timestamp) -> Int {
        Int(segment(containing: moment.secondsSinceEpoch).offsetSeconds)
    }

    /// The segment around a second. The next one begins at its `end`; neighbours may have the same offset.
    func segment(containing second: Int64) -> Segment {
        let index = transitions.firstPlace { $0 > second }
        let start = index == 0 ? Int64.min : transitions[index - 1]
        guard index == transitions.count else {
            return Segment(start: start, end: transitions[index], offsetSeconds: offsetsBefore[index])
        }
        switch tail {
        case .offset(let offsetSeconds):
            return Segment(start: start, end: .max, offsetSeconds: offsetSeconds)
        case .rule(let rule):
            var segment = rule.segment(containing: second)
            segment.start = max(segment.start, start)
            return segment
        }
    }
}
