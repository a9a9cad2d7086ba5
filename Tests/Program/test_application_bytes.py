"""Applications: exact to the byte, compared with a capture on the cable, whatever is killed or removed meanwhile."""

import array
import collections
import contextlib
import fcntl
import json
import os
import random
import socket
import struct
import subprocess
import textwrap
import threading
import time

import pytest

from clients import CGROUPS, FRAME, Peer, apps, attached, bytes_of, left_over, programs, settled
from support import BINARY, PATIENCE, eventually

SOL_PACKET, PACKET_STATISTICS, PACKET_OUTGOING = 263, 6, 4
SO_RCVBUFFORCE, UDP_SEGMENT = 33, 103


class Capture:
    """Sums the frames on a device by the port of the near side: {port: [received, transmitted]}."""

    def __init__(self, namespace, device):
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
        self.socket.bind((device, 3))  # ETH_P_ALL
        self.bytes = collections.defaultdict(lambda: [0, 0])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        buffer = bytearray(128)
        with contextlib.suppress(OSError):
            while True:
                length, address = self.socket.recvfrom_into(buffer, 128, socket.MSG_TRUNC)
                is_outgoing = address[2] == PACKET_OUTGOING
                kind = int.from_bytes(buffer[12:14])
                start = {0x0800: 14 + 4 * (buffer[14] & 15), 0x86DD: 54}.get(kind)
                if start:
                    place = start + (0 if is_outgoing else 2)
                    self.bytes[int.from_bytes(buffer[place:place + 2])][is_outgoing] += length

    def close(self):
        """No frame was missed."""
        time.sleep(0.2)
        _, dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.socket.close()
        assert dropped == 0


# A program of some milliseconds: `python3 -S -E -c PROGRAM name kind address port`. It ends after the other side.
PROGRAM = textwrap.dedent("""
    import socket, sys
    name, kind, address, port = sys.argv[1:]
    open("/proc/self/comm", "w").write(name)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    made.bind(("", int(port)))
    made.connect((address, 8000 if kind == "tcp" else 8001))
    if kind == "tcp":
        made.sendall(b"300000 100000\\n")
        left = 300_000
        while left: left -= len(made.recv(left))
        made.sendall(bytes(100_000))
        made.recv(1)
    elif kind == "udp":
        for _ in range(50): made.send(bytes(700))
        for _ in range(50): made.recv(2000)
    else:
        made.setsockopt(socket.SOL_UDP if hasattr(socket, "SOL_UDP") else 17, 103, 1200)
        for _ in range(int(kind)): made.send(bytes(42 * 1200 - 77))
""")


def echo(namespace, family, address):
    """Answers each datagram at port 8001."""
    made = namespace.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    made.bind((address, 8001))

    def run():
        with contextlib.suppress(OSError):
            while True:
                data, sender = made.recvfrom(65536)
                if len(data) == 700:
                    made.sendto(data, sender)

    threading.Thread(target=run, daemon=True).start()
    return made


def speak_six(near, far):
    """IPv6 on the cable, with fixed neighbours, to an address of the internet."""
    for namespace, device, host, other in ((near, "wan0", 1, 2), (far, "far0", 2, 1)):
        namespace.exec("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=0", f"net.ipv6.conf.{device}.accept_dad=0")
        namespace.ip("address", "add", f"2001:db8::{host}/64", "dev", device, "nodad")
        namespace.ip("neighbour", "replace", f"2001:db8::{other}", "lladdr", f"02:00:00:00:00:0{other}", "nud", "permanent",
                     "dev", device)
    far.ip("address", "add", "2001:db8:5::5/128", "dev", "far0", "nodad")
    near.ip("route", "add", "2001:db8:5::/64", "via", "2001:db8::2", "dev", "wan0")


