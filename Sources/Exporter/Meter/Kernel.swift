import Accounting
import Glibc
import Machine
import Netlink

/// What the meter asks the kernel. `KernelNetwork` is the real one; tests pass in another.
///
/// One thread uses it at a time. No call waits for a busy kernel much longer than
/// ``patienceMilliseconds``: only a list that took long before gets three times as long, up to two seconds.
protocol Kernel: AnyObject {
    /// The network namespace that is read; see `Epoch`.
    var networkNamespace: UInt64 { get }
    /// How often messages were lost, or a list changed while it was read.
    var overruns: UInt64 { get }
    /// Whether the last counters came from `/proc/net/dev`, because the kernel didn't answer in time.
    var isBusy: Bool { get }
    var patienceMilliseconds: Int { get set }

    func readCounters(into counters: inout [LinkCounters]) throws(NetlinkError)
    func links() throws(NetlinkError) -> [Link]
    func addresses() throws(NetlinkError) -> [InterfaceAddress]
    func defaultRoute(_ roles: DefaultRoute.LinkRoles) throws(NetlinkError) -> DefaultRoute?
    func drainEvents(_ body: (KernelNetwork.Event) -> Void) throws(NetlinkError)
    /// What a link can carry in one direction, in bytes per second; `nil` if that isn't known.
    func bytesPerSecond(of link: Link) -> UInt64?
}

extension KernelNetwork: Kernel {
    /// `speed` of Documentation/ABI/testing/sysfs-class-net is in Mbit/s. Only hardware has a real one: virtual links make
    /// theirs up.
    func bytesPerSecond(of link: Link) -> UInt64? {
        guard link.kind == "physical", let name = String(validating: link.name, as: UTF8.self) else { return nil }
        let directory = "/sys/class/net/" + name
        // The kernel takes its lock for the speed.
        let megabits = behindTheLock { () -> Int64? in
            // The directory may show another namespace, in which the name means another link.
            guard WholeFile.text(directory + "/ifindex") == String(link.index), access(directory + "/device", F_OK) == 0
            else { return nil }
            return WholeFile.text(directory + "/speed").flatMap { Int64($0) }
        }
        guard let megabits = megabits ?? nil, megabits > 0 else { return nil }
        return UInt64(megabits).multipliedReportingOverflow(by: 125_000).partialValue
    }
}

extension Kernel {
    func device(for link: Link) -> Device {
        Device(
            index: link.deviceIndex, name: link.deviceName, linkBytesPerSecond: bytesPerSecond(of: link),
            hardwareAddress: link.hardwareAddress)
    }
}

/// The kernel's lists, all of the same moment.
struct KernelStock {
    private(set) var links: [Link] = []
    private(set) var addresses: [InterfaceAddress] = []
    private var counters: [LinkCounters] = []
    /// Links that went away while the lists were read, with their last counters.
    private(set) var departed: [Link] = []
    /// Whether nothing happened while the lists were read.
    private(set) var isSettled = false

    /// Reads the lists, and reads them again if a link came or went meanwhile.
    ///
    /// - Throws: `NetlinkError` when the kernel doesn't answer.
    init(_ kernel: any Kernel) throws(NetlinkError) {
        // On some machines links come and go all the time; then the last lists have to do.
        for _ in 0..<8 where !isSettled {
            links = try kernel.links()
            addresses = try kernel.addresses()
            try kernel.readCounters(into: &counters)
            isSettled = true
            try kernel.drainEvents { event in
                switch event {
                case .linkRemoved(let link):
                    departed.append(link)
                    isSettled = false
                case .linkChanged, .addressAdded, .addressRemoved, .lost: isSettled = false
                case .defaultRouteChanged: break
                }
            }
        }
        let present = Set(links.map(\.index))
        // The kernel may have given a number twice meanwhile.
        let last = Dictionary(departed.map { ($0.index, $0) }, uniquingKeysWith: { $1 })
        departed = last.values.filter { !present.contains($0.index) && $0.counters != nil }
    }

    /// Every device with its counters; those that went away with their last ones.
    func presences(_ kernel: any Kernel) -> [Ledger.Presence] {
        let byIndex = Dictionary(links.map { ($0.index, $0) }, uniquingKeysWith: { $1 })
        let present = counters.compactMap { reading in
            byIndex[reading.index].map { (kernel.device(for: $0), reading.counters) }
        }
        return present + departed.compactMap { link in link.counters.map { (kernel.device(for: link), $0.counters) } }
    }
}
