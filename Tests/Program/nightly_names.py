"""The names of applications: programs of Debian, started as people start them, in a really booted system. `make nightly` runs it."""

import contextlib
import json
import shutil
import socket
import threading

import pytest

from clients import bytes_of
from support import BINARY, eventually, run
from test_package import Booted, base, layer, packages, root  # noqa: F401

# Debian's packages that have a service: what systemd calls it, and the port that it listens at.
SERVICES = [
    ("nginx-light", "nginx.service", 80), ("openssh-server", "ssh.service", 22), ("memcached", "memcached.service", 11211),
    ("redis-server", "redis-server.service", 6379), ("mosquitto", "mosquitto.service", 1883), ("rsync", "rsync.service", 873),
    ("tinyproxy", "tinyproxy.service", 8888), ("ngircd", "ngircd.service", 6667), ("vsftpd", "vsftpd.service", 21),
    ("dnsmasq", "dnsmasq.service", 53), ("lighttpd", "lighttpd.service", 81),
]

# Clients that talk to a server of web pages at WEB, or to any server, and what a person calls them.
CLIENTS = [
    ("curl", "curl -s http://WEB/", "curl"),
    ("wget", "wget -qO- -t1 http://WEB/", "wget"),
    ("netcat-openbsd", "nc -w1 -N HOST 8000", "nc"),
    ("socat", "socat -T1 - TCP:HOST:8000", "socat"),
    ("lynx", "lynx -dump http://WEB/", "lynx"),
    ("w3m", "w3m -dump http://WEB/", "w3m"),
    ("links", "links -dump http://WEB/", "links"),
    ("aria2", "aria2c -q -d /tmp http://WEB/", "aria2c"),
    ("axel", "axel -q -o /tmp/axel http://WEB/", "axel"),
    ("lftp", "lftp -c 'set net:max-retries 1; set net:timeout 1; open http://WEB/; cat index.html'", "lftp"),
    ("git", "git ls-remote http://WEB/x.git", "git"),
    ("openssh-client", "ssh -p 8000 -o ConnectTimeout=1 HOST true", "ssh"),
    ("rsync", "rsync --timeout=1 --contimeout=1 --port=8000 HOST::x /tmp/", "rsync"),
    ("inetutils-telnet", "sleep 1 | telnet HOST 8000", "telnet"),
    ("inetutils-ftp", "echo open HOST 8000 | ftp -n", "ftp"),
    ("iputils-ping", "ping -c1 -W1 HOST", "ping"),
    ("fping", "fping -c1 HOST", "fping"),
    ("traceroute", "traceroute -n -m1 -q1 -w1 HOST", "traceroute"),
    ("bind9-dnsutils", "dig +time=1 +tries=1 @HOST x.example", "dig"),
    ("bind9-host", "host -W1 x.example HOST", "host"),
    ("whois", "timeout 1 whois -h HOST -p 8000 x", "whois"),
    ("redis-tools", "timeout 1 redis-cli -h HOST -p 8000 ping", "redis-cli"),
    ("mosquitto-clients", "timeout 1 mosquitto_pub -h HOST -p 8000 -t x -m x", "mosquitto_pub"),
    ("apache2-utils", "ab -n1 -s1 http://WEB/", "ab"),
    ("httping", "timeout 2 httping -c1 -g http://WEB/", "httping"),
    ("python3-minimal", "python3 -c \"import socket; socket.create_connection(('HOST', 8000))\"", "python3"),
    ("perl-base", "perl -MIO::Socket::INET -e 'IO::Socket::INET->new(q(HOST:8000))'", "perl"),
    ("bash", "bash -c 'echo x > /dev/tcp/HOST/8000'", "bash"),
]

# How programs come to run, and what a person calls them then: a service, a timer, sockets, a job of cron, a user's own service and
# programs of a desktop. `curl` is the program each time.
UNITS = {
    "backup.service": "[Service]\nType=oneshot\nExecStart=/usr/bin/curl -s http://WEB/\n",
    "night.service": "[Service]\nType=oneshot\nExecStart=/usr/bin/curl -s http://WEB/\n",
    "night.timer": "[Timer]\nOnActiveSec=0\nAccuracySec=1ms\n",
    "sync@.service": "[Service]\nType=oneshot\nExecStart=/usr/bin/curl -s http://WEB/%i\n",
    "echo.socket": "[Socket]\nListenStream=7001\nAccept=yes\n",
    "echo@.service": "[Service]\nExecStart=/bin/cat\nStandardInput=socket\nStandardOutput=socket\n",
    "late.socket": "[Socket]\nListenStream=7002\n",
    "late.service": "[Service]\nExecStart=/usr/bin/socat ACCEPT-FD:3 -\n",
}
MANAGER = "/user.slice/user-4711.slice/user@4711.service"
PLACES = [
    ("/user.slice/user-4711.slice/session-3.scope", "restic", "restic"),
    (f"{MANAGER}/app.slice/app-gnome-org.mozilla.firefox-77.scope", "Socket Process", "firefox"),
    (f"{MANAGER}/app.slice/app-flatpak-org.telegram.desktop-78.scope", "telegram", "telegram"),
    (f"{MANAGER}/app.slice/app-org.kde.konsole-79.scope", "yt-dlp", "yt-dlp"),
    (f"{MANAGER}/app.slice/snap.spotify.spotify.6d7e.scope", "spotify", "spotify"),
    (f"{MANAGER}/app.slice/syncthing.service", "syncthing", "syncthing"),
    (f"{MANAGER}/app.slice/tmux-spawn-1a2b.scope", "borg", "borg"),
    (f"{MANAGER}/app.slice/vte-spawn-1a2b.scope", "scp", "scp"),
    ("/system.slice/docker-" + "3f2a91c0b1d2" + "0" * 52 + ".scope", "postgres", "docker 3f2a91c0b1d2"),
]
HOST = "203.0.113.5"


