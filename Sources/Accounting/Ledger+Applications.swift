/// How the bytes of applications are counted.
extension Ledger {
    /// The most applications that have accounts of their own in a month; the others share one.
    private static let maximumApplications = 1000

    /// Books what the kernel programs have counted.
    ///
    /// The bytes belong to the time since the counters were read before, as those of devices do. Counters of an attachment
    /// that the ledger doesn't know began at 0.
    ///
    /// - Parameters:
    ///   - counters: All that there are.
    ///   - attachment: Which attachment of the programs they are from.
    ///   - name: The application of a counter that wasn't seen before; `nil` if it can be said only later. Its bytes wait.
    /// - Precondition: The store is read, or there is none: it knows what is booked already.
    package mutating func record(
        _ counters: [ApplicationCounterKey: ApplicationCounter], of attachment: UInt64, at now: Moment,
        name: (ApplicationCounterKey) -> ApplicationName?
    ) {
        precondition(!isAwaitingStore, "the store knows what is booked already")
        restartCounters(applications.begin(attachment))
        chooseShown(at: now.sinceBoot)
        var known = KnownNames()
        var deltas: [AccountKey: Delta] = [:]
        for (key, counter) in counters {
            let baseline = applications.baselines[key]
            if let baseline, baseline.counter == counter { continue }
            guard let application = baseline?.application ?? name(key).map({ known.account(for: $0, in: self) }) else {
                continue
            }
            let delta = counter.growth(since: baseline?.counter ?? ApplicationCounter())
            applications.set(ApplicationBaseline(counter: counter, application: application), for: key)
            deltas[.application(application, key.scope), default: .zero].add(delta)
        }
        let span = bookingSpan(from: applications.readAt ?? now, until: now)
        for (key, delta) in deltas where !delta.isZero { book(delta, to: key, over: span) }
        applications.readAt = now
        applications.isRead = true
    }

    /// Names all counters again, because the owner's names have changed. What is booked stays where it is.
    package mutating func renameApplications(_ name: (ApplicationCounterKey) -> ApplicationName?) {
        var known = KnownNames()
        for (key, baseline) in applications.baselines {
            guard let application = name(key).map({ known.account(for: $0, in: self) }),
                application != baseline.application
            else { continue }
            applications.set(ApplicationBaseline(counter: baseline.counter, application: application), for: key)
        }
    }

    private mutating func book(_ delta: Delta, to key: AccountKey, over span: BookingSpan) {
        guard case .application(let application, let scope) = key else { preconditionFailure("only of applications") }
        let isHidden = application != .other && !applications.shown.contains(application)
        if isHidden, applications.shown.count < rules.shownApplications {
            applications.shown.insert(application)
        } else if isHidden {
            // What metrics don't show by name counts up the series of all others, which must never fall.
            let other = account(for: .application(.other, scope))
            accounts[other].isFresh = false
            accounts[other].countUp(delta)
        }
        let place = account(for: key)
        accounts[place].isFresh = false
        if span.isGap { accounts[place].events.add(AccountEvents(gapBytes: delta.bytes)) }
        book(delta, to: place, over: span)
    }

    /// After a kill, a counter that went on from the store could step back a little, and Prometheus would add all of it. So it
    /// restarts.
    private mutating func restartCounters(_ loss: ApplicationBook.Loss) {
        if loss == .none { return }
        for place in accounts.indices {
            guard case .application(let name, _) = accounts[place].key, loss == .ofAll || name == .other else {
                continue
            }
            accounts[place].counter = .zero
        }
    }

    /// The attachment whose counters are booked up to some point; `nil` before the first reading.
    package var applicationAttachment: UInt64? { applications.attachment }

    /// Finds the accounts' names of new applications.
    private struct KnownNames {
        /// Those with bytes in the open month.
        private var ofMonth: Set<ApplicationName>?

        /// The name of an application's account: its own, unless there are too many already.
        mutating func account(for application: ApplicationName, in ledger: Ledger) -> ApplicationName {
            if TrafficScope.allCases.contains(where: { ledger.accounts.places[.application(application, $0)] != nil }) {
                return application
            }
            var names = ofMonth ?? ledger.applicationsOfMonth
            if names.count < Ledger.maximumApplications { names.insert(application) }
            ofMonth = names
            return names.contains(application) ? application : .other
        }
    }

    private var applicationsOfMonth: Set<ApplicationName> {
        var names: Set<ApplicationName> = []
        for account in accounts {
            if case .application(let name, _) = account.key, !account.periods.month.isZero { names.insert(name) }
        }
        return names
    }

    // MARK: - Metrics

    /// Whether any application was ever metered.
    package var hasApplications: Bool { applications.attachment != nil }

    /// Whether the counters are at least what was exposed before.
    package var areApplicationCountersKnown: Bool { applications.isRead }

    /// The applications that metrics show by name.
    package var shownApplications: Set<ApplicationName> { applications.shown }

    /// Changes with ``shownApplications``.
    package var shownApplicationsVersion: UInt64 { applications.shownVersion }

    private static let choiceInterval = Span(seconds: 60)

    /// Chooses the applications with most bytes in the open month, once a minute. Early in a month, the previous one counts.
    private mutating func chooseShown(at now: BootTime) {
        if now.elapsed(since: applications.chosenAt) < Self.choiceInterval { return }
        applications.chosenAt = now
        var totals: [ApplicationName: (month: UInt64, previous: UInt64)] = [:]
        for account in accounts {
            guard case .application(let name, _) = account.key, name != .other else { continue }
            var total = totals[name] ?? (0, 0)
            total.month = saturatingSum(total.month, account.periods.month.bytes)
            total.previous = saturatingSum(total.previous, account.periods.previousMonth.bytes)
            totals[name] = total
        }
        let largest = totals.sorted { a, b in
            if a.value.month != b.value.month { return a.value.month > b.value.month }
            if a.value.previous != b.value.previous { return a.value.previous > b.value.previous }
            return a.key < b.key
        }
        let shown = Set(largest.prefix(rules.shownApplications).map(\.key))
        if shown != applications.shown { applications.shown = shown }
    }
}

extension ApplicationCounter {
    /// The bytes on the cable since `earlier`. A counter that is lower began again.
    func growth(since earlier: ApplicationCounter) -> Delta {
        wire.continues(earlier.wire) ? wire.growth(since: earlier.wire) : Delta(sinceCreation: wire)
    }
}

extension Delta {
    fileprivate mutating func add(_ other: Delta) {
        received = saturatingSum(received, other.received)
        transmitted = saturatingSum(transmitted, other.transmitted)
    }
}
