"""Output for people in a terminal: golden files of every command on a scripted ledger, and figures that agree with the metrics."""

import contextlib
import datetime
import fcntl
import json
import math
import os
import pathlib
import pty
import re
import select
import shutil
import sqlite3
import struct
import subprocess
import termios
import time
import types

import pytest

from ledgers import ZONE, Ledger
from support import BINARY, FakeClock, Metrics, eventually

GOLDEN = pathlib.Path(__file__).with_name("Golden")
NOW = int(datetime.datetime(2026, 11, 21, 14, 3, 20, tzinfo=ZONE).timestamp())
FIRST = int(datetime.datetime(2026, 9, 25, tzinfo=ZONE).timestamp())


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """A ledger of 15 months. Eight weeks of them have buckets. One device has a name of wide letters."""
    from support import Namespace
    directory = tmp_path_factory.mktemp("scripted")
    namespace = Namespace()
    try:
        clock = FakeClock(directory)
        clock.set(NOW - int(time.time()))
        ledger = Ledger(namespace, directory, environment=clock.environment)
        uplink, wan, lan, vpn = (ledger.account("", "uplink"), ledger.account("enp3s0"), ledger.account("wlan0"),
                                 ledger.account("日本語"))
        containers = ledger.account("veth*", "collapsed")
        for start in range(FIRST, NOW, 300):
            hour, day = start // 3600 % 24, start // 86400 % 7
            received = int(1e6 * (1 + day) * (1 + hour) * (1 + math.sin(start / 5000) ** 2))
            for account in (uplink, wan):
                ledger.bucket(account, start, received, received // 7)
            if hour > 17:
                ledger.bucket(lan, start, received // 3, received // 4)
            if day == 3:
                ledger.bucket(vpn, start, received // 7, received // 40)
            if hour == 4:
                ledger.bucket(containers, start, hour, 0)
        for number in range(401):
            date = datetime.date(2025, 8, 20) + datetime.timedelta(number)
            for account in (uplink, wan):
                ledger.add_to_day(account, date, int(3e10 * (1 + math.sin(number / 9) ** 2)), 4_000_000_000 + number)
        ledger.close(until=NOW)
    finally:
        namespace.delete()
    ledger.clock = clock
    return ledger


def show(ledger, *arguments, columns=80, environment=None, check=True):
    """The output of a command when no daemon runs."""
    done = subprocess.run(
        [BINARY, *arguments, f"--storage.path={ledger.path}", f"--config.file={ledger.configuration}"], capture_output=True, text=True,
        timeout=60, env={**os.environ, **ledger.clock.environment, "COLUMNS": str(columns), "LANG": "C.UTF-8", **(environment or {})})
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if check else (done.returncode, done.stdout, done.stderr)


COMMANDS = {
    "today": ["today"], "week": ["week"], "month": ["month", "--bits"], "year": ["year", "--device", "uplink", "--device", "w*"],
    "summary": ["summary"], "summary-span": ["summary", "--since", "2026-10-01", "--until", "2026-10-31"],
    "summary-hours": ["summary", "--since", "2026-11-20 14:02", "--until", "2026-11-20 20:00"],
    "days": ["days", "-n", "8"], "days-devices": ["days", "--since", "2026-10-24", "--until", "2026-10-26", "--device", "wlan0", "--device", "日*"],
    "months": ["months"], "months-parts": ["months", "--since", "2026-09-10", "--until", "2026-10-20"], "recent": ["recent"], "recent-gone": ["recent", "--since", "2026-09-24 23:50", "--until", "2026-09-25 00:10"],
    "recent-unknown": ["recent", "--since", "2026-09-24 23:50", "--until", "2026-09-24 23:55"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_what_its_golden_file_says(scripted, name):
    arguments = COMMANDS[name]
    shown = "".join(f"$ COLUMNS={columns} netusage {' '.join(arguments)}\n{show(scripted, *arguments, columns=columns)}\n"
                    for columns in (80, 140, 40))
    shown += f"$ LANG=C netusage {' '.join(arguments)}\n{show(scripted, *arguments, environment={'LANG': 'C'})}\n"
    shown += f"$ netusage {' '.join(arguments)} --json\n{show(scripted, *arguments, '--json')}"
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown)
    assert shown == golden.read_text()


def test_sums_of_every_grain_are_the_same(scripted):
    def total(*arguments, name="enp3s0"):
        account, = (each for each in json.loads(show(scripted, *arguments, "--json"))["accounts"] if each["name"] == name)
        entries = account.get("entries")
        if entries:
            assert sum(each["total_bytes"] for each in entries) == account["total_bytes"]
            assert all(one["end"] == other["start"] for one, other in zip(entries, entries[1:]))
        assert account["received_bytes"] + account["transmitted_bytes"] == account["total_bytes"]
        return account["total_bytes"]
    lifetime = total("summary")
    assert total("months", "--since", "2025-01-01", "--device", "enp3s0") == lifetime
    assert total("days", "--since", "2025-08-20", "--device", "enp3s0") == lifetime
    # Clocks went back on 2026-10-25, so that day has 25 hours.
    day = total("days", "--since", "2026-10-25", "--until", "2026-10-25", "--device", "enp3s0")
    assert total("recent", "--since", "2026-10-25", "--until", "2026-10-25", "--device", "enp3s0") == day
    assert total("summary", "--since", "2026-10-25T00:00:00+02:00", "--until", "2026-10-25T23:00:00Z") == day
    # A span that ends within a day still includes its whole days, also days without finer records.
    whole = total("summary", "--since", "2026-09-01", "--until", "2026-09-30")
    morning = total("recent", "--since", "2026-10-01", "--until", "2026-10-01 12:00", "--device", "enp3s0")
    assert total("summary", "--since", "2026-09-01", "--until", "2026-10-01 12:00") == whole + morning
    months = json.loads(show(scripted, "months", "--since", "2026-09-01", "--until", "2026-10-01 12:00", "--device", "enp3s0", "--json"))
    assert [each["total_bytes"] for each in months["accounts"][0]["entries"]] == [whole, morning]
    assert total("today") == total("recent", "--since", "today", "--device", "enp3s0")


@pytest.mark.parametrize("began", [NOW - 86400, NOW + 86400])
@pytest.mark.parametrize("has_daemon", [False, True])
def test_days_before_metering_began_stay_in_every_report(scripted, namespaces, exporter, tmp_path, began, has_daemon):
    """This happens if the clock was ahead at the first start, and was set back later."""
    set_back = types.SimpleNamespace(path=tmp_path / "ledger.db", configuration=scripted.configuration, clock=scripted.clock)
    shutil.copy(scripted.path, set_back.path)
    with contextlib.closing(sqlite3.connect(set_back.path)) as database, database:
        database.execute("INSERT INTO unread VALUES (?, ?)", (-2 ** 63, began))
    if has_daemon:
        exporter(namespaces(), f"--config.file={scripted.configuration}", ledger=set_back.path, environment=scripted.clock.environment)
    for arguments in (["today"], ["week"], ["year"], ["summary"], ["days"], ["months"], ["recent"]):
        def entries(ledger):
            report = json.loads(show(ledger, *arguments, "--json", "--device", "enp3s0"))["accounts"][0]
            return report["total_bytes"], [each["total_bytes"] for each in report.get("entries", [])]
        assert entries(set_back) == entries(scripted), arguments


@pytest.mark.parametrize("arguments, code, message", [
    (["days", "--since", "soon"], 64, "soon is not a time"),
    (["days", "--since", "2026-11-20", "--until", "2026-11-19"], 1, "no time between"),
    (["days", "--since", "today", "--until", "2026-11-20"], 1, "no time between"),
    (["days", "-n", "0"], 64, "not a number of entries"),
    (["summary", "--since", "yesterday", "--until", "2026-11-20"], 0, ""),
    (["today", "--device", "[x"], 1, "nothing called [x was metered"),
    (["today", "--device", "eth7"], 1, "there is uplink, enp3s0"),
    (["recent", "--since", "2026-09-25", "--device", "*"], 1, "more than 20000"),
])
def test_what_makes_no_sense_is_told_with_the_remedy(scripted, arguments, code, message):
    done, output, errors = show(scripted, *arguments, check=False)
    assert done == code and (output == "") == (code != 0) and message in errors, errors


def test_a_terminal_gets_colours_and_its_width_and_a_pipe_neither(scripted):
    def on_terminal(environment, columns=100):
        master, slave = pty.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            process = subprocess.Popen(
                [BINARY, "days", f"--storage.path={scripted.path}", f"--config.file={scripted.configuration}"], stdout=slave,
                env={**os.environ, **scripted.clock.environment, "LANG": "C.UTF-8", "TERM": "xterm", **environment})
            process.wait(30)
            shown = b""
            while select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 65536)
            return shown.decode()
        finally:
            os.close(master)
            os.close(slave)
    coloured = on_terminal({})
    assert "\x1b[32m█" in coloured
    plain = on_terminal({"NO_COLOR": "1"})
    assert "\x1b" not in plain and max(map(len, plain.splitlines())) > 90
    assert "\x1b" not in show(scripted, "days", columns=100)
    assert show(scripted, "days", columns=100).replace("\n", "\r\n") == plain


def accounts(report):
    return {account["name"]: account for account in report["accounts"]}


def test_beside_the_daemon_every_figure_is_that_of_the_metrics(cable, exporter, tmp_path):
    near, far = cable
    daemon = exporter(near)

    def ask(*arguments):
        done = subprocess.run([BINARY, *arguments, "--json", f"--storage.path={daemon.ledger}"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    for packets in (1, 700, 3):
        sent = near.send("10.0.0.2", packets)
        metrics = daemon.metrics()
        for command, period in (("today", "day"), ("week", "week"), ("month", "month"), ("summary", "lifetime")):
            shown = accounts(ask(command))
            received, transmitted = metrics.pair(period, "wan0")
            assert (shown["wan0"]["received_bytes"], shown["wan0"]["transmitted_bytes"]) == (received, transmitted)
            assert shown["uplink"]["transmitted_bytes"] == metrics[f"netusage_uplink_{period}_transmit_bytes"] >= sent
        for command in ("days", "months", "recent"):
            shown = accounts(ask(command, "--device", "wan0"))["wan0"]
            assert shown["transmitted_bytes"] == sum(each["transmitted_bytes"] for each in shown["entries"]) == transmitted
    # While traffic flows, a report's figure is between the metrics from before and after it.
    process = subprocess.Popen(["ip", "netns", "exec", far.name, "ping", "-f", "-q", "-s", "1000", "-c", "20000", "10.0.0.1"],
                               stdout=subprocess.DEVNULL)
    try:
        for _ in range(10):
            before, shown, after = daemon.metrics(), ask("today"), daemon.metrics()
            value = accounts(shown)["wan0"]["received_bytes"]
            assert before.pair("day", "wan0")[0] <= value <= after.pair("day", "wan0")[0]
    finally:
        process.kill()
        process.wait()
    # Reports show a device that is gone as long as the ledger knows it.
    near.ip("link", "del", "wan0")
    gone = eventually(lambda: accounts(ask("today")).get("wan0"))
    daemon.kill()
    report = ask("today")
    assert accounts(report)["wan0"] == gone
    assert "no netusage serve runs" in report["note"] and report["is_stale"] is False


def test_shells_complete_commands_and_flags():
    completion = subprocess.run([BINARY, "--generate-completion-script", "bash"], capture_output=True, text=True, check=True).stdout

    def completed(*words):
        script = "\n".join([
            completion, f"COMP_WORDS=({' '.join(words)})", f"COMP_CWORD={len(words) - 1}", 'COMP_LINE="${COMP_WORDS[*]}"',
            "COMP_POINT=${#COMP_LINE}", "complete=$(complete -p netusage | sed -E 's/.*-F ([^ ]+).*/\\1/')",
            '$complete netusage "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"', "printf '%s\\n' \"${COMPREPLY[@]}\""])
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert completed("netusage", "mon") == ["month", "months"]
    assert "--device" in completed("netusage", "days", "--d")
    assert "lo" in completed("netusage", "days", "--device", "l")
    assert completed("netusage", "export", "--grain", "h") == ["hour"]


def test_live_tells_what_the_metrics_tell_with_a_daemon_and_without(cable, exporter, tmp_path):
    near, far = cable
    daemon = exporter(near)

    def live(*arguments):
        done = subprocess.run(["ip", "netns", "exec", near.name, BINARY, "live", *arguments, f"--storage.path={daemon.ledger}"],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    near.send("10.0.0.2", 1000)
    first, second = live("-n", "2")
    assert first["online"] and "note" not in first and first["as_of"] < second["as_of"]
    wan, uplink = accounts(second)["wan0"], accounts(second)["uplink"]
    assert wan["up"] and wan["uplink"] and wan["link"] == "veth" and wan["addresses"] == ["10.0.0.1"] == uplink["addresses"]
    metrics = daemon.metrics()
    today = wan["today"]["received_bytes"], wan["today"]["transmitted_bytes"]
    assert today == metrics.pair("day", "wan0")
    assert wan["transmit_peak_bytes_per_second"] == metrics.device("transmit_peak_bytes_per_second", "wan0") > 0
    assert [each["name"] for each in live("-n", "1", "--device", "w*")[0]["accounts"]] == ["wan0"]
    daemon.kill()
    # Only the kernel knows the bytes since the daemon's last commit. The command counts them, and writes nothing.
    before = daemon.ledger.read_bytes()
    sent = near.send("10.0.0.2", 100)
    report, = live("-n", "1")
    assert "no netusage serve runs" in report["note"]
    assert accounts(report)["wan0"]["today"]["transmitted_bytes"] == today[1] + sent
    assert accounts(report)["wan0"]["addresses"] == ["10.0.0.1"]
    assert daemon.ledger.read_bytes() == before
    near.ip("route", "del", "default")
    assert not live("-n", "1")[0]["online"]


def test_live_shows_what_its_golden_file_says(scripted, cable):
    """No daemon runs, and the cable is idle. The golden file has a mask instead of the time of day."""
    near, _ = cable
    command = ["ip", "netns", "exec", near.name, BINARY, "live", "-n", "1", f"--storage.path={scripted.path}",
               f"--config.file={scripted.configuration}"]
    environment = {**os.environ, **scripted.clock.environment, "LANG": "C.UTF-8", "TERM": "xterm", "NO_COLOR": "1"}
    shown = ""
    for columns in (80, 140, 40):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(command, stdin=slave, stdout=slave, env=environment)
        os.close(slave)
        screen = b""
        with contextlib.suppress(OSError):  # The program has closed its end of the terminal.
            while part := os.read(master, 65536):
                screen += part
        os.close(master)
        assert process.wait(10) == 0
        lines = re.sub(r"\x1b\[[?0-9]*[A-Za-z]", "", screen.decode()).replace("\r", "")
        shown += f"$ COLUMNS={columns} netusage live -n 1\n{lines}\n"
    line = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    shown += f"$ netusage live -n 1 | cat\n{line}"
    shown = re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", shown)
    golden = GOLDEN / "live.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(shown)
    assert shown == golden.read_text()


def test_live_on_a_terminal_ends_with_q_and_gives_the_terminal_back(cable, exporter, tmp_path):
    near, _ = cable
    daemon = exporter(near)
    for end in (b"q", b"\x03"):
        master, slave = pty.openpty()
        try:
            process = subprocess.Popen(["ip", "netns", "exec", near.name, BINARY, "live", f"--storage.path={daemon.ledger}"], stdin=slave,
                                       stdout=slave, start_new_session=True,
                                       preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                       env={**os.environ, "LANG": "C.UTF-8", "TERM": "xterm", "NO_COLOR": "1"})
            shown = b""
            while b"transmit" not in shown:
                shown += os.read(master, 65536)
            assert shown.startswith(b"\x1b[?1049h") and b"online by wan0" in shown and b"10.0.0.1" in shown
            os.write(master, end)
            assert process.wait(10) == 0
            while select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 65536)
            assert shown.endswith(b"\x1b[?1049l")
        finally:
            os.close(master)
            os.close(slave)
