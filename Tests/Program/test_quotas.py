"""Quotas, rate limits and committed rates, with real traffic and the real program."""

import datetime
import json
import math
import os
import pty
import random
import re
import signal
import sqlite3
import subprocess
import time
import zoneinfo

import pytest

from support import BINARY, UDP_OVERHEAD, FakeClock, Namespace, eventually


def write(path, text):
    path.write_text(text)
    return f"--config.file={path}"


def command(*arguments, ledger, configuration, environment=None, prefix=()):
    """Runs a command, with or without a running daemon. Returns (exit code, output, errors)."""
    done = subprocess.run([*prefix, str(BINARY), *arguments, f"--storage.path={ledger}", configuration],
                          capture_output=True, text=True, timeout=60, env={**os.environ, **(environment or {})})
    return done.returncode, done.stdout, done.stderr


def quota(metrics, family, name, **labels):
    rest = "".join(f',{key}="{value}"' for key, value in labels.items())
    return metrics.get(f'netusage_quota_{family}{{quota="{name}"{rest}}}')


@pytest.fixture
def home(tmp_path, cable, exporter):
    """A daemon with a quota of 1 MB for bytes sent over wan0. The quota's program writes down each of its runs."""
    near, far = cable
    notes = tmp_path / "notes"
    program = tmp_path / "on-quota"
    program.write_text(f'#!/bin/sh\necho "$NETUSAGE_QUOTA $NETUSAGE_EVENT $NETUSAGE_THRESHOLD $NETUSAGE_USED_BYTES '
                       f'$NETUSAGE_LIMIT_BYTES $NETUSAGE_CYCLE_START $NETUSAGE_CYCLE_END $1" >> {notes}\n')
    program.chmod(0o755)

    class Home:
        ledger = tmp_path / "ledger.db"
        configuration = write(tmp_path / "netusage.yaml", f"""
            quotas:
              - name: home
                count: [wan0]
                direction: transmit
                limit: 1 MB
                warn_at: [50%, 80%]
                cycle: {{ every: year, day: "02-29", timezone: Asia/Kolkata }}
                run: ["{program}", argument]
            """)

        def start(self):
            self.daemon = exporter(near, self.configuration, ledger=self.ledger)
            return self.daemon

        def send(self, packets):
            return near.send("10.0.0.2", packets)

        def notes(self):
            return notes.read_text().splitlines() if notes.exists() else []

        def run(self, *arguments, **options):
            return command(*arguments, ledger=self.ledger, configuration=self.configuration, **options)

        def used(self):
            return quota(self.daemon.metrics(), "used_bytes", "home")

    home = Home()
    home.start()
    return home


def test_a_quota_is_breached_by_traffic_and_stays_so_after_sigkill(home):
    sent = home.send(500)
    metrics = home.daemon.metrics()
    assert quota(metrics, "used_bytes", "home") == sent == 521000
    assert quota(metrics, "limit_bytes", "home") == 1_000_000
    assert quota(metrics, "breached", "home") == 0
    assert quota(metrics, "threshold_reached", "home", threshold="0.5") == 1
    assert quota(metrics, "threshold_reached", "home", threshold="0.8") == 0
    eventually(lambda: len(home.notes()) == 1)
    sent += home.send(500)
    metrics = home.daemon.metrics()
    assert quota(metrics, "used_bytes", "home") == sent
    assert quota(metrics, "breached", "home") == 1 and quota(metrics, "breaches_total", "home") == 1
    eventually(lambda: len(home.notes()) == 3)
    shown = json.loads(home.run("quota", "--json")[1])["quotas"][0]
    start, end = shown["cycle_start"], shown["cycle_end"]
    assert re.fullmatch(r"20\d\d-02-2[89]T00:00:00\+05:30", start) and re.fullmatch(r"20\d\d-02-2[89]T00:00:00\+05:30", end)
    assert home.notes() == [
        f"home warning 0.5 521000 1000000 {start} {end} argument", f"home warning 0.8 1042000 1000000 {start} {end} argument",
        f"home breach 1 1042000 1000000 {start} {end} argument"]
    home.daemon.kill()
    sent += home.send(10)
    home.start()
    metrics = home.daemon.metrics()
    assert quota(metrics, "used_bytes", "home") == sent
    assert quota(metrics, "breached", "home") == 1 and quota(metrics, "breaches_total", "home") == 1
    home.send(10)
    home.daemon.signal(signal.SIGHUP)
    eventually(lambda: "read again" in home.daemon.log)
    home.daemon.stop()
    assert len(home.notes()) == 3, "told again"


