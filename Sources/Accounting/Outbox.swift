/// What isn't stored yet. At most one commit is under way.
struct Outbox {
    /// Counts commits; see ``LedgerHeader/sequence``.
    var sequence: Int64
    var pending = Bookings()
    /// The commit under way.
    var inFlight: Commit?
    /// What the store has of each device.
    var storedDevices: [DeviceIndex: DeviceRecord] = [:]
    /// Stored quota events that aren't announced yet.
    var news: [QuotaEvent] = []
    /// Whether the last stored commit was the program's final one.
    var isClosed = false
}
