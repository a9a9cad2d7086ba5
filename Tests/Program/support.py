"""Shared by all tests of the real program: network namespaces, traffic of known size, the running exporter."""

import contextlib
import ctypes
import http.client
import itertools
import json
import mmap
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("NETUSAGE_BINARY", ROOT / ".build/release/netusage"))
# Sanitizer builds are several times slower.
PATIENCE = float(os.environ.get("NETUSAGE_PATIENCE", "1"))

# Ethernet, IPv4 and UDP headers, as a device counts them (linux/if_ether.h, RFC 791, RFC 768).
UDP_OVERHEAD = 14 + 20 + 8

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def run(*command, **options):
    """Runs a command and returns its output. If the command fails, the assertion shows its output and its errors."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


def eventually(condition, seconds=10.0, every=0.02):
    """Calls `condition` again and again, and returns its first true value. Fails after some seconds."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not so after {seconds * PATIENCE} s: {condition}"
        time.sleep(every)


@contextlib.contextmanager
def ended_on_error(process):
    """Kills the process if the body fails: no fixture knows the process yet."""
    try:
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise


class Namespace:
    """A new network namespace. Loopback is up. IPv6 is off, so that it sends nothing by itself."""

    def __init__(self):
        self.name = f"netusage-{os.getpid()}-{next(_numbers)}"
        run("ip", "netns", "add", self.name)
        self.path = f"/run/netns/{self.name}"
        self.exec("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        self.ip("link", "set", "lo", "up")
        # Receives what the tests send. A closed port would answer with ICMP messages, and those count, too.
        self.sink = self.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind(("", 9))

    def ip(self, *arguments):
        return run("ip", "-n", self.name, *arguments)

    def exec(self, *command):
        return run("ip", "netns", "exec", self.name, *command)

    @contextlib.contextmanager
    def entered(self):
        """In the body, new sockets of this thread belong to the namespace."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(self.path, os.O_RDONLY)
        try:
            assert _libc.setns(inside, 0x40000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWNET
            yield
        finally:
            assert _libc.setns(outside, 0x40000000) == 0
            os.close(inside)
            os.close(outside)

    def socket(self, *arguments):
        with self.entered():
            return socket.socket(*arguments)

    def get(self, port, path, method="GET", headers=None, timeout=10):
        """The answer of a server at the namespace's loopback address. `.body` has the whole body."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout * PATIENCE)
        with self.entered():
            connection.connect()
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            answer.body = answer.read()
            return answer

    def veth(self, name, peer, peer_name, number=0):
        """Makes a cable between two namespaces: 10.N.0.1 here, 10.N.0.2 there. The neighbours are fixed, so that the
        cable carries only what the test sends."""
        self.ip("link", "add", name, "address", "02:00:00:00:00:01", "type", "veth",
                "peer", "name", peer_name, "address", "02:00:00:00:00:02", "netns", peer.name)
        for namespace, device, host, other in ((self, name, 1, 2), (peer, peer_name, 2, 1)):
            namespace.ip("link", "set", device, "arp", "off")
            namespace.ip("address", "add", f"10.{number}.0.{host}/24", "dev", device)
            namespace.ip("link", "set", device, "up")
            namespace.ip("neighbour", "replace", f"10.{number}.0.{other}", "lladdr", f"02:00:00:00:00:0{other}",
                         "nud", "permanent", "dev", device)

    def bridge(self, name, number):
        """Makes a device that accepts everything for 10.N.0.0/24: a bridge without ports."""
        self.ip("link", "add", name, "type", "bridge", "mcast_snooping", "0")
        self.ip("link", "set", name, "arp", "off", "multicast", "off")
        self.ip("address", "add", f"10.{number}.0.1/24", "dev", name)
        self.ip("link", "set", name, "up")

    def send(self, address, packets=100, size=1000):
        """Sends UDP packets. Returns how many bytes a device counts for them."""
        with contextlib.closing(self.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            for _ in range(packets):
                sender.sendto(bytes(size), (address, 9))
        return packets * (size + UDP_OVERHEAD)

    def kernel(self, device):
        """The kernel's (received, transmitted) bytes of a device."""
        for line in self.exec("cat", "/proc/net/dev").splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == device:
                fields = numbers.split()
                return int(fields[0]), int(fields[8])
        raise KeyError(device)

    def delete(self):
        self.sink.close()
        run("ip", "netns", "delete", self.name)


class Metrics(dict):
    """A scrape, as {series: value}. A series is its name with labels, as in the text."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        for line in text.splitlines():
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                assert series not in self, f"{series} comes twice"
                self[series] = int(value) if value.lstrip("-").isdigit() else float(value)

    def device(self, family, device):
        """One device's value of a family, or None. `family` is the name without `netusage_`."""
        return self.get(f'netusage_{family}{{device="{device}"}}')

    def pair(self, what, device):
        """(received, transmitted) of a device. `what` is "_total" for the counters, and "day", "lifetime" … for periods."""
        if what == "_total":
            return self.device("receive_bytes_total", device), self.device("transmit_bytes_total", device)
        return self.device(f"{what}_receive_bytes", device), self.device(f"{what}_transmit_bytes", device)


class Exporter:
    """The running program in a namespace."""

    def __init__(self, namespace, directory, *flags, ledger=None, environment=None, prefix=(), wait=True, port=10073,
                 stderr=None, binary=BINARY, host="127.0.0.1", sees_cgroups=False, in_child=None):
        self.namespace = namespace
        self.ledger = pathlib.Path(ledger or directory / "ledger.db")
        self.port = port
        self.log_path = directory / f"log-{next(_numbers)}"
        # `ip netns exec` hides the machine's /sys, so that there are no cgroups.
        enter = ["nsenter", f"--net={namespace.path}"] if sees_cgroups else ["ip", "netns", "exec", namespace.name]
        command = [*enter, *prefix, str(binary), "serve",
                   f"--storage.path={self.ledger}", f"--web.listen-address={host}:{port}", *flags]
        with open(self.log_path, "w") as log:
            # With `in_child` the program inherits what that opens.
            self.process = subprocess.Popen(command, stderr=stderr or log, stdin=subprocess.DEVNULL, preexec_fn=in_child,
                                            close_fds=in_child is None, env={**os.environ, **(environment or {})})
        if wait:
            with ended_on_error(self.process):
                eventually(self.answers, 20)

    def answers(self):
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log}"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/-/ready").status == 200
        return False

    def get(self, path, method="GET", headers=None, timeout=10):
        return self.namespace.get(self.port, path, method, headers, timeout)

    def metrics(self):
        answer = self.get("/metrics")
        assert answer.status == 200, answer.body
        return Metrics(answer.body.decode())

    @property
    def log(self):
        return self.log_path.read_text()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends the program by SIGTERM. The exit code must be 0."""
        self.process.terminate()
        assert self.process.wait(20 * PATIENCE) == 0, self.log

    def close(self):
        if self.process.poll() is None:
            self.kill()


def stuck(directory):
    """The environment for a program in which a file may not answer. The file `stuck` in the directory names that file: see stuck.c."""
    library = directory / "stuck.so"
    run("gcc", "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).with_name("stuck.c"))
    return {"LD_PRELOAD": str(library), "TEST_STUCK": str(directory / "stuck")}


class FakeClock:
    """A wall clock that a test sets for programs with this `environment`, while they run. Their monotonic clocks stay."""

    def __init__(self, directory):
        library = directory / "clock.so"
        run("gcc", "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).with_name("clock.c"))
        path = directory / "clock"
        path.write_bytes(bytes(8))
        with open(path, "r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(path)}

    def set(self, seconds):
        """Sets the clock to this many seconds after the true time."""
        self._offset[:] = struct.pack("q", seconds)


class ChangedCounters:
    """Changes the counters that programs with this `environment` see: the kernel's numbers, plus what `add` adds."""

    def __init__(self, directory):
        library = directory / "counters.so"
        run("gcc", "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).with_name("counters.c"), "-ldl")
        path = directory / "counters"
        path.write_bytes(bytes(4096 * 16))
        with open(path, "r+b") as file:
            self._added = mmap.mmap(file.fileno(), 0)
        self.environment = {"LD_PRELOAD": str(library), "TEST_COUNTERS": str(path)}

    def add(self, namespace, device, received, transmitted):
        """Shows this many bytes more than the kernel does. The numbers may be negative."""
        index = json.loads(namespace.ip("-json", "link", "show", device))[0]["ifindex"]
        self._added[index * 16:(index + 1) * 16] = struct.pack("QQ", received % 2**64, transmitted % 2**64)


def reset_connection(connection):
    """Closes a TCP connection without leaving it in TIME_WAIT."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