def test_what_was_carried_while_stopped_breaches_at_the_start(home):
    home.daemon.stop()
    home.send(1000)
    home.start()
    assert quota(home.daemon.metrics(), "breached", "home") == 1
    eventually(lambda: [note.split()[1] for note in home.notes()] == ["warning", "warning", "breach"])


def test_nothing_is_told_to_a_ledger_that_nobody_has(tmp_path):
    configuration = write(tmp_path / "netusage.yaml", "quotas: [{ name: home, limit: 1 MB }]\n")
    code, out, errors = command("quota", "correct", "home", "--used", "1 MB", ledger=tmp_path / "none.db", configuration=configuration)
    assert code == 1 and out == "" and "there is no ledger" in errors and "--storage.path" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["netusage.yaml"]


@pytest.mark.parametrize("runs", [True, False], ids=["beside the daemon", "without it"])
def test_a_correction_and_a_top_up_do_what_they_say_and_can_be_undone(home, runs):
    sent = home.send(1000)
    assert home.used() == sent
    if not runs:
        home.daemon.stop()

    def state():
        if runs:
            metrics = home.daemon.metrics()
            assert quota(metrics, "used_bytes", "home") == json.loads(home.run("quota", "--json")[1])["quotas"][0]["used_bytes"]
        return json.loads(home.run("quota", "home", "--json")[1])["quotas"][0]

    assert state()["breached"]
    code, out, errors = home.run("quota", "correct", "home", "--used", "300 kB")
    assert code == 0 and "300.00 kB" in out, errors
    now = state()
    assert now["used_bytes"] == 300_000 and not now["breached"] and now["drift_bytes"] == 300_000 - sent
    assert now["measured_bytes"] == sent
    assert [each["kind"] for each in now["adjustments"]] == ["correction"]
    assert home.run("quota", "top-up", "home", "500 kB")[0] == 0
    assert state()["limit_bytes"] == 1_500_000
    if not runs:
        home.start()
    since = home.send(100)
    assert home.used() == 300_000 + since
    metrics = home.daemon.metrics()
    assert quota(metrics, "limit_bytes", "home") == 1_500_000 and quota(metrics, "breached", "home") == 0
    home.daemon.kill()
    since += home.send(100)
    home.start()
    assert home.used() == 300_000 + since, "what came after the correction counts, whatever happened"
    if not runs:
        home.daemon.stop()
    code, out, errors = home.run("quota", "undo", "home")
    assert code == 0 and "top-up" in out, errors
    assert state()["limit_bytes"] == 1_000_000
    assert home.run("quota", "undo", "home", "--id", "1")[0] == 0
    now = state()
    assert now["used_bytes"] == sent + since and now["adjustments"] == [] and now["breached"]
    code, out, errors = home.run("quota", "undo", "home")
    assert code == 1 and "nothing to undo" in errors


def test_orders_that_make_no_sense_are_refused(home):
    tomorrow = (datetime.datetime.now() + datetime.timedelta(days=1)).strftime("%Y-%m-%d %H:%M")
    for arguments, code, says in [
            (("correct", "nope", "--used", "1 GB"), 1, "no quota nope; the daemon's configuration has home"),
            (("correct", "home", "--used", "1 gb"), 64, "did you mean GB?"),
            (("correct", "home", "--used", "-3 GB"), 64, "\"-3 GB\" is negative"),
            (("correct", "home", "--used=-1 GB"), 64, "negative"),
            (("correct", "home", "--used", "1 GB", "--at", "noon"), 64, "not a time"),
            (("correct", "home", "--used", "1 GB", "--at", tomorrow), 1, "in the future"),
            (("correct", "home", "--used", "1 GB", "--at", "2020-01-01 00:00"), 1, "before the open cycle"),
            (("top-up", "home", "0 GB"), 64, "above 0"), (("undo", "home", "--id", "7"), 1, "number 7")]:
        for _ in range(2):
            done = home.run("quota", *arguments)
            assert done[0] == code and says in done[2], (arguments, done)
        assert home.used() is not None
    assert json.loads(home.run("quota", "--json")[1])["quotas"][0]["adjustments"] == []


