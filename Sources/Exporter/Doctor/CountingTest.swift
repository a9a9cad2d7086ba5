import Accounting
import CLinux
import CivilTime
import Glibc
import Machine
import Netlink

/// Sends a known number of bytes through a virtual cable in a private network, and compares what each reader shows.
enum CountingTest {
    private static let frames = 1000
    private static let frameBytes = 1000
    private static var sentBytes: UInt64 { UInt64(frames * frameBytes) }

    private struct Failure: Error {
        var text: String
    }

    /// - Returns: The error of each path in bytes, or why it can't be measured.
    static func findings() -> [Doctor.Finding] {
        if geteuid() != 0 {
            let text = "only root can send bytes to itself and compare: run it with sudo to see the error of each path"
            return [.advice(text)]
        }
        let outside = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
        defer { close(outside) }
        guard outside >= 0, netusage_enter_new_network() == 0 else {
            return [.advice("no private network can be made here, so no error can be measured")]
        }
        defer {
            // Without this the rest of the program would look at the wrong network.
            precondition(netusage_enter_network(outside) == 0, "the way back to the machine's network must be there")
        }
        do {
            return try measure()
        } catch let error as Failure {
            return [.advice(error.text)]
        } catch {
            return [.problem("the kernel can't be read: \(error)")]
        }
    }

    /// Runs in one thread, because the network belongs to a thread.
    private static func measure() throws -> [Doctor.Finding] {
        // Only bytes of this test may be on the cable.
        if let file = fopen("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") {
            fputs("1", file)
            fclose(file)
        }
        try ip(["link", "add", "near0", "type", "veth", "peer", "name", "far0"])
        try ip(["link", "set", "near0", "up"])
        try ip(["link", "set", "far0", "up"])
        let paths: [(name: String, read: () throws -> [UInt32: Counters])] = [
            ("netlink (RTM_GETSTATS)", reader(try KernelNetwork(counterSource: .statistics))),
            ("netlink (RTM_GETLINK)", reader(try KernelNetwork(counterSource: .links))),
            ("/proc/net/dev", readProcFile),
        ]
        let links = try KernelNetwork().links().filter { $0.driverKind == "veth" }.sorted {
            $1.deviceName < $0.deviceName
        }
        guard links.count == 2 else { throw Failure(text: "the cable isn't there") }
        let (near, far) = (links[0], links[1])
        let before = try paths.map { try $0.read() }
        var ledger = Ledger(
            stored: .empty(daysFrom: .earliest),
            devices: links.map { (Device(index: $0.deviceIndex, name: $0.deviceName), before[0][$0.index] ?? .zero) },
            rules: AccountingRules(exclude: [], collapse: [], samplingInterval: Span(seconds: 1)), calendar: .utc,
            epoch: Epoch(bootID: "", networkNamespace: 0), now: SystemClock.now(), isPersistent: false)
        // A cable drops frames while its ends come up.
        for _ in 0..<100 where try !KernelNetwork().links().filter({ $0.driverKind == "veth" }).allSatisfy(\.isUp) {
            usleep(10_000)
        }
        let code = netusage_send_frames(near.index, CInt(frames), CInt(frameBytes))
        if code != 0 {
            throw Failure(text: "nothing can be sent over the cable: \(errorText(code))")
        }
        // They arrive on the other side a moment later.
        for _ in 0..<100 where growth(far.index, before[0], try paths[0].read()).received < sentBytes { usleep(10_000) }
        var findings: [Doctor.Finding] = try zip(paths, before).map { path, previous in
            let after = try path.read()
            return finding(
                path.name, sent: growth(near.index, previous, after).transmitted,
                received: growth(far.index, previous, after).received)
        }
        let shown = try paths[0].read().map { Reading(device: DeviceIndex(rawValue: $0.key), counters: $0.value) }
        ledger.record(shown, at: SystemClock.now(), endsInterval: true)
        let days = Dictionary(ledger.history().entries.map { ($0.key, $0.lifetime) }, uniquingKeysWith: { $1 })
        findings.append(
            finding(
                "the ledger's bookings", sent: days[.device(near.deviceName)]?.transmitted ?? 0,
                received: days[.device(far.deviceName)]?.received ?? 0))
        return findings
    }

    private static func finding(_ path: String, sent: UInt64, received: UInt64) -> Doctor.Finding {
        let errors = [sent, received].map { Int64(clamping: $0) - Int64(sentBytes) }
        let text =
            "\(path): of \(sentBytes) bytes \(sent) were counted where they were sent and \(received) where they were received, an error of \(errors[0]) and \(errors[1]) bytes"
        return errors == [0, 0] ? .good(text) : .problem(text)
    }

    private static func growth(_ index: UInt32, _ before: [UInt32: Counters], _ after: [UInt32: Counters]) -> Delta {
        (after[index] ?? .zero).growth(since: before[index] ?? .zero)
    }

    // MARK: - Paths

    private static func reader(_ kernel: KernelNetwork) -> () throws -> [UInt32: Counters] {
        {
            var counters: [LinkCounters] = []
            try kernel.readCounters(into: &counters)
            return Dictionary(counters.map { ($0.index, $0.counters) }, uniquingKeysWith: { $1 })
        }
    }

    /// Each line has a name and numbers: bytes received first, bytes sent ninth (net/core/net-procfs.c).
    private static func readProcFile() throws -> [UInt32: Counters] {
        guard let text = WholeFile.text("/proc/thread-self/net/dev") else {
            throw Failure(text: "/proc/net/dev can't be read: mount /proc")
        }
        var counters: [UInt32: Counters] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            let numbers = parts.count == 2 ? parts[1].split(separator: " ").compactMap { UInt64($0) } : []
            let index = if_nametoindex(parts[0].filter { $0 != " " })
            if numbers.count >= 9, index != 0 {
                counters[index] = Counters(received: numbers[0], transmitted: numbers[8])
            }
        }
        return counters
    }

    /// Runs `ip` in this thread's network.
    private static func ip(_ arguments: [String]) throws(Failure) {
        guard case .success(let status) = runToEnd(["ip"] + arguments) else {
            throw Failure(text: "the error of each path can't be measured without ip: install iproute2")
        }
        if status != 0 {
            throw Failure(
                text: "ip \(arguments.joined(separator: " ")) has failed, so the error of each path can't be measured")
        }
    }
}
