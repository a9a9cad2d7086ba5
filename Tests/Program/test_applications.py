"""Applications: whose bytes they are, and that they add up to the uplink's."""

import ctypes
import fcntl
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import textwrap
import time

import pytest

from clients import FRAME, PEER, apps, assert_adds_up, attached, bytes_of, left_over, programs, settled
from support import BINARY, PATIENCE, eventually, run


def test_each_program_has_its_bytes_and_they_add_up_to_the_uplink(world, exporter):
    near, client = world
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    client("backup", 300_000, 100_000)
    client("firefox", 50_000, 1_000, cgroup="netusage-test.slice/nginx.service")
    client("backup", 20_000, 5_000, address="10.0.0.2")
    report = settled(netusage, "backup", "lan")
    received, transmitted = bytes_of(report, "backup")
    assert 300_000 < received < 330_000 and 100_000 < transmitted < 130_000
    received, transmitted = bytes_of(report, "nginx.service")
    assert 50_000 < received < 56_000
    received, transmitted = bytes_of(report, "backup", "lan")
    assert 20_000 < received < 23_000
    assert_adds_up(report)
    metrics = netusage.metrics()
    assert metrics['netusage_application_day_receive_bytes{application="backup",scope="internet"}'] > 300_000
    for direction in ("receive", "transmit"):
        known = sum(value for series, value in metrics.items()
                    if series.startswith(f"netusage_application_day_{direction}_bytes") and 'scope="tunnel"' not in series)
        assert known == metrics[f"netusage_uplink_day_{direction}_bytes"]