def test_a_reload_recalculates_and_a_quota_that_comes_back_has_its_corrections(home, tmp_path):
    sent = home.send(600)
    assert home.run("quota", "correct", "home", "--used", "100 kB")[0] == 0
    assert home.used() == 100_000
    text = (tmp_path / "netusage.yaml").read_text()

    def reload(text, is_so):
        (tmp_path / "netusage.yaml").write_text(text)
        home.daemon.signal(signal.SIGHUP)
        eventually(lambda: is_so(home.daemon.metrics()))

    reload("quotas: [{ name: other, count: [wan0], limit: 1 GB, cycle: { every: day } }]",
           lambda metrics: quota(metrics, "used_bytes", "other") == sent and quota(metrics, "used_bytes", "home") is None)
    # A file with errors changes nothing.
    reload("quotas: [{ name: worse, limit: 0 GB }]",
           lambda metrics: metrics["netusage_config_last_reload_successful"] == 0 and quota(metrics, "used_bytes", "other") == sent)
    more = home.send(50)
    reload(text, lambda metrics: quota(metrics, "used_bytes", "home") == 100_000 + more)
    assert home.run("quota", "undo", "home")[0] == 0
    assert home.used() == sent + more


def test_another_zone_repeats_nothing_and_another_billing_day_has_no_correction(home, tmp_path):
    program = (tmp_path / "on-quota")
    day = 15 if datetime.date.today().day != 15 else 20

    def use(zone, billing_day=1, limit="1 MB"):
        (tmp_path / "netusage.yaml").write_text(
            f"timezone: {zone}\nquotas: [{{ name: home, count: [wan0], direction: transmit, limit: {limit}, warn_at: [50%], "
            f'cycle: {{ every: month, day: {billing_day} }}, run: ["{program}", argument] }}]\n')
        home.daemon.signal(signal.SIGHUP)

    def shown():
        return json.loads(home.run("quota", "--json")[1])["quotas"][0]

    use("UTC")
    eventually(lambda: shown()["cycle"].startswith("month") and shown()["cycle_start"].endswith("Z"))
    sent = home.send(1200)
    home.daemon.metrics()
    notes = eventually(lambda: (lambda lines: lines if any("breach" in line for line in lines) else None)(home.notes()))
    commit = home.daemon.metrics()["netusage_ledger_last_commit_timestamp_seconds"]
    # Where the day is the same now.
    zone, offset = ("Asia/Kolkata", "+05:30") if datetime.datetime.now(datetime.UTC).hour < 12 else ("America/Bogota", "-05:00")
    use(zone)
    eventually(lambda: shown()["cycle_start"].endswith(offset))
    sent += home.send(10)
    assert home.used() == sent and home.daemon.metrics()["netusage_ledger_last_commit_timestamp_seconds"] >= commit
    home.daemon.stop()
    home.start()
    home.daemon.metrics()
    assert home.notes() == notes, "the same cycle by another clock"
    # The correction belongs to the other cycle.
    assert home.run("quota", "correct", "home", "--used", "500 MB")[0] == 0
    assert home.used() == 500_000_000
    use(zone, billing_day=day, limit="1 GB")
    eventually(lambda: home.used() == sent)
    use(zone, limit="1 GB")
    eventually(lambda: home.used() == 500_000_000)


def test_check_speaks_as_monitoring_plugins_do(home):
    def check(*arguments):
        code, out, errors = home.run("check", *arguments)
        assert errors == "" and out.count("\n") == 1, out + errors
        return code, out.strip()

    assert check() == (0, "NETUSAGE OK - home 0.0% used (0 B of 1.00 MB) | 'home'=0B;500000;1000000;0")
    home.send(600)
    home.daemon.metrics()
    assert check("home") == (1, "NETUSAGE WARNING - home 62.5% used (625.20 kB of 1.00 MB) | 'home'=625200B;500000;1000000;0")
    home.send(600)
    home.daemon.stop()
    home.start()
    home.daemon.stop()
    code, out = check()
    assert code == 2 and out.startswith("NETUSAGE CRITICAL - home 125.0% used")
    for wrong in ("nope", "--bogus"):
        code, out = check(wrong)
        assert code == 3 and out.startswith("NETUSAGE UNKNOWN") and wrong in out


def test_what_cannot_be_known_of_a_quota_is_left_out(home):
    """The use of a quota whose device never existed, beside a quota that is breached."""
    home.send(1200)
    home.daemon.stop()
    path = home.configuration.split("=", 1)[1]
    with open(path, "a") as file:
        file.write("\n              - { name: never, count: [wwan9], limit: 1 MB, price: { currency: EUR, base: 1 } }\n")
    home.start()
    for daemon_runs in (True, False):
        if daemon_runs:
            metrics = home.daemon.metrics()
            assert quota(metrics, "breached", "home") == 1 and quota(metrics, "limit_bytes", "never") == 1_000_000
            for family in ("used_bytes", "breached", "projected_bytes", "exhaustion_timestamp_seconds"):
                assert quota(metrics, family, "never") is None, family
            assert 'netusage_quota_cost{quota="never"' not in metrics.text
            assert 'netusage_quota_threshold_reached{quota="never"' not in metrics.text
        else:
            home.daemon.stop()
        code, out, _ = home.run("check")
        assert code == 2 and out.startswith("NETUSAGE CRITICAL - home") and "'never'=U;;1000000;0" in out, out
        assert "there is no device wwan9" in out
        code, out, _ = home.run("quota", "--json")
        never = [each for each in json.loads(out)["quotas"] if each["name"] == "never"][0]
        assert "no device wwan9" in never["problem"] and not {"used_bytes", "left_bytes", "breached"} & set(never)
        code, out, _ = home.run("quota")
        assert "there is no device wwan9" in out and " 0 B" not in out.split("never")[1], out
    # Only the ledger knows a device that existed long ago.
    with sqlite3.connect(home.ledger) as database:
        database.execute("INSERT INTO account SELECT max(id) + 1, 'device', 'wwan9', 0, 0, 0, 0, 0, 0, '' FROM account")
    home.start()
    assert quota(home.daemon.metrics(), "used_bytes", "never") == 0


