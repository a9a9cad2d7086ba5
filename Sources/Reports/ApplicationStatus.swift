import CivilTime

extension StatusReport {
    /// Whether and how applications are metered.
    package struct Applications: Codable, Sendable {
        package var attached: Bool
        /// Why they aren't metered, and what helps.
        package var problem: String?
        /// When the kernel's programs were attached: their counts began at 0 then.
        package var attachedAt: LocalMoment?
        /// Whether the programs count on while the daemon restarts.
        package var survivesRestarts: Bool?
        /// How many counters the programs have, and packets for which there was no room for another one.
        package var keys: UInt64
        package var overflows: UInt64
        /// Whether the programs also count what passes the uplink, by scope.
        package var countsUplinkScopes: Bool
        /// What the uplink's counters make of merged packets: `wire` or `merged`; `nil` until it is learnt.
        package var receiveBasis: String?
        package var transmitBasis: String?
        /// Headers of merged packets since then: on the cable, but not in counters of the basis `merged`.
        package var receiveHeaderBytes: UInt64
        package var transmitHeaderBytes: UInt64

        package init(
            attached: Bool, problem: String? = nil, attachedAt: LocalMoment? = nil, survivesRestarts: Bool? = nil,
            keys: UInt64 = 0, overflows: UInt64 = 0, countsUplinkScopes: Bool = false, receiveBasis: String? = nil,
            transmitBasis: String? = nil, receiveHeaderBytes: UInt64 = 0, transmitHeaderBytes: UInt64 = 0
        ) {
            self.attached = attached
            self.problem = problem
            self.attachedAt = attachedAt
            self.survivesRestarts = survivesRestarts
            self.keys = keys
            self.overflows = overflows
            self.countsUplinkScopes = countsUplinkScopes
            self.receiveBasis = receiveBasis
            self.transmitBasis = transmitBasis
            self.receiveHeaderBytes = receiveHeaderBytes
            self.transmitHeaderBytes = transmitHeaderBytes
        }
    }
}
