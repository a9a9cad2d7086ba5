/// How the bytes of applications are counted.
extension Ledger {
    /// The most applications that have accounts of their own in a month; the others share one.
    private static let maximumApplications = 1000

    /// Books what the kernel programs have counted.
    ///
    /// The bytes belong to the time since the counters were read before, as those of devices do. Counters of an attachment
    /// that the ledger doesn't know began at 0. Bytes are those that the uplink's counters show; headers of merged packets
    /// wait until it is learnt whether these have them.
    ///
    /// - Parameters:
    ///   - endsInterval: Whether a sampling interval ends here, so that rates are computed.
    ///   - name: The application of a counter that wasn't seen before; `nil` if it can be said only later. Its bytes wait.
    /// - Precondition: The store is read, or there is none: it knows what is booked already.
    package mutating func record(
        _ reading: ApplicationReading, at now: Moment, endsInterval: Bool,
        name: (ApplicationCounterKey) -> ApplicationName?
    ) {
        precondition(!isAwaitingStore, "the store knows what is booked already")
        if applications.attachment == nil, let beganAt = applications.ledgerBeganAt, reading.attachedAt < beganAt {
            // What was counted before a ledger began isn't its own, as with devices.
            return takeAsBaselines(reading, at: now, name)
        }
        if applications.attachment != reading.attachment {
            bookWithheld(at: now)
            // Before they were attached they counted nothing.
            let readAt = applications.readAt
            if readAt.map({ $0.sinceBoot < reading.attachedAt }) ?? true {
                applications.readAt = now.at(reading.attachedAt)
            }
        }
        restartCounters(applications.begin(reading.attachment))
        chooseShown(at: now.sinceBoot)
        let uplink = devices.uplink.compactMap { index in devices[index].map { (index, $0.last) } }
        applications.uplinks.learn(reading, Dictionary(uniqueKeysWithValues: uplink))
        let span = bookingSpan(from: applications.readAt ?? now, until: now)
        // Counters that were retired right before a crash.
        if !applications.isRead {
            for key in applications.baselines.keys where reading.counters[key] == nil { applications.retire(key) }
        }
        applications.isCountedByLanes = reading.countsLanes || haveLanesGrown(in: reading)
        record(reading, over: span, at: now, name)
        if let lanes = reading.lanes { applications.retireLanes(besides: lanes.keys) }
        for (key, counter) in reading.lanes ?? [:] {
            var baseline = applications.laneBaselines[key] ?? PacketBaseline()
            let basis = applications.uplinks.basis(of: key.device)
            if baseline.isBooked(counter, on: basis) { continue }
            let delta = baseline.advance(to: counter, on: basis)
            applications.set(baseline, for: key)
            // What passed a device since the reading before is the uplink's, if the device was that then or is it now.
            let isOfUplink = devices.uplink.contains(key.device) || applications.readUplink.contains(key.device)
            if delta.isZero || !isOfUplink { continue }
            bookAlone(delta, to: account(for: .uplinkScope(key.scope)), over: span)
        }
        applications.readAt = now
        applications.isRead = true
        applications.readUplink = devices.uplink
        if !isPersistent { applications.forgetChanges() }
        if endsInterval || applications.sampledAt == nil { sampleApplicationRates(at: now.sinceBoot) }
    }

    private func haveLanesGrown(in reading: ApplicationReading) -> Bool {
        let uplink = devices.uplink.union(applications.readUplink)
        return reading.lanes?.contains { key, counter in
            uplink.contains(key.device) && counter != applications.laneBaselines[key]?.counter
        } ?? false
    }

    /// Nobody knows what applications carry from here on.
    package mutating func stopApplicationRates() {
        applications.sampledAt = nil
        for place in accounts.indices where !accounts[place].key.isOfDevices { accounts[place].rate.stop() }
    }

    private mutating func sampleApplicationRates(at time: BootTime) {
        guard let previous = applications.sampledAt else {
            applications.sampledAt = time
            return
        }
        let elapsed = time.elapsed(since: previous)
        guard elapsed.times(2) >= rules.samplingInterval else { return }
        applications.sampledAt = time
        for place in accounts.indices where !accounts[place].key.isOfDevices && !accounts[place].rate.isSilent {
            accounts[place].rate.sample(at: time, elapsed: elapsed)
            if accounts[place].rate.isSilent { accounts[place].rate.stop() }
        }
    }

    private mutating func record(
        _ reading: ApplicationReading, over span: BookingSpan, at now: Moment,
        _ name: (ApplicationCounterKey) -> ApplicationName?
    ) {
        var known = KnownNames()
        var growths: [AccountKey: Growth] = [:]
        for (key, counter) in reading.counters {
            let baseline = applications.baselines[key]
            let basis = applications.uplinks.basis(for: key)
            if let baseline, baseline.booked.isBooked(counter, on: basis) { continue }
            guard let application = baseline?.application ?? name(key) else { continue }
            var booked = baseline?.booked ?? PacketBaseline()
            let growth = growth(of: key, &booked, to: counter, on: basis)
            applications.set(ApplicationBaseline(booked: booked, application: application), for: key)
            applications.noteGrowth(of: key, at: now.sinceBoot)
            let account = known.account(for: application, in: self)
            growths[.application(account, key.scope), default: Growth()].add(growth)
        }
        for (key, growth) in growths { book(growth, to: key, over: span) }
    }

