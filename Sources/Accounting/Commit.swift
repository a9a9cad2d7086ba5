import CivilTime

/// The store's record of an account, without its bytes.
package struct AccountRecord: Hashable, Sendable {
    package var id: AccountID
    package var key: AccountKey
    /// What the open counter shows beyond its members' kernel counters; it may be "negative", so it wraps.
    package var counterOffset: Counters
    /// The boot that `counterOffset` belongs to; in any other boot the offset is 0.
    package var offsetBoot: Int64
    package var events: AccountEvents

    package init(
        id: AccountID, key: AccountKey, counterOffset: Counters, offsetBoot: Int64, events: AccountEvents
    ) {
        self.id = id
        self.key = key
        self.counterOffset = counterOffset
        self.offsetBoot = offsetBoot
        self.events = events
    }
}

/// A device's baseline: its counters, when everything up to there was booked.
package struct DeviceRecord: Hashable, Sendable {
    package enum State: String, Hashable, Sendable {
        case metered
        /// In another namespace, or excluded. When it comes back it gets a new baseline.
        case away
    }

    package var index: DeviceIndex
    package var name: DeviceName
    package var account: AccountID?
    package var counters: Counters
    package var state: State
    package var holdsUplink: Bool
    /// Empty if unknown.
    package var hardwareAddress: [UInt8]
    /// Counters that show less than `counters`; it isn't clear yet whether they have restarted.
    package var falls: [TrafficDirection: FallRecord] = [:]

    package init(
        index: DeviceIndex, name: DeviceName, account: AccountID?, counters: Counters, state: State, holdsUplink: Bool,
        hardwareAddress: [UInt8] = []
    ) {
        self.index = index
        self.name = name
        self.account = account
        self.counters = counters
        self.state = state
        self.holdsUplink = holdsUplink
        self.hardwareAddress = hardwareAddress
    }
}

/// The kernel's number of a device (`ifindex`), unique in its namespace while the device exists.
package struct DeviceIndex: Hashable, Comparable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    package static func < (a: DeviceIndex, b: DeviceIndex) -> Bool { a.rawValue < b.rawValue }
}

/// The state of the ledger after its last commit.
package struct LedgerHeader: Hashable, Sendable {
    /// Counts commits, so that a commit that was carried out but not acknowledged isn't carried out again.
    package var sequence: Int64
    package var epoch: Epoch
    /// Counts the boots that the ledger has seen.
    package var boot: Int64
    package var lastReading: Moment
    /// Whether the program exited normally with this commit.
    package var isClean: Bool

    package init(sequence: Int64, epoch: Epoch, boot: Int64, lastReading: Moment, isClean: Bool) {
        self.sequence = sequence
        self.epoch = epoch
        self.boot = boot
        self.lastReading = lastReading
        self.isClean = isClean
    }
}

/// The part of the store that the program needs at start.
package struct StoredLedger: Sendable {
    package typealias StoredAccount = (record: AccountRecord, lifetime: Total)
    package typealias StoredDay = (account: AccountID, day: CivilDate, total: Total)

    package var header: LedgerHeader?
    package var accounts: [StoredAccount] = []
    package var devices: [DeviceRecord] = []
    /// The bytes of the days from `daysFrom` on.
    package var days: [StoredDay] = []
    package var daysFrom: CivilDate
    /// The counters of applications; `nil` if there never were any.
    package var applications: StoredApplications?
    /// The highest account number ever given.
    package var lastAccountID = AccountID(rawValue: 0)

    /// A ledger that holds nothing yet.
    package static func empty(daysFrom: CivilDate) -> StoredLedger { StoredLedger(daysFrom: daysFrom) }
}

/// One transaction for the store: bookings, and the counters up to which they are booked.
///
/// Bytes are added to what is stored; records replace what is stored.
package struct Commit: Sendable {
    package var header: LedgerHeader
    package var bookings = Bookings()
    package var accounts: [AccountRecord] = []
    package var devices: [DeviceRecord] = []
    package var removedDevices: [DeviceIndex] = []
    /// What has changed about the counters of applications.
    package var applications: ApplicationChanges?

    package init(header: LedgerHeader) {
        self.header = header
    }
}

/// History that a commit found in the store, under the name of an account that was new to the program.
///
/// It is part of the program's account now.
package struct AdoptedHistory: Sendable {
    package var account: AccountID
    package var events: AccountEvents
    /// All its days.
    package var days: [StoredLedger.StoredDay]

    package init(account: AccountID, events: AccountEvents, days: [StoredLedger.StoredDay]) {
        self.account = account
        self.events = events
        self.days = days
    }
}
