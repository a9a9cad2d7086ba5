import CivilTime

/// The time to which the bytes of a reading belong.
struct BookingSpan {
    enum Place {
        case within(Bucket, CivilDate)
        /// More than one bucket; bytes are spread evenly over the time.
        case spread(from: Timestamp, to: Timestamp, cuts: [Timestamp])
    }

    var place: Place
    let elapsed: Span
    let isGap: Bool

    /// The same time, but something was read in it.
    var withoutGap: BookingSpan { BookingSpan(place: place, elapsed: elapsed, isGap: false) }
}

extension Ledger {
    func bookingSpan(until now: Moment) -> BookingSpan { bookingSpan(from: lastReading, until: now) }

    /// The time between two moments of one boot, by the wall clock as it is set now.
    func bookingSpan(from previous: Moment, until now: Moment) -> BookingSpan {
        let elapsed = now.sinceBoot.elapsed(since: previous.sinceBoot)
        let start = now.isStepped(since: previous) ? now.timestamp(before: elapsed) : previous.timestamp
        return bookingSpan(from: start, until: now, elapsed: elapsed)
    }

    func bookingSpan(from start: Timestamp, until now: Moment, elapsed: Span) -> BookingSpan {
        let end = now.timestamp
        if elapsed > rules.gapThreshold { return spread(from: start, to: end, elapsed: elapsed, isGap: true) }
        let bucket = Bucket(containing: start, cutAt: cuts)
        let isOpen = window.daySpan.contains(start)
        let day = isOpen ? window.today : calendar.day(containing: start)
        let dayEnd = isOpen ? window.daySpan.upperBound : calendar.span(ofDay: day).upperBound
        // A reading in the second of a boundary still closes what lies before it; a later one is late.
        let bucketEnd = cuts.first { $0 > start } ?? .latest
        if end > min(bucket.end, bucketEnd, dayEnd) {
            return spread(from: start, to: end, elapsed: elapsed, isGap: false)
        }
        return BookingSpan(place: .within(bucket, day), elapsed: elapsed, isGap: false)
    }

    private func spread(from start: Timestamp, to end: Timestamp, elapsed: Span, isGap: Bool) -> BookingSpan {
        // A cut before `start` in the same five minutes counts, too: the first slot begins with it.
        let first = Bucket(containing: start).start
        // `self.cuts` also has cuts of corrections that aren't stored yet.
        let known = first < end ? planBook.cuts(in: first..<end) : []
        let cuts = Set(known + cuts.filter { $0 > first && $0 < end }).sorted()
        return BookingSpan(place: .spread(from: start, to: end, cuts: cuts), elapsed: elapsed, isGap: isGap)
    }
}