    /// What a counter has to book.
    private struct Growth {
        var all = Delta.zero
        /// What of it certainly passed the uplink.
        var certain = Delta.zero

        mutating func add(_ other: Growth) {
            all.add(other.all)
            certain.add(other.certain)
        }
    }

    /// Advances a baseline up to what a counter shows.
    private func growth(
        of key: ApplicationCounterKey, _ baseline: inout PacketBaseline, to counter: PacketCounter, on basis: LinkBasis
    ) -> Growth {
        var withoutHeaders = baseline
        let all = baseline.advance(to: counter, on: basis)
        if key.passage != .uplink { return Growth(all: all) }
        // Where not all packets are counted, nobody can be sure that the uplink's counter has each header.
        if applications.uplinks.isCertain { return Growth(all: all, certain: all) }
        let merged = LinkBasis(received: .merged, transmitted: .merged)
        return Growth(all: all, certain: withoutHeaders.advance(to: counter, on: merged))
    }

    private mutating func book(_ growth: Growth, to key: AccountKey, over span: BookingSpan) {
        guard case .application(let application, let scope) = key else { preconditionFailure("only of applications") }
        if growth.all.isZero { return }
        book(growth.all, to: application, scope, over: span)
        if scope == .tunnel { return }
        let elsewhere = growth.all.without(growth.certain)
        if !elsewhere.isZero { bookAlone(elsewhere, to: account(for: .elsewhere(application, scope)), over: span) }
        // Where lanes aren't counted, only applications are known to have used the uplink for the local network. Lanes that have
        // just ended, or of one of several uplinks, have the same bytes.
        let hasUplink = !applications.readUplink.isEmpty || !devices.uplink.isEmpty
        if scope == .lan, hasUplink, !applications.isCountedByLanes, !growth.certain.isZero {
            bookAlone(growth.certain, to: account(for: .uplinkScope(.lan)), over: span)
        }
    }

    /// Counters that can be removed from the kernel: what they show is in the store, and they didn't grow for so long.
    package mutating func idleCounters(for span: Span, at now: Moment) -> [ApplicationCounterKey] {
        hasCommitUnderWay || !applications.isRead ? [] : applications.idle(for: span, at: now.sinceBoot)
    }

    /// The cgroups whose counters are booked up to some point.
    package var applicationCgroups: Set<UInt64> { Set(applications.baselines.keys.lazy.map(\.cgroup)) }

    /// A counter was removed from the kernel. If it comes again, it begins at 0. Commit at once: after a crash it can't be
    /// read again, and nobody could say whether a counter that comes again is the same.
    ///
    /// - Parameter last: What it showed at that moment.
    package mutating func retire(_ key: ApplicationCounterKey, last: PacketCounter, at now: Moment) {
        guard var baseline = applications.baselines[key] else { return }
        // Who has waited for so long for a basis gets the headers.
        let growth = growth(of: key, &baseline.booked, to: last, on: applications.uplinks.basis(for: key).orWire)
        applications.retire(key)
        if growth.all.isZero { return }
        let span = bookingSpan(from: applications.readAt ?? now, until: now)
        var known = KnownNames()
        book(growth, to: .application(known.account(for: baseline.application, in: self), key.scope), over: span)
    }

    /// Headers that wait at the end of an attachment.
    private mutating func bookWithheld(at now: Moment) {
        let span = bookingSpan(from: applications.readAt ?? now, until: now)
        var known = KnownNames()
        for (key, var baseline) in applications.baselines {
            let counter = baseline.booked.counter
            let growth = growth(of: key, &baseline.booked, to: counter, on: applications.uplinks.basis(for: key).orWire)
            if growth.all.isZero { continue }
            book(growth, to: .application(known.account(for: baseline.application, in: self), key.scope), over: span)
        }
    }

    /// Goes over to other programs: those of another version, which have counted for a while beside those that are booked.
    ///
    /// - Parameter reading: What they show right after the last reading of those. What passes between the two readings, some
    ///   microseconds, is no application's.
    package mutating func succeed(
        with reading: ApplicationReading, at now: Moment, name: (ApplicationCounterKey) -> ApplicationName?
    ) {
        bookWithheld(at: now)
        let before = applications.baselines
        restartCounters(applications.begin(reading.attachment))
        for (key, counter) in reading.counters {
            let application = before[key]?.application ?? name(key) ?? .other
            applications.set(
                ApplicationBaseline(booked: PacketBaseline(counter: counter), application: application), for: key)
        }
        applications.isRead = true
    }

