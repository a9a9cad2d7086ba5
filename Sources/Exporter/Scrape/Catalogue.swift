import Accounting
import Exposition
import Reports

/// The value of a series.
enum MetricValue {
    case integer(UInt64)
    case number(Double)

    static func flag(_ value: Bool) -> MetricValue { .integer(value ? 1 : 0) }
}

/// One family of the catalogue: what it is called and where its values come from.
struct Metric: Sendable {
    let family: MetricFamily
    /// Writes the family's series; the writer leaves out a family without any.
    let write: @Sendable (Snapshot, inout ExpositionWriter) -> Void
    /// When a counter began to count from 0, for OpenMetrics' `_created`; `nil` if it goes on over boots, or isn't one.
    var beginning: (@Sendable (ProcessStatus) -> Double)?

    func since(_ beginning: @escaping @Sendable (ProcessStatus) -> Double) -> Metric {
        Metric(family: family, write: write, beginning: beginning)
    }

    /// A series for each device that is there.
    static func device(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String,
        _ value: @escaping @Sendable (DeviceSnapshot) -> MetricValue
    ) -> Metric {
        Metric(family: MetricFamily(name, kind, help: help)) { snapshot, writer in
            for device in snapshot.devices where device.view.isLive {
                writer.sample(snapshot.series.labels, device.row, value(device))
            }
        }
    }

    /// One series without labels.
    static func single(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String,
        _ value: @escaping @Sendable (Snapshot) -> MetricValue?
    ) -> Metric {
        Metric(family: MetricFamily(name, kind, help: help)) { snapshot, writer in
            if let value = value(snapshot) { writer.sample(.none, value) }
        }
    }

    /// A series for each quota for which there is a value.
    ///
    /// - Parameter tellsUse: Whether it depends on what is used, which may not be known.
    static func quota(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String, tellsUse: Bool = false,
        _ value: @escaping @Sendable (QuotaState) -> MetricValue?
    ) -> Metric {
        Metric(family: MetricFamily("netusage_quota_" + name, kind, help: help)) { snapshot, writer in
            for quota in snapshot.plans.quotas where quota.isUseKnown || !tellsUse {
                if let value = value(quota.state) { writer.sample(quota.series.labels, value) }
            }
        }
    }

    /// A series for each rate limit.
    static func rateLimit(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String,
        _ value: @escaping @Sendable (RateLimitState) -> MetricValue
    ) -> Metric {
        Metric(family: MetricFamily("netusage_rate_limit_" + name, kind, help: help)) { snapshot, writer in
            for (labels, state) in snapshot.plans.rateLimits { writer.sample(labels, value(state)) }
        }
    }

    /// A series for each committed rate.
    static func committedRate(
        _ name: String, _ help: String, _ value: @escaping @Sendable (CommittedRateState) -> MetricValue
    ) -> Metric {
        Metric(family: MetricFamily("netusage_committed_rate_" + name, .gauge, help: help)) { snapshot, writer in
            for (labels, state) in snapshot.plans.committedRates { writer.sample(labels, value(state)) }
        }
    }

    /// Series that say something by their labels.
    static func info(
        _ name: String, _ help: String, _ labels: @escaping @Sendable (Snapshot) -> [LabelSet]
    ) -> Metric {
        Metric(family: MetricFamily(name, .info, help: help)) { snapshot, writer in
            for labels in labels(snapshot) { writer.sample(labels, MetricValue.integer(1)) }
        }
    }
}

extension ExpositionWriter {
    fileprivate mutating func sample(_ labels: LabelColumn, _ row: Int, _ value: MetricValue) {
        switch value {
        case .integer(let value): sample(labels, row, value)
        case .number(let value): sample(labels, row, value)
        }
    }

    fileprivate mutating func sample(_ labels: LabelSet, _ value: MetricValue) {
        switch value {
        case .integer(let value): sample(labels, value)
        case .number(let value): sample(labels, value)
        }
    }
}

/// Every metric there is. To add one, add an entry to one of the lists.
struct Catalogue: Sendable {
    /// Sorted by name.
    let metrics: [Metric]

    init(version: String, revision: String) {
        let build = [LabelSet([("version", version), ("revision", revision)])]
        metrics =
            (Self.traffic + Self.devices + Self.applications + Self.periods + Self.quotas + Self.rates + Self.program
            + Self.process + [
                .info("netusage_build_info", "The version that runs here.") { _ in build }
            ]).sorted { $0.family.name < $1.family.name }
    }

    /// Renders a body.
    ///
    /// - Parameter showsCreated: Whether OpenMetrics shows when counters began.
    func render(_ snapshot: Snapshot, showsCreated: Bool = false, into writer: inout ExpositionWriter) {
        for metric in metrics {
            writer.begin(metric.family, created: showsCreated ? metric.beginning?(snapshot.process) : nil)
            metric.write(snapshot, &writer)
        }
        writer.end()
    }

