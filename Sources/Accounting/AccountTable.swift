/// All accounts, each at a place. Places stay the same until ``keep(_:)``.
struct AccountTable: RandomAccessCollection, MutableCollection {
    private var accounts: [Account] = []
    /// The place of each key's account.
    var places: [AccountKey: Int] = [:]
    /// The place of the uplink's account.
    var uplink = 0
    /// The number of the newest account.
    var lastID: Int64
    /// Changes whenever an account or a member comes, goes or changes its name.
    var version: UInt64 = 0
    /// ``version`` when ``Ledger/settleNewAccounts()`` last ran.
    var settledVersion: UInt64 = 0
    /// Accounts with a new key: it isn't known yet which plans count them.
    var uncounted: Set<Int> = []
    /// The last bytes of departed devices, by the place of the account. They are hidden until they are stored: after a
    /// crash they can't be read again, and no counter may step back.
    var hidden: [Int: Total] = [:]
    /// The hidden bytes in the commit under way.
    var hiddenInFlight: [Int: Total] = [:]
    /// How many devices left without any bytes since ``Ledger/evictDormantAccounts()`` last ran.
    var emptyDepartures = 0

    init(lastID: Int64) {
        self.lastID = lastID
    }

    var startIndex: Int { 0 }
    var endIndex: Int { accounts.count }

    subscript(place: Int) -> Account {
        _read { yield accounts[place] }
        _modify { yield &accounts[place] }
    }

    /// The key of each account, by its number.
    var keys: [AccountID: AccountKey] { Dictionary(uniqueKeysWithValues: accounts.map { ($0.id, $0.key) }) }

    /// Adds an account under its key.
    ///
    /// - Returns: Its place.
    mutating func append(_ account: Account) -> Int {
        let place = accounts.count
        accounts.append(account)
        places[account.key] = place
        uncounted.insert(place)
        version += 1
        return place
    }

    /// Adds a new account.
    mutating func append(new key: AccountKey) -> Int {
        lastID += 1
        return append(Account(id: AccountID(rawValue: lastID), key: key, isFresh: true))
    }

    /// What of the account at a place isn't shown until it is in the store; `nil` if that is nothing.
    func hiddenTotal(at place: Int) -> Total? {
        guard let waiting = hidden[place] else { return hiddenInFlight[place] }
        return waiting.adding(hiddenInFlight[place] ?? .zero)
    }

    /// Everything of one account becomes part of another.
    mutating func fold(_ source: Int, into target: Int, in window: PeriodWindow) {
        accounts[target].take(accounts[source], in: window)
        accounts[source].becomeFolded()
        if let total = hidden.removeValue(forKey: source) { hidden[target, default: .zero] += total }
        if let total = hiddenInFlight.removeValue(forKey: source) { hiddenInFlight[target, default: .zero] += total }
    }

    /// Keeps the accounts at these places only.
    ///
    /// - Returns: The new place of each.
    mutating func keep(_ kept: [Int]) -> [Int: Int] {
        let newPlace = Dictionary(uniqueKeysWithValues: kept.enumerated().map { ($1, $0) })
        accounts = kept.map { accounts[$0] }
        places = places.compactMapValues { newPlace[$0] }
        uplink = newPlace[uplink] ?? uplink
        uncounted = Set(uncounted.compactMap { newPlace[$0] })
        func relocated(_ totals: [Int: Total]) -> [Int: Total] {
            Dictionary(
                uniqueKeysWithValues: totals.compactMap { place, total in newPlace[place].map { ($0, total) } })
        }
        hidden = relocated(hidden)
        hiddenInFlight = relocated(hiddenInFlight)
        version += 1
        return newPlace
    }
}
