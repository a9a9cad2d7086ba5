import Accounting
import Exposition
import Reports

extension Catalogue {
    /// What each application carries.
    static let applications: [Metric] =
        [
            counter("receive_bytes_total", "Bytes received by the application.") { $0.received },
            counter("transmit_bytes_total", "Bytes sent by the application.") { $0.transmitted },
            .single(
                "netusage_applications_attached", .gauge, "1 when the kernel's programs count by application."
            ) { .flag($0.applicationCounters != nil) },
            .single("netusage_application_keys", .gauge, "How many counters the kernel's programs have.") {
                $0.applicationCounters.map { .integer($0.keys) }
            },
            .single(
                "netusage_application_overflows_total", .counter,
                "Packets for which there was no room for another counter, so that they count for (other)."
            ) { $0.applicationCounters.map { .integer($0.overflows) } },
        ] + applicationPeriods
        + uplinkScope("receive", "received", \.received, \.received)
        + uplinkScope("transmit", "sent", \.transmitted, \.transmitted)

    private static let scopeLabels = Dictionary(
        uniqueKeysWithValues: UplinkScope.allCases.map { ($0, LabelSet([("scope", $0.rawValue)])) })

    /// What passed the uplink by scope, in one direction.
    private static func uplinkScope(
        _ direction: String, _ verb: String, _ count: @escaping @Sendable (Counters) -> UInt64,
        _ bytes: @escaping @Sendable (Total) -> UInt64
    ) -> [Metric] {
        func metric(
            _ name: String, _ kind: MetricFamily.Kind, _ when: String,
            _ value: @escaping @Sendable (AccountView) -> UInt64
        ) -> Metric {
            let family = MetricFamily(
                "netusage_uplink_scope_\(name)", kind, help: "Bytes \(verb) through the uplink\(when), by scope.")
            return Metric(family: family) { snapshot, writer in
                for (scope, view) in snapshot.uplinkScopes {
                    if let labels = scopeLabels[scope] { writer.sample(labels, value(view)) }
                }
            }
        }
        return [
            metric("\(direction)_bytes_total", .counter, "") { count($0.counter) }.since { $0.bootTime },
            metric("day_\(direction)_bytes", .gauge, " since local midnight") { bytes($0.periods.day) },
            metric("month_\(direction)_bytes", .gauge, " since the first of the local month") {
                bytes($0.periods.month)
            },
        ]
    }

    private static func counter(
        _ name: String, _ help: String, _ value: @escaping @Sendable (Counters) -> UInt64
    ) -> Metric {
        Metric(family: MetricFamily("netusage_application_" + name, .counter, help: help)) { snapshot, writer in
            for application in snapshot.applications {
                guard let counter = application.counter else { continue }
                writer.sample(snapshot.applicationLabels, application.row, value(counter))
            }
        }.since { $0.bootTime }
    }

    private static let applicationPeriods: [Metric] = ApplicationFamily.all.map { family in
        Metric(family: family.family) { snapshot, writer in
            for application in snapshot.applications {
                let bytes = family.value(application.periods)
                let attributed = family.value(application.attributed)
                if bytes >= attributed {
                    writer.sample(snapshot.applicationLabels, application.row, bytes - attributed)
                } else {
                    writer.sample(snapshot.applicationLabels, application.row, -Double(attributed - bytes))
                }
            }
        }
    }
}