def test_what_people_see_has_colour_on_a_terminal_only_and_fits_it(home):
    home.send(900)
    home.daemon.metrics()
    piped = home.run("quota")[1]
    assert "\x1b" not in piped and all(len(line) <= 80 for line in piped.splitlines())
    for word in ("home", "wan0, transmit", "over 80 %", "used", "projected", "safe per day"):
        assert word in piped

    def on_terminal(columns, **environment):
        leader, follower = pty.openpty()
        import fcntl, struct, termios  # noqa: E401
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [str(BINARY), "quota", f"--storage.path={home.ledger}", home.configuration], stdout=follower,
            env={**os.environ, "TERM": "xterm", "LANG": "C.UTF-8", **environment})
        os.close(follower)
        out = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:
                break
            if not chunk:
                break
            out += chunk
        process.wait()
        os.close(leader)
        return out.decode()

    assert "\x1b[33m" in on_terminal(80)
    assert "\x1b" not in on_terminal(80, NO_COLOR="1")
    for columns in (60, 80, 140):
        plain = re.sub(r"\x1b\[\d+m", "", on_terminal(columns)).splitlines()
        assert max(map(len, plain)) <= columns
        assert max(map(len, plain)) >= columns - 10, "the bar takes the width there is"


def test_a_class_that_a_quota_counts_and_a_device_of_it_that_another_names(tmp_path, namespaces, exporter):
    near, far = namespaces(), namespaces()
    near.veth("veth1", far, "far1", number=1)
    near.veth("veth2", far, "far2", number=2)
    configuration = write(tmp_path / "netusage.yaml", """
        quotas:
          - { name: class, count: ["veth*"], direction: transmit, limit: 1 GB }
          - { name: one, count: [veth2], direction: transmit, limit: 1 GB }
        """)
    daemon = exporter(near, configuration)
    first, second = near.send("10.1.0.2", 10), near.send("10.2.0.2", 20)
    metrics = daemon.metrics()
    assert quota(metrics, "used_bytes", "one") == second
    assert quota(metrics, "used_bytes", "class") == first + second
    assert metrics.pair("month", "veth*")[1] == first and metrics.pair("month", "veth2")[1] == second


def test_free_windows_are_not_counted(tmp_path, cable, exporter):
    near, _ = cable
    now = datetime.datetime.now(datetime.timezone.utc)
    opens = (now - datetime.timedelta(hours=2)).strftime("%H:%M")
    closes = (now + datetime.timedelta(hours=2)).strftime("%H:%M")
    configuration = write(tmp_path / "netusage.yaml", f"""
        quotas:
          - {{ name: night, limit: 1 GB, direction: transmit, cycle: {{ every: month, timezone: UTC }}, free: ["{opens}-{closes}"] }}
          - {{ name: day, limit: 1 GB, direction: transmit, cycle: {{ every: month, timezone: UTC }}, free: ["{closes}-{opens}"] }}
        """)
    daemon = exporter(near, configuration)
    sent = near.send("10.0.0.2", 100)
    metrics = daemon.metrics()
    assert quota(metrics, "used_bytes", "night") == 0
    assert quota(metrics, "used_bytes", "day") == sent