def test_exports_and_live_are_by_application_too(world, exporter):
    near, client = world
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    client("backup", 300_000, 100_000)
    client("backup", 20_000, 5_000, address="10.0.0.2")
    report = settled(netusage, "backup", "lan")
    storage = f"--storage.path={netusage.ledger}"

    def export(*arguments):
        return run(BINARY, "export", storage, "--by", "application", *arguments)

    head, *rows = [line.split(",") for line in export("--application", "backup").splitlines()]
    assert head == ["start", "end", "application", "scope", "received_bytes", "transmitted_bytes"]
    assert {row[3]: (int(row[4]), int(row[5])) for row in rows} == {
        scope: bytes_of(report, "backup", scope) for scope in ("internet", "lan")} and {row[2] for row in rows} == {"backup"}
    (row,) = json.loads(export("--format=json", "--grain=5m", "--application=back*", "--scope=lan"))["rows"]
    assert (row["application"], row["scope"], row["received_bytes"]) == ("backup", "lan", bytes_of(report, "backup", "lan")[0])
    (live,) = run(BINARY, "live", storage, "--by=application", "-n", "1", "--application=backup", "--scope=internet").splitlines()
    (account,) = json.loads(live)["accounts"]
    assert (account["name"], account["scope"], account["up"]) == ("backup", "internet", True)
    assert account["receive_peak_bytes_per_second"] > 30_000 and account["today"]["received_bytes"] == bytes_of(report, "backup")[0]
    netusage.stop()
    refused = subprocess.run([BINARY, "live", storage, "--by=application", "-n", "1"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "only a daemon knows what applications carry now" in refused.stderr


def test_a_kill_loses_nothing_that_was_committed_and_leaves_no_program(world, exporter, tmp_path):
    near, client = world
    configuration = tmp_path / "netusage.yaml"
    configuration.write_text("storage: { flush_interval: 1s }\n")
    flag = f"--config.file={configuration}"
    netusage = exporter(near, flag, sees_cgroups=True)
    attached(netusage)
    client("backup", 300_000, 100_000)
    first = bytes_of(settled(netusage, "backup"), "backup")
    before = programs()
    assert before
    netusage.stop()
    eventually(lambda: not programs())
    again = exporter(near, flag, sees_cgroups=True)
    attached(again)
    client("backup", 1000, 1000)
    report = settled(again, "backup")
    second = bytes_of(report, "backup")
    # Headers and payload of one connection more.
    assert 1_000 < second[0] - first[0] < 2_500 and 1_000 < second[1] - first[1] < 2_500
    assert_adds_up(report)
    now = time.time()
    eventually(lambda: again.metrics()["netusage_ledger_last_commit_timestamp_seconds"] > now + 0.1)
    again.kill()
    eventually(lambda: not programs())
    assert bytes_of(apps(again), "backup") == second


def test_switched_off_there_are_none(cable, exporter, tmp_path):
    near, _ = cable
    configuration = tmp_path / "netusage.yaml"
    configuration.write_text("applications: off\n")
    netusage = exporter(near, f"--config.file={configuration}", sees_cgroups=True)
    assert netusage.metrics()["netusage_applications_attached"] == 0
    assert not programs()


def test_a_reload_switches_them_off_and_on(world, exporter, tmp_path):
    near, client = world
    configuration = tmp_path / "netusage.yaml"
    configuration.write_text("applications: auto\n")
    netusage = exporter(near, f"--config.file={configuration}", sees_cgroups=True)
    attached(netusage)
    client("backup", 300_000, 100_000)
    configuration.write_text("applications: off\n")
    netusage.signal(signal.SIGHUP)
    eventually(lambda: netusage.metrics().get("netusage_applications_attached") == 0)
    eventually(lambda: not programs())
    # What was counted until then is kept.
    before = bytes_of(apps(netusage), "backup")
    assert before[0] > 300_000
    client("backup", 50_000, 50_000)
    configuration.write_text("applications: on\n")
    netusage.signal(signal.SIGHUP)
    attached(netusage)
    client("backup", 20_000, 1_000)
    report = settled(netusage, "backup")
    assert 20_000 < bytes_of(report, "backup")[0] - before[0] < 23_000
    assert left_over(report, "received_bytes") > 50_000


def test_without_cgroups_the_rest_works(cable, exporter):
    near, _ = cable
    netusage = exporter(near)
    assert "there is no cgroup2 file system" in eventually(lambda: "aren't metered" in netusage.log and netusage.log)
    assert netusage.metrics()["netusage_applications_attached"] == 0


def cut_packets(namespace, device):
    """Has the kernel cut merged packets before the device sees them (ETHTOOL_STSO of linux/ethtool.h, off)."""
    value = ctypes.create_string_buffer(struct.pack("II", 0x1f, 0))
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
    with namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8946, request)  # SIOCETHTOOL


@pytest.mark.parametrize("are_cut", [False, True])
def test_with_merged_packets_applications_still_add_up(cable, exporter, tmp_path, are_cut):
    """The cable's devices count what they are given: headers once for many packets, unless the kernel cuts them before."""
    near, far = cable
    if are_cut:
        cut_packets(near, "wan0")
        cut_packets(far, "far0")
    far.ip("address", "add", "203.0.113.5/32", "dev", "far0")
    # Both ends are programs of this machine, so the other one needs another name.
    shutil.copy("/usr/bin/iperf3", tmp_path / PEER)
    peer = subprocess.Popen(["nsenter", f"--net={far.path}", tmp_path / PEER, "--server"], stdout=subprocess.DEVNULL)
    try:
        netusage = exporter(near, sees_cgroups=True)
        attached(netusage)
        for direction in ([], ["--reverse"]):
            run("nsenter", f"--net={near.path}", "iperf3", "--client", "203.0.113.5", "--bytes", "400M", *direction, timeout=60 * PATIENCE)
        report = settled(netusage, "iperf3")
        doctor = subprocess.run(["nsenter", f"--net={near.path}", BINARY, "doctor", f"--storage.path={netusage.ledger}"],
                                capture_output=True, text=True, timeout=60 * PATIENCE).stdout
        doctor = " ".join(doctor.split())
    finally:
        peer.kill()
        peer.wait()
    assert "they are metered since" in doctor and "what passes the uplink is counted by scope" in doctor
    if are_cut:
        assert "transmit counter has every packet with its headers, as on the cable" in doctor, doctor
    for direction in () if are_cut else ("receive", "transmit"):
        assert re.search(rf"{direction} counter has the headers of merged packets once: [0-9.]+ MB of headers", doctor), doctor
    received, transmitted = bytes_of(report, "iperf3")
    assert received > 400_000_000 and transmitted > 400_000_000
    assert abs(left_over(report, "transmitted_bytes")) < 200
    # Of what arrives after the close no program has anything.
    assert -200 < left_over(report, "received_bytes") < received // 1000
    metrics = netusage.metrics()
    for direction in ("receive", "transmit"):
        scopes = sum(metrics.get(f'netusage_uplink_scope_day_{direction}_bytes{{scope="{scope}"}}', 0)
                     for scope in ("internet", "lan", "other"))
        # What passed before the programs were attached to the device, such as the discovery of neighbours.
        assert 0 <= metrics[f"netusage_uplink_day_{direction}_bytes"] - scopes < 400


def test_quotas_of_the_internet_and_of_applications(world, exporter, tmp_path):
    near, client = world
    configuration = tmp_path / "netusage.yaml"
    configuration.write_text(textwrap.dedent("""
        quotas:
          - { name: all, limit: 1 TB }
          - { name: home, limit: 1 TB, scope: internet }
          - { name: metered, limit: 1 TB, scope: internet, except: { applications: ["back*"] } }
          - { name: games, limit: 1 MB, count: { applications: [steam] } }
        """))
    netusage = exporter(near, f"--config.file={configuration}", sees_cgroups=True)
    attached(netusage)
    client("backup", 300_000, 1_000)
    client("steam", 1_200_000, 1_000)
    client("curl", 100_000, 1_000)
    client("curl", 500_000, 1_000, address="10.0.0.2")

    def used():
        metrics = netusage.metrics()
        return {name: metrics[f'netusage_quota_used_bytes{{quota="{name}"}}'] for name in ("all", "home", "metered", "games")}

    settled(netusage, "curl", "lan")
    before = used()
    assert before["all"] == sum(near.kernel("wan0")) > 2_100_000
    assert 500_000 < before["all"] - before["home"] < 560_000
    assert 300_000 < before["home"] - before["metered"] < 340_000
    assert 1_200_000 < before["games"] < 1_350_000
    assert netusage.metrics()['netusage_quota_breached{quota="games"}'] == 1
    netusage.stop()
    again = exporter(near, f"--config.file={configuration}", sees_cgroups=True)
    attached(again)
    netusage = again
    after = used()
    for name, bytes_ in before.items():
        assert 0 <= after[name] - bytes_ < 2_000, name


def test_sockets_that_are_older_than_the_programs_have_their_owners(world, exporter, puppet):
    near, _ = world
    old = puppet(near, "old")
    old.do("made = udp('203.0.113.5')")
    old.do("made.send(bytes(100))")
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    old.do("for _ in range(100): made.send(bytes(1000))")
    assert bytes_of(settled(netusage, "old"), "old") == (0, 100 * (1000 + FRAME))


def test_an_accepted_connection_is_the_listeners(world, cable, exporter, puppet):
    near, far = cable
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    server = puppet(near, "server")
    server.do("listener = socket.create_server(('10.0.0.1', 8001))")
    with far.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect(("10.0.0.1", 8001))
        # Whoever takes it, even under another name.
        server.do("call('accepted')")
        server.do("connection, _ = listener.accept()")
        server.do("connection.sendall(bytes(50_000))")
        left = 50_000
        while left:
            left -= len(client.recv(min(left, 1 << 16)))
    report = settled(netusage, "server", "lan")
    assert bytes_of(report, "server", "lan")[1] > 50_000
    assert bytes_of(report, "accepted", "lan") is None


def test_a_socket_belongs_to_who_connects_it(world, exporter, puppet):
    near, _ = world
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    shell = puppet(near, "shell")
    shell.do("made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    shell.do("call('program')")
    shell.do("made.connect(('203.0.113.5', 9))")
    shell.do("for _ in range(10): made.send(bytes(1000))")
    report = settled(netusage, "program")
    assert bytes_of(report, "program") == (0, 10 * (1000 + FRAME)) and bytes_of(report, "shell") is None


def test_more_names_than_there_is_room_for_lose_no_byte(cable, exporter, puppet):
    """The device counts the headers of merged packets once, also of those that have no counter of their own."""
    near, far = cable
    far.ip("address", "add", "203.0.113.5/32", "dev", "far0")
    netusage = exporter(near, sees_cgroups=True)
    attached(netusage)
    many = puppet(near, "many")
    before = near.kernel("wan0")[1]
    many.do("""exec("def send(made):\\n made.setsockopt(17, 103, 1200)\\n made.send(bytes(4800))")""")  # SOL_UDP, UDP_SEGMENT.
    many.do("for number in range(20_000): call(f'n{number}'); send(udp('203.0.113.5'))")
    metrics = eventually(lambda: netusage.metrics()["netusage_application_overflows_total"] > 0 and netusage.metrics())
    assert metrics["netusage_application_keys"] <= 16_384
    report = settled(netusage, "(other)")
    sent = sum(account["transmitted_bytes"] for account in report["accounts"] if account["kind"] == "application")
    merged = 20_000 * (4 * 1200 + FRAME)
    assert merged <= near.kernel("wan0")[1] - before < merged + 2_000
    assert merged <= sent < merged + 2_000
    # The ledger keeps a thousand names a month.
    assert len({account["name"] for account in report["accounts"]}) < 1_010
