"""Imports from a real vnstatd and from our own CSV: exact to the byte, and each byte once, however often you import."""

import contextlib
import csv
import datetime
import io
import json
import os
import shutil
import sqlite3
import subprocess
import time
import types

import pytest

from ledgers import ZONE, Ledger
from support import BINARY, Exporter, FakeClock, Namespace, eventually, run

# Seconds, less than five minutes: after a longer step, vnstatd drops the bytes of the step.
STEP = 280
START = int(datetime.datetime(2026, 11, 21, 23, 22, 10, tzinfo=ZONE).timestamp())
CONFIGURATION = "timezone: Europe/Berlin\nstorage: { flush_interval: 1s }\n"


def netusage(*arguments, environment=None, code=0, stdin=None):
    done = subprocess.run([BINARY, *arguments], input=stdin, capture_output=True, timeout=120, env={**os.environ, **(environment or {})})
    assert done.returncode == code, done.stdout + done.stderr
    return (done.stdout if code == 0 else done.stderr).decode()


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """An hour and a half around midnight: first vnstatd counts alone, then both, then netusage alone."""
    directory = tmp_path_factory.mktemp("counted")
    near, far = Namespace(), Namespace()
    clock = FakeClock(directory)
    environment = {**clock.environment, "TZ": "Europe/Berlin"}
    scene = types.SimpleNamespace(directory=directory, near=near, clock=clock, environment=environment, sent=0, vnstat_sent=0, daemon=None)
    scene.configuration = directory / "netusage.yaml"
    scene.configuration.write_text(CONFIGURATION)
    now = START

    def step(seconds):
        nonlocal now
        now += seconds
        clock.set(now - int(time.time()))
        if vnstatd.poll() is None:
            # It saves what it has read once a minute.
            eventually(lambda: updated(database / "vnstat.db") >= now, 30)

    def carry(steps):
        for number in range(steps):
            scene.sent += near.send("10.0.0.2", 40 + number)
            if scene.daemon:
                scene.daemon.metrics()  # A scrape reads the counters.
            step(65)
            step(STEP - 65)

    processes = contextlib.ExitStack()
    with processes:
        processes.callback(far.delete)
        processes.callback(near.delete)
        near.veth("wan0", far, "far0")
        near.ip("route", "add", "default", "via", "10.0.0.2")
        clock.set(START - int(time.time()))
        database = directory / "vnstat"
        database.mkdir()
        configuration = directory / "vnstat.conf"
        configuration.write_text(
            f'DatabaseDir "{database}"\nSaveInterval 1\nUpdateInterval 20\nPollInterval 2\nUseLogging 0\nDaemonUser ""\nDaemonGroup ""\n')
        vnstatd = subprocess.Popen(
            ["ip", "netns", "exec", near.name, "vnstatd", "--nodaemon", "--alwaysadd", "--config", configuration],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment})
        processes.callback(vnstatd.wait)
        processes.callback(vnstatd.terminate)
        eventually(lambda: (database / "vnstat.db").exists() and "wan0" in vnstat(configuration, environment), 30)
        carry(9)
        scene.daemon = Exporter(near, directory, f"--config.file={scene.configuration}", environment=environment)
        processes.callback(scene.daemon.close)
        scene.own_from = scene.sent
        carry(4)
        scene.vnstat_sent = scene.sent
        vnstatd.terminate()
        vnstatd.wait()
        carry(2)
        scene.database = database / "vnstat.db"
        scene.json = directory / "vnstat.json"
        scene.json.write_text(vnstat(configuration, environment))
        yield scene


