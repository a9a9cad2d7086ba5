import Accounting
import CivilTime

/// Commits made by hand.
extension Commit {
    package static func make(
        _ sequence: Int64, accounts: [AccountRecord] = [], devices: [DeviceRecord] = [], removed: [UInt32] = [],
        folds: [(source: Int64, target: Int64)] = []
    ) -> Commit {
        let moment = Moment(
            wallNanoseconds: 1_795_219_200_000_000_000 + sequence, sinceBoot: BootTime(nanoseconds: sequence))
        var commit = Commit(
            header: LedgerHeader(
                sequence: sequence, epoch: Epoch(bootID: "boot", networkNamespace: 1), boot: 1, lastReading: moment,
                isClean: false))
        commit.bookings.folds = folds.map {
            (source: AccountID(rawValue: $0.source), target: AccountID(rawValue: $0.target))
        }
        commit.accounts = accounts
        commit.devices = devices
        commit.removedDevices = removed.map { DeviceIndex(rawValue: $0) }
        return commit
    }

    /// Books the same bytes to a bucket and to the day of its start.
    package mutating func book(
        _ account: Int64, _ received: UInt64, _ transmitted: UInt64, at seconds: Int64, _ calendar: LocalCalendar
    ) {
        let id = AccountID(rawValue: account)
        let total = Total(received: received, transmitted: transmitted)
        let moment = Timestamp(secondsSinceEpoch: seconds)
        bookings.buckets[.init(account: id, bucket: Bucket(containing: moment)), default: .zero] += total
        bookings.days[.init(account: id, day: calendar.day(containing: moment)), default: .zero] += total
    }

    /// Books bytes of a gap. They are in days already; the store spreads them over bookings.buckets.
    package mutating func bookGap(_ account: Int64, _ delta: Delta, from: Int64, to: Int64, _ calendar: LocalCalendar) {
        let id = AccountID(rawValue: account)
        let spread = Spread(delta, from: Timestamp(secondsSinceEpoch: from), to: Timestamp(secondsSinceEpoch: to))
        bookings.spreads.append((id, spread))
        var day = calendar.day(containing: spread.start)
        while day <= calendar.day(containing: spread.end) {
            let span = calendar.span(ofDay: day)
            let share = spread.share(from: span.lowerBound, to: span.upperBound)
            if !share.isZero { bookings.days[.init(account: id, day: day), default: .zero] += Total(share) }
            day = calendar.nextDay(after: day)
        }
    }
}

/// 2026-11-21T00:00:00Z, when the tests begin.
package let testStart: Int64 = 1_795_219_200
