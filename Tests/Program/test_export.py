"""Exports for other programs: complete, exact, in little memory, and accepted by the real promtool and Prometheus."""

import csv
import datetime
import io
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from ledgers import ZONE, Ledger
from servers import Prometheus
from support import BINARY, FakeClock, Namespace, eventually, run


def export(ledger, *arguments, environment=None, check=True):
    done = subprocess.run([BINARY, "export", *arguments, f"--storage.path={ledger.path}", f"--config.file={ledger.configuration}"],
                          capture_output=True, timeout=600, env={**os.environ, **(environment or {})})
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else done


def rows(text):
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """A ledger with six weeks of days. The last two weeks have buckets. Clocks change within them."""
    directory = tmp_path_factory.mktemp("past")
    namespace = Namespace()
    try:
        ledger = Ledger(namespace, directory, "timezone: Europe/Berlin\nstorage: { keep_buckets: 3000d }\n")
    finally:
        namespace.delete()
    uplink, wan, quoted = ledger.account("", "uplink"), ledger.account("wan0"), ledger.account('a,"b"')
    ledger.end = int(datetime.datetime(2025, 11, 2, 9, 40, tzinfo=ZONE).timestamp())
    fine = int(datetime.datetime(2025, 10, 20, tzinfo=ZONE).timestamp())
    for start in range(fine, ledger.end, 300):
        if start // 3600 % 5:
            for account in (uplink, wan):
                ledger.bucket(account, start, 1_000_000 + start % 7919, start % 104729)
        if start % 86400 == 0:
            ledger.bucket(quoted, start, 1, 2)
    for number in range(28):
        for account in (uplink, wan):
            ledger.add_to_day(account, datetime.date(2025, 9, 22) + datetime.timedelta(number), 10 ** 9 + number, 10 ** 8)
    ledger.close(until=ledger.end)
    ledger.by_day = {(date.isoformat(), {uplink: "uplink", wan: "wan0", quoted: 'a,"b"'}[account]): tuple(total)
                     for (date, account), total in ledger.days.items()}
    return ledger


def test_csv_of_every_grain_has_every_byte_once(past):
    days = rows(export(past))
    assert {(row["start"][:10], row["device"]): (int(row["received_bytes"]), int(row["transmitted_bytes"])) for row in days} == past.by_day
    kept = {key: value for key, value in past.by_day.items() if key[0] >= "2025-10-20"}
    for grain, seconds in (("hour", 3600), ("5m", 300)):
        sums = {}
        for row in rows(export(past, "--grain", grain)):
            assert (datetime.datetime.fromisoformat(row["end"]) - datetime.datetime.fromisoformat(row["start"])).total_seconds() == seconds
            total = sums.setdefault((row["start"][:10], row["device"]), [0, 0])
            total[0] += int(row["received_bytes"])
            total[1] += int(row["transmitted_bytes"])
        assert {key: tuple(total) for key, total in sums.items()} == kept
    as_json = json.loads(export(past, "--format", "json"))["rows"]
    assert [{key: str(value) for key, value in row.items()} for row in as_json] == days
    text = export(past, "--device", "a*")
    assert b'"a,""b"""' in text and text.count(b"\r\n") == text.count(b"\n")
    assert rows(export(past, "--since", "2025-10-25", "--until", "2025-10-26", "--device", "wan0")) == [
        row for row in days if row["device"] == "wan0" and row["start"][:10] in ("2025-10-25", "2025-10-26")]


