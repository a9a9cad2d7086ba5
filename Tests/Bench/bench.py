"""Measures netusage side by side with Debian's node_exporter (netdev collector only) and vnstatd, in one run.

Everything runs in a network namespace that is made for it and deleted in the end; load goes over its loopback only.
Prints one table; read the columns against each other, not against another day's: machines are shared and noisy.
"""

import contextlib
import os
import pathlib
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Program"))

import applications  # noqa: E402
from support import BINARY, Exporter, Namespace, run  # noqa: E402

OPENMETRICS = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
               "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
KINDS = {"plain text": [], "as Prometheus asks": ["-H", f"Accept: {OPENMETRICS}", "-H", "Accept-Encoding: gzip"]}
SECONDS = 4


def processor_seconds(pid):
    """Of all its threads, by the process's own clock: the kernel's MAKE_PROCESS_CPUCLOCK, as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime((~pid << 3) | 2)


def ticks(pid):
    """(in the program itself, in the kernel for it), in ticks of the kernel's clock."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]), int(fields[12])


def status(pid, field):
    """A field of /proc/pid/status in megabytes."""
    return int(re.search(rf"^{field}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1]) / 1024


def bytes_written(pid):
    """(to files by calls, to the disk by the page cache) so far."""
    text = pathlib.Path(f"/proc/{pid}/io").read_text()
    return tuple(int(re.search(rf"^{field}: (\d+)", text, re.M)[1]) for field in ("wchar", "write_bytes"))


def seconds_of(text):
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
    number, name = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()
    return float(number) * unit[name]


def load(namespace, pid, url, flags, connections):
    """Scrapes as fast as they go: {rate, p50, p99, processor seconds per scrape}."""
    before = processor_seconds(pid)
    out = namespace.exec("wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", "--timeout", "20", "--latency", *flags, url)
    used = processor_seconds(pid) - before
    assert "Non-2xx" not in out, out
    requests = int(re.search(r"(\d+) requests in", out)[1])
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
        "p50": seconds_of(re.search(r"^ +50%\s+(\S+)", out, re.M)[1]), "p99": seconds_of(re.search(r"^ +99%\s+(\S+)", out, re.M)[1]),
        "processor": used / max(1, requests)}


@contextlib.contextmanager
def world(devices):
    """A namespace with so many veth devices, each of which is a series of its own."""
    namespace = Namespace()
    try:
        batch = "".join(f"link add nic{number}a type veth peer name nic{number}b\n" for number in range(devices // 2))
        subprocess.run(["ip", "-n", namespace.name, "-batch", "-"], input=batch, text=True, check=True)
        yield namespace
    finally:
        namespace.delete()


@contextlib.contextmanager
def node_exporter(namespace):
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace.name, "prometheus-node-exporter", "--collector.disable-defaults",
         "--collector.netdev", "--web.listen-address=127.0.0.1:9100"], stderr=subprocess.DEVNULL)
    time.sleep(1)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def netusage(namespace, directory, *flags, ledger=None):
    exporter = Exporter(namespace, directory, *flags, ledger=ledger)
    try:
        yield exporter
    finally:
        exporter.close()


def throughput(devices, directory, rows):
    with world(devices) as namespace:
        with netusage(namespace, directory, ledger=directory / f"{devices}.db") as ours, node_exporter(namespace) as theirs:
            # One scrape at a time, as Prometheus does it. Of several at once those that wait share a rendering.
            for connections, name, flags in ((count, name, flags) for count in (1, 16) for name, flags in KINDS.items()):
                rival = load(namespace, theirs.pid, "http://127.0.0.1:9100/metrics", flags, connections)
                mine = load(namespace, ours.process.pid, "http://127.0.0.1:10073/metrics", flags, connections)
                label = f"{devices} devices, {name}" + ("" if connections == 1 else f", {connections} at once, sharing")
                rows.append((f"processor us/scrape, {label}", f"{mine['processor'] * 1e6:,.1f}",
                             f"{rival['processor'] * 1e6:,.1f}", f"1/{rival['processor'] / max(mine['processor'], 1e-9):.1f}"))
                rows.append((f"p50 / p99 ms, {label}", *(f"{each['p50'] * 1e3:.2f} / {each['p99'] * 1e3:.2f}"
                                                         for each in (mine, rival)), f"1/{rival['p50'] / mine['p50']:.1f}"))
                if connections > 1:
                    rows.append((f"scrapes/s, {label}", f"{mine['rate']:,.0f}", f"{rival['rate']:,.0f}",
                                 f"{mine['rate'] / rival['rate']:.1f} x"))
            rows.append((f"resident MB after it, {devices} devices", *(f"{status(pid, 'VmRSS'):.1f}"
                                                                      for pid in (ours.process.pid, theirs.pid)), ""))
            rows.append((f"anonymous MB after it, {devices} devices", *(f"{status(pid, 'RssAnon'):.1f}"
                                                                       for pid in (ours.process.pid, theirs.pid)), ""))


def scale(directory, rows):
    """What a scrape costs for each device more, from few devices to very many: in all, in the program itself, and in the kernel."""
    costs = {}
    for devices in (10, 1000, 10_000):
        with world(devices) as namespace, netusage(namespace, directory, ledger=directory / f"scale-{devices}.db") as ours:
            before = ticks(ours.process.pid)
            cost = load(namespace, ours.process.pid, "http://127.0.0.1:10073/metrics", [], 1)["processor"] * 1e6
            own, kernel = (after - first for after, first in zip(ticks(ours.process.pid), before, strict=True))
            costs[devices] = (cost, cost * own / (own + kernel), cost * kernel / (own + kernel))
    for place, part in enumerate(("", ", its own part", ", the kernel's part")):
        few, many = ((costs[more][place] - costs[fewer][place]) / (more - fewer) for fewer, more in ((10, 1000), (1000, 10_000)))
        rows.append((f"processor us/scrape for each device, 10 to 1,000{part}", f"{few:.3f}", "", ""))
        rows.append((f"processor us/scrape for each device, 1,000 to 10,000{part}", f"{many:.3f}", "", f"{many / few:.2f} of the first"))


def two_years(path, devices):
    """Fills a ledger with two years of days and 62 days of buckets for its devices and the uplink."""
    now = int(time.time())
    with contextlib.closing(sqlite3.connect(path)) as ledger, ledger:
        accounts = [row[0] for row in ledger.execute("SELECT id FROM account")]
        assert len(accounts) == devices + 1, accounts
        today = now // 86400
        ledger.executemany("INSERT OR REPLACE INTO day VALUES (?, ?, ?, ?)",
                           ((day, account, 10**9 + day, 10**8 + day) for day in range(today - 730, today) for account in accounts))
        ledger.executemany("INSERT OR REPLACE INTO day_start VALUES (?, ?)",
                           ((day, day * 86400) for day in range(today - 730, today)))
        first = (now - 62 * 86400) // 300 * 300
        ledger.executemany("INSERT OR REPLACE INTO bucket VALUES (?, ?, ?, ?)",
                           ((start, account, 10**6, 10**5) for start in range(first, now - 600, 300) for account in accounts))


def history(directory, rows):
    ledger = directory / "history.db"
    with world(4) as namespace:
        with netusage(namespace, directory, ledger=ledger) as ours:
            ours.stop()
        two_years(ledger, 4)
        starts = []
        for _ in range(10):
            started = time.monotonic()
            exporter = Exporter(namespace, directory, ledger=ledger, wait=False)
            while True:
                with contextlib.suppress(OSError):
                    assert exporter.get("/metrics").status == 200
                    break
            starts.append(time.monotonic() - started)
            exporter.stop()
        rows.append(("ms from start to first scrape, two years (median of 10)", f"{statistics.median(starts) * 1e3:.0f}", "", ""))
        with netusage(namespace, directory, ledger=ledger) as ours, node_exporter(namespace) as theirs, vnstatd(namespace, directory) as vnstat:
            for _ in range(20):
                ours.metrics()
                with namespace.entered():
                    urllib.request.urlopen("http://127.0.0.1:9100/metrics").read()
            pids = (ours.process.pid, theirs.pid)
            rows.append(("resident MB, 4 devices, two years", *(f"{status(pid, 'VmRSS'):.1f}" for pid in pids),
                         f"vnstatd {status(vnstat.pid, 'VmRSS'):.1f}"))
            rows.append(("anonymous MB, 4 devices, two years", *(f"{status(pid, 'RssAnon'):.1f}" for pid in pids),
                         f"vnstatd {status(vnstat.pid, 'RssAnon'):.1f}"))
            idle(namespace, ours, rows)


@contextlib.contextmanager
def vnstatd(namespace, directory):
    place = directory / "vnstat"
    place.mkdir()
    (place / "vnstat.conf").write_text(f'DatabaseDir "{place}"\nUseLogging 0\n')
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace.name, "vnstatd", "--nodaemon", "--alwaysadd", "--config", place / "vnstat.conf"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def idle(namespace, ours, rows, seconds=180):
    """Sampling once a second under a little traffic, nobody scrapes: what it costs, scaled to a day."""
    namespace.ip("address", "add", "10.0.0.1/24", "dev", "nic0a")
    for device in ("nic0a", "nic0b"):
        namespace.ip("link", "set", device, "up", "arp", "off")
    pid = ours.process.pid
    processor, written, started = processor_seconds(pid), bytes_written(pid), time.monotonic()
    while time.monotonic() - started < seconds:
        namespace.send("10.0.0.2", packets=1)
        time.sleep(1)
    elapsed = time.monotonic() - started
    rows.append((f"processor, % of a core, 1 s sampling, {seconds} s", f"{(processor_seconds(pid) - processor) / elapsed * 100:.3f}", "", ""))
    calls, disk = (now - then for now, then in zip(bytes_written(pid), written))
    per_day = 86400 / elapsed / 1e6
    rows.append(("MB a day written (by calls / as dirty pages)", f"{calls * per_day:.1f} / {disk * per_day:.1f}", "", ""))


def plans(directory, rows, devices=1000, days=62):
    """As many quotas as devices, and a ledger full of buckets: the start, and what the quotas cost a scrape."""
    ledger = directory / "plans.db"
    names = [f"nic{number}{end}" for number in range(devices // 2) for end in "ab"]
    configuration = directory / "plans.yaml"
    configuration.write_text("timezone: UTC\nquotas:\n" + "".join(
        f"  - {{ name: of-{name}, count: [{name}], limit: 1 TB, warn_at: [80%, 95%] }}\n" for name in names))
    with world(devices) as namespace:
        with netusage(namespace, directory, ledger=ledger) as ours:
            ours.stop()
        with contextlib.closing(sqlite3.connect(ledger)) as database, database:
            database.execute("PRAGMA synchronous = OFF")
            accounts = [row[0] for row in database.execute("SELECT id FROM account WHERE kind = 'device'")]
            now = int(time.time()) // 300 * 300
            database.executemany("INSERT OR REPLACE INTO bucket VALUES (?, ?, ?, ?)",
                                 ((start, account, 1000 * account, 10) for start in range(now - days * 86400, now, 300)
                                  for account in accounts))
            database.execute("DELETE FROM day")
            database.execute("INSERT INTO day SELECT start / 86400, account, sum(received), sum(transmitted) FROM bucket GROUP BY 1, 2")
            database.execute("INSERT OR REPLACE INTO day_start SELECT DISTINCT day, day * 86400 FROM day")
        rates = {}
        for flags in ([], [f"--config.file={configuration}"]):
            starts = []
            for _ in range(3):
                started = time.monotonic()
                exporter = Exporter(namespace, directory, *flags, ledger=ledger, wait=False)
                while True:
                    with contextlib.suppress(OSError):
                        shown = exporter.metrics()
                        if not flags or any(series.startswith("netusage_quota_used_bytes") for series in shown):
                            break
                starts.append(time.monotonic() - started)
                if len(starts) < 3:
                    exporter.stop()
            if flags:
                # The past by the hour is read after the start; each quota has its forecast then.
                while (sum(series.startswith("netusage_quota_projected_bytes") for series in shown) < devices
                       and time.monotonic() - started < 300):
                    time.sleep(1)
                    shown = exporter.metrics()
                rows.append((f"s until all forecasts, {devices} quotas", f"{time.monotonic() - started:.0f}", "", ""))
            what = f"{devices} devices, {devices if flags else 'no'} quotas, {days} days of buckets"
            rows.append((f"ms from start to first scrape, {what}", f"{statistics.median(starts) * 1e3:.0f}", "", ""))
            rates[bool(flags)] = load(namespace, exporter.process.pid, "http://127.0.0.1:10073/metrics", [], 1)["rate"]
            rows.append((f"scrapes/s, {what}", f"{rates[bool(flags)]:,.0f}", "",
                         f"1/{rates[False] / rates[True]:.2f} of that without" if flags else ""))
            rows.append((f"resident MB, {what}", f"{status(exporter.process.pid, 'VmRSS'):.1f}", "", ""))
            exporter.stop()


def forecasts():
    """How far off projections are; a real series may be named by its path: SERIES=file make bench."""
    series = [os.environ["SERIES"]] if "SERIES" in os.environ else []
    print(run(ROOT / ".build/release/backtest", *series))


def binary(directory, rows):
    stripped = directory / "stripped"
    run("strip", "-o", stripped, BINARY)
    rows.append(("stripped binary, MB", f"{stripped.stat().st_size / 1e6:.1f}", f"{pathlib.Path(shutil.which('prometheus-node-exporter')).stat().st_size / 1e6:.1f}", ""))


def table(rows):
    rows = [("", "netusage", "node_exporter", "ratio"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if row is rows[0]:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def main():
    rows = []
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        for devices in (4, 100, 1000):
            print(f"measuring {devices} devices …", file=sys.stderr)
            throughput(devices, directory, rows)
        print("measuring two years of history, and three quiet minutes …", file=sys.stderr)
        history(directory, rows)
        print("measuring up to 10,000 devices …", file=sys.stderr)
        scale(directory, rows)
        print("measuring 1,000 quotas, and making a ledger for them …", file=sys.stderr)
        plans(directory, rows)
        print("measuring applications …", file=sys.stderr)
        applications.packets(rows)
        applications.daemon(rows, processor_seconds, status)
        binary(directory, rows)
    table(rows)
    print()
    forecasts()


if __name__ == "__main__":
    main()
