import CivilTime

/// How readings become bookings, each direction by itself.
extension Ledger {
    /// Books what a device's counters show, each direction by itself.
    ///
    /// A direction that shows more than before books the difference. One that shows less falls, see ``CounterFall``.
    ///
    /// - Parameters:
    ///   - isUplink: Whether the bytes go to the uplink, too.
    ///   - previous: When the device was read last.
    /// - Returns: Whether to commit at once: a fall began or ended, and after a crash nobody could see that.
    mutating func count(
        _ counters: Counters, of index: DeviceIndex, isUplink: Bool, over span: BookingSpan, since previous: Moment,
        at now: Moment
    ) -> Bool {
        guard let place = devices.metered.index(forKey: index) else { return false }
        let device = devices.metered.values[place]
        if devices.falls.isEmpty || devices.falls[index] == nil {
            if device.last == counters { return false }
            devices.metered.values[place].isNewcomer = false
            if counters.continues(device.last) {
                devices.metered.values[place].last = counters
                book(counters.growth(since: device.last), from: device, isUplink: isUplink, over: span)
                return false
            }
        }
        var isUrgent = false
        var hasFallen = false
        for direction in TrafficDirection.allCases {
            let value = counters[direction]
            if let fall = devices.falls[index]?[direction] {
                switch verdict(on: fall, of: device, showing: value, at: now) {
                case .open: break
                case .restart:
                    takeAsRestart(direction, of: index)
                    isUrgent = true
                case .glitch:
                    takeAsGlitch(fall, direction, of: index, showing: value, at: now)
                    isUrgent = true
                    continue
                }
            }
            guard let last = devices[index]?.last[direction] else { continue }
            if devices.falls[index]?[direction] == nil {
                if value >= last {
                    devices[index]?.last[direction] = value
                    book(Delta(value - last, direction), from: device, isUplink: isUplink, over: span)
                    continue
                }
                devices.falls[index, default: [:]][direction] = CounterFall(
                    from: last, readAt: previous, seenAt: now.sinceBoot, heldUplink: isUplink)
                hasFallen = true
                isUrgent = true
            }
            if hold(value, direction, of: index, isUplink: isUplink, over: span, at: now.sinceBoot) { hasFallen = true }
        }
        if hasFallen { accounts[device.account].events.resets += 1 }
        return isUrgent
    }

    func verdict(
        on fall: CounterFall, of device: MeteredDevice, showing value: UInt64, at now: Moment
    ) -> CounterFall.Verdict {
        fall.verdict(
            on: value, at: now.sinceBoot, samplingInterval: rules.samplingInterval,
            linkBytesPerSecond: device.linkBytesPerSecond)
    }

    /// - Returns: Whether the counter fell again.
    private mutating func hold(
        _ value: UInt64, _ direction: TrafficDirection, of index: DeviceIndex, isUplink: Bool, over span: BookingSpan,
        at now: BootTime
    ) -> Bool {
        guard let device = devices[index], var fall = devices.falls[index]?[direction] else { return false }
        let (bytes, fell) = fall.hold(
            value, isUplink: isUplink, over: span, at: now, linkBytesPerSecond: device.linkBytesPerSecond)
        devices.falls[index]?[direction] = fall
        if bytes > 0, fall.held.last?.isPlausible == true {
            for place in accountPlaces(of: device, isUplink: isUplink) {
                accounts[place].rate.add(Delta(bytes, direction))
            }
        }
        return fell
    }

    /// The counter came back: it is booked as if it hadn't fallen.
    private mutating func takeAsGlitch(
        _ fall: CounterFall, _ direction: TrafficDirection, of index: DeviceIndex, showing value: UInt64, at now: Moment
    ) {
        guard let device = devices[index] else { return }
        endFall(of: direction, of: index)
        devices[index]?.last[direction] = value
        // Other devices were read meanwhile, so it is no gap.
        let span = bookingSpan(from: fall.beforeAt, until: now).withoutGap
        // The bytes of up to a minute aren't a rate of the last interval.
        book(
            Delta(value - fall.before, direction), from: device, isUplink: fall.heldUplink, over: span,
            countsAsRate: false)
    }

    /// The counter has restarted: what it has shown since the fall is booked to the times of the readings.
    mutating func takeAsRestart(_ direction: TrafficDirection, of index: DeviceIndex) {
        guard let device = devices[index], let fall = devices.falls[index]?[direction] else { return }
        endFall(of: direction, of: index)
        devices[index]?.last[direction] = fall.shown
        for part in fall.held {
            book(
                Delta(part.bytes, direction), from: device, isUplink: part.isUplink, over: part.span,
                countsAsRate: !part.isPlausible)
        }
    }

    private mutating func endFall(of direction: TrafficDirection, of index: DeviceIndex) {
        devices.falls[index]?[direction] = nil
        if devices.falls[index]?.isEmpty == true { devices.falls[index] = nil }
    }

    /// Takes a device's falls as restarts, because it won't be read again.
    mutating func settleFalls(of index: DeviceIndex) {
        for direction in TrafficDirection.allCases { takeAsRestart(direction, of: index) }
    }

    /// Puts held bytes on the days of the current calendar.
    mutating func rezoneFalls() {
        for index in devices.falls.keys {
            for direction in TrafficDirection.allCases { devices.falls[index]?[direction]?.rezone(by: calendar) }
        }
    }

    /// A device is gone. A fallen counter that is back in its last message was a glitch; any other has restarted: the
    /// held bytes are booked, without those between the last reading and `final`, and hidden until they are stored.
    mutating func settleFalls(of index: DeviceIndex, final: Counters?, at now: Moment) {
        guard let device = devices[index] else { return }
        for direction in TrafficDirection.allCases {
            guard let fall = devices.falls[index]?[direction] else { continue }
            if let value = final?[direction], verdict(on: fall, of: device, showing: value, at: now) == .glitch {
                endFall(of: direction, of: index)
                continue
            }
            for part in fall.held {
                withhold(Delta(part.bytes, direction), of: device, isUplink: part.isUplink)
            }
            takeAsRestart(direction, of: index)
        }
    }

    // MARK: - Showing held bytes

    /// Held bytes of an account that totals already include; see ``CounterFall/HeldBytes/isPlausible``.
    ///
    /// Counters and quotas wait until it is clear whether they were carried: nobody can take back a notification.
    func heldDays(at place: Int) -> DayTotals {
        heldBookings(at: place).days.reduce(into: DayTotals()) { $0.add($1.value, on: $1.key.day) }
    }

    /// The same of one account or of all, as bookings that wait for the store.
    func heldBookings(at only: Int? = nil) -> Bookings {
        var held = Bookings()
        forEachHeldPart { place, delta, span in
            if let only, only != place { return }
            let id = accounts[place].id
            switch span.place {
            case .within(let bucket, let day): held.add(delta, to: id, bucket: bucket, day: day)
            case .spread(let from, let to, let cuts):
                let spread = Spread(delta, from: from, to: to, cutAt: cuts)
                held.add(spread, to: id, days: spread.days(by: calendar))
            }
        }
        return held
    }

    private func forEachHeldPart(_ body: (_ place: Int, Delta, BookingSpan) -> Void) {
        for (index, falls) in devices.falls {
            guard let device = devices[index] else { continue }
            for (direction, fall) in falls {
                for part in fall.held where part.isPlausible {
                    for place in accountPlaces(of: device, isUplink: part.isUplink) {
                        body(place, Delta(part.bytes, direction), part.span)
                    }
                }
            }
        }
    }
}