def test_openmetrics_is_strict_and_prometheus_has_the_ledgers_days(past, namespaces, serve, tmp_path):
    text = export(past, "--format", "openmetrics", "--label", "job=netusage", "--label", "instance=attic")
    families = {family.name: family for family in openmetrics(text.decode())}
    assert families["netusage_day_receive_bytes"].type == "gauge" and not any(family.type == "counter" for family in families.values())
    (tmp_path / "past.om").write_bytes(text)
    (tmp_path / "data").mkdir()
    run("promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=2160h", tmp_path / "past.om", tmp_path / "data")
    prometheus = serve(Prometheus, namespaces(), tmp_path, "", flags=["--storage.tsdb.retention.time=10y"])

    def value(expression, moment):
        result = prometheus.ask(expression, time=moment.timestamp())
        return float(result[0]["value"][1]) if result else None

    shown = 0
    for (date, device), total in past.by_day.items():
        selector = '{device="%s"}' % device.replace('"', '\\"')
        prefix, selector = ("netusage_uplink_", "") if device == "uplink" else ("netusage_", selector)
        day = datetime.date.fromisoformat(date)
        midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=ZONE) + datetime.timedelta(days=1)
        if midnight.timestamp() > past.end:
            continue
        # Buckets: what the next day shows as the previous day. Days alone: the last value of the day.
        fine = date >= "2025-10-20"
        before = midnight - datetime.timedelta(seconds=0 if fine else 1)
        for direction, bytes_ in zip(("receive", "transmit"), total):
            if fine:
                assert value(f"{prefix}previous_day_{direction}_bytes{selector}", midnight) == bytes_
                seen = value(f"sum_over_time({prefix}{direction}_bytes_per_second{selector}[86399s:5m]) * 300", midnight)
                if date != "2025-10-26":  # That day has 25 hours.
                    assert seen == pytest.approx(bytes_), "rates are bytes by time"
            else:
                assert value(f"{prefix}day_{direction}_bytes{selector}", before) == bytes_
            shown += 1
        lifetime = sum(each[0] for (other, name), each in past.by_day.items() if name == device and other <= date)
        assert value(f"{prefix}lifetime_receive_bytes{selector}", before) == lifetime
        assert value("netusage_day_start_timestamp_seconds", before) == (
            midnight if fine else datetime.datetime(day.year, day.month, day.day, tzinfo=ZONE)).timestamp()
    assert shown > 100
    november = datetime.datetime(2025, 11, 1, 12, tzinfo=ZONE)
    october = sum(total[0] for (date, name), total in past.by_day.items() if name == "wan0" and date.startswith("2025-10"))
    assert value('netusage_previous_month_receive_bytes{device="wan0"}', november) == october


def test_a_day_is_told_when_it_is_over(past):
    text = export(past, "--format", "openmetrics", "--grain", "day").decode()
    family = next(each for each in openmetrics(text) if each.name == "netusage_lifetime_receive_bytes")
    midnight = datetime.datetime(2025, 11, 2, tzinfo=ZONE)
    assert max(float(sample.timestamp) for sample in family.samples) == midnight.timestamp() - 1


def test_beside_the_daemon_and_over_http_it_is_the_same(past, namespaces, exporter, tmp_path):
    near = namespaces()
    for name in ("ledger.db",):
        (tmp_path / name).write_bytes(past.path.read_bytes())
    alone = {}
    formats = (("csv", "5m"), ("json", "hour"), ("openmetrics", "day"))
    for format_, grain in formats:
        alone[format_] = export(past, "--format", format_, "--grain", grain, "--until", "2025-11-01")
    daemon = exporter(near, f"--config.file={past.configuration}")

    class Beside:
        path, configuration = daemon.ledger, past.configuration
    for format_, grain in formats:
        assert export(Beside, "--format", format_, "--grain", grain, "--until", "2025-11-01") == alone[format_]
        answer = daemon.get(f"/api/v1/export?format={format_}&grain={grain}&until=2025-11-01", timeout=60)
        assert answer.body == alone[format_] and f'netusage.{format_}"' in answer.headers["Content-Disposition"]
    daemon.stop()


