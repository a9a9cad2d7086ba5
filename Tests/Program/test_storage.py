"""A disk that fails, a file that is damaged, foreign or newer: the scrape answers throughout and nothing is lost."""

import os
import shutil
import sqlite3
import subprocess
import time

import pytest

from support import PATIENCE, eventually, run

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
    """What the ledger has of a device, once everything up to now is written; the program is killed for it."""
    committed(netusage)
    netusage.kill()
    with sqlite3.connect(netusage.ledger) as connection:
        return connection.execute(
            "SELECT coalesce(sum(received), 0), coalesce(sum(transmitted), 0) FROM day JOIN account ON id = account "
            "WHERE name = ?", (device,)).fetchone()


def committed(netusage):
    """Waits until what has been carried up to now is on the disk."""
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
    eventually(is_up(netusage, 0))
    sent += near.send("10.0.0.2")
    shown = netusage.metrics()
    assert shown.pair("lifetime", "wan0") == (0, sent)
    assert shown["netusage_ledger_commit_failures_total"] >= 1
    (small_disk / "filler").unlink()
    eventually(is_up(netusage, 1), 12)
    assert stored(netusage) == (0, sent)


def test_bookings_wait_while_the_disk_is_read_only(cable, exporter, small_disk, fast):
    near, far = cable
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    netusage.kill()  # Nobody may have a file open for writing while the disk is made read-only.
    sent = near.send("10.0.0.2")
    run("mount", "-o", "remount,ro", small_disk)
    netusage = exporter(near, fast, ledger=small_disk / "ledger.db")
    assert netusage.metrics()["netusage_ledger_up"] == 0
    sent += near.send("10.0.0.2")
    assert netusage.metrics().pair("_total", "wan0") == near.kernel("wan0")
    # `ip netns exec` gave the program mounts of its own.
    run("nsenter", "--mount", f"--target={netusage.process.pid}", "mount", "-o", "remount,rw", small_disk)
    run("mount", "-o", "remount,rw", small_disk)
    eventually(is_up(netusage, 1), 12)
    assert netusage.metrics().pair("lifetime", "wan0") == (0, sent)
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
    time.sleep(2.5 * PATIENCE)
    # SQLite may go on with the pages in its cache; then the damage shows at the next start.
    shown = netusage.metrics()
    assert shown.pair("lifetime", "wan0") == (0, sent)
    netusage.kill()
    assert exporter(near, fast).metrics()["netusage_ledger_up"] == 1


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
