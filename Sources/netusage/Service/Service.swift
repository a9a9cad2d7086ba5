import Exporter
import Glibc
import Machine

/// The daemon as a service of systemd: the system's, or a user's own.
struct Service {
    /// Why it can't be done, and what to do about it.
    struct Refusal: Error {
        var text: String
    }

    private static let name = "netusage.service"
    private static let packagedUnits = [
        "/lib/systemd/system/netusage.service", "/usr/lib/systemd/system/netusage.service",
    ]
    private static let sysusers = "/etc/sysusers.d/netusage.conf"
    /// In a unit whose program was copied, so that it goes when the unit does.
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
                    text:
                        "no systemd runs this system; have netusage serve started by whatever starts programs here (see deploy/INSTALL.md)"
                )
            }
            unitPath = "/etc/systemd/system/\(Self.name)"
            binaryPath = "/usr/local/bin/netusage"
            return
        }
        guard let runtime = Self.variable("XDG_RUNTIME_DIR"), access("\(runtime)/systemd/private", F_OK) == 0 else {
            throw Refusal(
                text:
                    "this user has no systemd now: log in properly (not by su or sudo), or as root: loginctl enable-linger USER"
            )
        }
        guard let home = Self.variable("HOME") else {
            throw Refusal(text: "HOME isn't set; set it to your home directory")
        }
        unitPath = "\(Self.variable("XDG_CONFIG_HOME") ?? home + "/.config")/systemd/user/\(Self.name)"
        binaryPath = "\(home)/.local/bin/netusage"
    }

    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
    }

    // MARK: - Installing

    /// - Throws: `Refusal`; what was written up to there stays, and the next try goes on.
    func install(configurationFile: String?) throws(Refusal) {
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
        try systemd(systemctl + ["daemon-reload"])
        try systemd(systemctl + ["enable", "--quiet", Self.name])
        try systemd(systemctl + ["restart", Self.name])
        show(
            "The service runs: http://127.0.0.1:10073/. Look with: netusage service status\(isUsers ? " --user" : "")")
    }

    private func checkRights() throws(Refusal) {
        if isUsers { return }
        if geteuid() != 0 {
            throw Refusal(text: "the system's service takes root: use sudo, or --user for one of your own")
        }
        if let packaged = Self.packagedUnits.first(where: { access($0, F_OK) == 0 }) {
            throw Refusal(
                text:
                    "\(packaged) is there, from the package: use systemctl, and apt-get to install, upgrade and remove it"
            )
        }
    }

    /// A file as the service finds it.
    private func wholePath(_ path: String) throws(Refusal) -> String {
        guard let resolved = realpath(path, nil) else {
            throw Refusal(text: "\(path) can't be read: \(String(cString: strerror(errno))); create it first")
        }
        defer { free(resolved) }
        let whole = String(cString: resolved)
        if !isUsers, ["/home/", "/root/", "/run/user/"].contains(where: whole.hasPrefix) {
            throw Refusal(
                text:
                    "\(whole) is in a home directory, which the system's service doesn't see; put it below /etc/netusage"
            )
        }
        return whole
    }

    /// Copies this program to where it stays, unless it is in such a place already.
    private func placeProgram() throws(Refusal) -> (path: String, isCopied: Bool) {
        guard let resolved = realpath("/proc/self/exe", nil) else {
            throw Refusal(text: "this program can't be found in /proc: mount it")
        }
        let path = String(cString: resolved)
        free(resolved)
        if path == binaryPath {
            // Copied before, if the unit says so.
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
        let lines = String(decoding: PackageResources.netusage_service, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)
        let previous = "ExecStart=/usr/bin/netusage serve"
        return mark
            + lines.map { line in
                line.hasPrefix(previous)
                    ? "ExecStart=\"\(Self.escaped(program))\" serve\(flags)\(line.dropFirst(previous.count))"
                    : String(line)
            }.joined(separator: "\n")
    }

    /// As a unit's line wants it inside quotes: systemd.service(5), "Command lines", and systemd.unit(5), "Specifiers".
    private static func escaped(_ path: String) -> String {
        path.unicodeScalars.reduce(into: "") { escaped, scalar in
            switch scalar {
            case "\\", "\"": escaped += "\\\(scalar)"
            case "%", "$": escaped += "\(scalar)\(scalar)"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
    }

    // MARK: - Taking away

    /// - Parameter purges: Whether the ledger and the configuration go, too.
    /// - Throws: `Refusal`.
    func uninstall(purges: Bool) throws(Refusal) {
        try checkRights()
        guard access(unitPath, F_OK) == 0 else {
            throw Refusal(text: "\(unitPath) isn't there: netusage service install hasn't been done")
        }
        let isCopied = try text(of: unitPath).contains(Self.copyMark)
        try systemd(systemctl + ["disable", "--quiet", "--now", Self.name])
        var gone = [unitPath] + (isCopied ? [binaryPath] : []) + (isUsers ? [] : [Self.sysusers])
        let ledger = StoragePath.standard()
        if purges {
            let suffixes = ["", "-wal", "-shm", ".lock", ".control"]
            gone += suffixes.map { ledger + $0 } + (isUsers ? [] : [ConfigurationFile.defaultPath])
        }
        for path in gone where access(path, F_OK) == 0 {
            if unlink(path) != 0 {
                throw Refusal(text: "\(path) can't be removed: \(String(cString: strerror(errno)))")
            }
            show("removed \(path)")
        }
        if purges {
            // Those that hold something else stay.
            for path in [ledger, ConfigurationFile.defaultPath] { rmdir(Self.directory(of: path)) }
        } else if access(ledger, F_OK) == 0 {
            show("The ledger stays: \(ledger)")
        }
        try systemd(systemctl + ["daemon-reload"])
    }

    // MARK: - systemctl

    private var systemctl: [String] { isUsers ? ["systemctl", "--user"] : ["systemctl"] }

    /// Becomes `systemctl`, so that its words and exit code are this program's.
    ///
    /// - Throws: `Refusal` when there is none.
    func control(_ verb: String) throws(Refusal) {
        var arguments = (systemctl + [verb, Self.name]).map { strdup($0) } + [nil]
        execvp("systemctl", &arguments)
        throw Refusal(text: "systemctl can't be run: \(String(cString: strerror(errno))); install systemd")
    }

    /// Runs one of systemd's programs to its end.
    private func systemd(_ command: [String]) throws(Refusal) {
        let status: CInt
        do {
            status = try runToEnd(command).get()
        } catch {
            throw Refusal(text: "\(command[0]) can't be run: \(error.reason); install systemd")
        }
        if status != 0 {
            throw Refusal(
                text:
                    "\(command.joined(separator: " ")) has failed; see above, and journalctl\(isUsers ? " --user" : "") -u netusage"
            )
        }
    }

    // MARK: - Files

    /// Says what was done; that nobody can read it undoes nothing.
    private func show(_ line: String) { _ = writeAll(Terminal.printableLines(line + "\n")) }

    private static func directory(of path: String) -> String {
        String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }

    private func createDirectory(_ path: String) {
        if path.isEmpty || access(path, F_OK) == 0 { return }
        createDirectory(Self.directory(of: path))
        mkdir(path, 0o755)
    }

    /// Puts a whole file in its place at once.
    private func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws(Refusal) {
        createDirectory(Self.directory(of: path))
        let part = "\(path).part-\(getpid())"
        let descriptor = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        let isWritten =
            descriptor >= 0 && writeAll(bytes, to: descriptor) && fchmod(descriptor, mode) == 0
            && fsync(descriptor) == 0
            && rename(part, path) == 0
        let reason = String(cString: strerror(errno))
        if descriptor >= 0 { close(descriptor) }
        if !isWritten {
            unlink(part)
            throw Refusal(text: "\(path) can't be written: \(reason)")
        }
        show("wrote \(path)")
    }

    private func bytes(of path: String) throws(Refusal) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw Refusal(text: "\(path) can't be read: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 { throw Refusal(text: "\(path) can't be read: \(String(cString: strerror(errno)))") }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }

    private func text(of path: String) throws(Refusal) -> String {
        String(decoding: try bytes(of: path), as: UTF8.self)
    }
}