@pytest.mark.parametrize("address", ["203.0.113.5", "2001:db8:5::5"])
def test_a_hundred_of_a_hundred_runs_are_exact_to_the_byte(world, cable, exporter, address):
    """Three programs at once, each of a few milliseconds; the other side of a connection closes first."""
    near, far = cable
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    others = []
    if family == socket.AF_INET6:
        speak_six(near, far)
        others.append(Peer(far, family))
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    others.append(echo(far, family, address))

    def start(name, kind, port):
        return subprocess.Popen(["nsenter", f"--net={near.path}", "python3", "-S", "-E", "-c", PROGRAM, name, kind, address, str(port)])

    def learnt():
        assert start("much", "1000", 19_999).wait(60 * PATIENCE) == 0
        return json.loads(netusage.get("/api/v1/status").body)["applications"].get("transmit_basis")

    # After a megabyte of headers that a merged packet has once, it is known how the device counts them.
    assert eventually(learnt, 20, every=1) == "wire"
    settled(netusage, "much")
    capture = Capture(near, "wan0")
    kinds = {"tcp": "tcp", "udp": "udp", "gso": "3"}
    for number in range(100):
        running = [start(f"{name}{number}", kind, 20_000 + 3 * number + place) for place, (name, kind) in enumerate(kinds.items())]
        assert [each.wait(60 * PATIENCE) for each in running] == [0, 0, 0]
    report = settled(netusage, "tcp99")
    capture.close()
    for each in others:
        each.close()
    wrong = {}
    for number in range(100):
        for place, kind in enumerate(kinds):
            found, captured = bytes_of(report, f"{kind}{number}"), tuple(capture.bytes[20_000 + 3 * number + place])
            assert captured[1] > 30_000
            if found != captured:
                wrong[f"{kind}{number}"] = (found, captured)
    assert not wrong


def test_what_comes_after_the_close_is_nobodys(world, cable, exporter):
    """Closed by us first: the other side's last packet, and our answer, belong to a connection that has no socket any more."""
    near, far = cable
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    listener = far.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("203.0.113.5", 8002))
    listener.listen()
    capture = Capture(near, "wan0")
    program = subprocess.Popen(
        ["nsenter", f"--net={near.path}", "python3", "-S", "-E", "-c",
         "import socket; open('/proc/self/comm', 'w').write('hasty'); made = socket.socket(); made.bind(('', 30_000));"
         "made.connect(('203.0.113.5', 8002)); made.sendall(bytes(1000)); made.close()"])
    connection, _ = listener.accept()
    assert program.wait(20 * PATIENCE) == 0 and len(connection.recv(2000)) == 1000
    time.sleep(0.06)
    connection.close()
    report = settled(netusage, "hasty")
    listener.close()
    capture.close()
    late = 14 + 20 + 32  # Ethernet, IPv4, TCP with timestamps.
    received, transmitted = capture.bytes[30_000]
    assert bytes_of(report, "hasty") == (received - late, transmitted - late)
    # Linux 6.13 and later give that answer to no program at all.
    assert bytes_of(report, "(kernel)") in (None, (0, late))


class Manager:
    """A service manager's store of descriptors, as systemd has it: it gets them once, and passes them to each start."""

    def __init__(self, directory, namespace):
        self.namespace = namespace
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.environment = {"NOTIFY_SOCKET": self.path}
        self.stored = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                text, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * 16))
                descriptors = array.array("i", b"".join(data for _, _, data in ancillary))
                lines = dict(line.split("=", 1) for line in text.decode().splitlines())
                if "FDSTORE" in lines:
                    self.stored += [(lines["FDNAME"], descriptor) for descriptor in descriptors]
                elif "BARRIER" in lines:
                    for descriptor in descriptors:
                        os.close(descriptor)
                elif "FDSTOREREMOVE" in lines:
                    self.forget(lines["FDNAME"])

    def forget(self, name):
        for each in [each for each in self.stored if each[0] == name]:
            self.stored.remove(each)
            os.close(each[1])

    def attach(self):
        subprocess.run(["nsenter", f"--net={self.namespace.path}", BINARY, "applications", "attach"], check=True, timeout=60 * PATIENCE,
                       env={**os.environ, **self.environment})

    def start(self, exporter, *flags):
        """A daemon that gets what is stored."""
        def place():
            first = 3 + max(descriptor for _, descriptor in self.stored) + len(self.stored)
            for number, (_, descriptor) in enumerate(self.stored):
                os.dup2(descriptor, first + number)
            for number in range(len(self.stored)):
                os.dup2(first + number, 3 + number)

        names = ":".join(name for name, _ in self.stored)
        return exporter(self.namespace, *flags, sees_cgroups=True, in_child=place, prefix=("sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"),
                        environment={**self.environment, "LISTEN_FDS": str(len(self.stored)), "LISTEN_FDNAMES": names})

    def close(self):
        for name, _ in list(self.stored):
            self.forget(name)
        self.socket.close()