def updated(database):
    """Until when vnstatd has saved what it read, in seconds since 1970."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        text, = connection.execute("SELECT updated FROM interface WHERE name = 'wan0'").fetchone()
    return datetime.datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


def vnstat(configuration, environment):
    done = subprocess.run(["vnstat", "--config", configuration, "--json"], capture_output=True, text=True, env={**os.environ, **environment})
    return done.stdout


def usage(counted, ledger, *arguments):
    report = json.loads(netusage(*arguments, "--json", f"--storage.path={ledger}", f"--config.file={counted.configuration}",
                                 environment=counted.environment))
    return {each["name"]: each for each in report["accounts"]}


def pair(entry):
    return entry["received_bytes"], entry["transmitted_bytes"]


@pytest.mark.parametrize("form", ["database", "json"])
@pytest.mark.parametrize("has_daemon", [True, False])
def test_it_comes_to_vnstats_totals_and_days_however_often_it_is_taken_over(counted, exporter, namespaces, tmp_path, form, has_daemon):
    with contextlib.closing(sqlite3.connect(counted.database)) as database:
        (received, transmitted), = database.execute("SELECT rxtotal, txtotal FROM interface WHERE name = 'wan0'")
        days = {date: bytes for date, *bytes in database.execute(
            "SELECT date, rx, tx FROM day JOIN interface ON interface.id = interface WHERE name = 'wan0'")}
    assert (received, transmitted) == (0, counted.vnstat_sent) and len(days) == 2
    daemon = exporter(namespaces(), f"--config.file={counted.configuration}", environment=counted.environment)
    if not has_daemon:
        daemon.stop()
    order = ("import", "vnstat", getattr(counted, form), "--uplink", "wan0", f"--storage.path={daemon.ledger}")
    environment = counted.environment
    if has_daemon:
        # The daemon's zone counts, not the zone of the command.
        environment = {**environment, "TZ": "Asia/Tokyo"}
    else:
        order += (f"--config.file={counted.configuration}",)
    trial = json.loads(netusage(*order, "--json", "--dry-run", environment=environment))
    assert trial["is_trial"] and not any(each["total_bytes"] for each in usage(counted, daemon.ledger, "summary").values())
    for number in range(2):
        done = json.loads(netusage(*order, "--json", environment=environment))
        assert done["problems"] == [] and not done["is_trial"]
        if number == 0:
            assert done["accounts"] == trial["accounts"]
        assert [each["taken_transmitted_bytes"] for each in done["accounts"]] == ([transmitted] * 2 if number == 0 else [0, 0])
        for name in ("wan0", "uplink"):
            def entry():
                return usage(counted, daemon.ledger, "summary")[name]
            # The daemon reads the import a moment later.
            eventually(lambda: pair(entry()) == (received, transmitted))
            shown = usage(counted, daemon.ledger, "days", "--since", "2026-11-21", "--device", name)[name]["entries"]
            assert {each["start"][:10]: [*pair(each)] for each in shown if each["total_bytes"]} == days
            recent = usage(counted, daemon.ledger, "recent", "--since", "2026-11-21", "--device", name)[name]["entries"]
            assert sum(each["transmitted_bytes"] for each in recent) == transmitted
            assert sum(each["total_bytes"] > 0 for each in recent) > 8, "the finest grain is kept"
        if has_daemon:
            metrics = daemon.metrics()
            assert metrics.pair("lifetime", "wan0") == (received, transmitted)
            assert metrics["netusage_uplink_day_transmit_bytes"] == days["2026-11-22"][1]
    file = getattr(counted, form)
    piped = [argument if argument != file else "-" for argument in order]
    again = json.loads(netusage(*piped, "--json", environment=environment, stdin=file.read_bytes()))
    assert [each["known_transmitted_bytes"] for each in again["accounts"]] == [transmitted] * 2


def test_without_a_ledger_one_is_begun_as_serve_would(counted, cable, exporter, tmp_path):
    near, far = cable
    near.send("10.0.0.2", 9)
    ledger = tmp_path / "new" / "ledger.db"
    order = ("import", "vnstat", counted.database, f"--storage.path={ledger}", f"--config.file={counted.configuration}")
    assert "There is no ledger yet" in netusage(*order, "--dry-run", environment=counted.environment) and not ledger.exists()
    done = subprocess.run(["ip", "netns", "exec", near.name, BINARY, *order], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **counted.environment})
    assert done.returncode == 0 and "A new ledger was created" in done.stdout, done.stderr
    assert pair(usage(counted, ledger, "summary", "--device", "wan0")["wan0"]) == (0, counted.vnstat_sent)
    # The import sets the baseline. Bytes between the import and the daemon's first start count.
    sent = near.send("10.0.0.2", 5)
    daemon = exporter(near, f"--config.file={counted.configuration}", ledger=ledger, environment=counted.environment)
    assert daemon.metrics().pair("lifetime", "wan0") == (0, counted.vnstat_sent + sent)


def test_what_both_have_metered_counts_once(counted):
    order = ("import", "vnstat", counted.database, f"--storage.path={counted.daemon.ledger}", f"--config.file={counted.configuration}")
    assert counted.daemon.metrics().pair("lifetime", "wan0") == (0, counted.sent - counted.own_from)
    for number in range(2):
        done = json.loads(netusage(*order, "--json", environment=counted.environment))
        wan, = done["accounts"]
        taken = counted.own_from if number == 0 else 0
        assert wan["taken_transmitted_bytes"] == taken and wan["known_transmitted_bytes"] == counted.vnstat_sent - taken
        eventually(lambda: counted.daemon.metrics().pair("lifetime", "wan0") == (0, counted.sent))
        assert pair(usage(counted, counted.daemon.ledger, "summary", "--device", "wan0")["wan0"]) == (0, counted.sent)
        assert counted.daemon.metrics()["netusage_uplink_lifetime_transmit_bytes"] == counted.sent - counted.own_from
    # The daemon counts on.
    counted.sent += counted.near.send("10.0.0.2", 10)
    eventually(lambda: counted.daemon.metrics().pair("lifetime", "wan0") == (0, counted.sent))
    # If the ledger's file is lost, the daemon writes what it knows to a new one. Another import then adds nothing either.
    counted.daemon.ledger.unlink()
    eventually(lambda: counted.daemon.ledger.exists() and pair(usage(counted, counted.daemon.ledger, "summary", "--device", "wan0")["wan0"])
               == (0, counted.sent), 90)
    done = json.loads(netusage(*order, "--json", environment=counted.environment))
    assert done["accounts"][0]["taken_transmitted_bytes"] == 0
    assert counted.daemon.metrics().pair("lifetime", "wan0") == (0, counted.sent)


def test_poisoned_rows_are_told_and_left_out(counted, exporter, namespaces, tmp_path):
    poisoned = tmp_path / "vnstat.db"
    shutil.copy(counted.database, poisoned)
    with contextlib.closing(sqlite3.connect(poisoned)) as database, database:
        # vnstat leaves such numbers after a counter was reset. They are larger than SQLite's integers.
        for table in ("fiveminute", "hour", "day", "month", "year"):
            database.execute(f"UPDATE {table} SET tx = tx + 1.8446744073709552e19 WHERE date >= '2026-11-22' OR date LIKE '%-01'")
        database.execute("UPDATE interface SET txtotal = txtotal + 1.8446744073709552e19")
        good, = database.execute("SELECT tx FROM day WHERE typeof(tx) = 'integer'").fetchone()
    daemon = exporter(namespaces(), f"--config.file={counted.configuration}", environment=counted.environment)
    done = json.loads(netusage("import", "vnstat", poisoned, "--json", f"--storage.path={daemon.ledger}",
                               f"--config.file={counted.configuration}", environment=counted.environment))
    assert [each["taken_transmitted_bytes"] for each in done["accounts"]] == [good]
    for start in ("wan0: day 2026-11-22: a number of type real", "wan0: month 2026-11-01: ", "wan0: year 2026-01-01: ", "wan0: total "):
        assert any(each.startswith(start) for each in done["problems"]), start


def test_our_own_csv_comes_back_to_the_byte(counted, exporter, namespaces, tmp_path):
    end = int(datetime.datetime(2026, 11, 2, 9, 40, tzinfo=ZONE).timestamp())
    past = Ledger(namespaces(), tmp_path, CONFIGURATION)
    names = [("", "uplink"), ("wan0", "device"), ('a,"b"', "device"), ("uplink", "device"), (b"caf\xe9", "device"), ("veth*", "collapsed")]
    for number, name in enumerate(names):
        account = past.account(*name)
        for start in range(end - 9 * 86400, end, 300):
            past.bucket(account, start, start % 7919 * number, start % 1049)
    past.close(until=end)
    (tmp_path / "new").mkdir()
    daemon = exporter(namespaces(), f"--config.file={past.configuration}", directory=tmp_path / "new")

    def export(ledger, *arguments):
        text = netusage("export", *arguments, "--since", "2026-10-20", "--until", "2026-11-02",
                        f"--storage.path={ledger}", f"--config.file={past.configuration}")
        return sorted(tuple(row) for row in csv.reader(io.StringIO(text)) if row[4:] != ["0", "0"])

    for grain in ("day", "hour", "5m"):
        file = tmp_path / f"{grain}.csv"
        netusage("export", "--grain", grain, "-o", file, f"--storage.path={past.path}", f"--config.file={past.configuration}")
        for again in range(2):
            # The second import of a file changes nothing.
            netusage("import", "csv", file, *([] if again else ["--replace"]), f"--storage.path={daemon.ledger}",
                     f"--config.file={past.configuration}")
            eventually(lambda: export(daemon.ledger, "--grain", grain) == export(past.path, "--grain", grain))
        assert export(daemon.ledger, "--grain", "day") == export(past.path, "--grain", "day")
    # A ledger's own export adds nothing to it.
    done = json.loads(netusage("import", "csv", file, "--json", f"--storage.path={past.path}", f"--config.file={past.configuration}"))
    assert len(done["accounts"]) == len(names)
    assert all(each["taken_received_bytes"] == each["taken_transmitted_bytes"] == 0 for each in done["accounts"])


def rows_of(*rows):
    return "start,end,device,kind,received_bytes,transmitted_bytes\r\n" + "".join(f"{row}\r\n" for row in rows)


def test_parts_of_days_and_other_zones_add_nothing_and_take_nothing_away(namespaces, exporter, tmp_path):
    daemon = exporter(namespaces())
    # The ledger keeps buckets of the last two months.
    first = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - datetime.timedelta(20)

    def row(hour, length, received):
        ends = [(first + datetime.timedelta(hours=each)).isoformat() for each in (hour, hour + length)]
        return f"{ends[0]},{ends[1]},eth0,device,{received},{received // 7}"
    hours = [row(hour, 1, 1000 + hour) for hour in range(240)]

    def take(*rows):
        file = tmp_path / "rows.csv"
        file.write_text(rows_of(*rows))
        done = json.loads(netusage("import", "csv", file, "--json", f"--storage.path={daemon.ledger}"))
        return done["accounts"][0]["taken_received_bytes"]
    total = sum(1000 + hour for hour in range(240))
    # Import one part, then another one that overlaps with it, then everything, then a part again, then a day of another zone.
    assert take(*hours[:36]) + take(*hours[30:]) == total and take(*hours) == take(*hours[7:50]) == 0
    assert take(row(46, 24, 24000)) == 0
    # Metrics show a device that isn't there only while the open month holds bytes of it.
    summary = json.loads(netusage("summary", "--json", "--device", "eth0", f"--storage.path={daemon.ledger}"))
    assert summary["accounts"][0]["received_bytes"] == total


def test_what_the_daemon_will_book_itself_is_not_taken_while_it_is_off(namespaces, exporter, tmp_path, cable):
    near, far = cable
    daemon = exporter(near)
    sent = near.send("10.0.0.2", 10)
    eventually(lambda: daemon.metrics().pair("lifetime", "wan0") == (0, sent))
    daemon.stop()
    time.sleep(2.1)
    later = near.send("10.0.0.2", 20)
    now = int(time.time())
    before = 5000

    def stamp(seconds):
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    file = tmp_path / "rows.csv"
    file.write_text(rows_of(f"{stamp(now - 7200)},{stamp(now - 3600)},wan0,device,0,{before}",
                            f"{stamp(now - 3600)},{stamp(now)},wan0,device,0,{sent + later + 7}"))
    order = ("import", "csv", file, f"--storage.path={daemon.ledger}")
    assert "run netusage serve, then import again" in " ".join(netusage(*order).split())
    daemon = exporter(near)
    eventually(lambda: daemon.metrics().pair("lifetime", "wan0") == (0, before + sent + later))
    netusage(*order)
    eventually(lambda: daemon.metrics().pair("lifetime", "wan0") == (0, before + sent + later + 7))


def test_a_wrong_import_is_replaced(counted, exporter, namespaces, tmp_path):
    daemon = exporter(namespaces(), environment=counted.environment)
    daemon.stop()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("timezone: Pacific/Auckland\n")
    order = ("import", "vnstat", counted.database, f"--storage.path={daemon.ledger}")
    netusage(*order, "--uplink", "wan0", f"--config.file={wrong}", environment=counted.environment)
    netusage(*order, "--uplink", "wan0", "--replace", f"--config.file={counted.configuration}", environment=counted.environment)
    with contextlib.closing(sqlite3.connect(counted.database)) as database:
        days = {date: sent for date, sent in database.execute("SELECT date, tx FROM day")}
    for name in ("uplink", "wan0"):
        shown = usage(counted, daemon.ledger, "days", "--since", "2026-11-19", "--until", "2026-11-24", "--device", name)[name]["entries"]
        assert {each["start"][:10]: each["transmitted_bytes"] for each in shown if each["total_bytes"]} == days


def test_another_zone_is_named_and_takes_nothing_twice(counted, exporter, namespaces, tmp_path):
    daemon = exporter(namespaces(), f"--config.file={counted.configuration}", environment=counted.environment)

    def take(*arguments, file=counted.database, code=0):
        return netusage("import", "vnstat", file, "--json", *arguments, f"--storage.path={daemon.ledger}",
                        f"--config.file={counted.configuration}", environment=counted.environment, code=code)
    assert "Europe/Berlin1" in take("--timezone", "Europe/Berlin1", code=1) and "can't be the name" in take("--timezone", "../x", code=64)
    taken = json.loads(take("--timezone", "UTC"))["accounts"][0]
    assert taken["taken_transmitted_bytes"] > 0
    for arguments in ((), ("--dry-run",)):
        error = take(*arguments, code=1)
        assert "a clock with UTC, and this one goes by a clock with UTC+01:00, in July UTC+02:00" in error and "--timezone" in error
    assert json.loads(take("--timezone", "UTC"))["accounts"][0]["taken_transmitted_bytes"] == 0
    done = json.loads(take("--replace"))["accounts"][0]
    assert done["forgotten_transmitted_bytes"] == taken["taken_transmitted_bytes"]
    assert done["taken_transmitted_bytes"] == counted.vnstat_sent
    # vnStat's JSON shows in which zone its times are.
    assert "aren't those of a clock with UTC-" in take("--timezone", "America/New_York", file=counted.json, code=1)


def test_a_file_of_which_nothing_is_left_says_why(counted, exporter, namespaces, tmp_path):
    daemon = exporter(namespaces())
    file = tmp_path / "rows.csv"
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(2)
    file.write_text(rows_of(f"{start.isoformat()},{(start + datetime.timedelta(hours=1)).isoformat()},eth5,device,1,1",
                            "2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,lo,device,1,1").replace("start,end,device,kind", '"start","end","device","kind"'))
    told = netusage("import", "csv", file, f"--storage.path={daemon.ledger}")
    assert "left out: eth5: a row that lies ahead of the clock" in told and "left out: lo: " in told and "nothing else in the file" in told


def test_files_in_order_come_to_the_same_as_one(namespaces, exporter, tmp_path):
    now = int(time.time())
    midnight = now // 86400 * 86400 - 2 * 86400
    own = midnight + 12 * 3600 + 1800

    def stamp(seconds):
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()
    days = [f"{stamp(midnight + day * 86400)},{stamp(midnight + (day + 1) * 86400)},eth0,device,{received},0"
            for day, received in ((-2, 288_000_000), (-1, 288_000_000), (0, 5_100_400))]
    sums = []
    for number, files in enumerate(([days], [days[:2], days[2:]], [days[2:], days[:2]], [days[:1], days[1:2], days[2:], days])):
        (tmp_path / str(number)).mkdir()
        ledger = Ledger(namespaces(), tmp_path / str(number), "timezone: UTC\n", zone=datetime.timezone.utc)
        for start in range(own, own + 3600, 300):
            ledger.bucket(ledger.account("eth0"), start, 1000, 0)
        ledger.close(until=now)
        for rows in files:
            file = tmp_path / "rows.csv"
            file.write_text(rows_of(*rows))
            netusage("import", "csv", file, f"--storage.path={ledger.path}", f"--config.file={ledger.configuration}")
        with contextlib.closing(sqlite3.connect(ledger.path)) as database:
            sums.append([database.execute(f"SELECT sum(received) FROM {table}").fetchone()[0] for table in ("day", "bucket")])
    assert sums == [[581_100_400] * 2] * 4


def test_replacing_leaves_what_was_metered(namespaces, tmp_path):
    now = int(time.time())
    midnight = now // 86400 * 86400 - 4 * 86400

    def stamp(seconds):
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()
    ledger = Ledger(namespaces(), tmp_path, "timezone: UTC\n", zone=datetime.timezone.utc)
    for hour in (10, 14, 20):
        ledger.bucket(ledger.account("eth0"), midnight + hour * 3600, 1000 * hour, 0)
    ledger.close(until=now)
    file = tmp_path / "rows.csv"
    file.write_text(rows_of(f"{stamp(midnight - 86400)},{stamp(midnight)},eth0,device,600,0",
                            f"{stamp(midnight)},{stamp(midnight + 9 * 3600)},eth0,device,500,0"))
    order = ("import", "csv", file, f"--storage.path={ledger.path}", f"--config.file={ledger.configuration}")

    def day_sums():
        with contextlib.closing(sqlite3.connect(ledger.path)) as database:
            return [row[0] for row in database.execute("SELECT received FROM day ORDER BY day")]
    for arguments in ((), ("--replace",)):
        netusage(*order, *arguments)
        assert day_sums() == [600, 44_500]
    # The same if the first buckets are deleted, and nothing came after that.
    with contextlib.closing(sqlite3.connect(ledger.path)) as database, database:
        database.execute("UPDATE ledger SET buckets_from = ?", (midnight + 15 * 3600,))
        database.execute("DELETE FROM bucket WHERE start < ?", (midnight + 15 * 3600,))
    for arguments in ((), ("--replace",), ()):
        netusage(*order, *arguments)
        assert day_sums() == [600, 44_500]


def test_a_trial_in_a_ledger_that_isnt_there_forgets_nothing(tmp_path):
    """Its rows are imported in several pieces."""
    rows = tmp_path / "rows.csv"
    start = datetime.datetime(2026, 9, 1, tzinfo=datetime.UTC)
    times = [(start + datetime.timedelta(minutes=5 * number)).strftime("%Y-%m-%dT%H:%M:%SZ") for number in range(11_001)]
    rows.write_text(rows_of(*(f"{begin},{end},eth0,device,10,1" for begin, end in zip(times, times[1:]))))
    report = json.loads(netusage("import", "csv", rows, "--dry-run", "--replace", "--json", f"--storage.path={tmp_path}/none.db"))
    account, = report["accounts"]
    assert (account["taken_received_bytes"], account["forgotten_received_bytes"]) == (110_000, 0)
    assert report["begun_ledger"] == f"{tmp_path}/none.db" and not (tmp_path / "none.db").exists()


def test_a_wrong_uplink_is_replaced(namespaces, exporter, tmp_path):
    daemon = exporter(namespaces())
    rows = tmp_path / "rows.csv"
    rows.write_text(rows_of("2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,eth0,device,1000,0", "2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,eth1,device,7,0"))

    def uplink(*flags):
        netusage("import", "csv", rows, *flags, f"--storage.path={daemon.ledger}")
        return daemon.metrics()["netusage_uplink_lifetime_receive_bytes"]
    assert uplink("--uplink", "eth0") == 1000
    assert uplink("--uplink", "eth1") == 1007, "each was the uplink for a time"
    assert uplink("--uplink", "eth1", "--replace") == 7
    # A class of devices from which the uplink got nothing.
    other = tmp_path / "class.csv"
    other.write_text(rows_of("2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,veth*,collapsed,3,0"))
    netusage("import", "csv", other, "--replace", f"--storage.path={daemon.ledger}")
    assert uplink() == 7
    assert uplink("--replace") == 0
    report = json.loads(netusage("summary", "--device", "eth0", "--json", f"--storage.path={daemon.ledger}"))
    assert pair(report["accounts"][0]) == (1000, 0)


@pytest.mark.parametrize("kind, content, message", [
    ("vnstat", None, "can't be read: No such file"),
    ("vnstat", b"", ": empty"),
    ("vnstat", b"<vnstat/>", "neither a database of vnStat 2 nor what vnstat --json prints"),
    ("vnstat", rows_of().encode(), "use netusage import csv"),
    ("vnstat", b'{"jsonversion":"2","interfaces":[{"name":"a"}]}', "there is no created"),
    ("vnstat", b'{"jsonversion":"1","interfaces":[]}', "written by vnStat 1"),
    ("vnstat", b"SQLite format 3\0" + bytes(100), "not a database of vnStat 2"),
    ("vnstat", "ledger", "there is no table interface"),
    ("csv", b"", ": empty"),
    ("csv", b"SQLite format 3\0" + bytes(100), "use netusage import vnstat"),
    ("csv", b"start;end;device\r\n1;2;e\r\n", "1: not a CSV file of netusage export, with commas and UTF-8: it begins with start;end;device and"),
    ("csv", b"start,end,device,kind,received_bytes,transmitted_bytes\r\n2026-11-21T00:00:00Z,2026-11-22T00:00:00Z,e,device,1,-1\r\n",
     "2: transmitted_bytes -1 is not a number of bytes, in digits alone; nothing was imported"),
    ("csv", rows_of("2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,e,device,1,1", "2026-10-01T00:30:00Z,2026-10-01T01:30:00Z,e,device,1,1").encode(),
     ":3: overlaps with the row of e in line 2"),
    ("csv", rows_of("2026-10-01 00:00:00,2026-10-01 01:00:00,e,device,1,1").encode(), "2: start 2026-10-01 00:00:00 is not a time"),
    ("csv", b"start,end,device,kind,received_bytes,transmitted_bytes\r\n2026-11-21T00:00:00Z,2126-11-22T00:00:00Z,e,device,1,1\r\n", "2: it is longer than a day"),
    ("csv", rows_of("2026-10-01,2026-10-01T01:00:00Z,e,device,1,1").encode(), "2: start 2026-10-01 is not a time"),
    ("csv", rows_of("2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,e,physical,1,1").encode(), "2: kind physical is none of"),
])
def test_a_file_that_makes_no_sense_is_named_and_nothing_changes(exporter, namespaces, tmp_path, kind, content, message):
    daemon = exporter(namespaces())
    daemon.stop()
    file = tmp_path / "file"
    if content == "ledger":
        shutil.copy(daemon.ledger, file)
    elif content is not None:
        file.write_bytes(content)
    before = daemon.ledger.read_bytes()
    error = netusage("import", kind, file, f"--storage.path={daemon.ledger}", code=1)
    assert message in error and str(file) in error and daemon.ledger.read_bytes() == before


# Hostile files

HEADER = "start,end,device,kind,received_bytes,transmitted_bytes\n"
TABLES = ("fiveminute", "hour", "day", "month", "year")


@pytest.fixture
def place(tmp_path):
    """A directory with a ledger for imports. `run` limits an import's time and memory."""
    ledger = tmp_path / "ledger.db"
    (tmp_path / "c.yaml").write_text("timezone: UTC\n")
    common = [f"--config.file={tmp_path}/c.yaml", f"--storage.path={ledger}"]

    def run_import(kind, file, *more, stdin=None):
        return subprocess.run(["prlimit", "--as=3000000000", BINARY, "import", kind, file, *common, *more], input=stdin,
                              capture_output=True, timeout=60)

    (tmp_path / "first.csv").write_text(HEADER + "2026-11-01T00:00:00Z,2026-11-01T00:05:00Z,eth0,device,1,1\n")
    assert run_import("csv", tmp_path / "first.csv").returncode == 0
    return types.SimpleNamespace(path=tmp_path, ledger=ledger, run=run_import)