def test_a_program_that_fails_or_hangs_is_told_of_and_holds_up_nothing(tmp_path, cable, exporter):
    near, _ = cable
    configuration = write(tmp_path / "netusage.yaml", f"""
        quotas:
          - {{ name: missing, limit: 1 kB, run: [/nonexistent/program] }}
          - {{ name: failing, limit: 1 kB, run: [/bin/sh, -c, "exit 7"] }}
          - {{ name: killed, limit: 1 kB, run: [/bin/sh, -c, "kill -9 $$"] }}
          - {{ name: hanging, limit: 1 kB, run: [/bin/sh, -c, "echo $$ > {tmp_path}/pid; exec sleep 1000"] }}
        """)
    daemon = exporter(near, configuration)
    near.send("10.0.0.2", 10)
    daemon.metrics()
    for says in ("can't be started: No such file", "it ended with 7", "signal 9"):
        eventually(lambda: says in daemon.log)
    assert quota(daemon.metrics(), "breached", "hanging") == 1
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 10, "a program that hangs delays the end"
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_rate_limit_is_breached_by_what_lasts_and_ends_when_it_is_over(tmp_path, cable, exporter):
    near, _ = cable
    configuration = write(tmp_path / "netusage.yaml", """
        sampling: { interval: 200ms }
        rate_limits:
          - { name: busy, count: [wan0], direction: transmit, limit: 100 kB/s, for: 2s }
        """)
    daemon = exporter(near, configuration)

    def state(family):
        return daemon.metrics()[f'netusage_rate_limit_{family}{{rate_limit="busy"}}']

    assert state("bytes_per_second") == 100_000
    near.send("10.0.0.2", 300)  # A burst far above the limit, but a short one.
    time.sleep(1)
    assert state("breached") == 0
    deadline = time.monotonic() + 20
    while state("breached") == 0 and time.monotonic() < deadline:
        near.send("10.0.0.2", 30)
        time.sleep(0.1)
    assert state("breached") == 1 and state("breaches_total") == 1
    eventually(lambda: state("breached") == 0)
    assert state("breaches_total") == 1


# MARK: - The 95th percentile

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def percentile(samples):
    """The nearest rank: the smallest sample that at least 95 % of all samples don't exceed."""
    samples = sorted(samples)
    return samples[math.ceil(95 * len(samples) / 100) - 1] if samples else 0


