import Exporter
import Glibc
import Machine

/// The daemon as a service of systemd: the system's, or a user's own.
struct Service {
    private static let name = "netusage.service"
    private static let packagedUnits = [
        "/lib/systemd/system/netusage.service", "/usr/lib/systemd/system/netusage.service",
    ]
    private static let sysusers = "/etc/sysusers.d/netusage.conf"
    /// Marks a unit whose program was copied, so that both are removed together.
    private static let copyMark = "# The program was copied there by netusage service install."

    private let isUsers: Bool
    private let unitPath: String
    private let binaryPath: String

    /// - Throws: `Refusal` where there is no systemd.
    init(isUsers: Bool) throws(Refusal) {
        self.isUsers = isUsers
        guard isUsers else {
            // sd_booted(3)
            if access("/run/systemd/system", F_OK) != 0 {
                throw Refusal(
                    "this system doesn't run systemd; start netusage serve with its own service manager (see deploy/INSTALL.md)"
                )
            }
            unitPath = "/etc/systemd/system/\(Self.name)"
            binaryPath = "/usr/local/bin/netusage"
            return
        }
        guard let runtime = Self.variable("XDG_RUNTIME_DIR"), access("\(runtime)/systemd/private", F_OK) == 0 else {
            throw Refusal(
                "this user has no systemd now: log in properly (not by su or sudo), or as root: loginctl enable-linger USER"
            )
        }
        guard let home = Self.variable("HOME") else {
            throw Refusal("HOME isn't set; set it to your home directory")
        }
        unitPath = "\(Self.variable("XDG_CONFIG_HOME") ?? home + "/.config")/systemd/user/\(Self.name)"
        binaryPath = "\(home)/.local/bin/netusage"
    }

    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
    }

    // MARK: - Installing

    /// - Parameter withApplications: Whether a step before each start has applications metered. To the package's service
    ///   only this step is added.
    /// - Throws: `Refusal`. Then the files written so far stay, and the next try goes on from there.
    func install(configurationFile: String?, withApplications: Bool) throws(Refusal) {
        if withApplications, packagedUnit != nil, configurationFile == nil {
            try checkRoot()
            try write(PackageResources.applications_conf, to: applicationsPath)
            return try restart()
        }
        try checkRights()
        let configurationFile = try configurationFile.map(wholePath)
        let (program, isCopied) = try placeProgram()
        if !isUsers {
            try write(PackageResources.netusage_sysusers, to: Self.sysusers)
            try systemd(["systemd-sysusers", Self.sysusers])
            if configurationFile == nil, access(ConfigurationFile.defaultPath, F_OK) != 0 {
                try write(PackageResources.netusage_yaml, to: ConfigurationFile.defaultPath)
            }
        }
        let unit = self.unit(program: program, isCopied: isCopied, configurationFile: configurationFile)
        try write(Array(unit.utf8), to: unitPath)
        if withApplications {
            let step = String(decoding: PackageResources.applications_conf, as: UTF8.self)
                .replacing("/usr/bin/netusage", with: "\"\(Self.escaped(program))\"")
            try write(Array(step.utf8), to: applicationsPath)
        }
        try restart()
    }

    /// Where a step before each start is added to the unit.
    private var applicationsPath: String { "/etc/systemd/system/\(Self.name).d/applications.conf" }

    private func restart() throws(Refusal) {
        try systemd(systemctl + ["daemon-reload"])
        try systemd(systemctl + ["enable", "--quiet", Self.name])
        try systemd(systemctl + ["restart", Self.name])
        show(
            "The service runs: http://127.0.0.1:10073/. Look with: netusage service status\(isUsers ? " --user" : "")")
    }

    private var packagedUnit: String? { Self.packagedUnits.first { access($0, F_OK) == 0 } }

    private func checkRoot() throws(Refusal) {
        if geteuid() != 0 {
            throw Refusal("the system's service needs root: use sudo, or --user for a service of your own")
        }
    }

    private func checkRights() throws(Refusal) {
        if isUsers { return }
        try checkRoot()
        if let packaged = packagedUnit {
            throw Refusal(
                "\(packaged) comes from the package: use systemctl, and apt-get to install, upgrade and remove it"
            )
        }
    }

    /// The absolute path of a file, if the service can see it.
    private func wholePath(_ path: String) throws(Refusal) -> String {
        guard let resolved = realpath(path, nil) else {
            throw Refusal("\(path) can't be read: \(errorText()); create it first")
        }
        defer { free(resolved) }
        let whole = String(cString: resolved)
        if !isUsers, ["/home/", "/root/", "/run/user/"].contains(where: whole.hasPrefix) {
            throw Refusal(
                "\(whole) is in a home directory, which the system's service can't see; put it below /etc/netusage"
            )
        }
        return whole
    }

    /// Copies this program to a permanent place, unless it is in one already.
    private func placeProgram() throws(Refusal) -> (path: String, isCopied: Bool) {
        guard let resolved = realpath("/proc/self/exe", nil) else {
            throw Refusal("this program can't be found in /proc: mount it")
        }
        let path = String(cString: resolved)
        free(resolved)
        if path == binaryPath {
            // The unit says whether an earlier install copied it.
            let unit = (try? text(of: unitPath)) ?? ""  // There may be none yet.
            return (path, unit.contains(Self.copyMark))
        }
        if path.hasPrefix("/usr/") || path.hasPrefix("/opt/") { return (path, false) }
        try write(try bytes(of: "/proc/self/exe"), to: binaryPath, mode: 0o755)
        return (binaryPath, true)
    }

    private func unit(program: String, isCopied: Bool, configurationFile: String?) -> String {
        let flags = configurationFile.map { " \"--config.file=\(Self.escaped($0))\"" } ?? ""
        let mark = isCopied ? Self.copyMark + "\n" : ""
        if isUsers {
            return mark + """
                [Unit]
                Description=Network use by day, month and quota, for Prometheus

                [Service]
                Type=notify
                NotifyAccess=main
                WatchdogSec=60
                ExecStart="\(Self.escaped(program))" serve\(flags)
                ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
                Restart=on-failure
                RestartSec=5
                RestartPreventExitStatus=64 78
                KillMode=process
                MemoryMax=256M
                TasksMax=512
                LimitCORE=0
                UMask=0027
                NoNewPrivileges=yes

                [Install]
                WantedBy=default.target

                """
        }
        let packaged = String(decoding: PackageResources.netusage_service, as: UTF8.self)
        return mark
            + packaged.replacing(
                "\nExecStart=/usr/bin/netusage serve",
                with: "\nExecStart=\"\(Self.escaped(program))\" serve\(flags)")
    }

    /// A path for quotes in a unit: systemd.service(5), "Command lines", and systemd.unit(5), "Specifiers".
    private static func escaped(_ path: String) -> String {
        path.unicodeScalars.reduce(into: "") { escaped, scalar in
            switch scalar {
            case "\\", "\"": escaped += "\\\(scalar)"
            case "%", "$": escaped += "\(scalar)\(scalar)"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
    }

    // MARK: - Removing

    /// - Parameter purges: Whether the ledger and the configuration are removed, too.
    /// - Throws: `Refusal`.
    func uninstall(purges: Bool) throws(Refusal) {
        try checkRights()
        guard access(unitPath, F_OK) == 0 else {
            throw Refusal("\(unitPath) isn't there: the service isn't installed")
        }
        if purges, isUsers, geteuid() == 0 {
            throw Refusal(
                "root's own service and the system's have the same ledger, so --purge would remove both: leave it out")
        }
        let isCopied = try text(of: unitPath).contains(Self.copyMark)
        try systemd(systemctl + ["disable", "--quiet", "--now", Self.name])
        var gone = [unitPath] + (isCopied ? [binaryPath] : []) + (isUsers ? [] : [Self.sysusers])
        let ledger = StoragePath.standard()
        if purges {
            let suffixes = ["", "-wal", "-shm", ".lock", ".control"]
            gone += suffixes.map { ledger + $0 } + (isUsers ? [] : [ConfigurationFile.defaultPath])
        }
        if !isUsers { gone.append(applicationsPath) }
        for path in gone where access(path, F_OK) == 0 {
            if unlink(path) != 0 {
                throw Refusal("\(path) can't be removed: \(errorText())")
            }
            show("removed \(path)")
        }
        if !isUsers { rmdir(Self.directory(of: applicationsPath)) }
        if purges {
            // A directory with other files stays.
            for path in [ledger] + (isUsers ? [] : [ConfigurationFile.defaultPath]) {
                rmdir(Self.directory(of: path))
            }
        } else if access(ledger, F_OK) == 0 {
            show("The ledger stays: \(ledger)")
        }
        try systemd(systemctl + ["daemon-reload"])
    }

    // MARK: - systemctl

    private var systemctl: [String] { isUsers ? ["systemctl", "--user"] : ["systemctl"] }

    /// Replaces this program by `systemctl`, so that its output and exit code are this program's.
    ///
    /// - Throws: `Refusal` when there is none.
    func control(_ verb: String) throws(Refusal) {
        var arguments = (systemctl + [verb, Self.name]).map { strdup($0) } + [nil]
        execvp("systemctl", &arguments)
        throw Refusal("systemctl can't be run: \(errorText()); install systemd")
    }

    /// Runs one of systemd's programs to its end.
    private func systemd(_ command: [String]) throws(Refusal) {
        switch runToEnd(command) {
        case .success(0): break
        case .failure(let failure): throw Refusal("\(command[0]) can't be run: \(failure.reason); install systemd")
        case .success:
            throw Refusal(
                "\(command.joined(separator: " ")) has failed; see above, and journalctl\(isUsers ? " --user" : "") -u netusage"
            )
        }
    }

    // MARK: - Files

    /// Prints a line. A failure doesn't matter: what was done stays done.
    private func show(_ line: String) { _ = writeAll(Terminal.printableLines(line + "\n")) }

    private static func directory(of path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }

    private func createDirectory(_ path: String) {
        if path.isEmpty || access(path, F_OK) == 0 { return }
        createDirectory(Self.directory(of: path))
        mkdir(path, 0o755)
    }

    /// Replaces a file at once: it is never half written.
    private func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws(Refusal) {
        createDirectory(Self.directory(of: path))
        do {
            let file = try ReplacementFile(path, mode: mode)
            try file.write(bytes)
            try file.finish()
        } catch {
            throw Refusal("\(path) can't be written: \(error)")
        }
        show("wrote \(path)")
    }

    private func bytes(of path: String) throws(Refusal) -> [UInt8] {
        do throws(WholeFile.Failure) {
            return try WholeFile.readAnything(path, limit: 1 << 30)
        } catch {
            throw Refusal("\(path) can't be read: \(error)")
        }
    }

    private func text(of path: String) throws(Refusal) -> String {
        String(decoding: try bytes(of: path), as: UTF8.self)
    }
}
