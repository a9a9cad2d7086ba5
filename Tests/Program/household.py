"""Three machines with a history: it is replayed through the real program into a real Prometheus, which then scrapes the machines."""

import ctypes
import math
import pathlib
import socket
import time

from history import History
from servers import DEPLOY, Prometheus, shipped
from support import Exporter, eventually

DAY = 86400

PLANS = """
timezone: Europe/Berlin
quotas:
  - name: home
    limit: HOME GB
    cycle: { every: month, day: 15 }
    warn_at: [25%, 80%]
    price: { currency: EUR, base: 29.90, per_gb: 0.50 }
  - { name: family, limit: FAMILY GB, cycle: { every: month } }
rate_limits:
  - { name: busy, count: [wan0], limit: 10 GB/s, for: 10s }
committed_rates:
  - { name: transit, count: [wan0], direction: greater, limit: TRANSIT kbit/s, cycle: { every: month }, missing: skip }
"""
# Programs on the NAS: where they send to, and how much of what it receives.
PROGRAMS = [("restic", "203.0.113.5", 8), ("firefox", "203.0.113.9", 25), ("syncthing", "203.0.113.7", 40), ("jellyfin", "10.0.0.2", 12)]
PR_SET_NAME = 15

SHARED = "timezone: Europe/Berlin\nquotas: [{ name: family, limit: FAMILY GB, cycle: { every: month } }]\n"


def appetite(moment):
    """How much is used at a moment, with a mean of about 1: more in the evening and at the weekend, with a ripple."""
    hour, day = moment / 3600 % 24, moment // DAY % 7
    evening = 0.3 + 1.7 * math.exp(-((hour - 19) / 3.5) ** 2) + 0.5 * math.exp(-((hour - 12) / 2) ** 2)
    return evening * (1.5 if day in (2, 3) else 0.8) * (1 + 0.35 * math.sin(moment / 1700) + 0.3 * math.sin(moment / 71000))


def split(size, most):
    """Sizes of at most so many bytes that add up."""
    return [most] * (size // most) + [max(1, size % most)]


class Household:
    """`nas` has a history of several days, `laptop` and `desktop` of one. The laptop is off at the end. At scale 1, each uses about 60 MB a day."""

    def __init__(self, namespaces, directory, days=4, months=0, scale=1, forecasts=False):
        self.directory, self.scale = directory, scale
        self.near, self.far = namespaces(), namespaces()
        self.near.veth("wan0", self.far, "far0")
        for namespace, device in ((self.near, "wan0"), (self.far, "far0")):
            namespace.ip("link", "set", device, "mtu", "65535")
        self.near.ip("route", "add", "default", "via", "10.0.0.2")
        self.near.bridge("lan0", 1)
        self.near.bridge("guest0", 2)
        self.now = time.time()
        self.history = History(directory)
        self.machines, self.programs, self.closed = {}, [], False
        try:
            self._replay(days, months, forecasts)
        except BaseException:
            self.close()
            raise

    def _start(self, name, port, plans):
        directory = self.directory / name
        directory.mkdir()
        for word, size in (("HOME", 2.2), ("FAMILY", 2.5), ("TRANSIT", 25)):
            plans = plans.replace(word, f"{size * self.scale:g}")
        (directory / "netusage.yaml").write_text(plans)
        self.machines[name] = Exporter(
            self.near, directory, f"--config.file={directory}/netusage.yaml",
            environment=self.history.clock.environment, port=port, sees_cgroups=name == "nas")
        if name == "nas":
            eventually(lambda: self.machines[name].metrics().get("netusage_applications_attached") == 1)
            self.programs = [(self._program(program, address), share) for program, address, share in PROGRAMS]

    def _program(self, name, address):
        """A socket of a program of this name: it belongs to whoever connects it."""
        libc = ctypes.CDLL(None)
        own = pathlib.Path("/proc/self/comm").read_bytes().strip()
        libc.prctl(PR_SET_NAME, name.encode())
        try:
            program = self.near.socket(socket.AF_INET, socket.SOCK_DGRAM)
            program.connect((address, 9))
        finally:
            libc.prctl(PR_SET_NAME, own)
        return program

    def _carry(self, moment, seconds):
        received = int(appetite(moment) * seconds * 900 * self.scale)
        for namespace, address, size in (
                (self.far, "10.0.0.1", received), (self.near, "10.0.0.2", received // 6), (self.near, "10.1.0.9", received // 9),
                (self.near, "10.2.0.9", received // 40)):
            *whole, rest = split(size, 60000)
            if whole:
                namespace.send(address, packets=len(whole), size=60000)
            namespace.send(address, packets=1, size=rest)
        for program, share in self.programs:
            for size in split(received // share, 60000):
                program.send(bytes(size))

    def _replay(self, days, months, forecasts):
        moment = self.now - max(months * 30, days) * DAY
        self.history.set(moment)
        self._start("nas", 10073, PLANS)
        while moment < self.now:
            # Long steps where the tests look only at days and months, short steps where they look at rates.
            age = self.now - moment
            step = 3600 if age > days * DAY else 300 if age > DAY else 60
            if age <= DAY and len(self.machines) == 1:
                self._start("laptop", 10083, SHARED)
                self._start("desktop", 10093, SHARED)
            self.history.set(moment)
            self._carry(moment, step)
            if forecasts and age < 31 * DAY and moment % 14400 >= 14100:
                # After a step of the clock there is no forecast until netusage has read the history again.
                eventually(lambda: "quota_projected" in self.machines["nas"].get("/metrics").body.decode())
            for name, machine in self.machines.items():
                # The laptop was off in the afternoon.
                if name != "laptop" or not 0.1 < age / DAY < 0.25:
                    self.history.scrape(machine, moment, name)
            moment += step
        self.history.clock.set(0)
        self.history.blocks(self.directory / "data")

    def prometheus(self):
        """A Prometheus that goes on where the history ends, with the shipped rules and shorter intervals."""
        targets = "\n".join(
            f"      - {{ targets: ['127.0.0.1:{machine.port}'], labels: {{ instance: {name} }} }}" for name, machine in self.machines.items())
        configuration = shipped("prometheus/prometheus.yml", scrape_interval="1s", evaluation_interval="1s").replace(
            '      - targets: ["127.0.0.1:10073"]', targets)
        return Prometheus(self.near, self.directory, configuration, sorted((DEPLOY / "prometheus").glob("*.rules.yml")),
                          flags=["--storage.tsdb.retention.time=10y"])

    def live(self, prometheus, seconds):
        """Sends traffic at the hour's pace for this many seconds; then the laptop goes off."""
        self.carry_on(seconds)
        eventually(lambda: prometheus.query("quota:netusage_quota_hosts:count == 3"), 30)
        self.machines["laptop"].stop()
        eventually(lambda: prometheus.query("up == 0"), 30)

    def carry_on(self, seconds=600):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.closed:
            self._carry(time.time(), 1)
            time.sleep(1)

    def close(self):
        self.closed = True
        for program, _ in self.programs:
            program.close()
        for machine in self.machines.values():
            machine.close()