@pytest.fixture
def manager(tmp_path, cable):
    made = Manager(tmp_path, cable[0])
    yield made
    made.close()
    eventually(lambda: not programs())


def transmitted(netusage, name="sender"):
    return netusage.metrics().get(f'netusage_application_day_transmit_bytes{{application="{name}",scope="internet"}}', 0)


@pytest.mark.parametrize("are_merged", [False, True])
def test_a_daemon_that_is_killed_twenty_times_loses_no_byte(cable, manager, exporter, puppet, are_merged):
    """The manager keeps the programs. Each byte is once in the ledger and in /metrics, on the basis of the uplink's counter."""
    near, far = cable
    far.ip("address", "add", "203.0.113.5/32", "dev", "far0")
    manager.attach()
    before = near.kernel("wan0")[1]
    sender = puppet(near, "sender")
    sender.do("import threading, time; made, ends = udp('203.0.113.5'), []")
    daemon = manager.start(exporter)  # A new ledger counts from its beginning.
    attached(daemon)
    if are_merged:
        # The device counts the headers of 42 packets once. How it counts is learnt from a megabyte of such headers.
        sender.do(f"made.setsockopt(socket.SOL_UDP, {UDP_SEGMENT}, 1200)")
        time.sleep(1.5)  # The uplink's programs are attached with the first reading.
        sender.do("for _ in range(1000): made.send(bytes(42 * 1200 - 77))")
        assert eventually(lambda: transmitted(daemon) == near.kernel("wan0")[1] - before)
    daemon.kill()
    size, pause = ("42 * 1200 - 77", 0.005) if are_merged else (1000, 0.0005)
    sender.do(f"exec('def go():\\n while not ends:\\n  made.send(bytes({size})); time.sleep({pause})')")
    sender.do("thread = threading.Thread(target=go); thread.start()")
    moments = random.Random(20261130)
    for _ in range(20):
        daemon = manager.start(exporter)
        attached(daemon)
        time.sleep(moments.uniform(0, 0.7))
        daemon.kill()
    sender.do("ends.append(1); thread.join()")
    sent = near.kernel("wan0")[1] - before
    assert sent > 20 * 1000 * FRAME
    daemon = manager.start(exporter)
    assert eventually(lambda: transmitted(daemon) == sent), (transmitted(daemon), sent)
    daemon.stop()
    assert bytes_of(apps(daemon), "sender") == (0, sent)


