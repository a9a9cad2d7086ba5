"""The disk fails, or the file is damaged, foreign or newer: scrapes are answered throughout, and nothing is lost."""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

import pytest

from support import BINARY, PATIENCE, eventually, run

FAST = "storage: { flush_interval: 1s }\n"


@pytest.fixture
def fast(tmp_path):
    path = tmp_path / "fast.yaml"
    path.write_text(FAST)
    return f"--config.file={path}"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk)
    yield disk
    run("umount", "-l", disk)


def stored(netusage, device="wan0"):
    """The device's bytes in the ledger. Waits until everything up to now is written, then kills the program."""
    committed(netusage)
    netusage.kill()
    with sqlite3.connect(netusage.ledger) as connection:
        return connection.execute(
            "SELECT coalesce(sum(received), 0), coalesce(sum(transmitted), 0) FROM day JOIN account ON id = account "
            "WHERE name = ?", (device,)).fetchone()


def committed(netusage):
    """Waits until all bytes up to now are on the disk."""
    now = time.time()
    eventually(lambda: netusage.metrics().get("netusage_ledger_last_commit_timestamp_seconds", 0) > now + 0.1, 15)


def is_up(netusage, value):
    return lambda: netusage.metrics()["netusage_ledger_up"] == value


def fill(disk):
    filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    try:
        while os.write(filler, bytes(4096)):
            pass
    except OSError:
        pass
    os.close(filler)


def test_bookings_wait_while_the_disk_is_full(cable, exporter, small_disk, fast):
    near, far = cable
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    sent = near.send("10.0.0.2")
    committed(netusage)
    fill(small_disk)
    sent += near.send("10.0.0.2")
    # The log still has some room. The accounts of many devices fill it.
    for number in range(500):
        near.ip("link", "add", f"lan{number}", "type", "bridge")
    eventually(is_up(netusage, 0))
    sent += near.send("10.0.0.2")
    shown = netusage.metrics()
    assert shown.pair("lifetime", "wan0") == (0, sent)
    assert shown["netusage_ledger_commit_failures_total"] >= 1
    (small_disk / "filler").unlink()
    eventually(is_up(netusage, 1), 12)
    assert stored(netusage) == (0, sent)


def test_a_first_start_on_a_full_disk_heals(cable, exporter, small_disk, fast):
    near, far = cable
    fill(small_disk)
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    sent = near.send("10.0.0.2")
    assert netusage.metrics()["netusage_ledger_up"] == 0
    (small_disk / "filler").unlink()
    eventually(is_up(netusage, 1), 12)
    assert stored(netusage)[1] >= sent


def test_bookings_wait_while_the_disk_is_read_only(cable, exporter, small_disk, fast):
    near, far = cable
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    netusage.kill()  # The disk can become read-only only if nobody has a file open for writing.
    sent = near.send("10.0.0.2")
    run("mount", "-o", "remount,ro", small_disk)
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    assert netusage.metrics()["netusage_ledger_up"] == 0
    sent += near.send("10.0.0.2")
    assert netusage.metrics().pair("_total", "wan0") == near.kernel("wan0")
    # `ip netns exec` has given the program a mount namespace of its own.
    run("nsenter", "--mount", f"--target={netusage.process.pid}", "mount", "-o", "remount,rw", small_disk)
    run("mount", "-o", "remount,rw", small_disk)
    eventually(is_up(netusage, 1), 12)
    assert netusage.metrics().pair("lifetime", "wan0") == (0, sent)
    control = pathlib.Path(f"{netusage.ledger}.control")
    assert eventually(control.is_socket, 15), "commands reach it from then on"
    assert stored(netusage) == (0, sent)


def test_a_deleted_directory_loses_nothing(cable, exporter, tmp_path, fast):
    near, far = cable
    place = tmp_path / "place"
    netusage = exporter(near, fast, ledger=place / "ledger.db")
    sent = near.send("10.0.0.2")
    committed(netusage)
    shutil.rmtree(place)
    sent += near.send("10.0.0.2")
    eventually(netusage.ledger.exists, 15)
    assert stored(netusage) == (0, sent)
    sent += near.send("10.0.0.2")
    assert exporter(near, fast, ledger=place / "ledger.db").metrics().pair("lifetime", "wan0") == (0, sent)


def test_a_damaged_ledger_is_moved_aside(cable, exporter, tmp_path):
    near, far = cable
    netusage = exporter(near)
    near.send("10.0.0.2")
    netusage.stop()
    content = bytearray(netusage.ledger.read_bytes())
    content[1024:] = os.urandom(len(content) - 1024)
    netusage.ledger.write_bytes(content)
    netusage = exporter(near)
    assert netusage.metrics()["netusage_ledger_up"] == 1
    aside = list(tmp_path.glob("ledger.db.damaged-*Z"))
    assert len(aside) == 1 and aside[0].read_bytes() == bytes(content)
    assert "damaged" in netusage.log and str(aside[0]) in netusage.log