@pytest.fixture
def machine(root, packages, cable, tmp_path):  # noqa: F811
    names = {"systemd", "cron", "tmux", *(each[0] for each in SERVICES + CLIENTS)}
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    run("chroot", root, "apt-get", "install", "--yes", "--no-install-recommends", *sorted(names), env=environment)
    (root / "etc/rsyncd.conf").write_text("")
    (root / "etc/redis/redis.conf").write_text("bind 0.0.0.0\nprotected-mode no\nsupervised systemd\n")
    (root / "etc/memcached.conf").write_text("-l 0.0.0.0\n-u memcache\n")
    (root / "etc/mosquitto/conf.d/all.conf").write_text("listener 1883\nallow_anonymous true\n")
    (root / "etc/lighttpd/lighttpd.conf").write_text('server.document-root = "/tmp"\nserver.port = 81\n')
    (root / "etc/tinyproxy/tinyproxy.conf").write_text("Port 8888\nUser tinyproxy\nGroup tinyproxy\n")
    for name, text in UNITS.items():
        (root / "etc/systemd/system" / name).write_text(text.replace("WEB", f"{HOST}:8000"))
    (root / "etc/cron.d/job").write_text(f"* * * * * root exec curl -s http://{HOST}:8000/\n")
    for package in (root / "tmp").glob("*.deb"):
        package.rename(root / "root" / package.name)
    shutil.copy(BINARY, root / "root" / "netusage")
    run("systemctl", f"--root={root}", "--quiet", "disable", *(unit for _, unit, _ in SERVICES))
    machine = Booted(root, cable[0], tmp_path / "boot.log")
    yield machine
    machine.close()


def web(namespace):
    """Answers whatever comes at port 8000 as a server of web pages would."""
    listener = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, 8000))
    listener.listen(64)

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(1)
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=[listener.accept()[0]], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def connects(namespace, port):
    with contextlib.closing(namespace.socket(socket.AF_INET, socket.SOCK_STREAM)) as client:
        return client.connect_ex(("10.0.0.1", port)) == 0


def test_fifty_programs_have_the_names_that_people_give_them(machine, cable):
    near, far = cable
    far.ip("address", "add", f"{HOST}/32", "dev", "far0")
    listener = web(far)
    machine.run("/root/netusage", "service", "install", "--applications")
    eventually(lambda: machine.metrics()["netusage_applications_attached"] == 1)
    wanted = set()
    for _, unit, port in SERVICES:
        machine.run("systemctl", "restart", unit)
        with contextlib.suppress(AssertionError):
            eventually(lambda: connects(far, port), 5)
        wanted.add(unit)
    for _, command, name in CLIENTS:
        text = command.replace("WEB", f"{HOST}:8000").replace("HOST", HOST)
        machine.try_("sh", "-c", "mkdir -p /sys/fs/cgroup/user.slice/user-4711.slice/session-3.scope; "
                     f"echo $$ > /sys/fs/cgroup/user.slice/user-4711.slice/session-3.scope/cgroup.procs; timeout 5 {text}")
        wanted.add(name)
    machine.run("systemctl", "start", "backup.service", "night.timer", "sync@home.service", "echo.socket", "late.socket")
    for port in (7001, 7002):
        with contextlib.closing(far.socket(socket.AF_INET, socket.SOCK_STREAM)) as client:
            client.connect(("10.0.0.1", port))
            client.sendall(b"hello\n")
    wanted |= {"backup.service", "night.service", "sync.service", "echo.service", "late.service", "cron.service"}
    for path, comm, name in PLACES:
        machine.run("sh", "-c", f"mkdir -p /sys/fs/cgroup{path}; echo $$ > /sys/fs/cgroup{path}/cgroup.procs; "
                    f"cp /usr/bin/curl '/tmp/{comm}'; exec '/tmp/{comm}' -s http://{HOST}:8000/")
        wanted.add(name)
    assert len(wanted) >= 50

    def missing():
        report = json.loads(machine.run("netusage", "apps", "--json"))
        return {name for name in wanted if not bytes_of(report, name, "lan") and not bytes_of(report, name)}

    try:
        eventually(lambda: not missing(), 75)
    finally:
        print("missing:", missing())
        print(sorted({each["name"] for each in json.loads(machine.run("netusage", "apps", "--json"))["accounts"]} - wanted))
        listener.close()
