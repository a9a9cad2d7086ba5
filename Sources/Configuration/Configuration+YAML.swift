import Accounting

extension Configuration {
    /// Reads a configuration file. Settings that it doesn't have get their defaults; the file may be empty.
    ///
    /// - Parameters:
    ///   - bytes: the file, at most 1 MiB of UTF-8.
    ///   - file: its name for messages.
    ///   - zoneProblem: why a named time zone can't be used, in words that can follow a colon, or nil. The name has
    ///     only letters, digits and `_+-/`, and can't lead out of the zone database.
    ///   - isPresent: whether a device that matches a pattern exists now; if not, `notes` has it.
    ///   - isProgram: whether a program can be started now; if not, `notes` has it.
    /// - Throws: `ConfigurationErrors` with all errors. A syntax error is the only one, because the rest can't be read.
    package init(
        yaml bytes: [UInt8], file: String, zoneProblem: @escaping (String) -> String?,
        isPresent: @escaping (DevicePattern) -> Bool = { _ in true },
        isProgram: @escaping (String) -> Bool = { _ in true }
    ) throws(ConfigurationErrors) {
        let document: YAMLDocument
        do throws(Finding) {
            document = try YAMLDocument(bytes)
        } catch {
            throw ConfigurationErrors(entries: [error].entries(of: file))
        }
        var reader = MappingReader(document.root, path: .root)
        let defaults = Configuration.defaults
        timezone = reader.value("timezone", timeZone(zoneProblem: zoneProblem), default: defaults.timezone)
        weekStarts = reader.value("week_starts", weekday, default: defaults.weekStarts)
        sampling = reader.mapping("sampling") { Sampling(&$0, defaults: defaults.sampling) }
        storage = reader.mapping("storage") { Storage(&$0, defaults: defaults.storage) }
        devices = reader.mapping("devices") { Devices(&$0, defaults: defaults.devices) }
        metrics = reader.mapping("metrics") { Metrics(&$0, defaults: defaults.metrics) }
        csvLog = reader.optionalMapping("csv_log", example: "{ directory: /var/lib/netusage/csv }") {
            Configuration.CSVLog(&$0)
        }
        applications = Configuration.Applications(&reader, defaults: defaults.applications)
        plans = Plans(
            &reader,
            PlanContext(
                weekStarts: weekStarts, exclude: devices.exclude, zoneProblem: zoneProblem, isPresent: isPresent,
                isProgram: isProgram))
        if applications.mode == .off, let quota = plans.quotas.first(where: \.count.needsApplications) {
            reader.note(
                about: "applications", "is off, so that quota \(quota.name) counts as if no application were known",
                remedy: "write auto, or leave applications out of the quota")
        }
        reader.rejectUnknownKeys()
        let findings = document.findings + reader.findings
        guard findings.isEmpty else { throw ConfigurationErrors(entries: findings.entries(of: file)) }
        notes = reader.notes.entries(of: file)
    }
}

extension Configuration.Sampling {
    fileprivate init(_ sampling: inout MappingReader, defaults: Self) {
        let range = Span(nanoseconds: 100_000_000)...Span(seconds: 60)
        interval = sampling.value("interval", duration(in: range), default: defaults.interval)
        onBattery = sampling.value("on_battery", duration(in: range), default: defaults.onBattery)
    }
}

extension Configuration.Storage {
    fileprivate init(_ storage: inout MappingReader, defaults: Self) {
        let flush = Span(seconds: 1)...Span(seconds: 3600)
        let keep = Span(seconds: 86_400)...Span(seconds: 3650 * 86_400)
        flushInterval = storage.value("flush_interval", duration(in: flush), default: defaults.flushInterval)
        keepBuckets = storage.value("keep_buckets", duration(in: keep), default: defaults.keepBuckets)
    }
}

extension Configuration.Devices {
    /// More than any machine needs. Each device is compared with all patterns.
    private static let patternLimit = 1000

    fileprivate init(_ devices: inout MappingReader, defaults: Self) {
        exclude = devices.list("exclude", devicePattern, limit: Self.patternLimit, default: defaults.exclude)
        collapse = devices.list("collapse", devicePattern, limit: Self.patternLimit, default: defaults.collapse)
    }
}

extension Configuration.CSVLog {
    fileprivate init(_ log: inout MappingReader) {
        directory = log.required(
            "directory", absoluteDirectory, remedy: "write where the files go, such as /var/lib/netusage/csv",
            default: "/")
        device = log.value(
            "device",
            { node throws(Complaint) in
                try node.text(of: "a device's name", remedy: "write uplink or a device's name")
            }, default: "uplink")
    }
}

extension Configuration.Metrics {
    fileprivate init(_ metrics: inout MappingReader, defaults: Self) {
        rates = metrics.value("rates", boolean, default: defaults.rates)
        addresses = metrics.value("addresses", boolean, default: defaults.addresses)
    }
}

/// Decodes the absolute path of a directory.
private func absoluteDirectory(_ node: YAMLNode) throws(Complaint) -> String {
    let remedy = "write the whole path, such as /var/lib/netusage/csv"
    let text = try node.text(of: "a directory", remedy: remedy)
    guard text.hasPrefix("/"), !text.utf8.contains(0) else {
        throw Complaint(problem: "\(quoted(text)) is not the path of a directory", remedy: remedy)
    }
    return text.count > 1 && text.hasSuffix("/") ? String(text.dropLast()) : text
}
