"""The rules of counting, with the real kernel: each byte counts once, whatever happens to devices and to the program."""

import random
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time

import pytest

from support import PATIENCE, ChangedCounters, Exporter, Namespace, eventually, run


def test_known_bytes_are_shown_exactly(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    before = netusage.metrics()
    sent = near.send("10.0.0.2", packets=137, size=1234)
    received = far.send("10.0.0.1", packets=61, size=777)
    after = netusage.metrics()
    assert after.pair("_total", "wan0") == near.kernel("wan0")
    for what in ("day", "week", "month", "lifetime"):
        was, now = before.pair(what, "wan0"), after.pair(what, "wan0")
        assert (now[0] - was[0], now[1] - was[1]) == (received, sent), what
    assert after["netusage_uplink_day_receive_bytes"] == after.device("day_receive_bytes", "wan0")
    assert after["netusage_uplink_day_transmit_bytes"] == after.device("day_transmit_bytes", "wan0")
    assert after["netusage_online"] == 1 and after.device("device_uplink", "wan0") == 1


def test_what_was_carried_before_the_first_start_is_not_booked(cable, exporter):
    near, far = cable
    near.send("10.0.0.2")
    shown = exporter(near).metrics()
    assert shown.pair("lifetime", "wan0") == (0, 0)
    assert shown.pair("_total", "wan0") == near.kernel("wan0") != (0, 0)


def test_a_device_that_appears_is_booked_from_its_first_byte(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    near.bridge("lan0", 7)
    sent = near.send("10.7.0.2", packets=50)
    assert netusage.metrics().pair("lifetime", "lan0") == (0, sent)
    assert netusage.metrics().device("device_resets_total", "lan0") == 0


def test_a_device_deleted_right_after_a_burst_is_booked_to_its_last_byte(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    near.bridge("lan0", 7)
    sent = 0
    for burst in range(20):
        sent += near.send("10.7.0.2", packets=500)
        near.ip("link", "delete", "lan0")
        near.bridge("lan0", 7)
    sent += near.send("10.7.0.2", packets=500)
    near.ip("link", "delete", "lan0")
    gone = eventually(lambda: (lambda m: m if m.device("device_up", "lan0") is None else None)(netusage.metrics()))
    assert eventually(lambda: netusage.metrics().pair("month", "lan0") == (0, sent))
    assert gone.pair("_total", "lan0") == (None, None), "a device that is gone keeps only its period totals"


def test_a_device_made_again_goes_on_without_a_step(cable, exporter):
    near, far = cable
    near.bridge("lan0", 7)
    netusage = exporter(near)
    first = near.send("10.7.0.2", packets=30)
    before = netusage.metrics().pair("_total", "lan0")
    near.ip("link", "delete", "lan0")
    near.bridge("lan0", 7)
    second = near.send("10.7.0.2", packets=20)
    after = netusage.metrics()
    assert after.pair("_total", "lan0") == (before[0], before[1] + second)
    assert after.pair("lifetime", "lan0") == (0, first + second)
    assert after.device("device_resets_total", "lan0") == 1


def test_a_device_made_again_while_nobody_looked_is_booked_whole(cable, exporter):
    near, far = cable
    near.bridge("lan0", 7)
    netusage = exporter(near)
    first = near.send("10.7.0.2", packets=30)
    netusage.stop()
    near.ip("link", "delete", "lan0")
    near.bridge("lan0", 7)
    second = near.send("10.7.0.2", packets=20)
    after = exporter(near).metrics()
    assert after.pair("lifetime", "lan0") == (0, first + second)
    assert after.pair("_total", "lan0") == (0, first + second)
    assert after.device("device_resets_total", "lan0") == 1


def test_a_renamed_device_keeps_its_history(cable, exporter):
    near, far = cable
    near.bridge("lan0", 7)
    netusage = exporter(near)
    first = near.send("10.7.0.2")
    near.ip("link", "set", "lan0", "name", "home0")
    second = near.send("10.7.0.2")
    shown = netusage.metrics()
    assert shown.pair("lifetime", "home0") == (0, first + second)
    assert shown.pair("lifetime", "lan0") == (None, None)
    assert shown.device("device_resets_total", "home0") == 0


def test_what_was_carried_under_a_name_is_booked_to_it(cable, exporter, tmp_path):
    near, far = cable
    (tmp_path / "slow.yaml").write_text(
        'sampling: { interval: 60s }\ndevices: { exclude: [lo, "private*"], collapse: ["veth*"] }\n')
    netusage = exporter(near, f"--config.file={tmp_path}/slow.yaml")
    near.bridge("lan0", 7)
    sent = near.send("10.7.0.2")
    near.ip("link", "set", "lan0", "name", "veth0")
    sent_as_member = near.send("10.7.0.2", packets=7)
    near.ip("link", "set", "veth0", "name", "private0")
    near.send("10.7.0.2")
    shown = netusage.metrics()
    assert shown.pair("lifetime", "lan0") == (0, sent)
    assert shown.pair("lifetime", "veth*") == (0, sent_as_member)
    assert shown.device("device_up", "private0") is None


def test_a_device_that_gets_its_name_soon_leaves_the_past_of_its_first_one(cable, exporter):
    """Modems and network cards appear with the kernel's name, and get their own name a moment later."""
    near, far = cable
    near.bridge("usb0", 7)
    netusage = exporter(near)
    first = near.send("10.7.0.2")
    near.ip("link", "delete", "usb0")
    near.ip("link", "add", "usb0", "type", "bridge")
    near.ip("link", "set", "usb0", "name", "modem0")
    assert eventually(lambda: netusage.metrics().pair("_total", "modem0") == (0, 0))
    assert netusage.metrics().pair("month", "usb0") == (0, first)
    near.ip("link", "delete", "modem0")
    near.ip("link", "add", "temporary0", "type", "bridge")
    near.ip("link", "set", "temporary0", "name", "modem0")
    assert eventually(lambda: netusage.metrics().device("device_resets_total", "modem0") == 1)


def test_two_devices_that_swap_their_names_keep_their_histories(cable, exporter):
    near, far = cable
    near.bridge("a0", 7)
    near.bridge("b0", 8)
    netusage = exporter(near)
    of_a, of_b = near.send("10.7.0.2", packets=10), near.send("10.8.0.2", packets=20)
    for old, new in (("a0", "x0"), ("b0", "a0"), ("x0", "b0")):
        near.ip("link", "set", old, "name", new)
    shown = netusage.metrics()
    assert shown.pair("lifetime", "b0") == (0, of_a) and shown.pair("lifetime", "a0") == (0, of_b)
    netusage.stop()
    for old, new in (("a0", "x0"), ("b0", "a0"), ("x0", "b0")):  # The same again, while netusage is stopped.
        near.ip("link", "set", old, "name", new)
    shown = exporter(near).metrics()
    assert shown.pair("lifetime", "a0") == (0, of_a) and shown.pair("lifetime", "b0") == (0, of_b)


def test_a_name_that_is_used_again_is_one_account(cable, exporter):
    """A modem that is plugged in again and again: usb0 appears, and is renamed at once."""
    near, far = cable
    netusage = exporter(near)
    sent = 0
    for _ in range(3):
        near.bridge("usb0", 7)
        near.ip("link", "set", "usb0", "name", "modem0")
        sent += near.send("10.7.0.2", packets=25)
        near.ip("link", "delete", "modem0")
    near.bridge("usb0", 7)
    near.ip("link", "set", "usb0", "name", "modem0")
    shown = netusage.metrics()
    assert shown.pair("lifetime", "modem0") == (0, sent)
    assert shown.pair("_total", "modem0") == (0, sent)
    assert shown.pair("lifetime", "usb0") == (None, None)


def test_what_a_device_carried_in_another_namespace_is_not_booked(cable, namespaces, exporter):
    near, far = cable
    elsewhere = namespaces()
    near.veth("lan0", far, "far1", number=7)
    netusage = exporter(near)

    def carry(namespace, packets):
        namespace.ip("address", "replace", "10.7.0.1/24", "dev", "lan0")
        namespace.ip("link", "set", "lan0", "up")
        namespace.ip("neighbour", "replace", "10.7.0.2", "lladdr", "02:00:00:00:00:02", "nud", "permanent", "dev", "lan0")
        return namespace.send("10.7.0.2", packets)

    here = carry(near, 10)
    near.ip("link", "set", "lan0", "netns", elsewhere.name)
    carry(elsewhere, 1000)
    assert eventually(lambda: netusage.metrics().device("device_up", "lan0") is None)
    elsewhere.ip("link", "set", "lan0", "netns", near.name)
    here += carry(near, 20)
    assert netusage.metrics().pair("lifetime", "lan0") == (0, here)
    netusage.kill()  # The same, with a restart while the device is away.
    netusage = exporter(near)
    near.ip("link", "set", "lan0", "netns", elsewhere.name)
    eventually(lambda: run("sqlite3", "-readonly", "-cmd", ".timeout 5000", netusage.ledger,
                           "SELECT state FROM device ORDER BY state LIMIT 1") == "away\n")
    netusage.kill()
    carry(elsewhere, 1000)
    netusage = exporter(near)
    elsewhere.ip("link", "set", "lan0", "netns", near.name)
    here += carry(near, 40)
    assert netusage.metrics().pair("lifetime", "lan0") == (0, here)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_device_that_comes_back_is_known_by_its_hardware_address(cable, namespaces, exporter, is_stopped):
    """It comes back under another name, and another device has its number now. Its last hardware address counts."""
    near, far = cable
    elsewhere = namespaces()
    near.veth("lan0", far, "far1", number=7)
    netusage = exporter(near)
    near.send("10.7.0.2", packets=10)
    near.ip("link", "set", "lan0", "address", "02:00:00:00:07:77")
    number = near.exec("cat", "/sys/class/net/lan0/ifindex").strip()
    near.ip("link", "set", "lan0", "netns", elsewhere.name)
    assert eventually(lambda: netusage.metrics().device("device_up", "lan0") is None)
    if is_stopped:
        netusage.stop()

    def carry(namespace, device, packets):
        namespace.ip("address", "replace", "10.7.0.1/24", "dev", device)
        namespace.ip("link", "set", device, "up")
        namespace.ip("neighbour", "replace", "10.7.0.2", "lladdr", "02:00:00:00:00:02", "nud", "permanent", "dev", device)
        return namespace.send("10.7.0.2", packets)

    carry(elsewhere, "lan0", 1000)
    near.ip("link", "add", "other0", "index", number, "type", "bridge")
    elsewhere.ip("link", "set", "lan0", "down")
    elsewhere.ip("link", "set", "lan0", "name", "moved0")
    elsewhere.ip("link", "set", "moved0", "netns", near.name)
    if is_stopped:
        netusage = exporter(near)
    eventually(lambda: netusage.metrics().device("device_up", "moved0") is not None)
    sent = carry(near, "moved0", 20)
    assert netusage.metrics().pair("lifetime", "moved0") == (0, sent)


def test_a_device_that_went_to_another_namespace_while_nobody_looked_comes_back(cable, namespaces, exporter):
    near, far = cable
    elsewhere = namespaces()
    netusage = exporter(near)
    sent = near.send("10.0.0.2")
    netusage.stop()
    near.ip("link", "set", "wan0", "netns", elsewhere.name)
    netusage = exporter(near)
    elsewhere.ip("link", "set", "wan0", "netns", near.name)
    near.ip("address", "add", "10.0.0.1/24", "dev", "wan0")
    near.ip("link", "set", "wan0", "up", "arp", "off")
    sent += near.send("10.0.0.2", packets=7)
    assert eventually(lambda: netusage.metrics().pair("lifetime", "wan0")[1] == sent)
    assert netusage.metrics().pair("_total", "wan0")[1] == near.kernel("wan0")[1]


def test_a_class_of_devices_is_one_series_whose_counter_never_falls(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    sent, counter = 0, 0
    for number in range(10, 16):
        near.bridge(f"tap{number}", number)
        sent += near.send(f"10.{number}.0.2", packets=40)
        shown = netusage.metrics()
        assert shown.device("transmit_bytes_total", "tap*") >= counter
        counter = shown.device("transmit_bytes_total", "tap*")
        near.ip("link", "delete", f"tap{number}")
    shown = eventually(lambda: (lambda m: m if m.device("device_up", "tap*") == 0 else None)(netusage.metrics()))
    assert shown.pair("_total", "tap*") == (0, sent) == shown.pair("day", "tap*")
    assert 'kind="collapsed"' in shown.text
    assert not any("tap1" in series for series in shown)


def test_the_uplink_follows_the_default_route(cable, namespaces, exporter):
    near, far = cable
    third = namespaces()
    near.veth("lte0", third, "far1", number=1)
    netusage = exporter(near)
    by_wan = near.send("10.0.0.2", packets=10)
    near.ip("route", "replace", "default", "via", "10.1.0.2", "metric", "0")
    eventually(lambda: netusage.metrics().device("device_uplink", "lte0") == 1)
    by_lte = near.send("10.1.0.2", packets=20)
    unused = near.send("10.0.0.2", packets=40)
    shown = netusage.metrics()
    assert shown["netusage_uplink_day_transmit_bytes"] == by_wan + by_lte
    assert shown.device("day_transmit_bytes", "wan0") == by_wan + unused
    near.ip("route", "del", "default")
    assert eventually(lambda: netusage.metrics()["netusage_online"] == 0)
    near.send("10.1.0.2", packets=20)
    assert netusage.metrics()["netusage_uplink_day_transmit_bytes"] == by_wan + by_lte


def test_the_uplink_counter_begins_at_zero_so_that_a_late_route_invents_no_bytes(cable, exporter):
    near, far = cable
    near.ip("route", "del", "default")
    near.send("10.0.0.2")
    netusage = exporter(near)
    assert netusage.metrics()["netusage_uplink_transmit_bytes_total"] == 0
    near.ip("route", "add", "default", "via", "10.0.0.2")
    eventually(lambda: netusage.metrics()["netusage_online"] == 1)
    assert netusage.metrics()["netusage_uplink_transmit_bytes_total"] == 0
    sent = near.send("10.0.0.2", packets=10)
    assert netusage.metrics()["netusage_uplink_transmit_bytes_total"] == sent
    netusage.stop()
    assert exporter(near).metrics()["netusage_uplink_transmit_bytes_total"] == sent, "it goes on"


def test_a_tunnel_over_the_uplink_is_not_counted_twice(cable, exporter):
    near, far = cable
    near.ip("link", "add", "vpn0", "type", "vxlan", "id", "9", "remote", "10.0.0.2", "local", "10.0.0.1", "dstport", "4789")
    near.ip("link", "set", "vpn0", "arp", "off", "up")
    near.ip("address", "add", "10.9.0.1/24", "dev", "vpn0")
    near.ip("route", "replace", "default", "dev", "wan0", "metric", "100")
    near.ip("route", "add", "default", "dev", "vpn0", "metric", "10")
    netusage = exporter(near)
    near.send("10.9.0.2", packets=30)
    shown = netusage.metrics()
    assert shown.device("device_uplink", "wan0") == 1 and shown.device("device_uplink", "vpn0") == 0
    assert shown.device("day_transmit_bytes", "vpn0") > 0
    assert shown["netusage_uplink_day_transmit_bytes"] == shown.device("day_transmit_bytes", "wan0")


def test_two_hundred_kills_lose_and_double_no_byte(cable, tmp_path):
    """SIGKILL at random moments under traffic. At the end, the ledger equals the kernel to the byte."""
    near, far = cable
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    netusage = Exporter(near, tmp_path, "--config.file", str(fast_flushes(tmp_path)))
    start = near.kernel("wan0")
    assert netusage.metrics().pair("lifetime", "wan0") == (0, 0)
    stop = threading.Event()

    def traffic():
        while not stop.is_set():
            near.send("10.0.0.2", packets=20)
            far.send("10.0.0.1", packets=10)
            time.sleep(0.001)

    thread = threading.Thread(target=traffic)
    thread.start()
    last = {}
    try:
        for _ in range(200):
            time.sleep(chance.uniform(0, 0.12) * PATIENCE)
            if chance.random() < 0.5:
                last = never_lower(last, netusage.metrics())
            netusage.kill()
            with sqlite3.connect(netusage.ledger) as ledger:
                assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            ledger.close()
            netusage = Exporter(near, tmp_path, "--config.file", str(tmp_path / "fast.yaml"))
            last = never_lower(last, netusage.metrics())
    finally:
        stop.set()
        thread.join()
    shown, kernel = netusage.metrics(), near.kernel("wan0")
    netusage.stop()
    assert shown.pair("_total", "wan0") == kernel
    assert shown.pair("lifetime", "wan0") == (kernel[0] - start[0], kernel[1] - start[1])
    assert shown.device("device_resets_total", "wan0") == 0
    assert sums(netusage.ledger, "bucket") == sums(netusage.ledger, "day")


def never_lower(last, metrics):
    """Checks that no counter and no total fell. Returns the new values."""
    now = {series: value for series, value in metrics.items()
           if ("_bytes_total" in series or "lifetime" in series) and ("wan0" in series or "uplink" in series)}
    for series, value in last.items():
        assert now[series] >= value, f"{series} fell from {value} to {now[series]}"
    return now


def fast_flushes(directory):
    path = directory / "fast.yaml"
    path.write_text("storage: { flush_interval: 1s }\nsampling: { interval: 100ms }\n")
    return path


def sums(ledger, table):
    with sqlite3.connect(ledger) as connection:
        return dict(connection.execute(
            f"SELECT name, sum(received) || '/' || sum(transmitted) FROM {table} JOIN account ON id = account GROUP BY 1"))


def test_a_stop_of_minutes_loses_nothing_and_is_spread_over_them(cable, exporter):
    """A time namespace of the kernel sets the second run's boot-time clock seven minutes ahead."""
    near, far = cable
    netusage = exporter(near)
    before = near.send("10.0.0.2", packets=10)
    netusage.stop()
    during = near.send("10.0.0.2", packets=1000)
    netusage = exporter(near, prefix=("unshare", "--time", "--boottime", str(7 * 60)))
    shown = netusage.metrics()
    assert shown.pair("lifetime", "wan0") == (0, before + during)
    assert shown.device("gap_bytes_total", "wan0") == during
    assert shown["netusage_uplink_lifetime_transmit_bytes"] == before + during
    netusage.stop()
    with sqlite3.connect(netusage.ledger) as ledger:
        rows = ledger.execute(
            "SELECT transmitted FROM bucket JOIN account ON id = account WHERE name = 'wan0' ORDER BY start").fetchall()
    assert len(rows) >= 2 and sum(row[0] for row in rows) == before + during
    assert sums(netusage.ledger, "bucket") == sums(netusage.ledger, "day")


def test_a_short_stop_is_no_gap(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    netusage.stop()
    sent = near.send("10.0.0.2", packets=10)
    shown = exporter(near).metrics()
    assert shown.device("gap_bytes_total", "wan0") == 0 and shown.pair("lifetime", "wan0") == (0, sent)


def test_lost_events_lose_nothing_that_the_kernel_still_has(cable, exporter):
    """While the program is frozen, more events come than its socket can hold. Then it reads the lists again."""
    near, far = cable
    near.bridge("lan0", 7)
    netusage = exporter(near)
    of_lan = near.send("10.7.0.2", packets=10)
    assert netusage.metrics().pair("lifetime", "lan0") == (0, of_lan)
    netusage.signal(signal.SIGSTOP)
    flood = "\n".join(f"link set wan0 alias {number}" for number in range(12_000))
    subprocess.run(["ip", "-n", near.name, "-batch", "-"], input=flood, text=True, check=True, capture_output=True)
    near.bridge("new0", 8)
    of_new = near.send("10.8.0.2", packets=20)
    near.ip("link", "set", "lan0", "name", "home0")
    of_lan += near.send("10.7.0.2", packets=30)
    netusage.signal(signal.SIGCONT)
    shown = eventually(lambda: (lambda m: m if m.device("device_up", "home0") is not None else None)(netusage.metrics()))
    assert shown["netusage_netlink_overruns_total"] >= 1
    assert shown.pair("lifetime", "home0") == (0, of_lan) and shown.pair("lifetime", "lan0") == (None, None)
    assert netusage.metrics().pair("lifetime", "new0") == (0, of_new)
    assert 'alias="11999"' in shown.text


def test_a_device_renamed_while_nobody_looked_leaves_its_name_to_another(cable, exporter):
    near, far = cable
    near.bridge("lan0", 7)
    netusage = exporter(near)
    of_first = near.send("10.7.0.2", packets=30)
    netusage.stop()
    near.ip("link", "set", "lan0", "name", "home0")
    near.bridge("lan0", 8)
    near.send("10.8.0.2", packets=10)
    netusage = exporter(near)
    of_second = near.send("10.8.0.2", packets=5)
    shown = netusage.metrics()
    assert shown.pair("lifetime", "home0") == (0, of_first)
    assert shown.pair("lifetime", "lan0") == (0, of_second), "seen first at the start: a baseline"


def test_names_of_any_bytes_come_out_as_valid_distinct_labels(cable, exporter):
    near, far = cable
    names = [b'quo"te', b"back\\slash", b"\xff\xfe", b"\xff\xfd", "ümläut".encode(), b"(other)", b"e\xcc\x81"]
    for name in names:
        run("ip", "-n", near.name, "link", "add", name, "type", "bridge")
    near.ip("link", "set", "wan0", "alias", 'a "b"\\c\nd')
    shown = exporter(near).metrics()
    labels = {series.split('device="', 1)[1] for series in shown if series.startswith("netusage_device_up{")}
    assert len(labels) == len(names) + 1
    for expected in (r"quo\"te", r"back\\slash", r"raw:\\xff\\xfe", r"raw:\\xff\\xfd", "ümläut", "raw:(other)"):
        assert f'netusage_device_up{{device="{expected}"}}' in shown, expected
    assert r'alias="a \"b\"\\c\nd"' in shown.text


# Counters that fall

TERABYTE = 10**12


def test_each_direction_of_a_counter_is_judged_by_itself(cable, exporter, tmp_path):
    near, far = cable
    counters = ChangedCounters(tmp_path)
    counters.add(near, "wan0", 9 * TERABYTE, TERABYTE)
    netusage = exporter(near, environment=counters.environment)
    kernel = near.kernel("wan0")
    # The sent counter restarts, and shows 500. The received counter has grown by 1000.
    counters.add(near, "wan0", 9 * TERABYTE + 1000, 500 - kernel[1])
    shown = eventually(lambda: (lambda m: m if m.pair("lifetime", "wan0") == (1000, 500) else None)(netusage.metrics()))
    assert shown.device("device_resets_total", "wan0") == 1 and shown.device("suspect_bytes_total", "wan0") == 0
    assert shown["netusage_uplink_day_receive_bytes"] == 1000
    # While the program is stopped, the received counter restarts.
    netusage.stop()
    counters.add(near, "wan0", 70 - kernel[0], 600 - kernel[1])
    netusage = exporter(near, environment=counters.environment)
    assert eventually(lambda: netusage.metrics().pair("lifetime", "wan0") == (1070, 600))


def test_a_counter_that_comes_back_had_not_restarted(cable, exporter, tmp_path):
    near, far = cable
    (tmp_path / "c.yaml").write_text("quotas: [{name: cap, count: uplink, limit: 1 MB, cycle: {every: month}}]\n")
    counters = ChangedCounters(tmp_path)
    counters.add(near, "wan0", 900 * 10**9, 10**9)
    netusage = exporter(near, f"--config.file={tmp_path}/c.yaml", environment=counters.environment)
    kernel = near.kernel("wan0")
    total = netusage.metrics().pair("_total", "wan0")
    for wrong in ((-kernel[0], -kernel[1]), (5 * 10**9, 10**9), (800 * 10**9, 0)):
        resets = netusage.metrics().device("device_resets_total", "wan0")
        counters.add(near, "wan0", *wrong)
        eventually(lambda: netusage.metrics().device("device_resets_total", "wan0") > resets)
        assert netusage.metrics()['netusage_quota_breached{quota="cap"}'] == 0
        assert netusage.metrics().pair("_total", "wan0") == total, "a counter can't take bytes back"
        counters.add(near, "wan0", 900 * 10**9, 10**9)
        assert eventually(lambda: netusage.metrics().pair("lifetime", "wan0") == (0, 0))
    sent = near.send("10.0.0.2")
    assert eventually(lambda: netusage.metrics().pair("lifetime", "wan0") == (0, sent))
    after = netusage.metrics()
    assert after.pair("_total", "wan0") == (total[0], total[1] + sent)
    assert after['netusage_quota_used_bytes{quota="cap"}'] == sent and after['netusage_quota_breaches_total{quota="cap"}'] == 0


def test_a_busy_kernel_holds_up_no_scrape(cable, exporter):
    near, far = cable
    netusage = exporter(near)
    crowd = Namespace()
    batch = "".join(f"link add b{n} type bridge\nlink set b{n} up\n" for n in range(300))
    run("ip", "-n", crowd.name, "-batch", "-", input=batch)
    before = netusage.metrics()
    crowd.delete()
    sent = scrapes = 0
    for _ in range(1000):
        # While the kernel takes the namespace down, `ip link` has to wait for the list of links.
        waiting = subprocess.Popen(["ip", "-n", near.name, "link"], stdout=subprocess.DEVNULL)
        meanwhile = 0
        while waiting.poll() is None:
            sent += near.send("10.0.0.2", packets=10)
            assert netusage.metrics()["netusage_kernel_read_success"] == 1
            assert netusage.get("/-/healthy").status == 200
            meanwhile += 1
        scrapes = max(scrapes, meanwhile)
        if scrapes > 10:
            break
    assert scrapes > 10, "the kernel wasn't busy at all"
    after = eventually(lambda: (lambda m: m if m.pair("_total", "wan0") == near.kernel("wan0") else None)(netusage.metrics()))
    assert after.pair("lifetime", "wan0")[1] - before.pair("lifetime", "wan0")[1] == sent


# The uplink

def uplinks(netusage):
    return sorted(re.findall(r'netusage_device_uplink\{device="([^"]+)"\} 1', netusage.metrics().text))


def second_cable(near, far):
    near.veth("wan1", far, "far1", number=1)
    return near


def test_a_route_over_several_links_makes_all_of_them_the_uplink(cable, exporter):
    near = second_cable(*cable)
    netusage = exporter(near)
    assert uplinks(netusage) == ["wan0"]
    near.ip("route", "replace", "default", "nexthop", "via", "10.0.0.2", "dev", "wan0", "nexthop", "via", "10.1.0.2",
            "dev", "wan1", "weight", "3")
    eventually(lambda: uplinks(netusage) == ["wan0", "wan1"])
    sent = near.send("10.0.0.2", packets=11) + near.send("10.1.0.2", packets=23)
    assert eventually(lambda: netusage.metrics()["netusage_uplink_lifetime_transmit_bytes"] == sent), "each byte once"
    netusage.kill()
    sent += near.send("10.1.0.2", packets=5)
    netusage = exporter(near)
    assert netusage.metrics()["netusage_uplink_lifetime_transmit_bytes"] == sent


def test_a_route_that_goes_without_an_event_is_missed_at_once(cable, exporter):
    near = second_cable(*cable)
    near.ip("route", "delete", "default")
    for number in (0, 1):
        near.ip("nexthop", "add", "id", str(number + 1), "via", f"10.{number}.0.2", "dev", f"wan{number}")
    near.ip("nexthop", "add", "id", "10", "group", "1/2")
    near.ip("route", "add", "default", "nhid", "10")
    netusage = exporter(near)
    assert uplinks(netusage) == ["wan0", "wan1"]
    near.ip("nexthop", "delete", "id", "1")
    assert eventually(lambda: uplinks(netusage) == ["wan1"], 3)
    near.ip("nexthop", "delete", "id", "2")
    assert eventually(lambda: uplinks(netusage) == [] and netusage.metrics()["netusage_online"] == 0, 3)


@pytest.mark.parametrize("interval", ["60s", "1s"])
def test_a_change_between_rare_readings_is_noticed(cable, exporter, tmp_path, interval):
    """The kernel stops using an expired route long before it sends the event that the route is gone."""
    near = second_cable(*cable)
    near.ip("route", "delete", "default")
    near.exec("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
    # netusage asks the kernel for the route to this address. A route to it says nothing about other addresses.
    near.ip("-6", "address", "add", "2001:db8::1/128", "dev", "lo", "nodad")
    for number, metric in ((0, 200), (1, 100)):
        near.ip("-6", "address", "add", f"fd00:{number}::1/64", "dev", f"wan{number}", "nodad")
        expires = ["expires", "6"] if number == 1 else []
        near.ip("-6", "route", "add", "default", "via", f"fd00:{number}::2", "dev", f"wan{number}",
                "metric", str(metric), *expires)
    (tmp_path / "rare.yaml").write_text(f"sampling: {{ interval: {interval} }}\n")
    netusage = exporter(near, "--config.file", str(tmp_path / "rare.yaml"))
    assert uplinks(netusage) == ["wan1"]
    eventually(lambda: "dev wan0" in near.exec("ip", "-6", "route", "get", "2600::1"), 10)
    time.sleep(2.5)  # Don't scrape meanwhile: a scrape would look at the routes itself.
    sent = near.send("10.0.0.2", packets=100)
    near.send("10.1.0.2", packets=1000)
    carried = netusage.metrics()["netusage_uplink_lifetime_transmit_bytes"]
    assert sent <= carried < 1.2 * sent, "a few packets of neighbour discovery are more"


def test_the_preference_of_ipv6_routers_is_the_kernels(namespaces, exporter):
    near, far = namespaces(), namespaces()
    for namespace in (near, far):
        namespace.exec("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0",
                       "net.ipv6.conf.default.dad_transmits=0")
    far.exec("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    for number in (0, 1):
        near.ip("link", "add", f"wan{number}", "type", "veth", "peer", "name", f"far{number}", "netns", far.name)
        for namespace, device in ((near, f"wan{number}"), (far, f"far{number}")):
            namespace.ip("link", "set", device, "up")
        near.exec("sysctl", "-qw", f"net.ipv6.conf.wan{number}.accept_ra=2")
    netusage = exporter(near)

    def advertise(device, preference):
        with far.entered():
            index = socket.if_nametoindex(device)
            router = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        # A router advertisement (RFC 4861 section 4.2) with a preference (RFC 4191 section 2.2), valid for ten minutes.
        router.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, preference << 3, 600, 0, 0), ("ff02::1", 0, 0, index))
        router.close()

    # The link-local address may appear some moments later.
    def is_there(preferences):
        for device, preference in preferences.items():
            try:
                advertise(device, preference)
            except OSError:
                return False
        near.ip("-6", "address", "replace", "2001:db8::1/128", "dev", "wan1", "nodad")
        route = near.exec("ip", "-6", "route", "get", "2001:db8:99::9")
        return f"dev {'wan1' if preferences['far1'] == 1 else 'wan0'}" in route

    for preferences, uplink in (({"far0": 0, "far1": 1}, "wan1"), ({"far0": 1, "far1": 0}, "wan0")):
        eventually(lambda: is_there(preferences), 20, every=0.2)
        eventually(lambda: uplinks(netusage) == [uplink], 5)
