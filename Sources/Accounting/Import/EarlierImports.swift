import CivilTime

/// What earlier imports have booked. Slots of a new import use it up, so that each byte explains one slot.
struct EarlierImports {
    /// Sorted by their starts; they may overlap.
    private var rows: [ImportedRow]
    private let places: [Range<Timestamp>: [Int]]
    /// The latest end of the rows up to each one.
    private let ends: [Timestamp]

    init(_ rows: [ImportedRow]) {
        let rows = rows.sorted { $0.slot.lowerBound < $1.slot.lowerBound }
        self.rows = rows
        places = Dictionary(grouping: rows.indices) { rows[$0].slot }
        var latest = Timestamp.earliest
        ends = rows.map { row in
            latest = max(latest, row.slot.upperBound)
            return latest
        }
    }

    /// Uses up rows of exactly this slot. If the slot reported no more at that time, nothing of it is new.
    mutating func explain(_ rest: inout Total, ofSlot span: Range<Timestamp>, from source: String) {
        for place in places[span] ?? [] where rows[place].source == source {
            let isKnown = rest.without(rows[place].reported).isZero
            rows[place].total.explain(&rest)
            if isKnown { rest = .zero }
        }
    }

    /// Uses up rows that overlap a span and may have the same bytes: of this source, or of the whole account (`""`).
    mutating func explain(
        _ rest: inout Total, of span: Range<Timestamp>, from source: String,
        where isMeant: (Range<Timestamp>) -> Bool
    ) {
        var place = ends.firstPlace { $0 > span.lowerBound }
        while place < rows.endIndex, rows[place].slot.lowerBound < span.upperBound, !rest.isZero {
            let row = rows[place]
            let isOfSource = row.source == source || row.source.isEmpty || source.isEmpty
            if isOfSource, row.slot.overlaps(span), !row.total.isZero, isMeant(row.slot) {
                rows[place].total.explain(&rest)
            }
            place += 1
        }
    }
}

extension Total {
    /// Uses up what both have of the same bytes.
    mutating func explain(_ rest: inout Total) { (self, rest) = (without(rest), rest.without(self)) }
}
