"""The Debian package and the service, in temporary machines: Debian's base system, without systemd, and really booted with it."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from clients import FRAME, programs
from servers import DEPLOY
from support import BINARY, PATIENCE, ROOT, Exporter, Metrics, ended_on_error, eventually, run

UNITS = ["netusage.service", "netusage.socket"]
LEDGER = "var/lib/netusage/ledger.db"
# Files that stay after the removal of any package, and files that change by themselves.
KEPT = re.compile(r"\./(etc/(passwd|group|g?shadow|subuid|subgid)-?|var/(lib/dpkg|cache|log|lib/apt)/.*|tmp/.*|dev/.*|run/.*|proc/.*|sys/.*)")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The package, and a package of the next version."""
    directory = tmp_path_factory.mktemp("packages")
    first = pathlib.Path(run(DEPLOY / "debian" / "build", BINARY, "0.1.0", directory, cwd=ROOT).strip())
    second = directory / first.name.replace("0.1.0", "0.2.0")
    run("dpkg-deb", "--raw-extract", first, directory / "tree")
    control = directory / "tree" / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("Version: 0.1.0\n", "Version: 0.2.0\n"))
    run("dpkg-deb", "--build", "-Znone", directory / "tree", second)
    return first, second


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Debian's smallest system, with the package's dependencies, but without systemd."""
    directory = tmp_path_factory.mktemp("base")
    suite = re.search(r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)[1]
    depends = "libbpf1,libisal2,libsqlite3-0,libyaml-0-2,systemd-standalone-sysusers,systemd-standalone-tmpfiles,tzdata"
    run("debootstrap", "--variant=minbase", f"--include={depends}", suite, directory)
    yield directory
    shutil.rmtree(directory)


@contextlib.contextmanager
def layer(below, directory):
    """A root directory as a layer over another one. Changes go to the layer; the other one stays as it is."""
    top, work, root = (directory / name for name in ("top", "work", "root"))
    for each in (top, work, root):
        each.mkdir(parents=True)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, directory)
        for kind, options, place in (
                ("overlay", f"lowerdir={below},upperdir={top},workdir={work}", root), ("proc", "defaults", root / "proc")):
            run("mount", "-t", kind, kind, "-o", options, place)
            undo.callback(subprocess.run, ["umount", "--quiet", str(place)])  # A booted root has another /proc.
        yield root


@pytest.fixture
def root(base, packages, tmp_path):
    with layer(base, tmp_path / "plain") as root:
        for package in packages:
            shutil.copy(package, root / "tmp")
        yield root


def files(root):
    """Every file with its mode and owner, without the files that change by themselves."""
    shown = run("find", ".", "-xdev", "-printf", r"%p %m %u %g\n", cwd=root).splitlines()
    return {line for line in shown if not KEPT.match(line)}


def lifetime(metrics):
    return metrics.pair("lifetime", "wan0")


def test_lintian_finds_nothing(packages):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", str(packages[0])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_and_the_configuration_have_a_man_page(packages):
    commands = json.loads(run(BINARY, "--experimental-dump-help"))["command"]["subcommands"]
    names = {each["commandName"] for each in commands} - {"help"}
    assert len(names) > 10
    found = re.findall(r" \./usr/share/man/(\S+)\.gz\b", run("dpkg-deb", "--contents", packages[0]))
    assert sorted(found) == sorted(["man1/netusage.1", "man5/netusage.yaml.5", *(f"man1/netusage-{name}.1" for name in names)])


def test_without_systemd_it_installs_is_upgraded_with_its_ledger_and_purged(root, packages, cable, tmp_path):
    near, far = cable

    def inside(*command):
        return run("chroot", root, *command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})

    def daemon():
        """Starts netusage as a simple init script would."""
        return Exporter(near, tmp_path, ledger=f"/{LEDGER}", binary="/usr/bin/netusage",
                        prefix=["chroot", "--userspec=netusage:netusage", str(root)])

    before = files(root)
    inside("dpkg", "--install", f"/tmp/{packages[0].name}")
    assert inside("stat", "-c", "%a %U %G", "/var/lib/netusage") == "750 netusage netusage\n"
    assert inside("netusage", "config", "check") == "/etc/netusage/netusage.yaml: good\n"
    # Somebody may have tried netusage as root before: then the ledger belongs to root.
    inside("sh", "-c", "rm -r /var/lib/netusage; mkdir /var/lib/netusage; touch /var/lib/netusage/ledger.db")
    inside("dpkg-reconfigure", "netusage")
    assert inside("stat", "-c", "%U", "/var/lib/netusage/ledger.db") == "netusage\n"
    first = daemon()
    sent = near.send("10.0.0.2")
    first.stop()
    with open(root / "etc/netusage/netusage.yaml", "a") as configuration:
        configuration.write("week_starts: sunday\n")
    inside("dpkg", "--install", f"/tmp/{packages[1].name}")
    assert (root / "etc/netusage/netusage.yaml").read_text().endswith("week_starts: sunday\n")
    sent += near.send("10.0.0.2")
    second = daemon()
    assert lifetime(second.metrics()) == (0, sent)
    second.stop()
    inside("dpkg", "--remove", "netusage")
    assert (root / LEDGER).exists()
    inside("dpkg", "--purge", "netusage")
    assert files(root) == before


class Booted:
    """A root directory with a running systemd, in the network of a namespace."""

    def __init__(self, root, namespace, log):
        self.namespace = namespace
        run("umount", root / "proc")  # Otherwise that would be the root's, and of this machine.
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", f"--directory={root}", "--register=no", "--keep-unit", "--console=pipe",
                 f"--network-namespace-path={namespace.path}", "--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN",
                 "--system-call-filter=bpf"], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        with ended_on_error(self.process):
            self.leader = eventually(self._leader, 20)
        try:
            eventually(lambda: self.try_("systemctl", "is-system-running").stdout.strip() == "running", 60)
        except BaseException:
            self.close()
            raise

    def _leader(self):
        """The process id of the root's systemd. For a moment there is another child, which sets it up."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        return None

    def try_(self, *command):
        return subprocess.run(["nsenter", f"--target={self.leader}", "--all", "--", *command], capture_output=True, text=True,
                              env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})

    def run(self, *command):
        done = self.try_(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def metrics(self):
        answer = self.namespace.get(10073, "/metrics")
        assert answer.status == 200
        return Metrics(answer.body.decode())

    def service(self, what):
        return self.run("systemctl", "show", f"--property={what}", "--value", "netusage.service").strip()

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(60 * PATIENCE)
        except subprocess.TimeoutExpired:
            os.kill(int(self.leader), signal.SIGKILL)  # Some service doesn't end.
            self.process.wait(60 * PATIENCE)


@pytest.fixture
def booted(root, cable, tmp_path):
    run("chroot", root, "apt-get", "install", "--yes", "--no-install-recommends", "systemd", env={
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})
    # The boot mounts another file system at /tmp.
    for package in (root / "tmp").glob("*.deb"):
        package.rename(root / "root" / package.name)
    shutil.copy(BINARY, root / "root" / "netusage")
    machine = Booted(root, cable[0], tmp_path / "boot.log")
    yield machine
    machine.close()


def test_with_systemd_it_starts_is_upgraded_with_its_ledger_and_purged(booted, packages, cable):
    near, far = cable
    booted.run("dpkg", "--install", f"/root/{packages[0].name}")
    assert booted.service("ActiveState") == "active" and booted.service("User") == "netusage"
    assert booted.run("systemd-analyze", "verify", *UNITS) == ""
    sent = near.send("10.0.0.2")
    assert lifetime(booted.metrics()) == (0, sent)
    # Members of the group may read and use the daemon's socket.
    booted.run("useradd", "--groups", "netusage", "anna")
    shown = booted.run("runuser", "--user", "anna", "--", "netusage", "quota", "--json", f"--storage.path=/{LEDGER}")
    assert json.loads(shown)["quotas"] == []
    shown = booted.run("runuser", "--user", "anna", "--", "netusage", "today", "--json", f"--storage.path=/{LEDGER}")
    assert {each["name"]: each["transmitted_bytes"] for each in json.loads(shown)["accounts"]}["wan0"] == sent
    first = booted.service("MainPID")
    booted.run("dpkg", "--install", f"/root/{packages[1].name}")
    assert booted.service("ActiveState") == "active" and booted.service("MainPID") != first
    sent += near.send("10.0.0.2")
    assert lifetime(booted.metrics()) == (0, sent)
    # The order of the units has no cycle, also if the network starts before the rest of the system.
    booted.run("sh", "-c", """cat > /etc/systemd/system/early-network.service <<END
[Unit]
DefaultDependencies=no
Before=sysinit.target network.target
After=network-pre.target local-fs.target
[Service]
ExecStart=/bin/true
[Install]
WantedBy=sysinit.target
END
systemctl enable early-network.service""")
    assert "cycle" not in booted.try_("systemd-analyze", "verify", "multi-user.target").stderr
    # A reload takes effect.
    booted.run("sh", "-c", "echo 'quotas: [{ name: home, limit: 1 GB }]' >> /etc/netusage/netusage.yaml")
    booted.run("systemctl", "reload", "netusage")
    eventually(lambda: "netusage_quota_limit_bytes{quota=\"home\"}" in booted.metrics())
    booted.run("systemctl", "stop", "netusage.service")
    booted.run("systemctl", "enable", "--now", "netusage.socket")
    sent += near.send("10.0.0.2")
    assert lifetime(booted.metrics()) == (0, sent), "the socket starts the service"
    booted.run("dpkg", "--install", f"/root/{packages[0].name}")
    assert booted.run("systemctl", "is-active", "netusage.socket") == "active\n", "also after another version is installed"
    assert lifetime(booted.metrics()) == (0, sent)
    booted.run("dpkg", "--remove", "netusage")
    booted.run("test", "-s", f"/{LEDGER}")
    booted.run("dpkg", "--purge", "netusage")
    left = booted.run("find", "/", "-xdev", "-name", "*netusage*", "-not", "-path", "/proc/*", "-not", "-path", "/root/*",
                      "-not", "-path", "/run/*", "-not", "-path", "/var/log/*")
    assert left == ""
    assert booted.run("systemctl", "list-units", "--all", "--no-legend", "netusage*") == ""
    assert booted.run("systemctl", "--failed", "--no-legend") == ""


def test_the_service_command_installs_and_takes_away_what_it_installed(booted, cable):
    near, _ = cable
    done = booted.try_("/root/netusage", "service", "status")
    assert done.returncode == 4 and "could not be found" in done.stderr
    shown = booted.run("/root/netusage", "service", "install")
    assert "wrote /usr/local/bin/netusage" in shown and "http://127.0.0.1:10073/" in shown
    assert booted.service("ActiveState") == "active" and booted.service("User") == "netusage"
    assert booted.run("systemctl", "is-enabled", "netusage") == "enabled\n"
    sent = near.send("10.0.0.2")
    assert lifetime(booted.metrics()) == (0, sent)
    assert "active (running)" in booted.run("netusage", "service", "status")
    booted.run("netusage", "service", "stop")
    assert booted.try_("netusage", "service", "status").returncode == 3
    booted.run("netusage", "service", "start")
    # A second install is an upgrade. It keeps the configuration.
    booted.run("sh", "-c", "echo 'week_starts: sunday' >> /etc/netusage/netusage.yaml")
    booted.run("/root/netusage", "service", "install")
    assert "sunday" in booted.run("cat", "/etc/netusage/netusage.yaml")
    booted.run("useradd", "--create-home", "--uid", "4711", "anna")
    refused = booted.try_("runuser", "--user", "anna", "--", "netusage", "service", "install")
    assert refused.returncode == 1 and "needs root" in refused.stderr
    refused = booted.try_("runuser", "--user", "anna", "--", "netusage", "service", "install", "--user")
    assert refused.returncode == 1 and "no systemd" in refused.stderr
    assert "The ledger stays" in booted.run("netusage", "service", "uninstall")
    assert booted.try_("test", "-e", "/usr/local/bin/netusage").returncode == 1
    booted.run("/root/netusage", "service", "install")
    assert lifetime(booted.metrics()) == (0, sent)
    booted.run("/root/netusage", "service", "uninstall", "--purge")
    left = booted.run("find", "/", "-xdev", "-name", "*netusage*", "-not", "-path", "/proc/*", "-not", "-path", "/root/*",
                      "-not", "-path", "/run/*", "-not", "-path", "/var/log/*")
    assert left == ""
    # A service of a user. Start the user's systemd by hand: a login manager needs more than this machine has.
    booted.run("install", "--directory", "--owner=anna", "--mode=700", "/run/user/4711")
    booted.run("systemd-run", "--quiet", "--unit=users", "--uid=4711", "--property=Delegate=yes",
               "--setenv=XDG_RUNTIME_DIR=/run/user/4711", "/lib/systemd/systemd", "--user")
    eventually(lambda: booted.try_("test", "-S", "/run/user/4711/systemd/private").returncode == 0)

    def anna(*command):
        return booted.run("runuser", "--user", "anna", "--", "env", "HOME=/home/anna", "XDG_RUNTIME_DIR=/run/user/4711", *command)
    booted.run("install", "-m", "755", "/root/netusage", "/home/anna/netusage")
    anna("/home/anna/netusage", "service", "install", "--user")
    sent = near.send("10.0.0.2")
    assert lifetime(booted.metrics()) == (0, sent)
    anna("/home/anna/.local/bin/netusage", "service", "stop", "--user")
    anna("/home/anna/.local/bin/netusage", "service", "start", "--user")
    eventually(lambda: lifetime(booted.metrics()) == (0, sent))
    assert "The ledger stays: /home/anna/.local/state/netusage/ledger.db" in anna("/home/anna/netusage", "service", "uninstall", "--user")
    anna("/home/anna/netusage", "service", "install", "--user")
    anna("/home/anna/netusage", "service", "uninstall", "--user", "--purge")
    assert booted.run("find", "/home/anna", "-name", "*netusage*", "-not", "-path", "/home/anna/netusage") == ""


def test_a_service_without_any_privilege_meters_applications(booted, packages, cable):
    near, far = cable
    far.ip("address", "add", "203.0.113.5/32", "dev", "far0")
    booted.run("dpkg", "--install", f"/root/{packages[0].name}")
    assert booted.metrics()["netusage_applications_attached"] == 0
    assert "sudo netusage service install --applications" in " ".join(booted.try_("netusage", "doctor").stdout.split())
    booted.run("netusage", "service", "install", "--applications")
    sent = 0

    def attached():
        with contextlib.suppress(OSError):
            return booted.metrics()["netusage_applications_attached"] == 1
        return False

    booted.run("sh", "-c", """cat > /etc/systemd/system/backup.service <<'END'
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'for number in {1..100}; do printf %%01000d 0 > /dev/udp/203.0.113.5/9; done'
END
systemctl daemon-reload""")

    def send():
        """A hundred datagrams of a service that has ended afterwards."""
        booted.run("systemctl", "start", "backup.service")
        return 100 * (1000 + FRAME)

    def counted():
        series = 'netusage_application_day_transmit_bytes{application="backup.service",scope="internet"}'
        with contextlib.suppress(OSError):
            return booted.metrics().get(series)
        return None

    eventually(attached)
    status = booted.run("cat", f"/proc/{booted.service('MainPID')}/status")
    assert set(re.findall(r"^Cap\w+:\s+(\w+)$", status, re.MULTILINE)) == {"0" * 16}
    shown = booted.run("systemd-analyze", "security", "--no-pager", "netusage.service")
    assert float(re.search(r"exposure level for netusage.service: ([0-9.]+)", shown)[1]) <= 1.3
    sent += send()
    eventually(lambda: counted() == sent)
    # Killed, restarted, upgraded: what passes meanwhile is counted, too.
    for interruption in (("systemctl", "kill", "--signal=KILL", "netusage.service"), ("systemctl", "restart", "netusage.service"),
                         ("dpkg", "--install", f"/root/{packages[1].name}")):
        first = booted.service("MainPID")
        booted.run(*interruption)
        sent += send()
        eventually(lambda: attached() and booted.service("MainPID") not in ("0", first), 30)
        eventually(lambda: counted() == sent)
    assert near.kernel("wan0")[1] == sent
    booted.run("systemctl", "stop", "netusage.service")
    eventually(lambda: not programs())
    booted.run("systemctl", "start", "netusage.service")
    eventually(attached)
    booted.run("dpkg", "--purge", "netusage")
    eventually(lambda: not programs())


def test_the_service_command_leaves_the_packages_service_alone(booted, packages):
    booted.run("dpkg", "--install", f"/root/{packages[0].name}")
    refused = booted.try_("netusage", "service", "install")
    assert refused.returncode == 1 and "from the package" in refused.stderr
    assert booted.service("ActiveState") == "active"


def test_the_service_command_needs_systemd(root):
    shutil.copy(BINARY, root / "root" / "netusage")
    for verb in ("install", "uninstall", "start", "stop", "status"):
        for flags, remedy in (((), "this system doesn't run systemd"), (("--user",), "this user has no systemd")):
            done = subprocess.run(["chroot", root, "/root/netusage", "service", verb, *flags], capture_output=True, text=True)
            assert done.returncode == 1 and remedy in done.stderr and done.stdout == ""


def test_the_service_is_shut_in():
    run("systemd-analyze", "security", "--offline=true", "--threshold=15", DEPLOY / "systemd" / "netusage.service")


def test_the_example_configuration_is_good_with_and_without_its_comments(tmp_path):
    shipped = (DEPLOY / "netusage.yaml").read_text()
    (tmp_path / "all.yaml").write_text(re.sub(r"^#(?=[^ ]|  )", "", shipped, flags=re.MULTILINE))
    for path, settings in ((DEPLOY / "netusage.yaml", 0), (tmp_path / "all.yaml", 11)):
        run(BINARY, "config", "check", path)
        assert len(re.findall(r"^\w+:", path.read_text(), re.MULTILINE)) == settings


def test_shellcheck_finds_nothing_in_the_scripts():
    tracked = run("git", "ls-files", cwd=ROOT).split()
    scripts = [name for name in tracked if re.match(rb"#!.*\b(ba)?sh\b", (ROOT / name).read_bytes()[:40])]
    assert ".ci/run" in scripts and len(scripts) > 3
    run("shellcheck", *scripts, cwd=ROOT)
