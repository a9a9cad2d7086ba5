import Accounting
import Testing

@testable import Applications

@Suite("The names of applications")
struct ApplicationNamingTests {
    private static let id = "3f2a91c0b1d2e3f405162738495a6b7c8d9eafb0c1d2e3f405162738495a6b7c"
    private static let user = "/user.slice/user-1000.slice"
    private static let manager = "\(user)/user@1000.service"

    private let naming = ApplicationNaming(machine: "laptop", names: [])

    private static func name(
        _ path: String, _ process: String = "main", host: String = "laptop",
        names: [(pattern: DevicePattern, name: String)] = []
    ) -> String {
        ApplicationNaming(machine: "laptop", names: names).name(
            of: ApplicationCounterKey(
                cgroup: 7, process: ProcessName(bytes: Array(process.utf8)), scope: .internet),
            at: Place(host: host, path: path)
        ).text
    }

    @Test(arguments: [
        // Services of the system.
        ("/system.slice/nginx.service", "nginx", "nginx.service"),
        ("/system.slice/ssh.service", "sshd", "ssh.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "agetty", "getty.service"),
        ("/system.slice/system-openvpn.slice/openvpn@home.service", "openvpn", "openvpn.service"),
        ("/system.slice/ssh.socket", "(sd-listen)", "ssh.service"),
        ("/system.slice/cron.service", "curl", "cron.service"),
        ("/system.slice/apt-daily.service", "http", "apt-daily.service"),
        ("/system.slice/docker.service", "dockerd", "docker.service"),
        (#"/system.slice/my\x2dapp.service"#, "node", "my-app.service"),
        ("/system.slice/nginx.service/workers", "nginx", "nginx.service"),
        ("/workload.slice/web.slice/caddy.service", "caddy", "caddy.service"),
        ("/init.scope", "systemd", "systemd"),
        ("/system.slice/run-u12.service", "restic", "restic"),
        ("/system.slice/run-p321-i77.scope", "restic", "restic"),
        ("/system.slice/run-updates.service", "bash", "run-updates.service"),
        ("/system.slice/session-keeper.service", "bash", "session-keeper.service"),
        ("/system.slice/run-r0123456789abcdef.scope", "restic", "restic"),
        // Sessions and shells.
        ("\(user)/session-3.scope", "curl", "curl"), ("\(user)/session-3.scope", "git-remote-http", "git"),
        ("\(user)/session-c1.scope", "ssh", "ssh"),
        ("\(manager)/init.scope", "systemd", "systemd"),
        ("\(manager)/app.slice/vte-spawn-1a2b.scope", "rsync", "rsync"),
        ("\(manager)/app.slice/tmux-spawn-1a2b.scope", "wget", "wget"), ("\(manager)/run-u4.scope", "yt-dlp", "yt-dlp"),
        // GNOME.
        ("\(manager)/app.slice/app-gnome-firefox-2213.scope", "Socket Thread", "firefox"),
        // Names like those of desktops mean nothing among the system's units.
        ("/system.slice/app-backend.service", "node", "app-backend.service"),
        ("/app.slice/app-prod.slice/nginx.service", "nginx", "nginx.service"),
        ("\(manager)/app.slice/app-gnome-org.mozilla.firefox-2213.scope", "firefox", "firefox"),
        ("\(manager)/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope", "curl", "curl"),
        ("\(manager)/app.slice/app-org.gnome.Terminal.slice/gnome-terminal-server.service", "bash", "bash"),
        (#"\#(manager)/app.slice/app-gnome-google\x2dchrome-998.scope"#, "chrome", "google-chrome"),
        ("\(manager)/session.slice/org.gnome.Shell@wayland.service", "gnome-shell", "shell"),
        ("\(manager)/session.slice/dbus-:1.2-org.gnome.Nautilus@0.service", "nautilus", "nautilus"),
        ("\(manager)/app.slice/evolution-source-registry.service", "evolution-sour", "evolution-source-registry"),
        (
            "\(manager)/app.slice/app-dbus\\x2d:1.2\\x2dorg.gnome.gedit.slice/dbus-:1.2-org.gnome.gedit@0.service",
            "gedit", "gedit"
        ),
        // KDE.
        ("\(manager)/app.slice/app-org.kde.kmail@autostart.service", "kmail", "kmail"),
        ("\(manager)/app.slice/app-firefox@4f5e.service", "firefox", "firefox"),
        (#"\#(manager)/app.slice/app-KDE-org.kde.dolphin-77.scope"#, "dolphin", "dolphin"),
        ("\(manager)/app.slice/app-org.kde.konsole-12.scope", "curl", "curl"),
        // Flatpak and snap.
        ("\(manager)/app.slice/app-flatpak-org.mozilla.Thunderbird-4711.scope", "thunderbird", "thunderbird"),
        ("\(manager)/app.slice/app-flatpak-com.valvesoftware.Steam-9.scope", "steam", "steam"),
        ("\(manager)/app.slice/snap.spotify.spotify.6d7e.scope", "spotify", "spotify"),
        ("/system.slice/snap.nextcloud.apache.service", "httpd", "nextcloud"),
        // Services of a user.
        ("\(manager)/app.slice/syncthing.service", "syncthing", "syncthing"),
        ("\(manager)/app.slice/onedrive@work.service", "onedrive", "onedrive"),
        ("\(manager)/app.slice/app-org.gnome.Software.service", "gnome-software", "software"),
        // Machines.
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service", "nginx", "web"),
        ("/machine.slice/machine-build.scope", "make", "build"),
        ("/lxc.payload.db/system.slice/cron.service", "cron", "db"),
        // What has no cgroup of its own.
        ("/", "wget", "wget"), ("/", "", "(kernel)"),
    ])
    func areWhatAPersonWouldSay(path: String, process: String, name: String) {
        #expect(Self.name(path, process) == name)
    }

    @Test(arguments: [
        ("/system.slice/docker-\(id).scope", "3f2a91c0b1d2", "docker 3f2a91c0b1d2"),
        ("/system.slice/docker-\(id).scope", "web", "web"), ("/docker/\(id)", "mail", "mail"),
        ("/machine.slice/libpod-\(id).scope/container", "3f2a91c0b1d2", "podman 3f2a91c0b1d2"),
        ("\(manager)/user.slice/libpod-\(id).scope/container", "feeds", "feeds"),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-\(id).scope",
            "api-7d9f", "api-7d9f"
        ),
        ("/kubepods/besteffort/pod1/\(id)", "api-7d9f", "api-7d9f"),
        ("/kubepods.slice/crio-\(id).scope", "registry", "registry"),
        ("/system.slice/docker-\(id).scope/system.slice/nginx.service", "web", "web"),
    ])
    func ofContainersAreTheirHostNames(path: String, host: String, name: String) {
        #expect(Self.name(path, host: host) == name)
    }

    @Test func aContainerWithTheMachinesHostNameHasAnother() {
        #expect(Self.name("/system.slice/docker-\(Self.id).scope", host: "laptop") == "docker 3f2a91c0b1d2")
    }

    /// Letters that show nothing, or change how others look.
    @Test(arguments: [
        "nginx.servi\u{AD}ce", "a\u{200B}", "nginx.service\u{34F}", "\u{202E}cba", "esc\u{1B}[2J",
    ])
    func whatCantBeSeenIsShownByItsBytes(process: String) {
        #expect(Self.name("/user.slice/user-1000.slice/session-3.scope", process).hasPrefix("raw:"))
    }

    @Test func aKernelsSocketWithoutAPlaceIsTheKernels() {
        let key = ApplicationCounterKey(
            cgroup: 1, process: ProcessName(bytes: []), scope: .internet)
        #expect(naming.name(of: key, at: nil).text == "(kernel)")
    }

    @Test func namesAreEqualIfTheirBytesAre() {
        #expect(ApplicationName("e\u{301}") != ApplicationName("\u{E9}"))
        #expect(Set([ApplicationName("e\u{301}"), ApplicationName("\u{E9}"), ApplicationName("\u{E9}")]).count == 2)
    }

    @Test func theOwnersNamesComeFirst() throws {
        let names = [(pattern: try #require(DevicePattern("docker-3f2a*")), name: "web")]
        #expect(Self.name("/system.slice/docker-\(Self.id).scope", names: names) == "web")
        #expect(Self.name("/system.slice/nginx.service", names: names) == "nginx.service")
    }

    @Test(arguments: [
        ("\(user)/session-3.scope", "nginx.service", "laptop", "nginx"),
        ("\(user)/session-3.scope", "(kernel)", "laptop", "kernel)"),
        ("\(user)/session-3.scope", ".service", "laptop", "(unknown)"),
        ("\(user)/session-3.scope", "a.service", "laptop", "a"),
        ("\(user)/session-3.scope", "nginx.service ", "laptop", "nginx"),
        ("/system.slice/docker-\(id).scope", "sh", "a.service .service", "a"),
        ("\(user)/session-3.scope", " (kernel)", "laptop", "kernel)"),
        ("\(user)/session-3.scope", "   ", "laptop", "(unknown)"),
        ("\(user)/session-3.scope", "uplink", "laptop", "uplink (program)"),
        ("\(user)/session-3.scope", " unattributed", "laptop", "unattributed (program)"),
        ("/system.slice/docker-\(id).scope", "sh", "a.service.service", "a"),
        ("\(manager)/app.slice/nginx.service", "nginx", "laptop", "nginx"),
        ("/system.slice/docker-\(id).scope", "sh", "nginx.service", "nginx"),
        ("/system.slice/docker-\(id).scope", "sh", "((other)", "other)"),
        // A user may make cgroups below the own manager.
        ("\(manager)/a/system.slice/nginx.service", "evil", "laptop", "evil"),
        ("\(manager)/app.slice/machine-db.scope", "evil", "laptop", "evil"),
    ])
    func nobodyHidesUnderTheNameOfAnother(path: String, process: String, host: String, name: String) {
        #expect(Self.name(path, process, host: host) == name)
    }

    @Test func aPathThatIsTooDeepToSeeItsRootNamesNoService() {
        let place = Place(host: [], levels: Array(repeating: Array("x.service".utf8), count: 10))
        let key = ApplicationCounterKey(
            cgroup: 7, process: ProcessName(bytes: Array("sh".utf8)), scope: .internet)
        #expect(naming.name(of: key, at: place).text == "sh")
    }

    @Test func whatIsntTextIsShownByItsBytes() {
        let key = ApplicationCounterKey(
            cgroup: 7, process: ProcessName(bytes: [0x61, 0xFF, 0x0A]), scope: .internet)
        #expect(naming.name(of: key, at: Place(host: "laptop", path: "/")).text == #"raw:a\xff\x0a"#)
        #expect(naming.name(of: key, at: nil).text == #"raw:a\xff\x0a"#)
    }

    @Test func whatHasNoRoomIsOther() {
        let key = ApplicationCounterKey(
            cgroup: 0, process: ProcessName(bytes: []), scope: .internet)
        #expect(naming.name(of: key, at: nil).text == "(other)")
    }
}

@Suite("The root of the cgroups")
struct CgroupRootTests {
    @Test func isFoundAmongTheMounts() {
        let text = """
            22 1 0:21 / /sys rw,nosuid - sysfs sysfs rw
            30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
            31 22 0:27 /a/b /srv/part rw - cgroup2 cgroup2 rw
            32 22 0:28 / /mnt/my\\040cgroups rw master:1 propagate_from:2 - cgroup2 none rw
            33 22 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
            broken
            """
        #expect(CgroupRoot.mountPoints(inMountInfo: Array(text.utf8)) == ["/sys/fs/cgroup", "/mnt/my cgroups"])
    }
}