@pytest.mark.parametrize("damage", ["header", "truncated", "one page", "empty"])
def test_a_damaged_file_never_ends_the_program(cable, exporter, damage):
    near, far = cable
    netusage = exporter(near)
    near.send("10.0.0.2")
    netusage.stop()
    content = netusage.ledger.read_bytes()
    netusage.ledger.write_bytes({
        "header": bytes(100) + content[100:], "truncated": content[:len(content) // 2],
        "one page": content[:2048] + bytes([0xFF]) * 1024 + content[3072:], "empty": b""}[damage])
    netusage = exporter(near)
    assert eventually(is_up(netusage, 1), 12)
    sent = near.send("10.0.0.2")
    assert netusage.metrics().pair("lifetime", "wan0")[1] >= sent


def test_a_file_that_is_damaged_while_it_is_used_is_replaced_by_what_is_known(cable, exporter, fast):
    near, far = cable
    netusage = exporter(near, fast)
    sent = near.send("10.0.0.2")
    committed(netusage)
    for path in (netusage.ledger, f"{netusage.ledger}-wal"):
        with open(path, "r+b") as file:
            file.write(os.urandom(os.path.getsize(path)))
    sent += near.send("10.0.0.2")
    eventually(lambda: "moved aside" in netusage.log, 15)
    assert netusage.metrics().pair("lifetime", "wan0") == (0, sent)
    assert stored(netusage) == (0, sent)


def test_what_is_metered_before_the_ledger_can_be_read_comes_after_what_it_has(cable, exporter, tmp_path, fast):
    near, far = cable
    place = tmp_path / "place"
    netusage = exporter(near, fast, ledger=place / "ledger.db")
    near.bridge("lan0", 7)
    near.bridge("tap1", 8)
    of_lan, of_tap = near.send("10.7.0.2", packets=10), near.send("10.8.0.2", packets=20)
    sent = near.send("10.0.0.2")
    uplink = netusage.metrics()["netusage_uplink_lifetime_transmit_bytes"]
    assert uplink == sent
    netusage.stop()
    sent += near.send("10.0.0.2", packets=30)
    place.rename(tmp_path / "away")
    place.write_text("a file where a directory should be")
    netusage = exporter(near, fast, ledger=place / "ledger.db")
    before = netusage.metrics()
    assert before["netusage_ledger_up"] == 0 and before["netusage_ledger_commit_failures_total"] >= 1
    assert before.pair("_total", "wan0") == near.kernel("wan0")
    sent += near.send("10.0.0.2", packets=40)
    of_tap += near.send("10.8.0.2", packets=5)
    near.bridge("new0", 9)
    of_new = near.send("10.9.0.2", packets=6)
    near.ip("link", "set", "lan0", "name", "home0")
    near.ip("link", "delete", "tap1")
    near.ip("link", "delete", "new0")
    eventually(lambda: netusage.metrics().device("device_up", "new0") is None)
    during = netusage.metrics()
    place.unlink()
    (tmp_path / "away").rename(place)
    eventually(is_up(netusage, 1), 12)
    sent += near.send("10.0.0.2", packets=50)
    after = netusage.metrics()
    for series, value in during.items():
        if series.startswith("netusage_") and "_bytes_total{" in series or "_lifetime_" in series:
            assert after[series] >= value, series
    assert after.pair("_total", "wan0") == near.kernel("wan0"), "a counter that was seen goes on"
    totals = {"wan0": sent, "home0": of_lan, "tap*": of_tap, "new0": of_new}
    for device, expected in totals.items():
        assert after.pair("lifetime", device) == (0, expected), device
    assert after["netusage_uplink_lifetime_transmit_bytes"] == sent
    committed(netusage)
    netusage.kill()
    again = exporter(near, fast, ledger=place / "ledger.db").metrics()
    for device, expected in totals.items():
        assert again.pair("month", device) == (0, expected), device


def test_whoever_holds_the_ledger_holds_up_no_scrape(cable, exporter, fast):
    """Another program has locked the file when netusage starts. Scrapes are answered, and netusage keeps what happens meanwhile."""
    near, far = cable
    netusage = exporter(near, fast)
    near.bridge("lan0", 7)
    sent, of_lan = near.send("10.0.0.2"), near.send("10.7.0.2", packets=10)
    netusage.stop()
    holder = sqlite3.connect(netusage.ledger, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    netusage = exporter(near, fast, wait=False)
    time.sleep(0.3 * PATIENCE)
    of_lan += near.send("10.7.0.2", packets=20)
    near.ip("link", "delete", "lan0")  # netusage has read nothing of the ledger yet, and doesn't listen to anybody yet.
    eventually(netusage.answers, 4)
    assert netusage.metrics()["netusage_ledger_up"] == 0
    sent += near.send("10.0.0.2")
    eventually(lambda: "database is locked" in netusage.log and "end the program" in netusage.log)
    holder.execute("COMMIT")
    holder.close()
    eventually(is_up(netusage, 1), 15)
    shown = eventually(lambda: (lambda m: m if m.pair("month", "lan0") == (0, of_lan) else None)(netusage.metrics()))
    assert shown.pair("lifetime", "wan0") == (0, sent)
    assert stored(netusage, "lan0") == (0, of_lan)


def test_what_happened_while_the_disk_failed_is_committed_as_soon_as_it_heals(cable, exporter, small_disk):
    """The flush interval is the default. A device's appearance and its last bytes don't wait for a flush."""
    near, far = cable
    netusage = exporter(near, ledger=small_disk / "ledger.db")
    fill(small_disk)
    near.bridge("lan0", 7)
    for number in range(20, 120):  # The log still has room for some commits.
        if netusage.metrics()["netusage_ledger_up"] == 0:
            break
        near.bridge(f"b{number}", number)
    assert netusage.metrics()["netusage_ledger_up"] == 0
    of_lan = near.send("10.7.0.2", packets=10)
    near.bridge("new0", 8)
    of_new = near.send("10.8.0.2", packets=20)
    near.ip("link", "delete", "lan0")
    near.ip("link", "delete", "new0")
    netusage.metrics()
    (small_disk / "filler").unlink()
    eventually(is_up(netusage, 1), 12)
    time.sleep(1 * PATIENCE)
    netusage.kill()
    again = exporter(near, ledger=small_disk / "ledger.db").metrics()
    assert again.pair("month", "lan0") == (0, of_lan) and again.pair("month", "new0") == (0, of_new)


def test_a_ledger_is_tried_again_within_ten_seconds_however_seldom_readings_are(cable, exporter, tmp_path):
    near, far = cable
    (tmp_path / "slow.yaml").write_text("sampling: { interval: 60s }\n")
    place = tmp_path / "place"
    place.write_text("a file where a directory should be")
    netusage = exporter(near, f"--config.file={tmp_path}/slow.yaml", ledger=place / "ledger.db")
    place.unlink()
    eventually(netusage.ledger.exists, 10)  # There is no scrape meanwhile.
    eventually(is_up(netusage, 1), 1)


def test_a_file_that_is_emptied_while_it_is_used_is_begun_anew(cable, exporter, tmp_path, fast):
    near, far = cable
    netusage = exporter(near, fast)
    sent = near.send("10.0.0.2")
    committed(netusage)
    netusage.ledger.write_bytes(b"")
    sent += near.send("10.0.0.2")
    eventually(lambda: "moved aside" in netusage.log, 15)
    assert stored(netusage) == (0, sent)
    assert exporter(near, fast).metrics().pair("lifetime", "wan0") == (0, sent)


def test_others_read_the_ledger_while_it_is_used(cable, exporter, fast):
    near, far = cable
    netusage = exporter(near, fast)

    def read(database):
        return database.execute("SELECT sum(transmitted) FROM days WHERE name = 'wan0'").fetchone()[0]

    sent = near.send("10.0.0.2")
    committed(netusage)
    reader = sqlite3.connect(f"file:{netusage.ledger}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    assert read(reader) == sent
    more = near.send("10.0.0.2", packets=7)
    committed(netusage)
    assert read(reader) == sent, "one state throughout"
    reader.execute("COMMIT")
    assert read(reader) == sent + more
    reader.close()
    near.send("10.0.0.2", packets=7)
    committed(netusage)
    assert netusage.metrics()["netusage_ledger_commit_failures_total"] == 0


def test_the_last_commit_is_written_even_if_the_file_was_lost_a_moment_ago(cable, exporter, tmp_path):
    near, far = cable
    place = tmp_path / "place"
    netusage = exporter(near, ledger=place / "ledger.db")
    sent = near.send("10.0.0.2")
    netusage.metrics()
    shutil.rmtree(place)
    netusage.stop()
    sent += near.send("10.0.0.2")
    assert exporter(near, ledger=place / "ledger.db").metrics().pair("lifetime", "wan0") == (0, sent)


def test_a_newer_ledger_is_left_alone(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    netusage.stop()
    with sqlite3.connect(netusage.ledger) as ledger:
        ledger.execute("PRAGMA user_version = 999")
    ledger.close()
    content = netusage.ledger.read_bytes()
    netusage = exporter(near)
    sent = near.send("10.0.0.2")
    shown = netusage.metrics()
    assert shown["netusage_ledger_up"] == 0
    assert shown.pair("_total", "wan0") == near.kernel("wan0")
    assert shown.pair("day", "wan0") == (0, sent)
    assert "newer" in netusage.log
    netusage.stop()
    assert netusage.ledger.read_bytes() == content


@pytest.mark.parametrize("content", [b"not a database\n" * 100, None])
def test_a_foreign_file_is_left_alone(cable, exporter, tmp_path, content):
    near, far = cable
    foreign = tmp_path / "foreign"
    if content is None:
        with sqlite3.connect(foreign) as database:
            database.execute("CREATE TABLE somebody_elses (x)")
        database.close()
        content = foreign.read_bytes()
    foreign.write_bytes(content)
    netusage = exporter(near, ledger=foreign)
    assert netusage.metrics()["netusage_ledger_up"] == 0
    assert netusage.metrics().pair("_total", "wan0") == near.kernel("wan0")
    netusage.stop()
    assert foreign.read_bytes() == content


def test_at_most_one_process_writes_a_ledger(cable, exporter):
    near, far = cable
    first = exporter(near)
    second = exporter(near, port=10074, wait=False)
    assert second.process.wait(20 * PATIENCE) == 1
    assert "another netusage" in second.log and "--storage.path" in second.log
    assert first.metrics()["netusage_ledger_up"] == 1


def test_the_shell_reads_the_ledger(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    sent = near.send("10.0.0.2")
    netusage.stop()
    shown = subprocess.run(["sqlite3", netusage.ledger, "SELECT name, transmitted FROM days WHERE kind = 'device'"],
                           capture_output=True, text=True).stdout
    assert shown == f"wan0|{sent}\n"


# Owners of files

SERVICE, READER, GROUP = "2001", "2002", "3000"


def as_user(user):
    return ["setpriv", "--reuid", user, "--regid", GROUP, "--clear-groups"]


@pytest.fixture
def service_place():
    """A directory like that of the service: it belongs to the service's user, and its group may write, too.

    A test asks for it before `exporter`: its programs end first, and none of them writes here while the directory is removed.
    """
    # Not inside pytest's own directory: other users may not enter that.
    place = pathlib.Path(tempfile.mkdtemp(prefix="netusage-test-"))
    place.chmod(0o755)
    directory = place / "state"
    directory.mkdir()
    os.chown(directory, int(SERVICE), int(GROUP))
    directory.chmod(0o2775)
    binary = shutil.copy(BINARY, place / "netusage")
    yield directory, binary
    shutil.rmtree(place)


def command(near, user, binary, *arguments, **options):
    prefix = as_user(user) if user else []
    return subprocess.run(["ip", "netns", "exec", near.name, *prefix, binary, *arguments], capture_output=True, text=True,
                          timeout=60, **options)


def test_reading_leaves_nothing_that_stops_the_service(cable, service_place, exporter):
    near, far = cable
    state, binary = service_place
    ledger = state / "ledger.db"
    netusage = exporter(near, ledger=ledger, prefix=as_user(SERVICE), binary=binary)
    sent = near.send("10.0.0.2")
    netusage.stop()
    before = sorted(os.listdir(state))
    for user in (READER, None):
        shown = command(near, user, binary, "today", "--json", f"--storage.path={ledger}")
        assert shown.returncode == 0 and str(sent) in shown.stdout, shown.stderr
        assert sorted(os.listdir(state)) == before
    # SQLite's shell, run by another user, is killed and leaves files behind.
    reader = subprocess.Popen([*as_user(READER), "sqlite3", "-readonly", str(ledger)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    reader.stdin.write("SELECT count(*) FROM day;\n")
    reader.stdin.flush()
    reader.stdout.readline()
    reader.kill()
    reader.wait()
    left = {path.name for path in state.iterdir() if path.stat().st_uid == int(READER)}
    assert left, "the shell leaves an index of the log"
    netusage = exporter(near, ledger=ledger, prefix=as_user(SERVICE), binary=binary)
    assert eventually(is_up(netusage, 1)) and netusage.metrics().pair("lifetime", "wan0") == (0, sent)


def test_what_root_makes_beside_a_ledger_belongs_to_its_owner(cable, service_place, exporter, tmp_path):
    near, far = cable
    state, binary = service_place
    ledger = state / "ledger.db"
    (tmp_path / "c.yaml").write_text("quotas: [{name: q, limit: 1 GB}]\n")
    exporter(near, ledger=ledger, prefix=as_user(SERVICE), binary=binary).stop()
    (state / "ledger.db.lock").unlink()
    done = command(near, None, binary, "quota", "correct", "q", "--used", "1 MB", f"--config.file={tmp_path}/c.yaml",
                   f"--storage.path={ledger}")
    assert done.returncode == 0, done.stderr
    assert {path.stat().st_uid for path in state.iterdir()} == {int(SERVICE)}
    netusage = exporter(near, ledger=ledger, prefix=as_user(SERVICE), binary=binary)
    assert eventually(is_up(netusage, 1))
    # The same for directories that root makes.
    deep = state / "new/deep/ledger.db"
    exporter(near, ledger=deep, port=10074).stop()
    assert {path.stat().st_uid for path in state.rglob("*")} == {int(SERVICE)}
    netusage = exporter(near, ledger=deep, prefix=as_user(SERVICE), binary=binary, port=10074)
    assert eventually(is_up(netusage, 1))


def test_a_log_that_a_reader_may_not_read_isnt_taken_for_none(cable, service_place, exporter):
    near, far = cable
    state, binary = service_place
    ledger = state / "ledger.db"
    netusage = exporter(near, ledger=ledger, prefix=as_user(SERVICE), binary=binary)
    eventually(is_up(netusage, 1))
    netusage.kill()
    (state / "ledger.db-wal").chmod(0o600)
    done = command(near, READER, binary, "today", f"--storage.path={ledger}")
    assert done.returncode == 1 and "ledger.db-wal" in done.stderr and "Permission denied" in done.stderr, done
    (state / "ledger.db-wal").chmod(0o640)
    assert command(near, READER, binary, "today", f"--storage.path={ledger}").returncode == 0


def test_a_damaged_ledger_is_left_to_the_daemon_by_commands(cable, exporter, tmp_path):
    near, far = cable
    netusage = exporter(near)
    netusage.stop()
    netusage.ledger.write_bytes(netusage.ledger.read_bytes()[:100] + os.urandom(5000))
    before = sorted(os.listdir(tmp_path))
    done = command(near, None, BINARY, "today", f"--storage.path={netusage.ledger}")
    assert done.returncode == 1 and "netusage serve moves it aside and begins a new one" in done.stderr, done
    assert sorted(os.listdir(tmp_path)) == before
    # Apply the remedy that the message names.
    netusage = exporter(near)
    assert eventually(is_up(netusage, 1))
    assert command(near, None, BINARY, "today", f"--storage.path={netusage.ledger}").returncode == 0


def test_root_follows_no_link_that_the_services_user_laid(cable, service_place, exporter, tmp_path):
    near, far = cable
    state, binary = service_place
    ledger = state / "ledger.db"
    (tmp_path / "c.yaml").write_text("quotas: [{name: q, limit: 1 GB}]\n")
    victim = state.parent / "victim"
    exporter(near, ledger=ledger, prefix=as_user(SERVICE), binary=binary).stop()
    (state / "ledger.db.lock").unlink()
    (state / "ledger.db.lock").symlink_to(victim)
    done = command(near, None, binary, "quota", "top-up", "q", "1 GB", f"--config.file={tmp_path}/c.yaml",
                   f"--storage.path={ledger}")
    assert done.returncode != 0 and "symbolic link" in done.stderr and not victim.exists()
    (state / "ledger.db.lock").unlink()
    ledger.unlink()
    ledger.symlink_to(victim)
    netusage = exporter(near, ledger=ledger)
    assert netusage.metrics()["netusage_ledger_up"] == 0 and not victim.exists()
    netusage.stop()


@pytest.mark.parametrize("target", ["empty", "another ledger"])
def test_root_writes_nothing_where_a_link_of_the_services_user_leads(cable, service_place, exporter, tmp_path, target):
    near, far = cable
    state, binary = service_place
    ledger = state / "ledger.db"
    (tmp_path / "c.yaml").write_text("quotas: [{name: q, limit: 1 GB}]\n")
    roots = state.parent / "roots"
    roots.mkdir()
    victim = roots / "victim"
    if target == "empty":
        victim.touch()
    else:
        exporter(near, ledger=victim).stop()
    content, names = victim.read_bytes(), sorted(os.listdir(roots))
    (state / "chain").symlink_to(victim)
    ledger.symlink_to(state / "chain")

    def top_up():
        return command(near, None, binary, "quota", "top-up", "q", "1 GB", f"--config.file={tmp_path}/c.yaml", f"--storage.path={ledger}")

    # In the last case, root owns the first link, but not the second one.
    for owners in ((SERVICE, SERVICE), (SERVICE, 0), (0, SERVICE)):
        for link, owner in zip((ledger, state / "chain"), owners):
            os.chown(link, int(owner), int(owner), follow_symlinks=False)
        done = top_up()
        assert done.returncode == 1 and "symbolic link" in done.stderr, done
        netusage = exporter(near, ledger=ledger)
        assert netusage.metrics()["netusage_ledger_up"] == 0
        netusage.stop()
        assert victim.read_bytes() == content and sorted(os.listdir(roots)) == names
    # A link of root may lead anywhere, and a link of the user to the user's own file.
    for link in (ledger, state / "chain"):
        os.chown(link, 0, 0, follow_symlinks=False)
    assert top_up().returncode == 0
    for path in roots.iterdir():
        os.chown(path, int(SERVICE), int(GROUP))
    for link in (ledger, state / "chain"):
        os.chown(link, int(SERVICE), int(SERVICE), follow_symlinks=False)
    assert top_up().returncode == 0


def test_a_ledger_is_one_by_whatever_name(cable, exporter, tmp_path):
    near, far = cable
    (tmp_path / "c.yaml").write_text("quotas: [{name: q, limit: 1 GB}]\n")
    config = f"--config.file={tmp_path}/c.yaml"
    (tmp_path / "ssd").mkdir()
    (tmp_path / "var").mkdir()
    (tmp_path / "var/ledger.db").symlink_to(tmp_path / "ssd/ledger.db")
    exporter(near, config, ledger=tmp_path / "ssd/ledger.db").stop()
    netusage = exporter(near, config, ledger=tmp_path / "var/ledger.db")
    done = command(near, None, BINARY, "quota", "correct", "q", "--used", "900 MB", config,
                   f"--storage.path={tmp_path}/ssd/ledger.db")
    assert done.returncode == 0 and netusage.metrics()['netusage_quota_used_bytes{quota="q"}'] >= 900_000_000
    os.link(tmp_path / "ssd/ledger.db", tmp_path / "hard.db")
    for other in (tmp_path / "ssd/ledger.db", tmp_path / "hard.db"):
        second = exporter(near, config, ledger=other, port=10074, wait=False)
        assert second.process.wait(20 * PATIENCE) == 1 and "another netusage" in second.log


def test_a_directory_whose_name_is_no_text_is_used_and_none_beside_it_is_made(cable, exporter, tmp_path):
    near, far = cable
    place = tmp_path / "places" / os.fsdecode(b"not\xff")
    place.mkdir(parents=True)
    inside = ["env", "-C", str(place)]
    netusage = exporter(near, ledger="ledger.db", prefix=inside)
    assert eventually(is_up(netusage, 1))
    done = subprocess.run([*inside, BINARY, "today", "--json", "--storage.path=ledger.db"], capture_output=True, text=True)
    assert done.returncode == 0 and "wan0" in done.stdout and "no netusage serve" not in done.stdout, done
    netusage.stop()
    assert os.listdir(place.parent) == [place.name] and (place / "ledger.db").stat().st_size


def test_a_trap_in_the_ledgers_place_stops_nothing(cable, exporter, tmp_path):
    near, far = cable
    os.mkfifo(tmp_path / "fifo.db")
    netusage = exporter(near, ledger=tmp_path / "fifo.db")
    assert netusage.metrics()["netusage_ledger_up"] == 0
    assert command(near, None, BINARY, "today", f"--storage.path={tmp_path}/fifo.db").returncode != 0
    netusage.stop()


def test_a_ledger_that_can_be_read_but_not_written_is_read(cable, exporter, small_disk, fast):
    near, far = cable
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    first = near.send("10.0.0.2")
    netusage.stop()
    run("mount", "-o", "remount,ro", small_disk)
    second = near.send("10.0.0.2", packets=7)
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    shown = eventually(lambda: (lambda m: m if m.pair("month", "wan0") == (0, first + second) else None)(netusage.metrics()))
    assert shown["netusage_ledger_up"] == 0 and shown.pair("lifetime", "wan0") == (0, first + second)
    answer = command(near, None, BINARY, "today", "--json", f"--storage.path={small_disk}/ledger.db")
    assert answer.returncode == 0 and str(first) in answer.stdout, answer.stderr
    third = near.send("10.0.0.2", packets=3)
    # `ip netns exec` has given the program a mount of the disk of its own.
    for place in ([], ["nsenter", "-m", "-t", str(netusage.process.pid)]):
        run(*place, "mount", "-o", "remount,rw", small_disk)
    assert eventually(is_up(netusage, 1), 20)
    assert netusage.metrics().pair("lifetime", "wan0") == (0, first + second + third)
    assert stored(netusage) == (0, first + second + third)


def reloaded(netusage, path, text):
    path.write_text(FAST + text)
    assert netusage.get("/-/reload", method="POST").status == 200


def carried(netusage, query):
    answer = netusage.get(f"/api/v1/usage?{query}")
    assert answer.status == 200, answer.body
    report = json.loads(answer.body)
    return next(account["transmitted_bytes"] for account in report["accounts"] if account["name"] == "wan0")


def test_a_ledger_that_is_only_read_takes_reloads_and_answers_reports(cable, exporter, small_disk, tmp_path):
    near, far = cable
    path = tmp_path / "c.yaml"
    path.write_text(FAST + "timezone: UTC\n")
    flags = (f"--config.file={path}", "--web.enable-lifecycle")
    netusage = exporter(near, *flags, ledger=small_disk / "ledger.db")
    past = tmp_path / "past.csv"
    past.write_text("start,end,device,kind,received_bytes,transmitted_bytes\n"
                    "2025-03-01T12:00:00Z,2025-03-01T12:05:00Z,wan0,device,0,5000\n")
    done = command(near, None, BINARY, "import", "csv", past, flags[0], f"--storage.path={netusage.ledger}")
    assert done.returncode == 0, done.stderr
    sent = near.send("10.0.0.2")
    netusage.stop()
    run("mount", "-o", "remount,ro", small_disk)
    netusage = exporter(near, *flags, ledger=small_disk / "ledger.db")
    eventually(lambda: netusage.metrics().pair("lifetime", "wan0") == (0, sent + 5000))
    sent += near.send("10.0.0.2", packets=7)
    # Bytes that only the file has, bytes that only memory has, and sums of both.
    assert carried(netusage, "since=2025-03-01&until=2025-03-02") == 5000
    assert carried(netusage, "since=2025-01-01") == sent + 5000
    assert carried(netusage, "period=day&grain=5m") == sent
    export = netusage.get("/api/v1/export?format=csv&grain=day")
    assert export.status == 200 and b"2025-03-01" in export.body
    # Another zone and other plans take effect at once, from the stored bytes. Kiritimati and Niue never have the same date.
    for zone, plan in (("Pacific/Kiritimati", "one"), ("Pacific/Niue", "other"), ("Pacific/Kiritimati", "one")):
        former = netusage.metrics()["netusage_day_start_timestamp_seconds"]
        reloaded(netusage, path, f"timezone: {zone}\nquotas: [{{ name: {plan}, count: [wan0], limit: 1 GB, cycle: {{ every: year }} }}]\n")
        eventually(lambda: netusage.metrics()["netusage_day_start_timestamp_seconds"] != former, 4)
        shown = eventually(lambda: (lambda m: m if f'netusage_quota_used_bytes{{quota="{plan}"}}' in m else None)(netusage.metrics()), 4)
        assert shown[f'netusage_quota_used_bytes{{quota="{plan}"}}'] == sent
        assert shown.pair("day", "wan0")[1] + shown.pair("previous_day", "wan0")[1] == sent
        sent += near.send("10.0.0.2", packets=3)
        assert carried(netusage, "since=2025-01-01") == sent + 5000
    assert netusage.metrics()["netusage_ledger_up"] == 0
    for place in ([], ["nsenter", "-m", "-t", str(netusage.process.pid)]):
        run(*place, "mount", "-o", "remount,rw", small_disk)
    assert eventually(is_up(netusage, 1), 20)
    shown = eventually(lambda: (lambda m: m if m.pair("lifetime", "wan0") == (0, sent + 5000) else None)(netusage.metrics()))
    assert shown['netusage_quota_used_bytes{quota="one"}'] == sent
    assert shown.pair("day", "wan0")[1] + shown.pair("previous_day", "wan0")[1] == sent
    assert carried(netusage, "since=2025-01-01") == sent + 5000
    assert stored(netusage) == (0, sent + 5000)


def test_a_reload_without_a_ledger_holds_at_once(cable, exporter, tmp_path):
    place = tmp_path / "place"
    place.write_text("a file where a directory should be")
    path = tmp_path / "c.yaml"
    limit = "timezone: {}\nrate_limits: [{{ name: {}, count: [wan0], limit: 1 MB/s, for: 10s }}]\n"
    path.write_text(FAST + limit.format("Pacific/Niue", "one"))
    netusage = exporter(cable[0], f"--config.file={path}", "--web.enable-lifecycle", ledger=place / "ledger.db")
    former = eventually(lambda: (lambda m: m if 'netusage_rate_limit_bytes_per_second{rate_limit="one"}' in m else None)(netusage.metrics()))
    reloaded(netusage, path, limit.format("Pacific/Kiritimati", "other"))
    shown = eventually(lambda: (lambda m: m if 'netusage_rate_limit_bytes_per_second{rate_limit="other"}' in m else None)(netusage.metrics()), 4)
    assert 'netusage_rate_limit_bytes_per_second{rate_limit="one"}' not in shown
    start = "netusage_day_start_timestamp_seconds"
    assert shown[start] != former[start] and shown["netusage_ledger_up"] == 0


def test_a_reload_that_waits_for_the_disk_is_told(cable, exporter, tmp_path):
    near, far = cable
    path = tmp_path / "c.yaml"
    path.write_text(FAST + "timezone: Pacific/Niue\n")
    netusage = exporter(near, f"--config.file={path}", "--web.enable-lifecycle")
    eventually(is_up(netusage, 1))
    start = "netusage_day_start_timestamp_seconds"
    told = "days and plans go by the previous configuration until the ledger can be written"
    with traced(netusage, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"):
        sent = near.send("10.0.0.2")
        eventually(is_up(netusage, 0))
        former = netusage.metrics()[start]
        assert told not in netusage.log
        reloaded(netusage, path, "timezone: Pacific/Kiritimati\n")
        eventually(lambda: told in netusage.log, 4)
        assert netusage.metrics()[start] == former
    eventually(lambda: netusage.metrics()[start] != former, 15)
    assert netusage.log.count(told) == 1
    assert stored(netusage) == (0, sent)


# Orders, and a disk that is slow or fails after a write

@contextlib.contextmanager
def traced(netusage, *arguments):
    """Runs the body while strace injects faults into the running program."""
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-p", str(netusage.process.pid), "-o", "/dev/null", *arguments])
    try:
        eventually(lambda: "TracerPid:\t0" not in pathlib.Path(f"/proc/{netusage.process.pid}/status").read_text())
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()


def quota(netusage, tmp_path, *arguments):
    return command(netusage.namespace, None, BINARY, "quota", *arguments, f"--config.file={tmp_path}/c.yaml",
                   f"--storage.path={netusage.ledger}")


def test_an_order_is_carried_out_once_or_reported_as_not_done(cable, exporter, tmp_path):
    near, far = cable
    (tmp_path / "c.yaml").write_text(
        "storage: {flush_interval: 1h}\nquotas: [{name: cap, count: uplink, limit: 1 GB}]\n")
    netusage = exporter(near, f"--config.file={tmp_path}/c.yaml")
    eventually(is_up(netusage, 1))
    expected = 1_000_000_000
    for failing in range(1, 5):
        with traced(netusage, "-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={failing}"):
            done = quota(netusage, tmp_path, "top-up", "cap", "5 GB")
        if done.returncode == 0:
            expected += 5_000_000_000
        assert eventually(lambda: netusage.metrics()['netusage_quota_limit_bytes{quota="cap"}'] == expected, 20), done
    netusage.kill()
    netusage = exporter(near, f"--config.file={tmp_path}/c.yaml")
    assert eventually(lambda: netusage.metrics()['netusage_quota_limit_bytes{quota="cap"}'] == expected)
    assert expected > 1_000_000_000


def test_slow_files_hold_up_no_scrape(cable, exporter):
    netusage = exporter(cable[0])
    with traced(netusage, "-e", "trace=%file,fsync,fdatasync,pwrite64", "-e",
                "inject=%file,fsync,fdatasync,pwrite64:delay_enter=20000000"):
        for _ in range(5):
            assert netusage.get("/metrics", timeout=5).status == 200
            time.sleep(1.1)


def test_links_that_come_and_go_starve_no_order_and_no_reload(cable, exporter, tmp_path):
    near, far = cable
    config = tmp_path / "c.yaml"
    plan = "quotas: [{{name: cap, count: uplink, limit: {} kB}}]\n"
    config.write_text(plan.format(1000))
    netusage = exporter(near, f"--config.file={config}")
    eventually(is_up(netusage, 1))
    churn = "i=0; while :; do ip -n {0} link add c type bridge; sleep .02; ip -n {0} link del c; sleep .02; done"
    with traced(netusage, "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_exit=50000"):
        links = subprocess.Popen(["sh", "-c", churn.format(near.name)], start_new_session=True)
        try:
            config.write_text(plan.format(100))
            netusage.signal(signal.SIGHUP)
            assert eventually(lambda: netusage.metrics()['netusage_quota_limit_bytes{quota="cap"}'] == 100_000)
            done = quota(netusage, tmp_path, "correct", "cap", "--used", "5 MB")
            assert done.returncode == 0, done.stderr
            assert netusage.metrics()['netusage_quota_breached{quota="cap"}'] == 1
        finally:
            os.killpg(links.pid, signal.SIGKILL)
            links.wait()


def test_no_file_system_call_is_made_on_the_event_loop(cable, exporter, tmp_path):
    """The loop answers scrapes, so it must not wait for a disk: from the start to the end, with everything in between."""
    near, _ = cable
    configuration = tmp_path / "c.yaml"
    configuration.write_text("storage: {flush_interval: 2s}\nquotas: [{name: cap, count: uplink, limit: 1 GB}]\n")
    (tmp_path / "web.yaml").write_text("http_server_config: {http2: false}\n")
    trace = tmp_path / "trace"
    calls = "trace=%file,fsync,fdatasync,pread64,pwrite64,ftruncate,flock,accept4,bind"
    netusage = exporter(near, f"--config.file={configuration}", f"--web.config.file={tmp_path}/web.yaml", "--web.enable-lifecycle",
                        prefix=["strace", "-D", "-f", "-y", "-o", trace, "-e", calls])
    eventually(is_up(netusage, 1), 20)
    near.send("10.0.0.2", 10)
    commits = netusage.metrics()["netusage_ledger_last_commit_timestamp_seconds"]
    for path in ("/", "/api/v1/usage?period=all", "/api/v1/usage?grain=5m&since=today", "/api/v1/export?grain=5m", "/api/v1/quotas"):
        assert netusage.get(path).status == 200
    assert quota(netusage, tmp_path, "correct", "cap", "--used", "5 MB").returncode == 0
    configuration.write_text(configuration.read_text().replace("1 GB", "2 GB"))
    assert netusage.get("/-/reload", "POST").status == 200
    (tmp_path / "ledger.db.control").unlink()
    assert eventually(lambda: netusage.metrics()["netusage_ledger_last_commit_timestamp_seconds"] > commits, 10)
    eventually(lambda: "it is made again" in netusage.log, 40)
    netusage.stop()
    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    loop = collections.Counter(thread for thread, call in lines if "accept4" in call).most_common(1)[0][0]
    files = [call for thread, call in lines if thread == loop and re.search(r'["<]/', call) and not re.search(r'["<]/(proc(?!/self/fd/\d)|sys)/', call)
             and not call.startswith("accept4")]
    assert sum("fdatasync" in call for _, call in lines) > 3, "commits are in the trace"
    assert files == []


def test_a_ledger_with_a_long_name_is_used_without_a_socket(cable, exporter, tmp_path):
    """A socket's path has room for some hundred bytes, and a name may have more."""
    ledger = tmp_path / ("l" * 200 + ".db")
    netusage = exporter(cable[0], ledger=ledger)
    eventually(is_up(netusage, 1))
    assert "commands can't reach this daemon" in netusage.log and not list(tmp_path.glob("*.control"))
    time.sleep(16)  # It is tried again every fifteen seconds.
    assert netusage.log.count("ledger.control") + netusage.log.count(".db.control") == 1, "once in the log"
    netusage.stop()
    done = subprocess.run([BINARY, "today", f"--storage.path={ledger}"], capture_output=True, text=True, check=True)
    assert "no netusage serve runs" in done.stdout


def test_the_socket_for_commands_is_made_again(cable, exporter, tmp_path):
    near, far = cable
    (tmp_path / "c.yaml").write_text("quotas: [{name: cap, count: uplink, limit: 1 GB}]\n")
    netusage = exporter(near, f"--config.file={tmp_path}/c.yaml")
    eventually(is_up(netusage, 1))
    control = tmp_path / "ledger.db.control"
    control.unlink()
    early = quota(netusage, tmp_path, "correct", "cap", "--used", "5 MB")
    assert early.returncode == 0 or str(control) in early.stderr
    eventually(control.is_socket, 40, every=0.5)
    assert quota(netusage, tmp_path, "correct", "cap", "--used", "7 MB").returncode == 0
    # Without the lock's file, too, the ledger's own lock keeps a second netusage out.
    (tmp_path / "ledger.db.lock").unlink()
    second = exporter(near, f"--config.file={tmp_path}/c.yaml", port=10074, wait=False)
    assert second.process.wait(20 * PATIENCE) == 1 and "another netusage" in second.log


def test_a_socket_that_is_made_again_at_the_end_isnt_left_behind(cable, exporter, tmp_path):
    """The daemon ends while it binds the new socket, which takes a while."""
    netusage = exporter(cable[0])
    eventually(is_up(netusage, 1))
    control = tmp_path / "ledger.db.control"
    eventually(control.is_socket)
    with traced(netusage, "-e", "trace=bind", "-e", "inject=bind:delay_enter=3000000"):
        control.unlink()
        eventually(lambda: "it is made again" in netusage.log, 40)
        netusage.stop()
    assert not control.exists()