def test_a_file_is_there_only_when_all_of_it_is(past, tmp_path):
    target = tmp_path / "out.csv"
    assert export(past, "-o", str(target)) == b"" and target.read_bytes() == export(past)
    for arguments, message in ((["-o", str(tmp_path / "none" / "x")], b"can't be written"), (["--device", "eth9"], b"nothing called eth9"),
                               (["--grain", "month"], b"5m, hour or day"), (["--label", "a=b"], b"openmetrics only")):
        done = export(past, *arguments, check=False)
        assert done.returncode in (1, 64) and message in done.stderr and done.stdout == b""
    # The disk is full.
    done = subprocess.run([BINARY, "export", "--format", "openmetrics", f"--storage.path={past.path}", f"--config.file={past.configuration}"],
                          stdout=open("/dev/full", "w"), stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"can't be written" in done.stderr
    # The reader closes the pipe early.
    reader = subprocess.Popen(f"{BINARY} export --format openmetrics --storage.path={past.path} --config.file={past.configuration} | head -1",
                              shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = reader.communicate(timeout=60)
    assert output.startswith(b"# HELP") and errors == b""
    # The user interrupts the export.
    writer = subprocess.Popen([BINARY, "export", "--format", "openmetrics", f"--storage.path={past.path}",
                               f"--config.file={past.configuration}", "-o", tmp_path / "past.om"], stderr=subprocess.PIPE)
    eventually(lambda: len(list(tmp_path.iterdir())) == 2, every=0.001)
    writer.send_signal(signal.SIGINT)
    assert b"interrupted" in writer.communicate(timeout=60)[1] and writer.returncode == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.csv"]


def test_years_of_eight_devices_take_little_memory(namespaces, tmp_path):
    """Half a year of buckets. Two years take four times as long, and the same memory."""
    ledger = Ledger(namespaces(), tmp_path)
    accounts = [ledger.account("", "uplink")] + [ledger.account(f"eth{number}") for number in range(8)]
    end = int(datetime.datetime(2026, 1, 1, tzinfo=ZONE).timestamp())
    starts = range(end - 183 * 86400, end, 300)
    ledger.database.executemany("INSERT INTO bucket VALUES (?, ?, ?, ?)",
                                ((start, account, start % 7919 + 1, account) for start in starts for account in accounts))
    for start in range(end - 183 * 86400, end, 86400):
        date = datetime.datetime.fromtimestamp(start + 43200, ZONE).date()
        for account in accounts:
            ledger.add_to_day(account, date, sum(each % 7919 + 1 for each in range(start, start + 86400, 300)), 288 * account)
    ledger.close(until=end)
    for format_ in ("csv", "openmetrics"):
        with open(tmp_path / "out", "wb") as out:
            process = subprocess.Popen([BINARY, "export", "--format", format_, "--grain", "5m", f"--storage.path={ledger.path}",
                                        f"--config.file={ledger.configuration}"], stdout=out)
        largest = 0
        while process.poll() is None:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            largest = max([largest] + [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")])
            time.sleep(0.01)
        assert process.returncode == 0
        assert 5_000 < largest < 60_000, f"{format_}: {largest} kB"
        assert (tmp_path / "out").stat().st_size > 30_000_000


def test_the_csv_log_has_a_line_a_minute_and_a_file_a_day(cable, exporter, tmp_path):
    near, _ = cable
    clock = FakeClock(tmp_path)

    def at(*moment):
        clock.set(int(datetime.datetime(*moment, tzinfo=ZONE).timestamp() - time.time()))

    (tmp_path / "netusage.yaml").write_text(
        f"timezone: Europe/Berlin\ncsv_log: {{ directory: {tmp_path}/csv, device: wan0 }}\n")
    at(2026, 3, 28, 23, 57, 58)
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml", environment=clock.environment)

    def lines(date):
        path = tmp_path / "csv" / f"network_usage_{date}.csv"
        return rows(path.read_bytes()) if path.exists() else []

    first = near.send("10.0.0.2", 100)
    eventually(lambda: any(float(line["sent_mb"]) * 1e6 == first for line in lines("2026-03-28")))
    second = near.send("10.0.0.2", 3)
    at(2026, 3, 28, 23, 59, 58)
    eventually(lambda: lines("2026-03-29"))
    # The day's last line, written at midnight, has the day's total. The next day begins with 0.
    last = lines("2026-03-28")[-1]
    assert last == {"timestamp": "2026-03-29T00:00:00+01:00", "sent_mb": f"{(first + second) / 1e6:.6f}", "received_mb": "0.000000",
                    "total_mb": f"{(first + second) / 1e6:.6f}"}
    assert lines("2026-03-29")[0]["total_mb"] == "0.000000"
    # A power cut may leave half a line. netusage takes it off, and the lines after it are whole.
    daemon.kill()
    path = tmp_path / "csv" / "network_usage_2026-03-29.csv"
    whole = path.read_bytes()
    path.write_bytes(whole + b"2026-03-29T00:0" + bytes(100))
    at(2026, 3, 29, 2, 30, 0)  # The wall clocks of that day skip this time.
    daemon = exporter(near, f"--config.file={tmp_path}/netusage.yaml", environment=clock.environment)
    eventually(lambda: lines("2026-03-29")[-1]["timestamp"].startswith("2026-03-29T03:30:0"))
    assert path.read_bytes().startswith(whole) and bytes(1) not in path.read_bytes()
    assert path.read_bytes().count(b"timestamp") == 1
    # If the CSV log can't be written, the log says so once, and nothing else is affected.
    (tmp_path / "netusage.yaml").write_text("csv_log: { directory: /proc/none }\n")
    daemon.signal(1)
    eventually(lambda: "was read again" in daemon.log)
    at(2026, 3, 29, 4, 0, 0)
    eventually(lambda: "the CSV log can't be written" in daemon.log)
    assert daemon.metrics()
    daemon.stop()
