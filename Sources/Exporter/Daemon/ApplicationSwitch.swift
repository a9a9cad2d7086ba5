import Applications
import Configuration
import Glibc
import Logging
import Machine

/// Has the kernel's programs attached or removed, as the configuration says and privileges allow.
struct ApplicationSwitch: Sendable {
    typealias Mode = Configuration.Applications.Mode

    let meter: Meter
    let manager: SystemdNotifier
    let logger: Logger

    private static let offReason = "the configuration says applications: off"

    /// Takes over the programs that the service manager has kept. To do before the meter begins: what a quota leaves out must be
    /// as new as what it counts.
    ///
    /// - Returns: What is left to do for ``finishStart(_:_:)``.
    func takeKept(_ mode: Mode) async -> Remainder {
        let (kept, problem) = Handover.kept(by: manager)
        if mode == .off {
            for programs in kept { forget(programs.attachment) }
        } else if !kept.isEmpty {
            await meter.take(kept, drop: forget)
            return .nothing
        }
        return .attach(problem)
    }

    enum Remainder {
        case nothing
        /// With the reason why those that were kept can't be used.
        case attach(Handover.Failure?)
    }

    /// Attaches the programs, if none were kept. Takes some tenths of a second, on a thread of its own. Metering of devices doesn't
    /// wait for it.
    func finishStart(_ mode: Mode, _ remainder: Remainder) async {
        guard case .attach(let problem) = remainder else { return }
        if mode == .off { return await meter.stopApplications(Self.offReason) }
        if let problem, !Attaching.isAllowed { return await report(problem, .warning) }
        await attach(mode)
    }

    /// Has the service manager drop an attachment. It may be busy, so this waits for nothing.
    private func forget(_ attachment: UInt64) {
        Task { [manager] in
            // Nobody cancels this task.
            _ = try? await onOwnThread({ Handover.forget(attachment, keptBy: manager) }, late: {})
        }
    }

    /// The configuration says something else now.
    func change(to mode: Mode) async {
        if mode == .off {
            logger.notice("applications aren't metered any more: \(Self.offReason)")
            return await meter.stopApplications(Self.offReason)
        }
        if await !meter.metersApplications { await attach(mode, isReload: true) }
    }

    private func attach(_ mode: Mode, isReload: Bool = false) async {
        if let obstacle = Attaching.obstacle { return await report(obstacle, mode == .auto ? .info : .warning) }
        guard Attaching.isAllowed else {
            let missing = Attaching.missingCapabilities.joined(separator: ", ")
            let remedy =
                isReload && manager.hasManager
                ? "a service attaches the kernel's programs when it starts: restart it"
                : geteuid() == 0
                    ? "root has no \(missing) here, as in most containers: start the container with these capabilities"
                    : "that needs root, or once for a service: sudo netusage service install --applications; if that is done, the log of the service says why its step failed"
            await meter.stopApplications(remedy)
            logger.log(level: mode == .on ? .warning : .info, "applications aren't metered: \(remedy)")
            return
        }
        let result = try? await onOwnThread {
            Result { () throws(Handover.Failure) in
                try Handover.attachInChild(["applications", "attach", "--to-parent"])
            }
        } late: {
            logger.warning("the kernel takes long to load the programs that meter applications")
        }
        switch result {
        case .success(let programs)?: await meter.take([programs])
        // Nobody asked for them.
        case .failure(let error)?: await report(error, mode == .auto ? .info : .warning)
        case nil: break  // The daemon ends.
        }
    }

    private func report(_ problem: any Error, _ level: Logger.Level) async {
        await meter.stopApplications("\(problem)")
        logger.log(level: level, "applications aren't metered", metadata: ["reason": "\(problem)"])
    }
}
