import Accounting

/// What a person calls an application: a service, a desktop program, a container, otherwise the program itself.
///
/// Only services of the system have names that end in `.service`, and only netusage's own begin with a parenthesis, so
/// no user's program can pass as one of these.
package struct ApplicationNaming: Sendable {
    /// What the kernel itself sends and receives.
    static let kernel = "(kernel)"
    static let unknown = "(unknown)"

    /// Longer names are cut.
    static let maximumBytes = 64
    /// The number of the root of the cgroups (`kernfs_create_root` of fs/kernfs/dir.c).
    private static let rootCgroup: UInt64 = 1

    /// The machine's own node name: a container with this host name has the machine's.
    let machine: [UInt8]
    /// The owner's own names, by a pattern of the cgroup's name.
    let names: [(pattern: DevicePattern, name: String)]

    package init(machine: String, names: [(pattern: DevicePattern, name: String)]) {
        self.machine = Array(machine.utf8)
        self.names = names
    }

    /// - Parameter place: `nil` if nobody knows it.
    package func name(of key: ApplicationCounterKey, at place: Place?) -> ApplicationName {
        if key.cgroup == 0 { return .other }
        return ApplicationName(text(of: key, at: place))
    }

    private func text(of key: ApplicationCounterKey, at place: Place?) -> String {
        let process = Self.byProcess(key.process)
        guard let place else { return process ?? (key.cgroup == Self.rootCgroup ? Self.kernel : Self.unknown) }
        if let leaf = place.levels.first, let own = names.first(where: { $0.pattern.matches(bytes: leaf) }) {
            return own.name
        }
        let path = place.levels.reversed().drop { $0.isEmpty }.map { Self.unescaped($0) }
        let isWhole = place.levels.last?.isEmpty == true
        let host = place.host == machine ? [] : place.host
        return Self.container(path, host: host) ?? (isWhole ? Self.unit(path[...], isUsers: false) : nil)
            ?? process ?? path.last.map { Self.text($0) } ?? Self.kernel
    }

    /// Programs that people know by the name of the one that starts them.
    private static let helpers: [(prefix: String, name: String)] = [("git-remote-", "git")]

    private static func byProcess(_ process: ProcessName) -> String? {
        let bytes = process.bytes
        if let owner = helpers.first(where: { bytes.starts(with: $0.prefix.utf8) }) { return owner.name }
        return bytes.isEmpty ? nil : text(bytes)
    }

    // MARK: - Containers

    /// The outermost container: what is in it names itself.
    private static func container(_ path: [[UInt8]], host: [UInt8]) -> String? {
        for (depth, level) in path.enumerated() {
            let name = String(decoding: level, as: UTF8.self)
            if let (engine, id) = engineAndID(name, under: path[..<depth]) {
                // Engines name the host after the id, if nobody names it.
                if !host.isEmpty, !id.utf8.starts(with: host) { return text(host) }
                return "\(engine) \(id.prefix(12))"
            }
            // A user's own manager makes scopes of any name.
            if String(decoding: path[0], as: UTF8.self) == "user.slice" { continue }
            let machine =
                between("systemd-nspawn@", ".service", name) ?? between("machine-", ".scope", name)
                ?? between("lxc.payload.", "", name)
            if let machine, !machine.isEmpty { return text(Array(machine.utf8)) }
        }
        return nil
    }

    private static let engines: [(prefix: String, name: String)] = [
        ("docker-", "docker"), ("libpod-", "podman"), ("crio-", "crio"), ("cri-containerd-", "containerd"),
        ("nerdctl-", "nerdctl"),
    ]

    private static func engineAndID(
        _ level: String, under above: ArraySlice<[UInt8]>
    ) -> (engine: String, id: String)? {
        for engine in engines {
            guard let id = between(engine.prefix, ".scope", level) ?? between(engine.prefix, "", level), isID(id)
            else { continue }
            return (engine.name, id)
        }
        guard isID(level) else { return nil }
        if above.contains(where: { $0.elementsEqual("docker".utf8) }) { return ("docker", level) }
        if above.contains(where: { $0.starts(with: "kubepods".utf8) }) { return ("kubernetes", level) }
        return nil
    }

    private static func isID(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy(isHexadecimal)
    }

    // MARK: - Units

    /// Terminals run other programs: what they start is called by its own name.
    private static let terminals: Set<String> = [
        "alacritty", "console", "foot", "ghostty", "gnome-terminal", "gnome-terminal-server", "kitty", "konsole",
        "ptyxis",
        "terminal", "terminator", "tilix", "wezterm", "xfce4-terminal", "xterm",
    ]

    /// - Parameter isUsers: Whether a user's own manager runs the unit.
    /// - Returns: `nil` if the unit is a session: then the process has the name.
    private static func unit(_ path: ArraySlice<[UInt8]>, isUsers: Bool) -> String? {
        guard let first = path.first else { return nil }
        let level = String(decoding: first, as: UTF8.self)
        let rest = path.dropFirst()
        // Only desktops, which a user's manager runs, give units such names. A snap's services are named like its programs.
        if isUsers || level.hasPrefix("snap."), let application = desktopApplication(level) {
            return terminals.contains(application) ? nil : text(Array(application.utf8))
        }
        if level.hasSuffix(".slice") { return unit(rest, isUsers: isUsers) }
        if !isUsers, level.hasPrefix("user@"), level.hasSuffix(".service") { return unit(rest, isUsers: true) }
        if isSession(level) { return nil }
        let name = between("", ".service", level) ?? between("", ".socket", level)
        guard let name, !name.isEmpty else { return nil }
        // The instances of a template are one service.
        let template = name.split(separator: "@", maxSplits: 1).first.map(String.init) ?? name
        if !isUsers { return cut(rawText(Array(template.utf8)), suffix: ".service") + ".service" }
        let isOfBus = template.hasPrefix("dbus-") || template.utf8.filter { $0 == UInt8(ascii: ".") }.count >= 2
        return text(Array((isOfBus ? lastPart(template) : template).utf8))
    }

    /// Whether the unit is one of a login, a terminal's tab, or `systemd-run`: their names say nothing of what runs in them.
    private static func isSession(_ level: String) -> Bool {
        for prefix in ["session-", "vte-spawn-", "tmux-spawn-"] where between(prefix, ".scope", level) != nil {
            return true
        }
        return ["u", "r", "p"].contains { letter in
            let number = between("run-" + letter, ".scope", level) ?? between("run-" + letter, ".service", level)
            // `run-p123-i456` since systemd 254.
            let isNumber = number?.utf8.allSatisfy { isHexadecimal($0) || letter == "p" && ($0 == 0x2D || $0 == 0x69) }
            return isNumber == true && number?.isEmpty == false
        }
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }

    /// The names that desktops give to units; see <https://systemd.io/DESKTOP_ENVIRONMENTS/>.
    private static func desktopApplication(_ level: String) -> String? {
        if let rest = between("snap.", ".scope", level) ?? between("snap.", ".service", level) {
            return rest.split(separator: ".").first.map(String.init)
        }
        if let rest = between("app-", ".slice", level) { return rest.isEmpty ? nil : lastPart(rest) }
        if let rest = between("app-", ".scope", level) {
            // app-LAUNCHER-ID-NUMBER, or without a launcher.
            var parts = rest.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
            if parts.count > 1, let last = parts.last, last.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
                parts.removeLast()
            }
            return identifier(parts)
        }
        if let rest = between("app-", ".service", level) {
            let name = rest.split(separator: "@", maxSplits: 1).first.map(String.init) ?? rest
            return identifier(name.split(separator: "-", omittingEmptySubsequences: false).map(String.init))
        }
        return nil
    }

    private static let launchers: Set<String> = [
        "gnome", "KDE", "flatpak", "dbus", "glib", "sway", "niri", "Hyprland", "cosmic", "gtk",
    ]

    private static func identifier(_ parts: [String]) -> String? {
        var parts = parts[...]
        if parts.count > 1, let first = parts.first, launchers.contains(first) { parts = parts.dropFirst() }
        let id = parts.joined(separator: "-")
        return id.isEmpty ? nil : lastPart(id)
    }

    /// The last part of a reverse domain name, in lower case: `firefox` of `org.mozilla.Firefox`.
    private static func lastPart(_ id: String) -> String {
        let name = cut(id, suffix: ".desktop")
        return (name.split(separator: ".").last.map(String.init) ?? name).lowercased()
    }

    // MARK: - Text

    private static func between(_ prefix: String, _ suffix: String, _ text: String) -> String? {
        let bytes = text.utf8
        guard bytes.count >= prefix.utf8.count + suffix.utf8.count, bytes.starts(with: prefix.utf8),
            bytes.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
        else { return nil }
        return String(decoding: bytes.dropFirst(prefix.utf8.count).dropLast(suffix.utf8.count), as: UTF8.self)
    }

    private static func cut(_ text: String, suffix: String) -> String { between("", suffix, text) ?? text }

    /// A name that anybody may have chosen: it can't look like a system's service, or like one of netusage's own names or
    /// lines.
    private static func text(_ bytes: some Collection<UInt8>) -> String {
        let space = UInt8(ascii: " ")
        var bytes = Array(bytes.prefix(maximumBytes))
        var count: Int
        repeat {
            count = bytes.count
            while bytes.last == space { bytes.removeLast() }
            if bytes.suffix(8).elementsEqual(".service".utf8) { bytes.removeLast(8) }
            bytes = Array(bytes.drop { $0 == space || $0 == UInt8(ascii: "(") })
        } while bytes.count < count
        let text = bytes.isEmpty ? unknown : rawText(bytes)
        return ownLines.contains(text) ? "\(text) (program)" : text
    }

    /// What lines of a report are called that aren't of an application.
    private static let ownLines: Set<String> = ["unattributed", "uplink"]

    /// Bytes as text of one line; what isn't text, or can't be seen, is shown as `raw:` and its bytes.
    private static func rawText(_ bytes: [UInt8]) -> String {
        var bytes = bytes.prefix(maximumBytes)
        // The last character may be cut.
        if bytes.count == maximumBytes, String(validating: bytes, as: UTF8.self) == nil {
            for _ in 1...3 where String(validating: bytes, as: UTF8.self) == nil { bytes.removeLast() }
        }
        guard let text = String(validating: bytes, as: UTF8.self),
            !text.unicodeScalars.contains(where: { $0.isInvisible || $0.properties.isDefaultIgnorableCodePoint })
        else { return rawLabel(bytes) }
        return text
    }

    /// systemd writes bytes that names can't have as `\xNN`; see systemd.unit(5).
    private static func unescaped(_ level: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = level[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.first == UInt8(ascii: "x"), rest.count >= 3,
                let value = UInt8(String(decoding: rest.dropFirst().prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return bytes
    }
}