    /// What each device and the uplink carry.
    private static let traffic: [Metric] = TrafficFamily.all.flatMap { family -> [Metric] in
        switch family.value {
        case .counter(let value):
            [
                Metric(family: family.ofDevices) { snapshot, writer in
                    for device in snapshot.devices where device.view.isLive {
                        writer.sample(snapshot.series.labels, device.row, value(device.view.counter))
                    }
                },
                Metric(family: family.ofUplink) { snapshot, writer in
                    writer.sample(.none, value(snapshot.uplink.counter))
                },
            ].map { metric in metric.since { $0.bootTime } }
        case .rate(let value): rates(family) { value($0.rate) }
        case .peak(let value): rates(family) { value($0.peak) }
        case .total(let value):
            [
                Metric(family: family.ofDevices) { snapshot, writer in
                    for device in snapshot.devices {
                        writer.sample(
                            snapshot.series.labels, device.row, value(device.view.periods, device.view.lifetime))
                    }
                },
                Metric(family: family.ofUplink) { snapshot, writer in
                    writer.sample(.none, value(snapshot.uplink.periods, snapshot.uplink.lifetime))
                },
            ]
        }
    }

    private static func rates(
        _ family: TrafficFamily, _ value: @escaping @Sendable (AccountView) -> Double
    ) -> [Metric] {
        [
            Metric(family: family.ofDevices) { snapshot, writer in
                if !snapshot.configuration.showsRates { return }
                for device in snapshot.devices where device.view.isLive {
                    writer.sample(snapshot.series.labels, device.row, value(device.view))
                }
            },
            Metric(family: family.ofUplink) { snapshot, writer in
                if snapshot.configuration.showsRates { writer.sample(.none, value(snapshot.uplink)) }
            },
        ]
    }

    private static let devices: [Metric] = [
        .single("netusage_online", .gauge, "1 when there is a usable default route.") { .flag($0.isOnline) },
        .device("netusage_device_up", .gauge, "1 when the device is operationally up.") { .flag($0.isUp) },
        .device("netusage_device_uplink", .gauge, "1 on the device that carries the default route now.") {
            .flag($0.isUplink)
        },
        .device(
            "netusage_device_resets_total", .counter,
            "How often the device's counters restarted: a reboot, a device made again, a driver's reset."
        ) { .integer($0.view.events.resets) },
        .device(
            "netusage_gap_bytes_total", .counter,
            "Bytes carried while nothing was read, spread over that time."
        ) { .integer($0.view.events.gapBytes) },
        .device(
            "netusage_suspect_bytes_total", .counter,
            "Bytes booked though they came faster than the link can carry them."
        ) { .integer($0.view.events.suspectBytes) },
        Metric(family: MetricFamily("netusage_device_info", .info, help: "What kind of device it is, and its alias.")) {
            snapshot, writer in
            for device in snapshot.devices where device.view.isLive {
                writer.sample(snapshot.series.infoLabels, device.row, 1 as UInt64)
            }
        },
        Metric(family: MetricFamily("netusage_device_address_info", .info, help: "An address of the device.")) {
            snapshot, writer in
            if !snapshot.configuration.showsAddresses { return }
            let labels = snapshot.series.addressLabels
            for row in 0..<labels.count { writer.sample(labels, row, 1 as UInt64) }
        },
    ]

    private static let periods: [Metric] = PeriodStartFamily.all.map { period in
        Metric(family: period.family) { snapshot, writer in
            writer.sample(.none, Double(period.start(snapshot.window).secondsSinceEpoch))
        }
    }

    private static let quotas: [Metric] = [
        .quota("limit_bytes", .gauge, "The limit of the open cycle, with what was left over before and top-ups.") {
            .integer($0.limitBytes)
        },
        .quota("used_bytes", .gauge, "Bytes counted in the open cycle, with corrections.", tellsUse: true) {
            .integer($0.usedBytes)
        },
        .quota(
            "breached", .gauge, "1 from when the limit is reached until the cycle ends or the breach is lifted.",
            tellsUse: true
        ) { .flag($0.isBreached) },
        Metric(
            family: MetricFamily(
                "netusage_quota_threshold_reached", .gauge, help: "1 when this share of the limit is used.")
        ) { snapshot, writer in
            for quota in snapshot.plans.quotas where quota.isUseKnown {
                for (labels, threshold) in zip(quota.series.thresholdLabels, quota.state.thresholds) {
                    writer.sample(labels, .flag(threshold.isReached))
                }
            }
        },
        .quota("breaches_total", .counter, "How often the limit was reached.") { .integer($0.breaches) },
        .quota("cycle_start_timestamp_seconds", .gauge, "When the open cycle began.") {
            .number(Double($0.cycle.lowerBound.secondsSinceEpoch))
        },
        .quota("cycle_end_timestamp_seconds", .gauge, "When the open cycle ends.") {
            .number(Double($0.cycle.upperBound.secondsSinceEpoch))
        },
        .quota("projected_bytes", .gauge, "Expected use at the end of the cycle.", tellsUse: true) {
            $0.projectedBytes.map { .integer($0) }
        },
        .quota("exhaustion_timestamp_seconds", .gauge, "When the limit is expected to be reached in this cycle.") {
            $0.exhaustion.map { .number(Double($0.secondsSinceEpoch)) }
        },
        Metric(family: MetricFamily("netusage_quota_cost", .gauge, help: "What the cycle costs so far.")) {
            snapshot, writer in
            for quota in snapshot.plans.quotas where quota.isUseKnown {
                if let cost = quota.state.cost { writer.sample(quota.series.costLabels, .number(cost.value)) }
            }
        },
        .info("netusage_quota_info", "What the quota counts, and its cycle.") {
            $0.plans.quotas.map(\.series.infoLabels)
        },
    ]