def test_a_start_announces_no_breach_by_what_a_quota_leaves_out(cable, manager, exporter, puppet, tmp_path):
    """The uplink's bytes since the last run are there at once, so the applications' have to be there as early."""
    near, far = cable
    far.ip("address", "add", "203.0.113.5/32", "dev", "far0")
    configuration = tmp_path / "netusage.yaml"
    configuration.write_text("quotas: [{ name: q, limit: 1 MB, except: { applications: [sender] } }]\n")
    manager.attach()
    sender = puppet(near, "sender")
    sender.do("import time; made = udp('203.0.113.5')")
    daemon = manager.start(exporter, f"--config.file={configuration}")
    attached(daemon)
    sender.do("made.send(bytes(1000))")
    assert eventually(lambda: transmitted(daemon) > 0)
    daemon.kill()
    sender.do("for _ in range(3000): made.send(bytes(1000)); time.sleep(0.0001)")
    daemon = manager.start(exporter, f"--config.file={configuration}")
    assert eventually(lambda: transmitted(daemon) > 3_000_000)
    daemon.stop()
    daemon = manager.start(exporter, f"--config.file={configuration}")
    metrics = daemon.metrics()
    assert metrics["netusage_uplink_day_transmit_bytes"] > 3_000_000 and metrics['netusage_quota_used_bytes{quota="q"}'] < 100_000
    assert metrics['netusage_quota_breaches_total{quota="q"}'] == 0


def test_after_an_upgrade_both_attachments_are_counted_once(world, manager, exporter, puppet):
    """Each start attaches programs anew, because it can't see what the manager has. One attachment stays, and no byte is lost."""
    near, _ = world
    before = near.kernel("wan0")[1]
    manager.attach()
    sender = puppet(near, "sender")
    sender.do("made = udp('203.0.113.5')")
    for _ in range(3):
        daemon = manager.start(exporter)
        attached(daemon)
        sender.do("for _ in range(50): made.send(bytes(1000))")
        daemon.stop()
        sender.do("for _ in range(50): made.send(bytes(1000))")
        manager.attach()
        sender.do("for _ in range(50): made.send(bytes(1000))")
    daemon = manager.start(exporter)
    assert eventually(lambda: transmitted(daemon) == near.kernel("wan0")[1] - before)
    eventually(lambda: len({name.split("-")[2] for name, _ in manager.stored}) == 1)
    daemon.stop()


def test_ten_thousand_processes_are_few_counters(world, exporter, puppet):
    near, _ = world
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    before = near.kernel("wan0")[1]
    many = puppet(near, "many")
    many.do("for _ in range(100): udp('203.0.113.5').send(bytes(100))")
    eventually(lambda: transmitted(netusage, "many") == 100 * (100 + FRAME))
    first = netusage.metrics()
    many.do("""exec("for _ in range(9_900):\\n if os.fork() == 0:\\n  udp('203.0.113.5').send(bytes(100)); os._exit(0)\\n os.wait()")""")
    eventually(lambda: transmitted(netusage, "many") == 10_000 * (100 + FRAME) == near.kernel("wan0")[1] - before)
    metrics = netusage.metrics()
    # Other programs of the machine may have come.
    assert metrics["netusage_application_keys"] <= first["netusage_application_keys"] + 10 <= 80
    assert metrics["netusage_application_overflows_total"] == 0
    assert metrics["process_resident_memory_bytes"] - first["process_resident_memory_bytes"] < 1_000_000


def test_a_program_is_named_though_its_cgroup_is_gone_and_whatever_its_threads_are_called(world, exporter):
    near, client = world
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    client("main", 1000, 1000, cgroup="netusage-test.slice/run-u17.service", thread="Socket Thread")
    client("curl", 1000, 1000, cgroup="netusage-test.slice/short.service")
    for name in ("run-u17", "short"):
        os.rmdir(f"{CGROUPS}/netusage-test.slice/{name}.service")
    report = settled(netusage, "short.service")
    assert bytes_of(report, "main")[0] > 1000
    assert not {account["name"] for account in report["accounts"]} & {"Socket Thread", "curl"}


