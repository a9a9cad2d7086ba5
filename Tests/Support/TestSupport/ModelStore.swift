import Accounting
import CivilTime

/// A store in memory that does the same as the real one, in the simplest way.
package struct ModelStore {
    package var header: LedgerHeader?
    package var accounts: [AccountID: AccountRecord] = [:]
    package var devices: [DeviceIndex: DeviceRecord] = [:]
    package var buckets: [Bookings.BucketKey: Total] = [:]
    package var days: [Bookings.DayKey: Total] = [:]
    package var events: [QuotaEvent] = []
    package var adjustments: [Adjustment] = []
    package var committedCycles: [CommittedCycle] = []
    package var unread: [Range<Timestamp>] = []
    package var applications: StoredApplications?
    package var imported: [(account: AccountID, row: ImportedRow)] = []
    /// For each account with imported bytes: when its own bytes begin, if it has any.
    package var ownBeginnings: [AccountID: Timestamp?] = [:]
    /// Buckets that start before this moment may be gone.
    package var bucketsFrom = Timestamp.earliest

    package init() {}

    /// - Parameter horizon: Buckets that end before it are deleted: at most as many as the commit adds, and two more.
    package mutating func apply(_ commit: Commit, horizon: Timestamp = .earliest) -> [AdoptedHistory] {
        if commit.header.sequence == header?.sequence { return [] }
        for fold in commit.bookings.folds { move(fold.source, into: fold.target) }
        for id in commit.bookings.removedAccounts { accounts[id] = nil }
        for record in commit.accounts { accounts[record.id] = nil }
        let adopted = commit.accounts.compactMap { put($0) }
        for index in commit.removedDevices { devices[index] = nil }
        for record in commit.devices { devices[record.index] = record }
        if let changes = commit.applications {
            if applications?.attachment != changes.attachment {
                applications = StoredApplications(attachment: changes.attachment)
            }
            for key in changes.retired { applications?.baselines[key] = nil }
            applications?.baselines.merge(changes.baselines) { $1 }
            applications?.lanes.merge(changes.lanes) { $1 }
            for key in changes.retiredLanes { applications?.lanes[key] = nil }
            if let bases = changes.bases { applications?.bases = bases }
        }
        buckets.merge(commit.bookings.buckets) { $0.adding($1) }
        for gap in commit.bookings.spreads {
            let made = min(Bucket(containing: horizon).start, Bucket(containing: gap.spread.end).end)
            if gap.spread.start < made { bucketsFrom = max(bucketsFrom, made) }
            gap.spread.forEachBucket(since: horizon) { bucket, delta in
                buckets[.init(account: gap.account, bucket: bucket), default: .zero] += Total(delta)
            }
        }
        days.merge(commit.bookings.days) { $0.adding($1) }
        for (account, beginning) in ownBeginnings where beginning == nil {
            let starts =
                commit.bookings.buckets.keys.filter { $0.account == account }.map(\.bucket.start)
                + commit.bookings.spreads.filter { $0.account == account }.map(\.spread.start)
            ownBeginnings[account] = .some(starts.min())
        }
        if let header, header.lastReading.wallNanoseconds > commit.header.lastReading.wallNanoseconds {
            let now = commit.header.lastReading.timestamp
            unread = unread.filter { $0.lowerBound < now }.map {
                $0.lowerBound == .earliest ? $0 : $0.lowerBound..<min($0.upperBound, now)
            }
        }
        header = commit.header
        events += commit.bookings.events
        for start in commit.bookings.starts {
            for index in events.indices where events[index].at == start.at && events[index].share == start.share {
                events[index].awaitsProgram = start.awaitsProgram
            }
        }
        adjustments += commit.bookings.adjustments
        for cycle in commit.bookings.committedCycles {
            committedCycles.removeAll { $0.name == cycle.name && $0.cycle.lowerBound == cycle.cycle.lowerBound }
            committedCycles.append(cycle)
        }
        for span in commit.bookings.unread {
            if span.lowerBound == .earliest { unread.removeAll { $0.lowerBound == .earliest } }
            unread.append(span)
        }
        prune(before: horizon, atMost: Set(commit.bookings.buckets.keys.map(\.bucket)).count + 2)
        return adopted
    }

    private mutating func put(_ record: AccountRecord) -> AdoptedHistory? {
        guard let former = accounts.values.first(where: { $0.key == record.key }) else {
            accounts[record.id] = record
            return nil
        }
        let history = days.filter { $0.key.account == former.id }
        var record = record
        record.events.add(former.events)
        move(former.id, into: record.id)
        accounts[record.id] = record
        return AdoptedHistory(
            account: record.id, events: former.events,
            days: history.map { (account: record.id, day: $0.key.day, total: $0.value) })
    }

    private mutating func move(_ source: AccountID, into target: AccountID) {
        for (key, total) in buckets where key.account == source {
            buckets[key] = nil
            buckets[.init(account: target, bucket: key.bucket), default: .zero] += total
        }
        for (key, total) in days where key.account == source {
            days[key] = nil
            days[.init(account: target, day: key.day), default: .zero] += total
        }
        for place in imported.indices where imported[place].account == source { imported[place].account = target }
        if let beginning = ownBeginnings.removeValue(forKey: source) {
            ownBeginnings[target] = .some([beginning, ownBeginnings[target] ?? nil].compactMap { $0 }.min())
        }
        accounts[source] = nil
    }

    private mutating func prune(before horizon: Timestamp, atMost count: Int) {
        if horizon == .earliest { return }
        let over = Set(buckets.keys.map(\.bucket).filter { $0.end <= horizon })
        for bucket in over.sorted().prefix(count) {
            buckets = buckets.filter { $0.key.bucket != bucket }
            bucketsFrom = max(bucketsFrom, bucket.end)
        }
    }

    package func load(daysFrom: CivilDate, names: Set<DeviceName>) -> StoredLedger {
        var stored = StoredLedger.empty(daysFrom: daysFrom)
        stored.header = header
        stored.devices = Array(devices.values)
        stored.applications = applications
        stored.days = days.filter { $0.key.day >= daysFrom }
            .map { (account: $0.key.account, day: $0.key.day, total: $0.value) }
        stored.lastAccountID = accounts.keys.max() ?? AccountID(rawValue: 0)
        let recent = Set(stored.days.map(\.account)).union(stored.devices.compactMap(\.account))
        stored.accounts = accounts.values.filter { record in
            switch record.key {
            case .uplink: true
            case .application(.other, _), .uplinkScope: true
            case .collapsed, .application, .elsewhere: recent.contains(record.id)
            case .device(let name): recent.contains(record.id) || names.contains(name)
            }
        }.map { (record: $0, lifetime: total(of: $0.id)) }
        return stored
    }

    /// A plan book made from the buckets. None of them may have been deleted.
    package func planBook(
        _ plans: Plans, calendars: [TimeZoneSetting: LocalCalendar], at now: Timestamp
    ) -> PlanBook {
        var breaches: [String: UInt64] = [:]
        for event in events where event.kind == .breach { breaches[event.quota, default: 0] += 1 }
        // Only a part of the first day may have been metered.
        let first =
            days.keys.map(\.day).min().map { calendars[.local]?.start(of: $0).adding(seconds: 1) ?? .latest } ?? .latest
        let moment = min(now, header?.lastReading.timestamp ?? now)
        var records = PlanRecords.none
        records.adjustments = adjustments
        records.events = events
        records.breaches = breaches
        records.committedCycles = committedCycles
        records.unread = unread
        records.meteredUntil = buckets.keys.map(\.bucket.start).max() ?? .earliest
        var book = PlanBook(plans, calendars: calendars, records: records, meteredFrom: first, at: moment)
        book.keys = accounts.mapValues(\.key)
        for (key, total) in buckets {
            if let record = accounts[key.account] { book.restore(total, of: record.key, at: key.bucket.start) }
        }
        book.complete(at: now)
        return book
    }

    package func total(of account: AccountID) -> Total {
        days.filter { $0.key.account == account }.values.reduce(.zero) { $0.adding($1) }
    }

    package func bucketTotal(of account: AccountID) -> Total {
        buckets.filter { $0.key.account == account }.values.reduce(.zero) { $0.adding($1) }
    }
}