def test_the_percentile_equals_an_independent_computation_across_a_clock_change(tmp_path, cable, exporter):
    near, _ = cable
    plans = [(direction, missing) for direction in ("receive", "transmit", "total", "greater") for missing in ("zero", "skip")]
    configuration = write(tmp_path / "netusage.yaml", "timezone: Europe/Berlin\ncommitted_rates:\n" + "".join(
        f"  - {{ name: {direction}-{missing}, count: [wan0], direction: {direction}, limit: 5 Mbit/s, missing: {missing} }}\n"
        for direction, missing in plans))
    daemon = exporter(near, configuration)
    near.send("10.0.0.2", 1)
    daemon.stop()
    # October 2026 has one hour twice. Now is the 29th, 10:02 in the morning.
    start = int(datetime.datetime(2026, 10, 1, tzinfo=BERLIN).timestamp())
    end = int(datetime.datetime(2026, 11, 1, tzinfo=BERLIN).timestamp())
    now = int(datetime.datetime(2026, 10, 29, 10, 2, tzinfo=BERLIN).timestamp())
    assert end - start == 31 * 86400 + 3600
    generator = random.Random(20261025)
    samples = {}
    for slot in range(start - 86400, now // 300 * 300 + 300, 300):
        if generator.random() < 0.7:
            samples[slot] = (int(generator.lognormvariate(18.5, 1)), int(generator.lognormvariate(18.2, 1.2)))
    unread = [(start + 3 * 86400 + 100, start + 3 * 86400 + 40_000), (start + 20 * 86400 - 77, start + 20 * 86400 + 9000)]
    for gap in unread:
        for slot in [slot for slot in samples if gap[0] <= slot and slot + 300 <= gap[1]]:
            if generator.random() < 0.9:
                del samples[slot]
    with sqlite3.connect(daemon.ledger) as ledger:
        account = ledger.execute("SELECT id FROM account WHERE kind = 'device' AND name = 'wan0'").fetchone()[0]
        for table in ("bucket", "day", "day_start", "unread", "committed_cycle"):
            ledger.execute(f"DELETE FROM {table}")
        ledger.executemany("INSERT INTO bucket VALUES (?, ?, ?, ?)", ((slot, account, *pair) for slot, pair in samples.items()))
        ledger.executemany("INSERT INTO unread VALUES (?, ?)", [(-(2**63), start - 5000), *unread])
        days = {}
        for slot, pair in samples.items():
            day = datetime.datetime.fromtimestamp(slot, BERLIN).date()
            days.setdefault(day, [0, 0])
            days[day] = [days[day][0] + pair[0], days[day][1] + pair[1]]
        for day, pair in days.items():
            number = (day - datetime.date(1970, 1, 1)).days
            ledger.execute("INSERT INTO day VALUES (?, ?, ?, ?)", (number, account, *pair))
            midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=BERLIN).timestamp()
            ledger.execute("INSERT INTO day_start VALUES (?, ?)", (number, int(midnight)))
    ledger.close()
    clock = FakeClock(tmp_path)
    clock.set(int(now - time.time()))
    code, out, errors = command("quota", "--json", ledger=daemon.ledger, configuration=configuration,
                                environment=clock.environment)
    assert code == 0, errors
    shown = {each["name"]: each for each in json.loads(out)["committed_rates"]}

    def is_missing(slot):
        return slot not in samples and any(gap[0] <= slot and slot + 300 <= gap[1] for gap in unread)

    series = {"receive": [lambda pair: pair[0]], "transmit": [lambda pair: pair[1]], "total": [sum],
              "greater": [lambda pair: pair[0], lambda pair: pair[1]]}
    for direction, missing in plans:
        taken = [slot for slot in range(start, now // 300 * 300, 300) if missing == "zero" or not is_missing(slot)]
        expected, over = 0, 0
        for of in series[direction]:
            values = [of(samples.get(slot, (0, 0))) for slot in taken]
            expected = max(expected, percentile(values))
            over = max(over, sum(value * 8 > 5_000_000 * 300 for value in values))
        each = shown[f"{direction}-{missing}"]
        assert each["open"]["p95_bytes_per_second"] == pytest.approx(expected / 300, rel=1e-12), direction + missing
        assert each["open"]["samples"] == len(taken)
        gone = sum(map(is_missing, range(start, now // 300 * 300, 300)))
        assert each["open"]["missing"] == gone
        whole = (end - start) // 300 - (gone if missing == "skip" else 0)
        assert each["burst_remaining_seconds"] == max(0, whole - math.ceil(95 * whole / 100) - over) * 300
        assert each["open"]["cycle_start"] == "2026-10-01T00:00:00+02:00"
        assert each["open"]["cycle_end"] == "2026-11-01T00:00:00+01:00"


def test_many_look_at_once_and_the_daemon_starts_meanwhile(home):
    home.send(100)
    home.daemon.stop()
    arguments = [str(BINARY), "check", f"--storage.path={home.ledger}", home.configuration]
    looking = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(10)]
    home.start()
    looking += [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(10)]
    for each in looking:
        out, _ = each.communicate(timeout=60)
        # Early in a cycle, the forecast may reach the limit. That is a warning.
        assert each.returncode in (0, 1) and "104.20 kB of 1.00 MB" in out, out
    assert home.used() == 104_200


def test_a_correction_just_now_and_another_in_the_same_second_lose_nothing(home):
    since = 0
    for number in range(4):
        assert home.run("quota", "correct", "home", "--used", f"{number + 1} kB")[0] == 0
        since = home.send(20)
    assert home.used() == 4000 + since
    home.daemon.kill()
    home.start()
    assert home.used() == 4000 + since


def test_a_program_that_was_yet_to_be_started_is_started_after_a_restart_and_no_other(tmp_path, cable, exporter):
    near, _ = cable
    notes = tmp_path / "notes"
    note = f'echo $NETUSAGE_QUOTA $NETUSAGE_EVENT $NETUSAGE_THRESHOLD >> {notes}'
    configuration = write(tmp_path / "netusage.yaml", f"""
        quotas:
          - {{ name: slow, limit: 10 kB, warn_at: [50%, 80%], run: [/bin/sh, -c, "{note}; echo $$ >> {tmp_path}/pids; exec sleep 30"] }}
          - {{ name: quick, limit: 10 kB, run: [/bin/sh, -c, "{note}"] }}
        """)

    def told():
        return sorted(notes.read_text().splitlines()) if notes.exists() else []

    daemon = exporter(near, configuration, ledger=tmp_path / "ledger.db")
    near.send("10.0.0.2", 20)
    daemon.metrics()
    eventually(lambda: len(told()) == 2)
    assert told() == ["quick breach 1", "slow warning 0.5"], "a slow program of one quota holds up no other"
    time.sleep(0.3)
    daemon.stop()
    for ends in (lambda daemon: daemon.kill(), lambda daemon: daemon.stop(), lambda daemon: daemon.stop()):
        daemon = exporter(near, configuration, ledger=tmp_path / "ledger.db")
        time.sleep(1)
        ends(daemon)
    for pid in (tmp_path / "pids").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    assert told() == ["quick breach 1", "slow breach 1", "slow warning 0.5", "slow warning 0.8"]


def test_every_program_is_started_once_however_often_the_daemon_is_stopped_meanwhile(tmp_path, cable, exporter):
    near, _ = cable
    notes = tmp_path / "notes"
    names = [f"quota-{number}" for number in range(500)]  # Many more programs than may run at a time.
    quotas = "\n".join(
        f'  - {{ name: {name}, limit: 10 kB, run: [/bin/sh, -c, "echo $NETUSAGE_QUOTA >> {notes}; sleep 0.3"] }}'
        for name in names)
    configuration = write(tmp_path / "netusage.yaml", f"quotas:\n{quotas}\n")

    def told():
        return notes.read_text().split() if notes.exists() else []

    chance = random.Random(3)
    daemon = exporter(near, configuration, ledger=tmp_path / "ledger.db")
    near.send("10.0.0.2", 20)
    daemon.metrics()
    progress = []
    while len(told()) < len(names) and len(progress) < 40:
        time.sleep(chance.uniform(0, 0.1))
        daemon.stop()
        progress.append(len(told()))
        daemon = exporter(near, configuration, ledger=tmp_path / "ledger.db")
    assert len(set(progress)) > 3, "stopped in the midst of it"
    eventually(lambda: len(told()) >= len(names))
    time.sleep(0.3)
    assert sorted(told()) == sorted(names)


def test_what_a_refused_order_is_told_to_do_works(home):
    def refused(*arguments):
        code, _, errors = home.run("quota", *arguments)
        assert code in (1, 64), (arguments, errors)
        return errors

    # There is no such quota: the message names the quotas that exist, and says where to add one.
    known = re.search(r"configuration has (\w+)", refused("top-up", "nope", "1 GB"))[1]
    assert home.run("quota", "top-up", known, "1 GB")[0] == 0
    text = (path := home.ledger.parent / "netusage.yaml").read_text()
    path.write_text("")
    home.daemon.signal(signal.SIGHUP)
    eventually(lambda: quota(home.daemon.metrics(), "limit_bytes", "home") is None)
    assert "configuration has none; add it there under quotas" in refused("top-up", "home", "1 GB")
    path.write_text(text)
    home.daemon.signal(signal.SIGHUP)
    eventually(lambda: quota(home.daemon.metrics(), "limit_bytes", "home") is not None)
    assert home.run("quota", "top-up", "home", "1 GB")[0] == 0
    # Times: the message proposes forms that work. A moment in the past is accepted, and so is the start of the open cycle.
    proposed = re.search(r'write (\S+) for today, "([^"]+)", or RFC 3339 such as (\S+)', refused("correct", "home", "--used", "1 kB", "--at", "noon"))
    for moment in proposed.groups():
        assert "not a time" not in home.run("quota", "correct", "home", "--used", "1 kB", "--at", moment)[2], moment
    now = datetime.datetime.now(zoneinfo.ZoneInfo("Asia/Kolkata"))
    future = (now + datetime.timedelta(minutes=5)).strftime("%Y-%m-%d %H:%M")
    assert "a moment that has passed, with its date" in refused("correct", "home", "--used", "1 kB", "--at", future)
    assert home.run("quota", "correct", "home", "--used", "1 kB", "--at", (now - datetime.timedelta(minutes=5)).strftime("%Y-%m-%d %H:%M"))[0] == 0
    start = re.search(r"which began at (\S+);", refused("correct", "home", "--used", "1 kB", "--at", "2020-01-01 00:00"))[1]
    assert home.run("quota", "correct", "home", "--used", "1 kB", "--at", start)[0] == 0
    # `netusage quota` lists the adjustments with the numbers that --id takes.
    assert "netusage quota lists those of the open cycle" in refused("undo", "home", "--id", "77")
    code, out, errors = home.run("quota", "home")
    numbers = [each["id"] for each in json.loads(home.run("quota", "--json")[1])["quotas"][0]["adjustments"]]
    assert len(numbers) >= 3
    for number in numbers:
        assert re.search(rf"\b{number}\b", out), (number, out)
        assert home.run("quota", "undo", "home", "--id", str(number))[0] == 0
    assert "--id names an earlier one" in refused("undo", "home")
    home.daemon.stop()
    with sqlite3.connect(home.ledger) as ledger:
        ledger.execute("UPDATE adjustment SET at = at - 800 * 86400, undone_at = NULL WHERE id = ?", (numbers[0],))
    assert "--id names an earlier one" in refused("undo", "home")
    assert home.run("quota", "undo", "home", "--id", str(numbers[0]))[0] == 0


def test_an_order_that_has_no_ledger_is_told_where_to_look(home):
    home.daemon.stop()
    home.ledger.rename(home.ledger.with_suffix(".kept"))
    home.ledger.write_text("not a database\n" * 100)
    for leftover in home.ledger.parent.glob("ledger.db.*"):
        leftover.unlink()
    home.start()
    code, _, errors = home.run("quota", "top-up", "home", "1 GB")
    assert code == 1 and "name another file with --storage.path" in errors, errors
    # The daemon's log names the same remedy, and the remedy works.
    assert "name another file with --storage.path" in home.daemon.log
    home.daemon.stop()
    home.ledger = home.ledger.with_name("another.db")
    home.start()
    eventually(lambda: home.run("quota", "top-up", "home", "1 GB")[0] == 0)


def test_an_order_that_is_refused_as_the_daemon_ends_was_not_kept(home):
    home.daemon.stop()
    rows = ",".join(f"({number}, 'gone', 'top-up', 0, 1, 0, NULL)" for number in range(1, 100_001))
    with sqlite3.connect(home.ledger) as ledger:
        ledger.execute(f"INSERT INTO adjustment (id, quota, kind, at, bytes, entered_at, undone_at) VALUES {rows}")  # So that the store is busy with an order for a while.

    def kept():
        with sqlite3.connect(home.ledger) as ledger:
            return ledger.execute("SELECT count(*) FROM adjustment WHERE quota = 'home'").fetchone()[0]

    answers = []
    for turn in range(6):
        home.start()
        order = subprocess.Popen([str(BINARY), "quota", "top-up", "home", "1 GB", f"--storage.path={home.ledger}", home.configuration],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.02 + 0.04 * turn)
        home.daemon.stop()
        _, errors = order.communicate(timeout=60)
        answers.append(order.returncode)
        assert order.returncode == 0 or "try again" in errors or "look with netusage quota" in errors, errors
        if "look with" not in errors:
            assert kept() == answers.count(0), errors
    assert 0 in answers


def test_without_the_daemon_what_only_it_knows_is_not_told(tmp_path, cable, exporter):
    near, _ = cable
    ledger = tmp_path / "ledger.db"
    configuration = write(tmp_path / "netusage.yaml", """
        quotas: [{ name: home, count: [wan0], limit: 1 MB, warn_at: [50%], cycle: { every: year } }]
        rate_limits: [{ name: busy, count: [wan0], limit: 1 MB/s, for: 10s }]
        """)

    def run(*arguments, prefix=()):
        return command(*arguments, ledger=ledger, configuration=configuration, prefix=prefix)

    assert run("check")[0] == 3 and "Nothing was metered yet" in run("quota")[1]
    daemon = exporter(near, configuration, ledger=ledger)
    near.send("10.0.0.2", 100)
    daemon.metrics()
    assert "busy" in run("quota")[1]
    assert run("quota", "correct", "home", "--used", "700 kB")[0] == 0
    code, out, _ = run("quota", "correct", "home", "--used", "10 kB", "--at", "00:00")
    assert code == 0 and "Correction 1 still applies" in out
    daemon.stop()
    assert "busy" not in run("quota")[1] and run("check")[0] == 1
    # A user who may only read the file.
    for directory in [tmp_path, *tmp_path.parents]:
        if directory.stat().st_uid == os.getuid() and directory != directory.parent:
            directory.chmod(directory.stat().st_mode | 0o555)
    ledger.chmod(0o644)
    stranger = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    code, out, errors = run("quota", "--json", prefix=stranger)
    assert code == 0 and json.loads(out)["quotas"][0]["used_bytes"] == 700_000, errors
    daemon = exporter(near, configuration, ledger=ledger)
    code, out, errors = run("quota", prefix=stranger)  # The result depends on whether SQLite has an index of the log at that moment.
    assert "70.0 %" in out if code == 0 else "only the daemon's user and group may" in errors and "bookings" not in errors
    daemon.stop()
    # Ten days later.
    with sqlite3.connect(ledger) as database:
        database.execute("UPDATE ledger SET read_at_ns = read_at_ns - 10 * 86400 * 1000000000")
    code, out, _ = run("check")
    assert code == 3 and "nothing metered since" in out
    assert "no netusage serve runs" in run("quota")[1]
    with sqlite3.connect(ledger) as database:
        database.execute("UPDATE adjustment SET bytes = 2000000 WHERE id = 1")
    assert run("check")[0] == 2, "a limit that is reached stays so"
    # An undo takes back a correction of an earlier cycle only if you name its number.
    with sqlite3.connect(ledger) as database:
        database.execute("UPDATE adjustment SET at = at - 400 * 86400")
    code, out, errors = run("quota", "undo", "home")
    assert code == 1 and "nothing to undo" in errors
    code, out, errors = run("quota", "undo", "home", "--id", "1")
    assert code == 0 and "correction 1 of 2.00 MB" in out