    private static let rates: [Metric] = [
        .rateLimit("bytes_per_second", .gauge, "The limit of the rate.") {
            .number($0.rateLimit.limitBytesPerSecond)
        },
        .rateLimit("breached", .gauge, "1 while the rate has been over its limit for too long.") {
            .flag($0.isBreached)
        },
        .rateLimit("breaches_total", .counter, "How often the rate was over its limit for too long.") {
            .integer($0.breaches)
        }.since { $0.startTime },
        .committedRate("bytes_per_second", "The rate that is bought.") {
            .number($0.committedRate.limitBytesPerSecond)
        },
        .committedRate(
            "p95_bytes_per_second", "The 95th percentile of the five-minute means of the open cycle so far."
        ) { .number($0.percentileBytesPerSecond) },
        .committedRate(
            "burst_remaining_seconds", "How much longer the rate may be exceeded before the cycle's percentile is."
        ) { .number(Double($0.burstRemainingSeconds)) },
        .committedRate("cycle_start_timestamp_seconds", "When the open cycle began.") {
            .number(Double($0.cycle.lowerBound.secondsSinceEpoch))
        },
        .committedRate("cycle_end_timestamp_seconds", "When the open cycle ends.") {
            .number(Double($0.cycle.upperBound.secondsSinceEpoch))
        },
    ]

    private static let program: [Metric] = [
        .single("netusage_ledger_up", .gauge, "1 when the ledger's file takes what is booked.") {
            .flag($0.store.isUp)
        },
        .single("netusage_ledger_last_commit_timestamp_seconds", .gauge, "When the ledger was last written to disk.") {
            $0.store.lastCommitSeconds.map { .number($0) }
        },
        .single(
            "netusage_ledger_commit_failures_total", .counter,
            "How often opening, reading or writing the ledger failed."
        ) {
            .integer($0.store.commitFailures)
        }.since { $0.startTime },
        .single("netusage_ledger_size_bytes", .gauge, "The size of the ledger's file with its log.") {
            .integer(UInt64(max(0, $0.store.sizeBytes)))
        },
        .single("netusage_kernel_read_success", .gauge, "1 when the last reading of the kernel's counters succeeded.") {
            .flag($0.kernel.readSuccess)
        },
        .single("netusage_netlink_overruns_total", .counter, "How often kernel events were lost and lists read again.")
        {
            .integer($0.kernel.overruns)
        }.since { $0.startTime },
        .single("netusage_clock_steps_total", .counter, "How often the wall clock was set.") {
            .integer($0.kernel.clockSteps)
        }.since { $0.startTime },
        .single(
            "netusage_config_last_reload_successful", .gauge, "1 when the configuration was last read without errors."
        ) {
            .flag($0.configuration.lastReloadSuccessful)
        },
        .single(
            "netusage_config_last_reload_success_timestamp_seconds", .gauge,
            "When the running configuration was read."
        ) { .number($0.configuration.lastReloadSuccessSeconds) },
    ]

    private static let process: [Metric] = [
        .single("process_cpu_seconds_total", .counter, "Total user and system CPU time spent in seconds.") {
            .number($0.process.statistics.processorSeconds)
        }.since { $0.startTime },
        .single("process_resident_memory_bytes", .gauge, "Resident memory size in bytes.") {
            .integer($0.process.statistics.residentBytes)
        },
        .single("process_virtual_memory_bytes", .gauge, "Virtual memory size in bytes.") {
            .integer($0.process.statistics.virtualBytes)
        },
        .single(
            "process_virtual_memory_max_bytes", .gauge, "Maximum amount of virtual memory available in bytes."
        ) {
            .integer($0.process.statistics.maximumVirtualBytes)
        },
        .single("process_threads", .gauge, "Number of OS threads in the process.") {
            .integer($0.process.statistics.threads)
        },
        .single("process_open_fds", .gauge, "Number of open file descriptors.") {
            .integer($0.process.statistics.openDescriptors)
        },
        .single("process_max_fds", .gauge, "Maximum number of open file descriptors.") {
            .integer($0.process.statistics.maximumDescriptors)
        },
        .single("process_start_time_seconds", .gauge, "Start time of the process since unix epoch in seconds.") {
            .number($0.process.startTime)
        },
    ]
}