def vnstat_database(path, *changes, interfaces=(("eth0", 1000, 2000),)):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE interface (id INTEGER PRIMARY KEY, name TEXT, created TEXT, updated TEXT, "
                     "rxtotal INTEGER, txtotal INTEGER)")
    for table in TABLES:
        database.execute(f"CREATE TABLE {table} (interface INTEGER, date TEXT, rx INTEGER, tx INTEGER)")
    for number, (name, received, sent) in enumerate(interfaces):
        database.execute("INSERT INTO interface VALUES (?, ?, '2026-01-01 00:00:00', '2026-11-20 00:00:00', ?, ?)",
                         (number + 1, name, received, sent))
    for change in changes:
        database.execute(change)
    database.commit()
    return database


@pytest.mark.parametrize("changes, message", [
    (["DROP TABLE day", "CREATE TABLE day (interface INTEGER, rx INTEGER, tx INTEGER, "
      "date TEXT GENERATED ALWAYS AS (hex(zeroblob(400000000))) VIRTUAL)",
      "INSERT INTO day (interface, rx, tx) VALUES (1, 1, 1)"], "computed or hidden"),
    (["DROP TABLE day", "CREATE VIRTUAL TABLE day USING fts5(interface, date, rx, tx)"], "no ordinary table"),
    (["DROP TABLE day", "CREATE VIEW day AS SELECT * FROM hour"], "no ordinary table"),
    (["DROP TABLE day"], "no table day"),
])
def test_a_database_with_traps_is_no_database_of_vnstat(place, changes, message):
    vnstat_database(place.path / "v.db", *changes).close()
    done = place.run("vnstat", place.path / "v.db")
    assert done.returncode == 1 and message in done.stderr.decode(), done.stderr