def test_a_container_behind_a_bridge_has_its_bytes_once(world, namespaces, exporter, puppet):
    """The uplink forwards them: they are the container's, and the internet's, and nothing is left over."""
    near, _ = world
    inner = namespaces()
    near.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")
    near.bridge("docker0", 7)
    near.ip("link", "add", "veth0", "address", "02:00:00:00:07:01", "type", "veth", "peer", "name", "eth0", "address",
            "02:00:00:00:07:02", "netns", inner.name)
    near.ip("link", "set", "veth0", "master", "docker0", "arp", "off", "up")
    inner.ip("link", "set", "eth0", "arp", "off", "up")
    inner.ip("address", "add", "10.7.0.2/24", "dev", "eth0")
    hardware = near.exec("cat", "/sys/class/net/docker0/address").strip()
    inner.ip("neighbour", "replace", "10.7.0.1", "lladdr", hardware, "nud", "permanent", "dev", "eth0")
    near.ip("neighbour", "replace", "10.7.0.2", "lladdr", "02:00:00:00:07:02", "nud", "permanent", "dev", "docker0")
    inner.ip("route", "add", "default", "via", "10.7.0.1")
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    contained, own = puppet(inner, "contained"), puppet(near, "own")
    contained.do("made = udp('203.0.113.5')")
    contained.do("for _ in range(100): made.send(bytes(1000))")
    # Between the machine and its container, inside.
    contained.do("inside = udp('10.7.0.1')")
    contained.do("for _ in range(100): inside.send(bytes(1000))")
    contained.do("outside = udp('10.0.0.1')")  # The machine's own address on the uplink.
    contained.do("for _ in range(100): outside.send(bytes(1000))")
    own.do("made = udp('203.0.113.5')")
    own.do("for _ in range(100): made.send(bytes(1000))")
    report = settled(netusage, "own")
    for name in ("contained", "own"):
        assert bytes_of(report, name) == (0, 100 * (1000 + FRAME))
    assert bytes_of(report, "contained", "lan") is None
    assert left_over(report, "received_bytes") == left_over(report, "transmitted_bytes") == 0


TUNNEL = textwrap.dedent("""
    import fcntl, os, struct
    open("/proc/self/comm", "w").write("vpn")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
    outer = udp("203.0.113.5")
    print("ready", flush=True)
    while True: outer.send(os.read(device, 2000))
""")


def test_a_tunnels_bytes_count_once_for_the_internet(world, exporter, puppet):
    """What is inside is the program's, in the scope of tunnels; what carries it is the carrier's, in that of the internet."""
    near, _ = world
    udp = "import socket\ndef udp(address):\n made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n made.connect((address, 9))\n return made\n"
    carrier = subprocess.Popen(["nsenter", f"--net={near.path}", "python3", "-c", udp + TUNNEL], stdout=subprocess.PIPE, text=True)
    try:
        assert carrier.stdout.readline() == "ready\n"
        near.ip("address", "add", "10.9.0.1/24", "dev", "tun0")
        near.ip("link", "set", "tun0", "up")
        netusage = exporter(near, sees_cgroups=True)
        attached(netusage)
        web = puppet(near, "web")
        web.do("made = udp('10.9.0.2')")
        web.do("for _ in range(100): made.send(bytes(1000))")
        report = settled(netusage, "web", "tunnel")
        assert bytes_of(report, "web", "tunnel") == (0, 100 * (1000 + 28)) and bytes_of(report, "web") is None
        assert bytes_of(report, "vpn") == (0, 100 * (1000 + 28 + FRAME))
        assert left_over(report, "received_bytes") == left_over(report, "transmitted_bytes") == 0
    finally:
        carrier.kill()
        carrier.wait()


@pytest.mark.parametrize("missing", ["bpf", "net_admin", "perfmon"])
def test_a_missing_capability_is_named(manager, cable, missing):
    done = subprocess.run(
        ["setpriv", f"--bounding-set=-{missing}", "nsenter", f"--net={cable[0].path}", BINARY, "applications", "attach"],
        capture_output=True, text=True, check=False, env={**os.environ, **manager.environment}, timeout=60 * PATIENCE)
    assert done.returncode == 1 and f"CAP_{missing.upper()}" in done.stderr and not manager.stored
