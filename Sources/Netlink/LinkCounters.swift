import CLinux

/// The values of one link's 64-bit byte counters.
package struct LinkCounters: Hashable, Sendable {
    /// The link's number (`ifindex`).
    package var index: UInt32
    package var receivedBytes: UInt64
    package var transmittedBytes: UInt64
}

extension LinkCounters {
    /// From the payload of an `RTM_NEWSTATS` message: `struct if_stats_msg` and `IFLA_STATS_LINK_64`.
    ///
    /// `nil` if the message has no such counters.
    package init?(statsPayload payload: UnsafeRawBufferPointer) {
        guard let index = payload.loadInteger(at: 4, as: UInt32.self),
            let statistics = AttributeReader(payload, behind: 12).first(where: { Int($0.type) == IFLA_STATS_LINK_64 })
        else { return nil }
        self.init(index: index, statistics: statistics.value)
    }

    /// From a `struct rtnl_link_stats64` of linux/if_link.h: packets received and sent, then bytes received and sent.
    init?(index: UInt32, statistics: UnsafeRawBufferPointer) {
        guard let received = statistics.loadInteger(at: 16, as: UInt64.self),
            let transmitted = statistics.loadInteger(at: 24, as: UInt64.self)
        else { return nil }
        self.init(index: index, receivedBytes: received, transmittedBytes: transmitted)
    }
}