    private mutating func takeAsBaselines(
        _ reading: ApplicationReading, at now: Moment, _ name: (ApplicationCounterKey) -> ApplicationName?
    ) {
        succeed(with: reading, at: now, name: name)
        for (key, counter) in reading.lanes ?? [:] { applications.set(PacketBaseline(counter: counter), for: key) }
        applications.readAt = now
        applications.readUplink = devices.uplink
        if !isPersistent { applications.forgetChanges() }
    }

    /// The attachment whose counters the store knows; `nil` before the first commit with them.
    package var storedAttachment: UInt64? { applications.storedAttachment }

    /// Names all counters again, because the owner's names have changed. What is booked stays where it is.
    package mutating func renameApplications(_ name: (ApplicationCounterKey) -> ApplicationName?) {
        for (key, baseline) in applications.baselines {
            guard let application = name(key), application != baseline.application else { continue }
            applications.set(ApplicationBaseline(booked: baseline.booked, application: application), for: key)
        }
    }

    private mutating func book(
        _ delta: Delta, to application: ApplicationName, _ scope: TrafficScope, over span: BookingSpan
    ) {
        let isHidden = application != .other && !applications.shown.contains(application)
        if isHidden, applications.shown.count < rules.shownApplications {
            applications.shown.insert(application)
        } else if isHidden {
            // What metrics don't show by name counts up the series of all others, which must never fall.
            let other = account(for: .application(.other, scope))
            accounts[other].isFresh = false
            accounts[other].countUp(delta)
        }
        bookAlone(delta, to: account(for: .application(application, scope)), over: span)
    }

    /// Books to one account, whose counter begins with its first bytes.
    private mutating func bookAlone(_ delta: Delta, to place: Int, over span: BookingSpan) {
        accounts[place].isFresh = false
        if span.isGap {
            accounts[place].events.add(AccountEvents(gapBytes: delta.bytes))
        } else if applications.sampledAt != nil {
            accounts[place].rate.add(delta)
        }
        book(delta, to: place, over: span)
    }

    /// After a kill, a counter that went on from the store could step back a little, and Prometheus would add all of it. So it
    /// restarts.
    private mutating func restartCounters(_ loss: ApplicationBook.Loss) {
        if loss == .none { return }
        for place in accounts.indices {
            switch accounts[place].key {
            case .application(.other, _): accounts[place].counter = .zero
            case .application, .elsewhere, .uplinkScope: if loss == .ofAll { accounts[place].counter = .zero }
            case .device, .collapsed, .uplink: break
            }
        }
    }

    /// When counters were read last in this boot; long ago if they weren't.
    package var applicationsReadAt: BootTime { applications.readAt?.sinceBoot ?? BootTime(nanoseconds: 0) }

    /// The attachment whose counters are booked up to some point; `nil` before the first reading.
    package var applicationAttachment: UInt64? { applications.attachment }

    /// Finds the accounts of applications.
    private struct KnownNames {
        /// Those with bytes in the open month.
        private var ofMonth: Set<ApplicationName>?

        /// The name of an application's account: its own, unless too many others have one this month.
        mutating func account(for application: ApplicationName, in ledger: Ledger) -> ApplicationName {
            let isKnown = TrafficScope.allCases.contains { scope in
                guard let place = ledger.accounts.places[.application(application, scope)] else { return false }
                return !ledger.accounts[place].periods.month.isZero
            }
            if isKnown { return application }
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

    /// What passed the uplink by scope, as far as there was any.
    package var uplinkScopes: [(scope: UplinkScope, view: AccountView)] {
        UplinkScope.allCases.compactMap { scope in
            accounts.places[.uplinkScope(scope)].flatMap { view(at: $0) }.map { (scope, $0) }
        }
    }

    /// By what the uplink's counters go, as far as it is learnt.
    package var uplinkBasis: LinkBasis { applications.uplinks.basis }

    /// Headers of merged packets since the programs were attached: of all that passed uplinks or, where that isn't counted,
    /// of applications.
    package var mergedHeaders: Counters {
        var (lanes, own) = (Counters.zero, Counters.zero)
        for baseline in applications.laneBaselines.values { lanes.add(baseline.counter.saved) }
        if !applications.laneBaselines.isEmpty { return lanes }
        for (key, baseline) in applications.baselines where key.passage == .uplink {
            own.add(baseline.booked.counter.saved)
        }
        return own
    }

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

extension Delta {
    fileprivate mutating func add(_ other: Delta) {
        received = saturatingSum(received, other.received)
        transmitted = saturatingSum(transmitted, other.transmitted)
    }

    /// - Precondition: `other` is a part of it.
    fileprivate func without(_ other: Delta) -> Delta {
        Delta(received: received - other.received, transmitted: transmitted - other.transmitted)
    }
}
