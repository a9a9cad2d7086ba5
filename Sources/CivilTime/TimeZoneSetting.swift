/// Where local time comes from.
package enum TimeZoneSetting: Hashable, Sendable {
    /// The machine's own zone; for a plan, the zone of the ledger's days.
    case local
    /// A name of the zone database, such as `Europe/Berlin`; never a path that leads out of it.
    case named(String)
    /// A fixed offset from UTC in seconds, east positive.
    case fixed(seconds: Int)
}