def test_a_database_that_somebody_writes_is_read_as_of_its_last_commit(place):
    writer = vnstat_database(place.path / "v.db", "INSERT INTO day VALUES (1, '2026-10-05', 1000, 2000)")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE interface SET rxtotal = 1500")
    writer.execute("UPDATE day SET rx = 1500")
    writer.commit()
    writer.execute("BEGIN EXCLUSIVE")
    before = sorted(os.listdir(place.path))
    os.chmod(place.path / "v.db", 0o400)
    done = place.run("vnstat", place.path / "v.db", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accounts"][0]["taken_received_bytes"] == 1500
    assert sorted(os.listdir(place.path)) == before
    writer.close()


def test_a_change_that_a_crash_left_in_the_midst_is_named_with_the_remedy(place):
    vnstat_database(place.path / "v.db").close()
    # This program writes a part of its transaction to the file, and dies.
    crash = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.executescript("PRAGMA cache_size = 1; BEGIN; UPDATE interface SET rxtotal = 7")
database.executemany("INSERT INTO day VALUES (1, hex(randomblob(100)), 1, 1)", [()] * 2000)
os._exit(0)
"""
    run("python3", "-c", crash, place.path / "v.db")
    assert (place.path / "v.db-journal").stat().st_size
    (place.path / "link.db").symlink_to("v.db")
    for file in ("v.db", "link.db"):
        done = place.run("vnstat", place.path / file)
        assert done.returncode == 1 and b"v.db-journal: " in done.stderr and b"with sqlite3" in done.stderr, done.stderr
    # Apply the remedy that the message names.
    run("sqlite3", place.path / "v.db", "SELECT count(*) FROM day")
    done = place.run("vnstat", place.path / "link.db", "--dry-run", "--json")
    assert json.loads(done.stdout)["accounts"][0]["taken_received_bytes"] == 1000 - 1, "one is there already"


@pytest.mark.parametrize("tables", [["fiveminute", "hour", "day", "month", "year"], ["day"], ["month"]])
def test_what_no_link_can_have_carried_is_left_out_whoever_says_so(place, tables):
    huge = 10**18
    dates = {"fiveminute": "2026-11-10 10:00:00", "hour": "2026-11-10 10:00:00", "day": "2026-11-10",
             "month": "2026-11-01", "year": "2026-01-01"}
    vnstat_database(
        place.path / "v.db", *(f"INSERT INTO {table} VALUES (1, '{dates[table]}', {huge}, 5)" for table in tables),
        interfaces=(("eth0", huge, 5),)).close()
    done = place.run("vnstat", place.path / "v.db", "--json")
    assert done.returncode == 0 and b"more than any device carries" in done.stdout + done.stderr, done
    assert json.loads(done.stdout)["accounts"][0]["taken_received_bytes"] == 0


def test_sums_that_do_not_agree_are_said(place):
    vnstat_database(place.path / "v.db", "INSERT INTO day VALUES (1, '2026-10-05', 600, 60)",
                    interfaces=(("eth0", 500, 50),)).close()
    done = place.run("vnstat", place.path / "v.db", "--json")
    assert "fewer than the 660 of its days" in " ".join(json.loads(done.stdout)["problems"])
    vnstat_database(place.path / "m.db", "INSERT INTO day VALUES (1, '2026-10-05', 600, 60)",
                    "INSERT INTO month VALUES (1, '2026-10-01', 500, 50)", "INSERT INTO year VALUES (1, '2026-01-01', 400, 40)",
                    "INSERT INTO hour VALUES (1, '2026-10-05 07:00:00', 300, 30)",
                    "INSERT INTO fiveminute VALUES (1, '2026-10-05 07:05:00', 301, 30)",
                    interfaces=(("eth0", 600, 60),)).close()
    problems = " ".join(json.loads(place.run("vnstat", place.path / "m.db", "--json").stdout)["problems"])
    assert "month 2026-10-01: 550 bytes, fewer than the 660 of its parts" in problems
    assert "year 2026-01-01: 440 bytes, fewer than the 660 of its parts" in problems
    assert "hour 2026-10-05T07:00:00" in problems and "its five minutes say more" in problems


@pytest.mark.parametrize("text, message", [
    (b'{"vnstatversion": "1.18", "jsonversion": "1", "interfaces": []}', "vnStat 1"),
    (b'{"jsonversion": "3", "interfaces": []}', "jsonversion 3"),
    (b'{"jsonversion": "2", "interfaces": [{"name": "eth0"}]}', "there is no created"),
    (b'{"jsonversion": "2", "interfaces": [', "the JSON is broken, or it ends too early"),
    (b'{"jsonversion": "2", "interfaces": [{"name": 7}]}', "a value of the wrong type at interfaces[0].name"),
    (b"interface,rx,tx\n", "neither a database of vnStat 2"),
])
def test_each_cause_has_its_own_message(place, text, message):
    (place.path / "v.json").write_bytes(text)
    for file, stdin in ((place.path / "v.json", None), ("-", text)):
        done = place.run("vnstat", file, stdin=stdin)
        assert done.returncode == 1 and message in done.stderr.decode(), done.stderr


@pytest.mark.parametrize("rows, message", [
    (b"2026-11-01T00:00:00Z,2026-11-02T00:00:00Z,stra\xdfe,device,1,1\n", ":2: isn't UTF-8"),
    (b"," * 100_000_000, ":2: a line of more than"),
    (b"2026-11-01T00:00:00Z,2026-11-01T00:00:01Z,eth1,device,99999999999999999,1\n", "more than any device carries"),
])
def test_a_row_that_makes_no_sense_is_named(place, rows, message):
    (place.path / "v.csv").write_bytes(HEADER.encode() + rows)
    done = place.run("csv", place.path / "v.csv")
    assert done.returncode == 1 and message in done.stderr.decode(), done.stderr[:500]


def test_an_endless_line_and_an_endless_file_end(place):
    for kind in ("csv", "vnstat"):
        with open("/dev/zero", "rb") as zeros:
            done = subprocess.run(["prlimit", "--as=3000000000", BINARY, "import", kind, "-",
                                   f"--storage.path={place.ledger}"], stdin=zeros, capture_output=True, timeout=60)
        assert done.returncode == 1, done.stderr[:500]


def test_a_bucket_that_holds_a_whole_day_is_taken_back(place):
    """netusage exports such a bucket if the finer grain of a day was lost."""
    row = "2026-11-10T00:00:00Z,2026-11-10T00:05:00Z,eth0,device,40000000000000,1\n"
    (place.path / "v.csv").write_text(HEADER + row)
    done = place.run("csv", place.path / "v.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accounts"][0]["taken_received_bytes"] == 40_000_000_000_000


def test_thousands_of_devices_are_a_matter_of_seconds(place):
    count = 2000
    (place.path / "v.csv").write_text(HEADER + "".join(
        f"2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,dev{number},device,1000,2000\n" for number in range(count)))
    vnstat_database(place.path / "v.db", interfaces=[(f"if{number}", 1000, 2000) for number in range(count)]).close()
    for kind, file in (("csv", "v.csv"), ("vnstat", "v.db")):
        done = place.run(kind, place.path / file, "--json")
        assert done.returncode == 0, done.stderr[:500]
        taken = [account["taken_received_bytes"] for account in json.loads(done.stdout)["accounts"]]
        assert sum(taken) == 1000 * count
